// The page: what the buttons do, and what is shown. Everything that the server says is written as
// text, never as markup.

import { LatencyReader } from "/assets/media.js";
import { PLAYERS } from "/assets/players.js";
import { Publisher } from "/assets/publisher.js";
import { Figures, Graph, rate } from "/assets/stats.js";

const $ = (id) => document.getElementById(id);
const SAMPLE_MS = 1000;
const LIST_MS = 2000;
const COPIED_MS = 1200;

const video = $("video");
const figures = new Figures($("stats"));
const graph = new Graph($("graph"));
const latency = new LatencyReader(video);

/** What runs now: a player or a publisher, never both. */
let running = null;
/** Where the other ports are, as the server told. */
let server = { rtmp_port: 1935, api_port: 1985 };
/** For tests and the curious: the last figures. */
const weir = (window.weir = { state: "idle", stats: {} });

// ---- tabs -------------------------------------------------------------------------------------

function select(tab) {
  for (const name of ["play", "publish"]) {
    const chosen = name === tab;
    $(`tab-${name}`).setAttribute("aria-selected", String(chosen));
    $(`tab-${name}`).tabIndex = chosen ? 0 : -1;
    $(`controls-${name}`).hidden = !chosen;
  }
  $("panel").setAttribute("aria-labelledby", `tab-${tab}`);
  stop();
}

for (const name of ["play", "publish"]) {
  $(`tab-${name}`).addEventListener("click", () => select(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = name === "play" ? "publish" : "play";
    select(other);
    $(`tab-${other}`).focus();
  });
}

// ---- playing and publishing -------------------------------------------------------------------

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const streamName = () => ({ app: $("app").value.trim(), stream: $("stream").value.trim() });

function stop() {
  const old = running;
  running = null;
  old?.stop();
  figures.mode($("controls-play").hidden ? "publish" : chosen("protocol"));
  graph.clear();
  show("idle", "");
}

function play() {
  if (!$("stream-form").reportValidity()) return;
  stop();
  const { app, stream } = streamName();
  const player = new PLAYERS[chosen("protocol")](video, app, stream, (state, text) => running === player && show(state, text));
  running = player;
  // A click allows sound; a page that starts by itself tries without.
  video.muted = !navigator.userActivation?.hasBeenActive;
  player.start();
  rememberInUrl({ tab: "play", protocol: chosen("protocol") });
}

function publish() {
  if (!$("stream-form").reportValidity()) return;
  stop();
  const [width, height] = $("size").value.split("x").map(Number);
  const options = { ...streamName(), source: chosen("source"), width, height, kbps: Number($("bitrate").value), codec: $("codec").value };
  const publisher = new Publisher(video, options, (state, text) => running === publisher && show(state, text));
  running = publisher;
  publisher.start();
  rememberInUrl({ tab: "publish", source: options.source });
}

$("play").addEventListener("click", () => (running ? stop() : play()));
$("publish").addEventListener("click", () => (running ? stop() : publish()));
$("protocol").addEventListener("change", () => (running ? play() : stop()));
$("source").addEventListener("change", () => running && publish());
$("sound").addEventListener("click", () => { video.muted = !video.muted; });
$("full").addEventListener("click", fullScreen);
video.addEventListener("dblclick", fullScreen);
video.addEventListener("volumechange", showSound);
addEventListener("pagehide", () => running?.stop());

const TITLES = { idle: "Nothing is playing", waiting: "Waiting for the stream", failed: "It did not work" };

function show(state, text) {
  if (state === "failed") {
    const old = running;
    running = null;
    old?.stop();
  }
  weir.state = state;
  const publishing = running instanceof Publisher;
  $("screen").dataset.state = publishing && video.srcObject && state !== "failed" ? "running" : state;
  $("curtain-text").textContent = state === "waiting" && publishing ? "Connecting" : TITLES[state] || "";
  $("message").textContent = text;
  $("message").dataset.kind = state === "failed" ? "error" : "";
  $("badge").hidden = !(publishing && state === "running");
  $("badge").textContent = "ON AIR";
  for (const [id, label] of [["play", "Play"], ["publish", "Publish"]]) {
    $(id).textContent = running ? "Stop" : label;
    $(id).dataset.running = String(Boolean(running));
  }
  showSound();
}

function showSound() {
  $("overlay").hidden = !(running && weir.state === "running");
  // A publisher hears itself already.
  $("sound").hidden = running instanceof Publisher;
  $("overlay").dataset.muted = String(video.muted && !(running instanceof Publisher));
  $("sound").textContent = video.muted ? "Sound on" : "Sound off";
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("screen").requestFullscreen?.().catch(() => {});
}

async function sample() {
  const current = running;
  if (!current) return;
  const stats = await current.sample().catch(() => ({}));
  if (running !== current) return;
  if (!(current instanceof Publisher)) stats.latency = latency.read() ?? stats.latency;
  weir.stats = stats;
  figures.show(stats);
  graph.push(stats.bitrate || 0);
}

// ---- the stream's name and addresses ----------------------------------------------------------

function rememberInUrl(more) {
  const query = new URLSearchParams({ ...streamName(), ...more });
  history.replaceState(null, "", `?${query}`);
}

$("stream-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("controls-play").hidden) play();
});
$("stream-form").addEventListener("input", showAddresses);

