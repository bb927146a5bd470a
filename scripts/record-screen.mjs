// Draws the dashboard for the README: real frames of `kpipe lag --watch`, taken from a terminal (tmux), as an animated SVG.
//
//   node scripts/record-screen.mjs [--config kpipe.yaml] [--out docs/images/lag-watch.svg] [--warm-up 60] [--metrics http://127.0.0.1:9464 …]
//
// Needs a cluster where something happens: `npm run demo`, or roles and producers of one's own.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    out: { type: 'string', default: 'docs/images/lag-watch.svg' },
    'warm-up': { type: 'string', default: '60' },
    metrics: { type: 'string', multiple: true, default: [] },
  },
});
const columns = 100;
const rows = 26;
const cell = { width: 8.4, height: 18 };
const margin = 16;
const shownMs = 3500;
const root = fileURLToPath(new URL('..', import.meta.url));
const session = `kpipe-record-${process.pid}`;
/** What is pressed before a frame is taken, and how long the view then looks at its cluster. */
const scenes = [
  { keys: [], seconds: 0 },
  { keys: ['Enter'], seconds: 3 },
  { keys: ['t'], seconds: 16 },
  { keys: ['b'], seconds: 6 },
  { keys: ['l'], seconds: 4 },
  { keys: ['r'], seconds: 5 },
  { keys: ['o', 'c'], seconds: 5 },
];

const palette = { 31: '#f0716b', 32: '#7ec98f', 33: '#e3b564', 36: '#62b8d4' };
const plain = '#d5dae2';
const dim = '#7d8796';
const background = '#171b22';

function tmux(...args) {
  const { status, stdout, stderr } = spawnSync('tmux', ['-L', session, ...args], { encoding: 'utf8' });
  if (status !== 0) {
    throw new Error(`tmux ${args[0]}: ${stderr}`);
  }
  return stdout;
}

/** Runs of one style: `{column, text, color, bold}`. */
function runsOf(line) {
  const runs = [];
  let style = { color: plain, bold: false };
  let column = 0;
  for (const [, codes, text] of line.matchAll(/\u001b\[([\d;]*)m|([^\u001b]+)/g)) {
    if (text === undefined) {
      style = styled(style, codes);
    } else {
      for (const [part] of text.matchAll(/ {2,}|(?:[^ ]| (?! ))+/g)) {
        if (part.trim() !== '') {
          runs.push({ column: column + (part.length - part.trimStart().length), text: part.trim(), ...style });
        }
        column += part.length;
      }
    }
  }
  return runs;
}

function styled(style, codes) {
  return codes
    .split(';')
    .map(Number)
    .reduce((now, code) => {
      switch (code) {
        case 0:
          return { color: plain, bold: false };
        case 1:
          return { ...now, bold: true };
        case 2:
          return { ...now, color: dim };
        case 22:
          return { color: now.color === dim ? plain : now.color, bold: false };
        case 39:
          return { ...now, color: plain };
        default:
          return { ...now, color: palette[code] ?? now.color };
      }
    }, style);
}

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

function textOf({ column, text, color, bold }, row) {
  const x = (margin + column * cell.width).toFixed(1);
  const y = margin + row * cell.height + 13;
  const length = ([...text].length * cell.width).toFixed(1);
  const fill = color === plain ? '' : ` fill="${color}"`;
  return `<text x="${x}" y="${y}" textLength="${length}"${fill}${bold ? ' font-weight="bold"' : ''}>${escaped(text)}</text>`;
}

/** One frame after the other, each as long; who wants no motion sees the first. */
function draw(frames) {
  const width = Math.ceil(columns * cell.width + 2 * margin);
  const height = rows * cell.height + 2 * margin;
  const share = 100 / frames.length;
  const style = [
    `text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:${plain};white-space:pre}`,
    `g{visibility:hidden;animation:show ${(frames.length * shownMs) / 1000}s step-end infinite}`,
    `@keyframes show{0%{visibility:visible}${share.toFixed(3)}%{visibility:hidden}}`,
    ...frames.map((_, at) => `#f${at}{animation-delay:${(at * shownMs) / 1000}s}`),
    '@media (prefers-reduced-motion:reduce){g{animation:none}#f0{visibility:visible}}',
    ...[...Object.values(palette), dim].map((color) => `text[fill="${color}"]{fill:${color}}`),
  ].join('');
  const drawn = frames.map((frame, at) => {
    const texts = frame.split('\n').flatMap((line, row) => runsOf(line).map((run) => textOf(run, row)));
    return `<g id="f${at}">\n${texts.join('\n')}\n</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="kpipe lag --watch: overview, partitions, topics, brokers, latency, roles, charts">`,
    `<style>${style}</style>`,
    `<rect width="${width}" height="${height}" rx="8" fill="${background}"/>`,
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

const addresses = values.metrics.map((url) => ` --metrics ${url}`).join('');
const command = `FORCE_COLOR=1 ${process.execPath} ${root}bin/run.js lag --watch --config ${values.config}${addresses}`;
tmux('-f', '/dev/null', 'new-session', '-d', '-x', String(columns), '-y', String(rows), command);
try {
  await sleep(Number(values['warm-up']) * 1000);
  const frames = [];
  for (const { keys, seconds } of scenes) {
    for (const key of keys) {
      tmux('send-keys', key);
    }
    await sleep(seconds * 1000);
    frames.push(tmux('capture-pane', '-p', '-e'));
  }
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(values.out, draw(frames));
  console.log(`${values.out}: ${frames.length} frames of ${columns} by ${rows}`);
} finally {
  tmux('kill-server');
}
