"""Decodes a recorded file and prints what is in it as JSON: judge.py FILE"""

import json
import sys

import av

from flashbeep import Audio, Video, report


# A recording is cut in sending order: the last pictures may lack the B-frames before them.
CUT_SECONDS = 0.2


def main(path):
    video, audio, errors = Video(), Audio(), []
    with av.open(path) as container:
        codecs = {stream.type: stream.codec_context.name for stream in container.streams}
        for packet in container.demux():
            try:
                for frame in packet.decode():
                    if frame.pts is None:
                        errors.append("a frame without a time")
                    elif packet.stream.type == "video":
                        video.add(float(frame.pts * frame.time_base), frame)
                    elif packet.stream.type == "audio":
                        audio.add(float(frame.pts * frame.time_base), frame)
            except av.FFmpegError as error:
                errors.append(str(error))
    video.drop_last(CUT_SECONDS)
    print(json.dumps(report(video, audio, errors[:10], codecs=codecs)))


main(sys.argv[1])
