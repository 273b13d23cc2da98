"""Does what SRS's console does: reads all lists page by page, follows the ids, kicks a client.

console.py http://HOST:1985 [--kick STREAM]

Prints what it found as JSON. With --kick it ends the first player of that stream and waits until it has gone.
"""

import argparse
import json
import time
import urllib.request

PAGE = 3


def ask(path, method="GET"):
    request = urllib.request.Request(args.base + path, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/json", path
        body = json.load(answer)
    for field, kind in (("code", int), ("server", str), ("service", str), ("pid", str)):
        assert isinstance(body[field], kind), f"{path}: {field}"
    return body


def pages(name):
    """All rows of a list, a page at a time, as the console scrolls through it."""
    rows = []
    while True:
        body = ask(f"/api/v1/{name}/?start={len(rows)}&count={PAGE}")
        assert body["code"] == 0 and len(body[name]) <= PAGE
        rows += body[name]
        if not body[name] or len(rows) >= body["total"]:
            return rows


def kick(stream):
    players = [row for row in pages("clients") if row["name"] == stream and not row["publish"]]
    client = players[0]["id"]
    assert ask(f"/api/v1/clients/{client}", "DELETE")["code"] == 0
    for _ in range(100):
        code = ask(f"/api/v1/clients/{client}")["code"]
        if code == 2049:
            return {"id": client, "type": players[0]["type"]}
        time.sleep(0.1)
    raise SystemExit(f"client {client} is still there")


parser = argparse.ArgumentParser()
parser.add_argument("base")
parser.add_argument("--kick")
args = parser.parse_args()
if args.kick:
    print(json.dumps(kick(args.kick)))
else:
    urls = ask("/api/v1/")["urls"]
    for name in ("versions", "summaries", "rusages", "self_proc_stats", "system_proc_stats", "meminfos", "authors", "features"):
        assert name in urls and "data" in ask(f"/api/v1/{name}"), name
    found = {name: pages(name) for name in ("vhosts", "streams", "clients")}
    vhosts = {row["id"] for row in found["vhosts"]}
    streams = {row["id"] for row in found["streams"]}
    for row in found["streams"]:
        assert row["vhost"] in vhosts and ask(f"/api/v1/streams/{row['id']}")["stream"]["name"] == row["name"]
    for row in found["clients"]:
        assert row["stream"] in streams and row["vhost"] in vhosts, row
        assert ask(f"/api/v1/clients/{row['id']}")["client"]["id"] == row["id"]
    print(json.dumps(found))
