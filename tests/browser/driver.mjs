// Drives Chromium for the end-to-end tests.
//
//   node driver.mjs publish URL [CODEC | simulcast | restart=SECONDS]…
//                                           publishes by WHIP until its input ends; a line "layers m,l" on
//                                           its input leaves the others off; ICE restarts after so many
//   node driver.mjs play SECONDS KIND=URL…  plays all at once, prints {KIND: report} as JSON
//   node driver.mjs restart SECONDS KIND=URL…
//                                           the same; those of WebRTC restart their ICE in the middle
//   node driver.mjs page URL CODEC PROTOCOL…  uses the server's own page: publishes the test picture, plays
//                                           it by each protocol, stops, prints {WHO: figures} as JSON
//
// KIND is whep, flv (mpegts.js), hls (hls.js) or file.
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { judge } from "./judge.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const PATIENCE_SECONDS = 30;
const TYPES = { ".html": "text/html", ".js": "text/javascript" };
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
  "--ignore-certificate-errors",
];

/** Serves the pages, and the players from node_modules. */
function servePages() {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname);
    const file = path.startsWith("/modules/") ? join(HERE, "node_modules", path.slice(9)) : join(HERE, "pages", path);
    const stream = createReadStream(file);
    stream.on("open", () => response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "text/plain" }));
    stream.on("error", () => response.writeHead(404).end());
    stream.pipe(response);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

async function open(browser, base, name) {
  const page = await browser.newPage();
  page.on("console", (message) => process.stderr.write(`${name}: ${message.text()}\n`));
  page.on("pageerror", (error) => process.stderr.write(`${name}: ${error}\n`));
  await page.goto(`${base}/${name}.html`);
  return page;
}

function fail(error) {
  process.stderr.write(`${error}\n`);
  process.exit(1);
}

async function publish(browser, base, url, words) {
  const restart = words.find((word) => word.startsWith("restart="))?.slice(8);
  const options = words.filter((word) => !word.startsWith("restart="));
  const page = await open(browser, base, "publish");
  await page.evaluate(([url, options]) => window.publish(url, options), [url, options]);
  console.log("publishing");
  if (restart) setTimeout(() => page.evaluate(() => window.restart()).catch(fail), Number(restart) * 1000);
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, names] = line.split(" ");
    if (word === "layers") await page.evaluate((names) => window.layers(names), names.split(","));
  }
  console.log(JSON.stringify(await page.evaluate(() => window.unpublish())));
}

async function play(browser, base, seconds, orders, restarts) {
  const entries = orders.map(async (order) => {
    const [kind, url] = [order.slice(0, order.indexOf("=")), order.slice(order.indexOf("=") + 1)];
    const page = await open(browser, base, "play");
    try {
      const args = [kind, url, Number(seconds), PATIENCE_SECONDS, restarts];
      return [kind, judge(await page.evaluate((args) => window.run(...args), args))];
    } catch (error) {
      return [kind, { failed: String(error) }];
    }
  });
  console.log(JSON.stringify(Object.fromEntries(await Promise.all(entries))));
}

/** A tab of the server's page, once it does what it was told and has figures. */
async function tab(browser, url, order, argument) {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  await page.evaluate(order, argument);
  const isRunning = () => window.weir.state === "running" && window.weir.stats.decoded > 30;
  await page.waitForFunction(isRunning, null, { polling: 100, timeout: PATIENCE_SECONDS * 1000 }).catch(() => {});
  const seen = () => ({ state: window.weir.state, message: document.getElementById("message").textContent, ...window.weir.stats });
  return { page, figures: { ...(await page.evaluate(seen)), errors } };
}

/** `after`: what a player's page says once the publisher has stopped. */
async function usePage(browser, url, codec, protocols) {
  const publish = (codec) => {
    document.getElementById("tab-publish").click();
    document.querySelector("input[value=test]").click();
    document.getElementById("size").value = "640x360";
    document.getElementById("codec").value = codec;
    document.getElementById("publish").click();
  };
  const play = (protocol) => {
    document.querySelector(`input[value=${protocol}]`).click();
    document.getElementById("play").click();
  };
  const publisher = await tab(browser, url, publish, codec);
  const players = {};
  for (const protocol of protocols) players[protocol] = await tab(browser, url, play, protocol);
  await publisher.page.evaluate(() => document.getElementById("publish").click());
  publisher.figures.after = await publisher.page.evaluate(() => window.weir.state);
  const isOver = () => window.weir.state === "waiting";
  // The server keeps a player for half a minute, lest the publisher comes back.
  const waiting = { polling: 100, timeout: (30 + PATIENCE_SECONDS) * 1000 };
  if (players.flv) await players.flv.page.waitForFunction(isOver, null, waiting).catch(() => {});
  for (const { page, figures } of Object.values(players)) figures.after ??= await page.evaluate(() => window.weir.state);
  const all = Object.entries({ publisher, ...players });
  console.log(JSON.stringify(Object.fromEntries(all.map(([who, { figures }]) => [who, figures]))));
}

const [command, ...args] = process.argv.slice(2);
const server = await servePages();
const base = `http://127.0.0.1:${server.address().port}`;
const executablePath = process.env.WEIR_TEST_CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: FLAGS });
try {
  if (command === "publish") await publish(browser, base, args[0], args.slice(1));
  else if (command === "play") await play(browser, base, args[0], args.slice(1), false);
  else if (command === "restart") await play(browser, base, args[0], args.slice(1), true);
  else if (command === "page") await usePage(browser, args[0], args[1], args.slice(2));
  else throw new Error(`unknown command ${command}`);
} finally {
  await browser.close();
  server.close();
}
