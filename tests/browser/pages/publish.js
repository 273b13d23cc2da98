// Publishes the flash-and-beep source by WHIP: a canvas and an oscillator on one clock.
import { throughRelay } from "./relay.js";

const FPS = 25;
const BEEP_SECONDS = 0.1;
const canvas = document.getElementById("canvas");
const paint = canvas.getContext("2d", { alpha: false });

/** The longest time in seconds that the page itself made nothing new: what no viewer can have. */
const still = { drawn: 0, captured: 0, sound: 0 };
const longer = (kind, seconds) => (still[kind] = Math.max(still[kind], seconds));
const CAPTURE_LOOK_MS = 100;

/** How far the sound's clock falls behind the page's, each time that it moves. */
function watchSound(context) {
  let [seen, at] = [context.currentTime, performance.now()];
  return () => {
    if (context.currentTime === seen) return;
    const now = performance.now();
    longer("sound", (now - at) / 1000 - (context.currentTime - seen));
    [seen, at] = [context.currentTime, now];
  };
}

/** Between drawing and encoding the browser may stand still as well: no sooner found than with two looks. */
async function watchCapture(sender) {
  let [seen, at] = [-1, 0];
  while (sender.transport.state !== "closed") {
    const source = [...(await sender.getStats()).values()].find((entry) => entry.type === "media-source");
    if (source && source.frames === seen) longer("captured", (source.timestamp - at) / 1000);
    else if (source) [seen, at] = [source.frames, source.timestamp];
    await new Promise((resolve) => setTimeout(resolve, CAPTURE_LOOK_MS));
  }
}

/** Beeps for the next hour; returns the audio track's stream. */
function startSound(context) {
  const oscillator = new OscillatorNode(context, { frequency: 1000 });
  const gain = new GainNode(context, { gain: 0 });
  const destination = context.createMediaStreamDestination();
  oscillator.connect(gain).connect(destination);
  for (let second = Math.ceil(context.currentTime); second < 3600; second++) {
    gain.gain.setValueAtTime(0.5, second);
    gain.gain.setValueAtTime(0, second + BEEP_SECONDS);
  }
  oscillator.start();
  return destination.stream;
}

/**
 * Draws a moving counter, white while the beep sounds. Pictures are due on the sound's own clock: on a
 * timer's, of the same rate, all flashes of a run would be late by the same part of a picture.
 */
function startPicture(context) {
  const draw = (count) => {
    const white = count % FPS < FPS * BEEP_SECONDS;
    paint.fillStyle = white ? "white" : "#203040";
    paint.fillRect(0, 0, 640, 360);
    if (white) return;
    paint.fillStyle = "#5070a0";
    paint.fillRect((count * 7) % 600, 140, 40, 80);
    paint.font = "40px sans-serif";
    paint.fillText(String(count), 20, 60);
  };
  let due = Math.ceil(context.currentTime * FPS);
  let drawn = performance.now();
  const listen = watchSound(context);
  const look = () => {
    const now = Math.floor(context.currentTime * FPS);
    listen();
    if (now >= due) {
      draw(now);
      longer("drawn", (performance.now() - drawn) / 1000);
      drawn = performance.now();
      due = now + 1;
    }
    setTimeout(look, Math.max(1, (due / FPS - context.currentTime) * 1000));
  };
  look();
  // Each drawing is a picture: with a rate of its own the capture would miss some.
  return canvas.captureStream();
}

/** H.264 unless said otherwise, so that RTMP and HLS viewers can have it. */
function prefer(transceiver, name) {
  const { codecs } = RTCRtpSender.getCapabilities("video");
  const wanted = codecs.filter((codec) => [`video/${name}`, "video/rtx"].includes(codec.mimeType));
  if (wanted.every((codec) => codec.mimeType === "video/rtx")) throw new Error(`this browser has no ${name} encoder`);
  transceiver.setCodecPreferences(wanted);
}

/** Chromium tells where AV1's frames stand among temporal layers only if it is asked to. */
function tellDependencies(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate();
  for (const extension of extensions) {
    if (extension.uri.endsWith("#dependency-descriptor-rtp-header-extension")) extension.direction = "sendrecv";
  }
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}

/** Three layers in an order that says nothing of their sizes. Of smaller pictures Chromium makes only two. */
const LARGE = 1.5;
const LAYERS = [
  { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 300_000 },
  { rid: "h", maxBitrate: 1_000_000 },
  { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 100_000 },
];

/** `options`: the codec, then "simulcast" if several layers are wanted. */
window.publish = async (url, [codec = "H264", kind] = []) => {
  if (kind === "simulcast") {
    [canvas.width, canvas.height] = [canvas.width * LARGE, canvas.height * LARGE];
    paint.scale(LARGE, LARGE);
  }
  const context = new AudioContext({ sampleRate: 48000 });
  await context.resume();
  const peer = new RTCPeerConnection();
  const [audio] = startSound(context).getTracks();
  const [video] = startPicture(context).getTracks();
  const stream = new MediaStream([audio, video]);
  peer.addTransceiver(audio, { direction: "sendonly", streams: [stream] });
  // Without a mode of their own Chromium makes one stream of spatial layers of these two.
  const mode = ["VP9", "AV1"].includes(codec) ? { scalabilityMode: "L1T3" } : {};
  const layers = LAYERS.map((layer) => ({ ...layer, ...mode }));
  const sendEncodings = kind === "simulcast" ? layers : [{ maxBitrate: 1_000_000 }];
  const sender = peer.addTransceiver(video, { direction: "sendonly", streams: [stream], sendEncodings });
  prefer(sender, codec);
  if (codec === "AV1") tellDependencies(sender);
  // The tests expect one size; rather fewer pictures than smaller ones.
  await sender.sender.setParameters({ ...sender.sender.getParameters(), degradationPreference: "maintain-resolution" });
  await peer.setLocalDescription(await peer.createOffer());
  const headers = { "Content-Type": "application/sdp" };
  const answer = await fetch(url, { method: "POST", headers, body: peer.localDescription.sdp });
  const body = await answer.text();
  if (answer.status !== 201) throw new Error(`WHIP answered ${answer.status}: ${body}`);
  await peer.setRemoteDescription({ type: "answer", sdp: throughRelay(body, url) });
  const location = new URL(answer.headers.get("Location"), url);
  await new Promise((resolve, reject) => {
    const look = () => {
      if (peer.connectionState === "connected") resolve();
      if (peer.connectionState === "failed") reject(new Error("the connection failed"));
    };
    peer.onconnectionstatechange = look;
    look();
  });
  const connected = performance.now();
  Object.assign(still, { drawn: 0, captured: 0, sound: 0 });
  watchCapture(sender.sender).catch((error) => console.log(String(error)));
  window.layers = async (active) => {
    const parameters = sender.sender.getParameters();
    for (const encoding of parameters.encodings) encoding.active = active.includes(encoding.rid);
    await sender.sender.setParameters(parameters);
  };
  window.restart = () => restartIce(peer, location);
  window.unpublish = async () => {
    const stats = [...(await peer.getStats()).values()].filter((entry) => entry.type === "outbound-rtp");
    const pictures = Math.max(...stats.filter((entry) => entry.kind === "video").map((entry) => entry.framesSent));
    const fps = (pictures * 1000) / (performance.now() - connected);
    await fetch(location, { method: "DELETE" });
    peer.close();
    return JSON.parse(JSON.stringify({ fps, still, stats }));
  };
};
