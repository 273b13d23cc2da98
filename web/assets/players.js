// Three ways to play one stream. Each player goes on by itself when the stream or the server comes
// back, until it is stopped.

import { connect, end, endpoint, hangUp, Refused, Unreachable } from "/assets/signal.js";
import { codecName, PeerSampler, VideoSampler } from "/assets/stats.js";

/** Between two tries, at most. The first comes after a quarter of a second. */
const RETRY_MS_MAX = 5000;
/** How long a WebRTC connection may be interrupted before it is made anew. */
const INTERRUPTED_MS = 4000;

/** What the players have in common: tries again until stopped, and tells its state. */
class Player {
  /** `onState(state, text)`: waiting, running or failed. */
  constructor(video, app, stream, onState) {
    Object.assign(this, { video, app, stream, onState });
    this.tries = 0;
    this.timer = 0;
    this.stopped = false;
    this.onPlaying = () => {
      this.tries = 0;
      this.onState("running", "");
    };
    video.addEventListener("playing", this.onPlaying);
  }

  start() {
    this.onState("waiting", "Waiting for the stream");
    this.open().catch((error) => this.retry(error));
  }

  /** Closes what is open and opens again a little later, each time later than before. */
  retry(error, text = "Waiting for the stream") {
    if (this.stopped) return;
    this.close();
    if (error instanceof Unreachable) {
      this.onState("failed", error.message);
      return;
    }
    const wanted = error instanceof Refused && error.retryAfter ? error.retryAfter * 1000 : 0;
    const delay = Math.max(wanted, Math.min(RETRY_MS_MAX, 250 * 2 ** this.tries++));
    this.onState("waiting", error?.message ? `${text}: ${error.message}` : text);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open().catch((again) => this.retry(again)), delay);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.video.removeEventListener("playing", this.onPlaying);
    this.close();
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    this.video.load();
  }

  async play() {
    try {
      await this.video.play();
    } catch (error) {
      // A page that nobody has touched may only play without sound.
      if (error.name === "NotAllowedError" && !this.video.muted) {
        this.video.muted = true;
        await this.video.play().catch(() => {});
      }
    }
  }
}

/** WebRTC by WHEP: the least latency. */
export class WhepPlayer extends Player {
  async open() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc = pc;
    this.sampler = new PeerSampler(pc, false);
    this.abort = new AbortController();
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    const media = new MediaStream();
    pc.ontrack = ({ track }) => media.addTrack(track);
    pc.onconnectionstatechange = () => this.#connection(pc);
    this.video.srcObject = media;
    const session = await connect(pc, endpoint("whep", this.app, this.stream), this.abort.signal);
    if (this.pc !== pc) {
      end(session);
      return;
    }
    this.session = session;
    await this.play();
  }

  #connection(pc) {
    if (this.pc !== pc) return;
    clearTimeout(this.interrupted);
    if (pc.connectionState === "failed" || pc.connectionState === "closed") {
      this.retry(null, "Connecting again");
    } else if (pc.connectionState === "disconnected") {
      this.interrupted = setTimeout(() => this.pc === pc && this.retry(null, "Connecting again"), INTERRUPTED_MS);
    }
  }

  close() {
    clearTimeout(this.interrupted);
    this.abort?.abort();
    hangUp(this.pc, this.session);
    this.pc = null;
    this.session = null;
  }

  async sample() {
    return this.pc ? this.sampler.sample() : {};
  }
}

/** Loads one of the vendored players, once. */
const loaded = new Map();
function load(path, name) {
  if (!loaded.has(path)) {
    loaded.set(path, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = path;
      script.onload = () => resolve(window[name]);
      script.onerror = () => {
        loaded.delete(path);
        reject(new Error("the player could not be loaded"));
      };
      document.head.append(script);
    }));
  }
  return loaded.get(path);
}

/** A player on media source extensions. */
class BufferedPlayer extends Player {
  constructor(...args) {
    super(...args);
    this.bytes = 0;
    this.sampler = new VideoSampler(this.video);
    // A republished stream leaves a hole in the buffer; what comes after it is what to show.
    this.onWaiting = () => this.#skipHole();
    this.video.addEventListener("waiting", this.onWaiting);
    this.watch = setInterval(this.onWaiting, 1000);
  }

