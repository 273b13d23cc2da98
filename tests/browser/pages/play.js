// Plays one stream, samples its pictures and its sound, and hands the samples to the driver.
import { throughRelay } from "./relay.js";

const video = document.getElementById("video");
const errors = [];
const note = (text) => errors.length < 20 && errors.push(String(text));

const players = {
  // A plain file, to know how exact the sampling itself is.
  file(url) {
    video.src = url;
    return { tap: tapElement, stats: async () => ({}) };
  },

  flv(url) {
    const player = mpegts.createPlayer({ type: "flv", isLive: true, url }, { liveBufferLatencyChasing: true });
    player.on(mpegts.Events.ERROR, (type, detail) => note(`mpegts.js: ${type} ${detail}`));
    player.attachMediaElement(video);
    player.load();
    return { tap: tapElement, stats: async () => ({}) };
  },

  hls(url) {
    const player = new Hls({ liveSyncDurationCount: 2 });
    player.on(Hls.Events.ERROR, (_, data) => {
      if (data.fatal) note(`hls.js: ${data.type} ${data.details}`);
    });
    player.on(Hls.Events.MANIFEST_PARSED, () => video.play());
    player.loadSource(url);
    player.attachMedia(video);
    return { tap: tapElement, stats: async () => ({ latency: player.latency }) };
  },

  async whep(url) {
    const peer = new RTCPeerConnection();
    const stream = new MediaStream();
    for (const kind of ["audio", "video"]) {
      stream.addTrack(peer.addTransceiver(kind, { direction: "recvonly" }).receiver.track);
    }
    await peer.setLocalDescription(await peer.createOffer());
    const headers = { "Content-Type": "application/sdp" };
    const answer = await fetch(url, { method: "POST", headers, body: peer.localDescription.sdp });
    const body = await answer.text();
    if (answer.status !== 201) throw new Error(`WHEP answered ${answer.status}: ${body}`);
    await peer.setRemoteDescription({ type: "answer", sdp: throughRelay(body, url) });
    video.srcObject = stream;
    const location = new URL(answer.headers.get("Location"), url);
    return {
      tap: (context) => context.createMediaStreamSource(stream),
      stats: async () => inbound(await peer.getStats()),
      apart: async () => apart(inbound(await peer.getStats())),
      restart: () => restartIce(peer, location),
      stop: () => fetch(location, { method: "DELETE" }),
    };
  },
};

function tapElement(context) {
  return context.createMediaElementSource(video);
}

function inbound(stats) {
  const found = {};
  for (const entry of stats.values()) {
    if (entry.type === "inbound-rtp") found[entry.kind] = { ...entry, mime: stats.get(entry.codecId)?.mimeType };
  }
  return found;
}

/**
 * How far its sound is behind its pictures by the browser's own reckoning, in ms: what it plays of
 * each at this moment, on the publisher's clock as sender reports tell it.
 */
function apart({ audio, video }) {
  return video?.estimatedPlayoutTimestamp - audio?.estimatedPlayoutTimestamp;
}

/** Samples that twice a second, with the time (ms). */
function sampleApart(player, samples) {
  setInterval(async () => {
    const behind = await player.apart();
    if (Number.isFinite(behind)) samples.push([performance.now(), behind]);
  }, 500);
}

/** Samples pictures: when they are shown (ms), their mean luma, their own time (s). */
function samplePictures(pictures) {
  const canvas = new OffscreenCanvas(32, 18).getContext("2d", { willReadFrequently: true });
  const look = (_, frame) => {
    canvas.drawImage(video, 0, 0, 32, 18);
    const pixels = canvas.getImageData(0, 0, 32, 18).data;
    let sum = 0;
    for (let i = 0; i < pixels.length; i += 4) sum += pixels[i] + pixels[i + 1] + pixels[i + 2];
    pictures.push([frame.expectedDisplayTime, sum / (pixels.length * 0.75), frame.mediaTime, frame.presentedFrames]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}

/**
 * Samples the tone: when a block is due (ms) and how loud it is. Players time their pictures by when
 * sound enters the audio graph: the graph's own latency, which this page adds, is not counted.
 */
async function sampleSound(sound) {
  const context = new AudioContext({ latencyHint: "interactive", sampleRate: 48000 });
  await context.audioWorklet.addModule("tone.js");
  await context.resume();
  const tone = new AudioWorkletNode(context, "tone");
  tone.port.onmessage = ({ data }) => {
    const { contextTime, performanceTime } = context.getOutputTimestamp();
    for (let i = 0; i < data.length; i += 2) {
      sound.push([performanceTime + (data[i] - contextTime - context.outputLatency) * 1000, data[i + 1]]);
    }
  };
  tone.connect(context.destination);
  return tone;
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function untilFirstPicture(pictures, patience) {
  for (let waited = 0; waited < patience; waited += 0.05) {
    if (pictures.length > 0) return;
    await sleep(0.05);
  }
  throw new Error(`no picture within ${patience} s (${errors.join("; ")})`);
}

window.run = async (kind, url, seconds, patience, restarts) => {
  const [pictures, sound, reckoned] = [[], [], []];
  video.onerror = () => note(`video element: ${video.error?.message}`);
  samplePictures(pictures);
  const tone = await sampleSound(sound);
  const started = performance.now();
  const player = await players[kind](url);
  if (player.apart) sampleApart(player, reckoned);
  player.tap(tone.context).connect(tone);
  video.play().catch(note);
  await untilFirstPicture(pictures, patience);
  const first = (performance.now() - started) / 1000;
  if (restarts && player.restart) {
    await sleep(seconds / 2);
    await player.restart();
    await sleep(seconds / 2);
  } else {
    await sleep(seconds);
  }
  const result = {
    pictures,
    sound,
    reckoned,
    errors,
    first_seconds: first,
    width: video.videoWidth,
    height: video.videoHeight,
    dropped: video.getVideoPlaybackQuality().droppedVideoFrames,
    stats: JSON.parse(JSON.stringify(await player.stats())),
  };
  await player.stop?.();
  return result;
};