function addresses() {
  const { app, stream } = streamName();
  const host = location.hostname.includes(":") ? `[${location.hostname.replace(/^\[|\]$/g, "")}]` : location.hostname;
  const port = server.rtmp_port === 1935 ? "" : `:${server.rtmp_port}`;
  const web = location.origin;
  const query = `?app=${app}&stream=${stream}`;
  return [
    ["Publish", [
      ["OBS, server (Custom)", `rtmp://${host}${port}/${app}`],
      ["OBS, stream key", stream],
      ["WHIP (OBS 30 and later, ffmpeg 8)", `${web}/rtc/v1/whip/${query}`],
      ["ffmpeg", `ffmpeg -re -i in.mp4 -c:v libx264 -bf 0 -g 60 -c:a aac -f flv rtmp://${host}${port}/${app}/${stream}`],
    ]],
    ["Play", [
      ["VLC, ffplay (RTMP)", `rtmp://${host}${port}/${app}/${stream}`],
      ["HTTP-FLV", `${web}/${app}/${stream}.flv`],
      ["HLS", `${web}/${app}/${stream}.m3u8`],
      ["WHEP", `${web}/rtc/v1/whep/${query}`],
      ["This page", `${web}/${query}&autostart=1`],
    ]],
  ];
}

function showAddresses() {
  const box = $("urls");
  box.replaceChildren();
  for (const [group, list] of addresses()) {
    const title = document.createElement("p");
    title.className = "group";
    title.textContent = group;
    box.append(title, ...list.map(([name, url]) => addressRow(name, url)));
  }
}

function addressRow(name, url) {
  const row = document.createElement("div");
  row.className = "url";
  const label = document.createElement("span");
  label.textContent = name;
  const line = document.createElement("div");
  const code = document.createElement("code");
  code.textContent = url;
  code.tabIndex = 0;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${name}`);
  button.addEventListener("click", async () => {
    button.textContent = (await copy(url, code)) ? "Copied" : "Select";
    setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
  });
  line.append(code, button);
  row.append(label, line);
  return row;
}

/** Pages without TLS have no clipboard: there the text is selected for the reader to copy. */
async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand?.("copy") ?? false;
  }
}

// ---- what is live -----------------------------------------------------------------------------

async function list() {
  try {
    const response = await fetch("/api/v1/streams/?count=100");
    const { streams = [], server: id } = await response.json();
    showServer("up", "online", id);
    showStreams(streams.filter((stream) => stream.publish.active));
  } catch {
    showServer("down", "no answer", "");
  }
}

function showServer(state, text, id) {
  $("server").dataset.state = state;
  $("server").title = id || "";
  $("server-text").textContent = text;
}

function showStreams(streams) {
  $("live-count").textContent = String(streams.length);
  $("live-empty").hidden = streams.length > 0;
  const { app, stream } = streamName();
  const focused = document.activeElement?.dataset?.id;
  $("live").replaceChildren(...streams.map((entry) => streamRow(entry, entry.app === app && entry.name === stream)));
  if (focused) document.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
}

function streamRow(entry, current) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.id = entry.id;
  button.setAttribute("aria-current", String(current));
  const { video: picture, audio: sound } = entry;
  const size = picture?.width ? `${picture.width}×${picture.height}` : "";
  const viewers = Math.max(0, entry.clients - 1);
  const texts = [
    ["strong", "", `${entry.app}/${entry.name}`],
    ["span", "rate", rate(entry.kbps.recv_30s)],
    ["small", "", [picture?.codec, size, sound?.codec].filter(Boolean).join(" · ") || "no media yet"],
    ["small", "right", `${viewers} ${viewers === 1 ? "viewer" : "viewers"}`],
  ];
  button.append(...texts.map(([tag, kind, text]) => {
    const part = document.createElement(tag);
    part.className = kind;
    part.textContent = text;
    return part;
  }));
  button.addEventListener("click", () => {
    $("app").value = entry.app;
    $("stream").value = entry.name;
    showAddresses();
    if ($("controls-play").hidden) select("play");
    play();
  });
  item.append(button);
  return item;
}

// ---- start ------------------------------------------------------------------------------------

function applyQuery() {
  const query = new URLSearchParams(location.search);
  for (const name of ["app", "stream"]) {
    if (query.get(name)) $(name).value = query.get(name);
  }
  for (const name of ["protocol", "source"]) {
    const radio = [...document.querySelectorAll(`input[name="${name}"]`)].find((input) => input.value === query.get(name));
    if (radio) radio.checked = true;
  }
  for (const name of ["size", "bitrate", "codec"]) {
    if ([...$(name).options].some((option) => option.value === query.get(name))) $(name).value = query.get(name);
  }
  const tab = query.get("tab") === "publish" ? "publish" : "play";
  select(tab);
  if (["1", "true"].includes(query.get("autostart"))) {
    if (tab === "publish") publish();
    else play();
  }
}

async function start() {
  applyQuery();
  showAddresses();
  setInterval(sample, SAMPLE_MS);
  list();
  setInterval(list, LIST_MS);
  try {
    server = await (await fetch("/assets/server.json")).json();
    $("version").textContent = `Weir ${server.version}`;
    showAddresses();
  } catch {
    // The list tells that the server does not answer.
  }
}

start();
