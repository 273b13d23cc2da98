// Judges what a page sampled of the flash-and-beep source, in the words of clients/flashbeep.py.
const FLASH_LUMA = 170;

function flashes(pictures) {
  const found = [];
  let white = true;
  for (const [time, luma] of pictures) {
    if (luma > FLASH_LUMA && !white) found.push(time);
    white = luma > FLASH_LUMA;
  }
  return found;
}

function beeps(sound) {
  const levels = sound.map(([, level]) => level).sort((a, b) => a - b);
  const peak = levels.length ? levels[Math.floor(levels.length * 0.99)] : 0;
  const found = [];
  let loudUntil = sound.length ? sound[0][0] : 0;
  for (const [time, level] of peak > 0.01 ? sound : []) {
    if (level <= peak / 2) continue;
    // A start comes after silence; wobble within a beep does not.
    if (time - loudUntil > 200) found.push(time);
    loudUntil = time;
  }
  return { found, peak };
}

/** The last beats: a browser takes seconds to bring together streams that did not start together. */
const PAIRS_JUDGED = 4;

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

/**
 * What a browser knows to be apart is its own: a busy machine made it play sound late, and it is on
 * its way back. What it does not know is the fault of the times that it was told.
 */
function known(reckoned, time) {
  const near = reckoned.map(([at, behind]) => [Math.abs(at - time), behind]).sort((a, b) => a[0] - b[0])[0];
  return near ? near[1] : 0;
}

export function judge({ pictures, sound, reckoned, ...rest }) {
  // Start-up, with its seek to the live end, is not judged.
  const settled = pictures.filter(([time]) => time > pictures[0][0] + 1000);
  const times = settled.map(([time]) => time / 1000);
  const steps = times.slice(1).map((time, i) => time - times[i]);
  const seen = flashes(settled);
  const { found, peak } = beeps(sound);
  const nearest = (time) => found.map((beep) => beep - time).sort((a, b) => Math.abs(a) - Math.abs(b))[0];
  const late = seen.map((flash) => [known(reckoned, flash), flash]);
  const heard = late.map(([own, flash]) => [own, nearest(flash + own)]).filter(([, rest]) => Math.abs(rest) < 500);
  const all = heard.map(([, rest]) => rest);
  const pairs = all.slice(-PAIRS_JUDGED);
  const seconds = times.length > 1 ? times.at(-1) - times[0] : 0;
  return {
    ...rest,
    video_frames: settled.length,
    video_seconds: seconds,
    // Pictures that were presented but that the page was too slow to look at count too.
    fps: seconds > 0 ? (settled.at(-1)[3] - settled[0][3]) / seconds : 0,
    step_max: Math.max(0, ...steps),
    steps_back: steps.filter((step) => step < 0).length,
    amplitude: peak,
    flashes: seen.map((time) => Math.round(time) / 1000),
    beeps: found.map((time) => Math.round(time) / 1000),
    arrivals: times,
    pairs: all.length,
    offsets_ms: all.map(Math.round),
    heard_ms: heard.map(([own, rest]) => Math.round(own + rest)),
    offset_ms: pairs.length ? Math.round(median(pairs) * 10) / 10 : null,
    offset_ms_max: pairs.length ? Math.round(Math.max(...pairs.map(Math.abs)) * 10) / 10 : null,
  };
}
