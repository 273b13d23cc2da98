// What a browser can publish: camera, screen, or a test picture with a beep.
// The test picture carries its time in a row of blocks, so that a player can tell the latency.

const FPS = 30;
/** Blocks of the time code: 4 of a fixed pattern, 24 of milliseconds, 4 of check. */
const BLOCKS = 32;
const PATTERN = 0b1010;
/** Where the time code is, in parts of the picture's height. */
const CODE_TOP = 0.9;
const CODE_HEIGHT = 0.06;
const BEEP_HZ = 880;
const BEEP_S = 0.06;

/** Resolves to a source: `stream` to send and `stop()`. */
export async function open(kind, width, height) {
  if (kind === "test") {
    return testPicture(width, height);
  }
  if (!navigator.mediaDevices) {
    throw new Error("the browser gives camera and screen only to https pages and to localhost");
  }
  const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: FPS } };
  const stream = kind === "screen"
    ? await navigator.mediaDevices.getDisplayMedia({ video, audio: true })
    : await navigator.mediaDevices.getUserMedia({ video, audio: true });
  for (const track of stream.getVideoTracks()) {
    track.contentHint = kind === "screen" ? "detail" : "motion";
  }
  return { stream, stop: () => stream.getTracks().forEach((track) => track.stop()) };
}

async function testPicture(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false });
  const stream = canvas.captureStream(FPS);
  stream.getVideoTracks()[0].contentHint = "motion";

  const audio = new AudioContext();
  const destination = audio.createMediaStreamDestination();
  const beep = audio.createGain();
  const hum = audio.createGain();
  beep.gain.value = 0;
  // A faint tone between the beeps, so that there is always sound to be measured.
  hum.gain.value = 0.02;
  for (const [hz, gain] of [[BEEP_HZ, beep], [220, hum]]) {
    const tone = audio.createOscillator();
    tone.frequency.value = hz;
    tone.connect(gain).connect(destination);
    tone.start();
  }
  // A page that nobody has touched yet makes no sound: the first touch starts it.
  const resume = () => audio.resume().catch(() => {});
  resume();
  addEventListener("pointerdown", resume);
  destination.stream.getAudioTracks().forEach((track) => stream.addTrack(track));

  let frame = 0;
  let second = -1;
  const tick = () => {
    const now = Date.now();
    const flash = Math.floor(now / 1000) !== second;
    if (flash) {
      second = Math.floor(now / 1000);
      beep.gain.setValueAtTime(0.5, audio.currentTime);
      beep.gain.setValueAtTime(0, audio.currentTime + BEEP_S);
    }
    draw(context, width, height, now, frame++, now % 1000 < 100);
  };
  tick();
  const ticker = new Worker("/assets/ticker.js");
  ticker.onmessage = tick;
  ticker.postMessage(FPS);
  return {
    stream,
    stop() {
      ticker.terminate();
      removeEventListener("pointerdown", resume);
      stream.getTracks().forEach((track) => track.stop());
      audio.close();
    },
  };
}

const BARS = ["#bfbfbf", "#bfbf00", "#00bfbf", "#00bf00", "#bf00bf", "#bf0000", "#0000bf"];

function draw(context, width, height, now, frame, flash) {
  const bar = width / BARS.length;
  BARS.forEach((colour, index) => {
    context.fillStyle = colour;
    context.fillRect(Math.floor(index * bar), 0, Math.ceil(bar), height * 0.6);
  });
  context.fillStyle = "#10181f";
  context.fillRect(0, height * 0.6, width, height * 0.4);

  // A ball that crosses the picture in four seconds: unsteady frames are seen at once.
  const radius = height * 0.06;
  const phase = (now % 4000) / 4000;
  context.fillStyle = "#ffffff";
  context.beginPath();
  context.arc(radius + phase * (width - 2 * radius), height * 0.3 - Math.abs(Math.sin(phase * Math.PI * 4)) * height * 0.2, radius, 0, Math.PI * 2);
  context.fill();

  context.font = `600 ${Math.round(height * 0.14)}px ui-monospace, "DejaVu Sans Mono", monospace`;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.fillText(new Date(now).toISOString().slice(11, 22), width * 0.05, height * 0.75);
  context.font = `400 ${Math.round(height * 0.045)}px ui-monospace, "DejaVu Sans Mono", monospace`;
  context.textAlign = "right";
  context.fillText(`frame ${frame}`, width * 0.95, height * 0.7);
  context.fillText(`${width}×${height}`, width * 0.95, height * 0.79);
  if (flash) {
    context.fillRect(width * 0.64, height * 0.66, height * 0.16, height * 0.16);
  }
  drawCode(context, width, height, now);
}

function check(millis) {
  let sum = 0;
  for (let shift = 0; shift < 24; shift += 4) {
    sum ^= (millis >>> shift) & 15;
  }
  return sum ^ 5;
}

function drawCode(context, width, height, now) {
  const millis = now % (1 << 24);
  const bits = [];
  for (let bit = 3; bit >= 0; bit--) bits.push((PATTERN >> bit) & 1);
  for (let bit = 23; bit >= 0; bit--) bits.push((millis >>> bit) & 1);
  for (let bit = 3; bit >= 0; bit--) bits.push((check(millis) >> bit) & 1);
  const block = width / BLOCKS;
  bits.forEach((bit, index) => {
    context.fillStyle = bit ? "#ffffff" : "#000000";
    context.fillRect(Math.floor(index * block), height * CODE_TOP, Math.ceil(block), height * CODE_HEIGHT);
  });
}

/** Reads the time code of test pictures from a playing video. */
export class LatencyReader {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.canvas.width = BLOCKS;
    this.canvas.height = 1;
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.context.imageSmoothingEnabled = false;
  }

  /** The age of the picture now shown in milliseconds, or null if it is no test picture. */
  read() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || this.video.readyState < 2) return null;
    const middle = height * (CODE_TOP + CODE_HEIGHT / 2);
    const block = width / BLOCKS;
    for (let index = 0; index < BLOCKS; index++) {
      this.context.drawImage(this.video, (index + 0.5) * block, middle, 1, 1, index, 0, 1, 1);
    }
    const pixels = this.context.getImageData(0, 0, BLOCKS, 1).data;
    let pattern = 0;
    let millis = 0;
    let sum = 0;
    for (let index = 0; index < BLOCKS; index++) {
      const bit = pixels[index * 4 + 1] > 127 ? 1 : 0;
      if (index < 4) pattern = (pattern << 1) | bit;
      else if (index < 28) millis = (millis << 1) | bit;
      else sum = (sum << 1) | bit;
    }
    if (pattern !== PATTERN || sum !== check(millis)) return null;
    const age = ((Date.now() % (1 << 24)) - millis + (1 << 24)) % (1 << 24);
    return age < 60_000 ? age : null;
  }
}
