"""Plays a stream by WHEP with aiortc and prints what was seen and heard as JSON.

whep.py URL --seconds N     plays that long after the first picture
whep.py URL --joins N       joins and leaves N times, one after the other
"""

import argparse
import asyncio
import json
import re
import time
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket

from flashbeep import Audio, Video, report

CLOCK_RATES = {"video": 90000, "audio": 48000}


class Reports:
    """Keeps each receiver's latest sender report: the tie between RTP time and the one clock."""

    def __init__(self):
        self.latest, self.count = {}, 0
        handle = RTCRtpReceiver._handle_rtcp_packet

        async def keep(receiver, packet):
            if isinstance(packet, RtcpSrPacket):
                self.latest[receiver] = packet.sender_info
                self.count += 1
            await handle(receiver, packet)

        RTCRtpReceiver._handle_rtcp_packet = keep

    def clock(self, receiver, kind):
        """Maps a decoded frame's own time to seconds of the sender's clock."""
        info = self.latest.get(receiver)
        origin = receiver._RTCRtpReceiver__timestamp_mapper._origin
        if info is None or origin is None:
            return None
        rate = CLOCK_RATES[kind]
        ntp = info.ntp_timestamp / 2**32

        def at(time):
            ticks = (origin + round(time * rate) - info.rtp_timestamp) & 0xFFFFFFFF
            return ntp + (ticks - 2**32 if ticks >= 2**31 else ticks) / rate

        return at


def through_relay(sdp, url):
    """The answer with the candidates of the URL's `#relay=ip:port` instead of the server's own."""
    relay = re.search(r"#relay=(.+):(\d+)$", url)
    return re.sub(r"(?m)^(a=candidate:\S+ 1 udp \d+) \S+ \d+ ", rf"\1 {relay[1]} {relay[2]} ", sdp) if relay else sdp


class Session:
    """One WHEP session."""

    def __init__(self, http, url):
        self.http, self.url = http, url
        self.peer = RTCPeerConnection()
        self.seen = {"video": Video(), "audio": Audio()}
        self.arrivals = []
        self.first = asyncio.Event()
        self.tasks = []
        self.location = None

    async def start(self):
        for kind in ("audio", "video"):
            self.peer.addTransceiver(kind, direction="recvonly")
        self.peer.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self.receive(track))))
        await self.peer.setLocalDescription(await self.peer.createOffer())
        headers = {"Content-Type": "application/sdp"}
        async with self.http.post(self.url, data=self.peer.localDescription.sdp, headers=headers) as answer:
            body = await answer.text()
            if answer.status != 201:
                raise SystemExit(f"WHEP answered {answer.status}: {body}")
            self.location = urljoin(self.url, answer.headers["Location"])
        await self.peer.setRemoteDescription(RTCSessionDescription(through_relay(body, self.url), "answer"))

    async def receive(self, track):
        try:
            while True:
                frame = await track.recv()
                self.seen[track.kind].add(float(frame.pts * frame.time_base), frame)
                if track.kind == "video":
                    self.arrivals.append(time.time())
                    self.first.set()
        except MediaStreamError:
            pass

    async def stop(self):
        if self.location:
            async with self.http.delete(self.location) as answer:
                assert answer.status < 300, f"DELETE answered {answer.status}"
        await self.peer.close()
        for task in self.tasks:
            task.cancel()

    def judge(self, reports):
        errors = []
        for transceiver in self.peer.getTransceivers():
            at = reports.clock(transceiver.receiver, transceiver.kind)
            if at is None:
                errors.append(f"no sender report for {transceiver.kind}")
            else:
                self.seen[transceiver.kind].retime(at)
        video, audio = self.seen["video"], self.seen["audio"]
        return report(video, audio, errors, arrivals=[round(t, 3) for t in self.arrivals], reports=reports.count)


async def play(url, seconds, patience):
    reports = Reports()
    async with aiohttp.ClientSession() as http:
        session = Session(http, url)
        started = time.time()
        await session.start()
        await asyncio.wait_for(session.first.wait(), patience)
        first = time.time() - started
        await asyncio.sleep(seconds)
        result = session.judge(reports)
        await session.stop()
    print(json.dumps({**result, "first_seconds": round(first, 3)}))


async def join(url, joins, patience):
    async with aiohttp.ClientSession() as http:
        for _ in range(joins):
            session = Session(http, url)
            await session.start()
            await asyncio.wait_for(session.first.wait(), patience)
            await session.stop()
    print(json.dumps({"joins": joins}))


parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("--seconds", type=float, default=8)
parser.add_argument("--joins", type=int, default=0)
parser.add_argument("--patience", type=float, default=20, help="seconds to wait for the first picture")
args = parser.parse_args()
asyncio.run(join(args.url, args.joins, args.patience) if args.joins else play(args.url, args.seconds, args.patience))