  #skipHole() {
    const { buffered, currentTime, readyState } = this.video;
    if (readyState > 2 || !buffered.length) return;
    const start = buffered.start(buffered.length - 1);
    if (start > currentTime) this.video.currentTime = start + 0.05;
  }

  stop() {
    clearInterval(this.watch);
    this.video.removeEventListener("waiting", this.onWaiting);
    super.stop();
  }

  async sample() {
    return { ...this.sampler.sample(this.bytes), videoCodec: this.videoCodec, audioCodec: this.audioCodec };
  }
}

/** HTTP-FLV by mpegts.js: one or two seconds behind. */
export class FlvPlayer extends BufferedPlayer {
  async open() {
    const mpegts = await load("/assets/vendor/mpegts.js", "mpegts");
    if (this.stopped) return;
    if (!mpegts.getFeatureList().mseLivePlayback) throw new Error("the browser cannot play FLV");
    mpegts.LoggingControl.enableAll = false;
    const url = new URL(`/${this.app}/${this.stream}.flv`, location.href).href;
    const player = mpegts.createPlayer({ type: "flv", isLive: true, url }, {
      enableWorker: false,
      enableStashBuffer: false,
      lazyLoad: false,
      liveBufferLatencyChasing: true,
      liveBufferLatencyMaxLatency: 2.5,
      liveBufferLatencyMinRemain: 0.6,
      autoCleanupSourceBuffer: true,
    });
    this.player = player;
    // It tells of its end in the middle of its work, and does not bear to be destroyed there.
    const over = (error) => setTimeout(() => this.player === player && this.retry(error));
    player.on(mpegts.Events.ERROR, (kind, detail) => over(new Error(String(detail))));
    player.on(mpegts.Events.LOADING_COMPLETE, () => over(null));
    player.on(mpegts.Events.MEDIA_INFO, (info) => {
      this.videoCodec = codecName(info.videoCodec);
      this.audioCodec = codecName(info.audioCodec);
    });
    // `speed` is KiB/s over the last second.
    player.on(mpegts.Events.STATISTICS_INFO, (info) => { this.speed = info.speed; });
    player.attachMediaElement(this.video);
    player.load();
    await this.play();
  }

  close() {
    const player = this.player;
    this.player = null;
    player?.destroy();
  }

  async sample() {
    return { ...(await super.sample()), bitrate: (this.speed || 0) * 8.192 };
  }
}

/** HLS by hls.js, or by the browser itself where it can: some seconds behind, for the many. */
export class HlsPlayer extends BufferedPlayer {
  async open() {
    const Hls = await load("/assets/vendor/hls.light.min.js", "Hls");
    if (this.stopped) return;
    const url = new URL(`/${this.app}/${this.stream}.m3u8`, location.href).href;
    if (!Hls.isSupported()) {
      this.video.src = url;
      await this.play();
      return;
    }
    const hls = new Hls({ liveSyncDurationCount: 2, liveMaxLatencyDurationCount: 6, maxLiveSyncPlaybackRate: 1.2, backBufferLength: 15 });
    this.hls = hls;
    hls.on(Hls.Events.ERROR, (_, data) => {
      if (this.hls !== hls || !data.fatal) return;
      if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !this.recovered) {
        this.recovered = true;
        hls.recoverMediaError();
      } else {
        const missing = data.response?.code === 404;
        this.retry(missing ? null : new Error(data.details));
      }
    });
    hls.on(Hls.Events.FRAG_LOADED, (_, data) => {
      this.bytes += data.frag.stats.total;
      this.recovered = false;
    });
    hls.on(Hls.Events.BUFFER_CODECS, (_, data) => {
      this.videoCodec = codecName(data.video?.codec) || this.videoCodec;
      this.audioCodec = codecName(data.audio?.codec) || this.audioCodec;
    });
    hls.loadSource(url);
    hls.attachMedia(this.video);
    await this.play();
  }

  close() {
    const hls = this.hls;
    this.hls = null;
    hls?.destroy();
  }

  /** Segments come in bursts: the rate is over the last ten seconds. */
  async sample() {
    const sample = await super.sample();
    this.burst = [...(this.burst || []), { at: performance.now(), bytes: this.bytes }].slice(-11);
    const [first, last] = [this.burst[0], this.burst[this.burst.length - 1]];
    const seconds = (last.at - first.at) / 1000;
    const latency = this.hls?.latency ? this.hls.latency * 1000 : undefined;
    return { ...sample, latency, bitrate: seconds > 0 ? ((last.bytes - first.bytes) * 8) / 1000 / seconds : 0 };
  }
}

export const PLAYERS = { whep: WhepPlayer, flv: FlvPlayer, hls: HlsPlayer };
