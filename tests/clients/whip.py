"""Publishes a test picture and silence by WHIP with aiortc until it is ended.

whip.py URL
"""

import argparse
import asyncio

import aiohttp
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack


async def publish(url):
    peer = RTCPeerConnection()
    peer.addTrack(AudioStreamTrack())
    peer.addTrack(VideoStreamTrack())
    video = peer.getTransceivers()[1]
    # Every player here takes H.264; of VP8, RTMP knows nothing.
    codecs = RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession() as http:
        headers = {"Content-Type": "application/sdp"}
        async with http.post(url, data=peer.localDescription.sdp, headers=headers) as answer:
            body = await answer.text()
            if answer.status != 201:
                raise SystemExit(f"WHIP answered {answer.status}: {body}")
    await peer.setRemoteDescription(RTCSessionDescription(body, "answer"))
    await asyncio.Event().wait()


parser = argparse.ArgumentParser()
parser.add_argument("url")
asyncio.run(publish(parser.parse_args().url))
