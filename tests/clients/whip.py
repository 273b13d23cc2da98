"""Publishes a test picture and tone by WHIP with aiortc, and prints what became of it as JSON.

whip.py URL --seconds N [--bearer TOKEN]
"""

import argparse
import asyncio
import json
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack


async def publish(url, seconds, bearer):
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    peer = RTCPeerConnection()
    connected = asyncio.Event()

    @peer.on("connectionstatechange")
    def changed():
        if peer.connectionState == "connected":
            connected.set()

    for track in (AudioStreamTrack(), VideoStreamTrack()):
        peer.addTransceiver(track, direction="sendonly")
    await peer.setLocalDescription(await peer.createOffer())
    said = {"connected": False, "deleted": None}
    try:
        async with aiohttp.ClientSession() as http:
            offer = {**headers, "Content-Type": "application/sdp"}
            async with http.post(url, data=peer.localDescription.sdp, headers=offer) as answer:
                said["status"] = answer.status
                body = await answer.text()
                if answer.status != 201:
                    return said
                location = urljoin(url, answer.headers["Location"])
            await peer.setRemoteDescription(RTCSessionDescription(body, "answer"))
            await asyncio.wait_for(connected.wait(), 20)
            said["connected"] = True
            await asyncio.sleep(seconds)
            async with http.delete(location, headers=headers) as answer:
                said["deleted"] = answer.status
    finally:
        await peer.close()
    return said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--bearer")
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(publish(arguments.url, arguments.seconds, arguments.bearer))))


main()
