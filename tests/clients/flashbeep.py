"""Judges decoded media of the flash-and-beep source: once a second the whole picture is white for
100 ms and a 1 kHz tone sounds for 100 ms, starting at the same instant.

Times are seconds on one clock that audio and video share. The report is a plain dictionary; what
is good enough is the caller's to say.
"""

import numpy as np

BEEP_HZ = 1000.0
WINDOW_SECONDS = 0.005
FLASH_LUMA = 170.0


class Video:
    """Collects the time and mean luma of each decoded picture."""

    def __init__(self):
        self.times, self.lumas = [], []
        self.width = self.height = 0

    def add(self, time, frame):
        self.width, self.height = frame.width, frame.height
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)
        self.times.append(time)
        self.lumas.append(float(luma[::8, : frame.width : 8].mean()))

    def retime(self, at):
        self.times = [at(time) for time in self.times]

    def drop_last(self, seconds):
        kept = sum(time < self.times[-1] - seconds for time in self.times) if self.times else 0
        del self.times[kept:], self.lumas[kept:]

    def flashes(self):
        """When pictures turn white. A flash that was on at the start is left out."""
        found, white = [], True
        for time, luma in zip(self.times, self.lumas):
            if luma > FLASH_LUMA and not white:
                found.append(time)
            white = luma > FLASH_LUMA
        return found


class Audio:
    """Collects decoded samples with the time of each block's first."""

    def __init__(self):
        self.blocks, self.rate = [], 48000

    def add(self, time, frame):
        samples = frame.to_ndarray().astype(np.float32)
        if frame.format.name.startswith("s16"):
            samples = samples / 32768.0
        if frame.format.is_planar:
            samples = samples.mean(axis=0)
        else:
            samples = samples.reshape(-1, len(frame.layout.channels)).mean(axis=1)
        self.rate = frame.sample_rate
        self.blocks.append((time, samples))

    def retime(self, at):
        self.blocks = [(at(time), samples) for time, samples in self.blocks]

    def samples(self):
        if not self.blocks:
            return np.zeros(0), np.zeros(0, np.float32)
        times = np.concatenate([t + np.arange(len(s)) / self.rate for t, s in self.blocks])
        return times, np.concatenate([s for _, s in self.blocks])

    def beeps(self):
        """When the tone starts, and its amplitude."""
        times, samples = self.samples()
        window = max(1, int(self.rate * WINDOW_SECONDS))
        if len(samples) < 10 * window:
            return [], 0.0
        phase = np.exp(-2j * np.pi * BEEP_HZ * np.arange(len(samples)) / self.rate)
        level = 2 * np.abs(np.convolve(samples * phase, np.ones(window) / window, "same"))
        peak = float(np.percentile(level, 99))
        if peak < 0.01:
            return [], peak
        on = level > peak / 2
        starts = np.flatnonzero(on[1:] & ~on[:-1]) + 1
        found = []
        for at in starts:
            # A start comes after silence; wobble within a beep does not.
            quiet = level[max(0, at - int(0.2 * self.rate)) : max(0, at - window)]
            if len(quiet) >= int(0.15 * self.rate) and quiet.max() < peak / 2:
                found.append(float(times[at]))
        return found, peak


def offsets(flashes, beeps):
    """For each flash, how much later its beep is. Positive: the sound is late."""
    pairs = [min((beep - flash for beep in beeps), key=abs) for flash in flashes if beeps]
    return [pair for pair in pairs if abs(pair) < 0.5]


def report(video, audio, errors, **more):
    """What was seen and heard, for the test to judge."""
    times = np.array(video.times)
    steps = np.diff(times)
    flashes = video.flashes()
    beeps, amplitude = audio.beeps()
    pairs = offsets(flashes, beeps)
    sample_times, _ = audio.samples()
    seconds = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    return {
        "width": video.width,
        "height": video.height,
        "video_frames": len(times),
        "video_seconds": seconds,
        "fps": (len(times) - 1) / seconds if seconds > 0 else 0.0,
        "step_max": float(steps.max()) if len(steps) else 0.0,
        "steps_back": int((steps <= 0).sum()),
        "audio_seconds": len(sample_times) / audio.rate,
        "audio_span": float(sample_times[-1] - sample_times[0]) if len(sample_times) else 0.0,
        "amplitude": amplitude,
        "flashes": [round(t, 3) for t in flashes],
        "beeps": [round(t, 3) for t in beeps],
        "pairs": len(pairs),
        "offsets_ms": [round(1000 * pair) for pair in pairs],
        "offset_ms": round(1000 * float(np.median(pairs)), 1) if pairs else None,
        "offset_ms_max": round(1000 * float(np.max(np.abs(pairs))), 1) if pairs else None,
        "errors": errors,
        **more,
    }
