// Turns counters into the figures on the page.

/** Reads a peer connection's counters once a second; rates are over the time between two reads. */
export class PeerSampler {
  constructor(pc, sends) {
    this.pc = pc;
    this.kind = sends ? "outbound-rtp" : "inbound-rtp";
    this.sends = sends;
    this.last = null;
  }

  async sample() {
    const report = await this.pc.getStats();
    const out = { bitrate: 0 };
    const now = { at: performance.now(), bytes: 0, frames: 0, delay: 0, emitted: 0, lost: 0, packets: 0 };
    for (const stat of report.values()) {
      if (stat.type === this.kind) {
        this.#stream(stat, report, now, out);
      } else if (stat.type === "remote-inbound-rtp" && this.sends) {
        if (stat.kind === "video") {
          out.loss = (stat.fractionLost ?? 0) * 100;
          out.jitter = ms(stat.jitter);
        }
        out.rtt = ms(stat.roundTripTime) ?? out.rtt;
      } else if (stat.type === "candidate-pair" && stat.nominated && stat.currentRoundTripTime !== undefined) {
        out.rtt ??= ms(stat.currentRoundTripTime);
      }
    }
    this.#rates(now, out);
    this.last = now;
    return out;
  }

  #stream(stat, report, now, out) {
    now.bytes += stat.bytesSent ?? stat.bytesReceived ?? 0;
    const codec = codecName(report.get(stat.codecId)?.mimeType?.split("/")[1]);
    if (stat.kind === "audio") {
      out.audioCodec = codec;
      out.concealed = stat.concealedSamples;
      return;
    }
    out.videoCodec = codec;
    out.width = stat.frameWidth;
    out.height = stat.frameHeight;
    now.frames = stat.framesDecoded ?? stat.framesEncoded ?? 0;
    out.decoded = now.frames;
    out.dropped = stat.framesDropped;
    out.freezes = stat.freezeCount;
    out.keyframes = stat.keyFramesDecoded ?? stat.keyFramesEncoded;
    out.limited = stat.qualityLimitationReason;
    if (!this.sends) {
      out.jitter = ms(stat.jitter);
      now.lost = stat.packetsLost ?? 0;
      now.packets = stat.packetsReceived ?? 0;
      now.delay = stat.jitterBufferDelay ?? 0;
      now.emitted = stat.jitterBufferEmittedCount ?? 0;
    }
  }

  #rates(now, out) {
    const last = this.last;
    if (!last) return;
    const seconds = (now.at - last.at) / 1000;
    if (seconds <= 0) return;
    out.bitrate = Math.max(0, ((now.bytes - last.bytes) * 8) / 1000 / seconds);
    out.fps = Math.max(0, (now.frames - last.frames) / seconds);
    if (this.sends) return;
    const lost = Math.max(0, now.lost - last.lost);
    const all = lost + Math.max(0, now.packets - last.packets);
    out.loss = all ? (lost / all) * 100 : 0;
    if (now.emitted > last.emitted) {
      out.buffer = ((now.delay - last.delay) / (now.emitted - last.emitted)) * 1000;
    }
  }
}

/** Reads what a video element itself knows: enough for every player. */
export class VideoSampler {
  constructor(video) {
    this.video = video;
    this.last = null;
  }

  /** `bytes` received so far, where the player counts them. */
  sample(bytes) {
    const quality = this.video.getVideoPlaybackQuality();
    const now = { at: performance.now(), frames: quality.totalVideoFrames, bytes: bytes ?? 0 };
    const out = {
      bitrate: 0,
      decoded: quality.totalVideoFrames - quality.droppedVideoFrames,
      dropped: quality.droppedVideoFrames,
      width: this.video.videoWidth,
      height: this.video.videoHeight,
      buffer: ahead(this.video),
    };
    if (this.last && now.at > this.last.at) {
      const seconds = (now.at - this.last.at) / 1000;
      out.fps = Math.max(0, (now.frames - this.last.frames) / seconds);
      out.bitrate = Math.max(0, ((now.bytes - this.last.bytes) * 8) / 1000 / seconds);
    }
    this.last = now;
    return out;
  }
}

/** Milliseconds that are buffered after the playing position. */
function ahead(video) {
  const { buffered, currentTime } = video;
  for (let index = 0; index < buffered.length; index++) {
    if (currentTime >= buffered.start(index) - 0.1 && currentTime <= buffered.end(index)) {
      return (buffered.end(index) - currentTime) * 1000;
    }
  }
  return undefined;
}

const NAMES = { opus: "Opus", avc1: "H264", hvc1: "H265", hev1: "H265", mp4a: "AAC" };

