// Publishes a source by WHIP, and connects again when the server comes back.

import { connect, end, endpoint, hangUp, Refused, Unreachable } from "/assets/signal.js";
import { open } from "/assets/media.js";
import { PeerSampler } from "/assets/stats.js";

/** Refusals that trying again cannot mend. */
const FINAL = [400, 401, 403, 404, 405, 413, 415, 422];
const RETRY_MS = 2000;
const INTERRUPTED_MS = 4000;
const AUDIO_BITS_MAX = 96_000;

export class Publisher {
  /** `options`: app, stream, source, width, height, kbps, codec. */
  constructor(video, options, onState) {
    Object.assign(this, { video, options, onState });
    this.stopped = false;
  }

  async start() {
    const { source, width, height } = this.options;
    this.onState("waiting", "Opening the source");
    try {
      this.source = await open(source, width, height);
    } catch (error) {
      this.onState("failed", error.name === "NotAllowedError" ? "The browser was not allowed to open the source" : error.message);
      return;
    }
    if (this.stopped) {
      this.source.stop();
      return;
    }
    this.source.stream.getVideoTracks()[0]?.addEventListener("ended", () => {
      this.stop();
      this.onState("failed", "The source has ended");
    });
    this.video.srcObject = this.source.stream;
    this.video.muted = true;
    this.video.play().catch(() => {});
    await this.#connect();
  }

  async #connect() {
    if (this.stopped) return;
    const { app, stream, codec } = this.options;
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc = pc;
    this.sampler = new PeerSampler(pc, true);
    this.abort = new AbortController();
    this.#addTracks(pc);
    pc.onconnectionstatechange = () => this.#connection(pc);
    this.onState("waiting", "Connecting");
    try {
      const url = endpoint("whip", app, stream) + wish(codec);
      const session = await connect(pc, url, this.abort.signal);
      if (this.pc !== pc) {
        end(session);
        return;
      }
      this.session = session;
    } catch (error) {
      if (this.pc === pc) this.#failed(error);
    }
  }

  #addTracks(pc) {
    const { kbps, codec } = this.options;
    const { stream } = this.source;
    for (const track of stream.getTracks()) {
      const video = track.kind === "video";
      const transceiver = pc.addTransceiver(track, {
        direction: "sendonly",
        streams: [stream],
        sendEncodings: [{ maxBitrate: video ? kbps * 1000 : AUDIO_BITS_MAX }],
      });
      if (video && transceiver.setCodecPreferences) {
        transceiver.setCodecPreferences(preferred(codec));
      }
    }
  }

  #connection(pc) {
    if (this.pc !== pc) return;
    clearTimeout(this.interrupted);
    if (pc.connectionState === "connected") {
      this.onState("running", "");
    } else if (pc.connectionState === "failed" || pc.connectionState === "closed") {
      this.#failed(new Error("the connection was lost"));
    } else if (pc.connectionState === "disconnected") {
      this.interrupted = setTimeout(() => this.pc === pc && this.#failed(new Error("the connection was lost")), INTERRUPTED_MS);
    }
  }

  #failed(error) {
    if (this.stopped) return;
    this.#close();
    if (error instanceof Unreachable) {
      this.stop();
      this.onState("failed", error.message);
      return;
    }
    if (error instanceof Refused && FINAL.includes(error.status)) {
      this.stop();
      this.onState("failed", `${error.title || "Refused"}: ${error.message}`);
      return;
    }
    this.onState("waiting", `Trying again: ${error.message}`);
    this.timer = setTimeout(() => this.#connect(), Math.max(RETRY_MS, (error.retryAfter || 0) * 1000));
  }

  #close() {
    clearTimeout(this.interrupted);
    this.abort?.abort();
    hangUp(this.pc, this.session);
    this.pc = null;
    this.session = null;
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.#close();
    this.source?.stop();
    this.source = null;
    this.video.srcObject = null;
  }

  async sample() {
    return this.pc ? this.sampler.sample() : {};
  }
}

const codecs = () => RTCRtpSender.getCapabilities("video").codecs;
const isOf = (codec) => (entry) => entry.mimeType.toLowerCase() === `video/${codec.toLowerCase()}`;

/** Tells the server, which else takes H.264, and what comes next where the browser lacks it. */
function wish(codec) {
  return codecs().some(isOf(codec)) ? `&codec=${codec.toLowerCase()}` : "";
}

/** All codecs of the browser, those of the wished kind first. */
function preferred(codec) {
  const all = codecs();
  const wished = isOf(codec);
  // Of H.264 the form that every player takes: non-interleaved packets, constrained baseline.
  const rank = (entry) => {
    const line = entry.sdpFmtpLine || "";
    return (line.includes("packetization-mode=1") ? 0 : 2) + (line.includes("profile-level-id=42e0") ? 0 : 1);
  };
  return [...all.filter(wished).sort((a, b) => rank(a) - rank(b)), ...all.filter((entry) => !wished(entry))];
}