/** A codec as people write it, from a MIME subtype or an RFC 6381 name. */
export function codecName(text) {
  const first = (text || "").split(".")[0];
  return NAMES[first.toLowerCase()] || first;
}

const ms = (seconds) => (seconds === undefined ? undefined : seconds * 1000);
const known = (value) => value !== undefined && value !== null && !Number.isNaN(value);
const millis = (value) => (known(value) ? `${Math.round(value)} ms` : "–");
const count = (value) => (known(value) ? value.toLocaleString("en") : "–");

/** Kilobits per second as people say it. */
export function rate(kbps) {
  if (!known(kbps)) return "–";
  return kbps >= 1000 ? `${(kbps / 1000).toFixed(2)} Mb/s` : `${Math.round(kbps)} kb/s`;
}

/** Name, title, how it is written, and when it is bad: [warn from, bad from]. */
const FIGURES = [
  ["bitrate", "Bitrate", (s) => rate(s.bitrate)],
  ["fps", "Frame rate", (s) => (known(s.fps) ? `${s.fps.toFixed(1)} fps` : "–")],
  ["size", "Picture", (s) => (s.width ? `${s.width}×${s.height}` : "–")],
  ["codec", "Codecs", (s) => [s.videoCodec, s.audioCodec].filter(Boolean).join(" · ") || "–"],
  ["decoded", "Frames", (s) => count(s.decoded)],
  ["dropped", "Dropped", (s) => count(s.dropped)],
  ["loss", "Packet loss", (s) => (known(s.loss) ? `${s.loss.toFixed(1)} %` : "–"), (s) => s.loss, [1, 5]],
  ["rtt", "Round trip", (s) => millis(s.rtt), (s) => s.rtt, [200, 500]],
  ["jitter", "Jitter", (s) => millis(s.jitter), (s) => s.jitter, [30, 100]],
  ["buffer", "Buffer", (s) => millis(s.buffer)],
  ["latency", "Latency", (s) => millis(s.latency)],
];

/** What can be known in each way of running. */
const SHOWN = {
  whep: FIGURES.map(([name]) => name),
  flv: ["bitrate", "fps", "size", "codec", "decoded", "dropped", "buffer", "latency"],
  publish: ["bitrate", "fps", "size", "codec", "decoded", "loss", "rtt", "jitter"],
};
SHOWN.hls = SHOWN.flv;

/** The list of figures: made once, then only its texts change. */
export class Figures {
  constructor(list) {
    this.values = new Map();
    for (const [name, title] of FIGURES) {
      const box = document.createElement("div");
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      term.textContent = title;
      value.id = `stat-${name}`;
      box.append(term, value);
      list.append(box);
      this.values.set(name, value);
    }
    this.mode("whep");
  }

  /** Shows what is known of a player's protocol, or of `publish`, and nothing of it yet. */
  mode(name) {
    for (const [figure, value] of this.values) {
      value.parentElement.hidden = !SHOWN[name].includes(figure);
    }
    this.show({});
  }

  show(sample) {
    for (const [name, , text, measure, limits] of FIGURES) {
      const value = this.values.get(name);
      value.textContent = text(sample);
      const measured = measure?.(sample);
      const level = !limits || !known(measured) ? "" : measured >= limits[1] ? "bad" : measured >= limits[0] ? "warn" : "";
      value.dataset.level = level;
    }
  }
}

/** Seconds of the graph. */
const HISTORY = 120;

/** The bitrate of the last two minutes. */
export class Graph {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.clear();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.samples = [];
    this.draw();
  }

  push(kbps) {
    this.samples.push(kbps);
    if (this.samples.length > HISTORY) this.samples.shift();
    this.draw();
  }

  draw() {
    const { canvas, context, samples } = this;
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth || 960;
    const height = canvas.clientHeight || 64;
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    context.clearRect(0, 0, width, height);
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    for (const part of [0.02, 0.5, 0.98]) {
      context.beginPath();
      context.moveTo(0, height * part);
      context.lineTo(width, height * part);
      context.stroke();
    }
    if (samples.length < 2) return;
    const top = Math.max(100, ...samples) * 1.15;
    const x = (index) => width - ((samples.length - 1 - index) * width) / (HISTORY - 1);
    const y = (value) => height * 0.98 - (value / top) * height * 0.94;
    context.beginPath();
    samples.forEach((value, index) => context.lineTo(x(index), y(value)));
    context.strokeStyle = colour("--accent");
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(x(samples.length - 1), height);
    context.lineTo(x(0), height);
    context.globalAlpha = 0.14;
    context.fillStyle = colour("--accent");
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = colour("--quiet");
    context.font = "12px system-ui, sans-serif";
    context.fillText(rate(top / 1.15), 4, 15);
  }
}
