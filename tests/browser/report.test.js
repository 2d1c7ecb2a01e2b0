// The pages that `ringload --html` writes, in Chromium: from a file, wide and narrow, light and dark. Nothing is cut off,
// nothing is loaded, and all of it is there without a script.
//
// $RINGLOAD_BIN names ringload, $RINGWIRE_BIN the server that it measures, $CHROMIUM the browser; pictures go to
// $SCREENSHOTS.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs/promises');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { chromium } = require('playwright-core');
const { start } = require('../node/server.js');

const WIDTHS = [400, 800, 1440];
/** Well, an objective missed, void: this machine may be busy, and the page has to say so. */
const MEASURED = [0, 3, 4];

let browser;
let folder;
before(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'ringload-report-'));
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(async () => {
  await browser?.close();
  await fs.rm(folder, { recursive: true, force: true });
});

/** Runs ringload; resolves to the page that it wrote. */
async function ringload(name, args) {
  const file = path.join(folder, `${name}.html`);
  const { code, said } = await new Promise((resolve) => {
    execFile(process.env.RINGLOAD_BIN, [...args, '--html', file], { timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, said: stdout + stderr }));
  });
  assert.ok(MEASURED.includes(code), `ringload ended with ${code}:\n${said}`);
  return file;
}

/** The page in a window, with every request and every complaint that it made. */
async function open(file, options) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on('pageerror', (error) => errors.push(`uncaught: ${error}`));
  page.on('console', (message) => errors.push(message.text()));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  return { page, errors, requests, context };
}

/** What does not fit where it is: texts wider than their boxes, words of pictures outside of their panels. */
function cutOff() {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) faults.push(`the page is ${root.scrollWidth} wide in a window of ${innerWidth}`);
  const seen = (element) => element.checkVisibility() && element.getBoundingClientRect().width > 1;
  for (const element of document.querySelectorAll('h1, h2, h3, p, li, dt, dd, th, td, b, span, section')) {
    if (!seen(element) || getComputedStyle(element).display === 'inline') continue;
    if (element.scrollWidth > element.clientWidth + 1) {
      faults.push(`${element.tagName} ${element.scrollWidth} in ${element.clientWidth}: ${element.textContent.slice(0, 80)}`);
    }
  }
  for (const text of document.querySelectorAll('svg text')) {
    if (!seen(text)) continue;
    const [inner, outer] = [text.getBoundingClientRect(), text.closest('section').getBoundingClientRect()];
    const fits = inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top && inner.bottom <= outer.bottom;
    if (!fits) faults.push(`"${text.textContent}" lies outside of its panel`);
  }
  return faults;
}

/** Holds a page to all that is asked of every report. */
async function check(name, file) {
  const pictures = process.env.SCREENSHOTS ?? path.join(__dirname, '../../target/screenshots');
  for (const width of WIDTHS) {
    for (const colorScheme of ['light', 'dark']) {
      const { page, errors, requests, context } = await open(file, { viewport: { width, height: 900 }, colorScheme });
      await page.screenshot({ path: path.join(pictures, `${name}-${colorScheme}-${width}.png`), fullPage: true });
      assert.deepEqual(await page.evaluate(cutOff), [], `at ${width} px`);
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      assert.equal(ground[0] > 128, colorScheme === 'light', `the page is ${ground} where ${colorScheme} is wanted`);
      // Of each picture one size is shown, and each says in words what it shows.
      const pictured = await page.locator('svg[role=img]:visible').evaluateAll((all) => all.map((svg) => svg.getAttribute('aria-label')));
      const panels = await page.locator('section:has(svg[role=img])').count();
      assert.equal(pictured.length, panels);
      assert.ok(panels > 0 && pictured.every((label) => label.length > 20), pictured.join('\n'));
      assert.deepEqual(errors, []);
      assert.deepEqual(requests, [pathToFileURL(file).href], 'the page is not self-contained');
      await context.close();
    }
  }
}

/** Runs the test's body with a server of its own. */
async function withServer(body) {
  const server = await start(['--shards', '1']);
  try {
    await body(server);
  } finally {
    await server.kill();
  }
}

test('the page of a run fits everywhere, loads nothing and says its facts', { timeout: 120_000 }, () =>
  withServer(async (server) => {
    const slos = ['--slo', 'p50<1ns', '--slo', 'p50<1000s'];
    const pid = ['--server-pid', String(server.child.pid)];
    const args = ['echo', server.ws('/echo'), '--rate', '500', '--seconds', '1.5', '--warm-up', '0.2', ...slos, ...pid];
    const file = await ringload('run', args);
    await check('report-run', file);
    // Without a script the same words are there.
    const { page, context } = await open(file, { javaScriptEnabled: false });
    const text = await page.locator('body').innerText();
    for (const words of ['MISSED', 'p50<1ns', 'MET', 'corrected', 'uncorrected', 'p99.9', 'kernel', 'seed', '--rate 500', 'arrived']) {
      assert.ok(text.includes(words), `${words} in ${text}`);
    }
    await context.close();
  }),
);

test('beneath the pointer a chart says its values', { timeout: 60_000 }, () =>
  withServer(async (server) => {
    const file = await ringload('hover', ['echo', server.ws('/echo'), '--seconds', '0.5', '--warm-up', '0.1']);
    const { page, errors, context } = await open(file);
    const chart = page.locator('section:has(h2:text("Latency by percentile")) svg.wide');
    const box = await chart.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const readout = page.locator('section:has(h2:text("Latency by percentile")) .readout');
    assert.match(await readout.innerText(), /^at \d.* %: corrected [\d.]+ (ns|us|ms|s); uncorrected [\d.]+ (ns|us|ms|s)$/);
    await page.mouse.move(1, 1);
    assert.equal(await readout.innerText(), '');
    assert.deepEqual(errors, []);
    await context.close();
  }),
);

test('the page of a comparison fits everywhere and calls chance noise', { timeout: 180_000 }, async () => {
  const command = `${process.env.RINGWIRE_BIN} serve --listen 127.0.0.1:{port} --shards 1 --feed none`;
  const servers = ['one', 'other'].flatMap((name) => ['--server', `${name}=${command}`]);
  const core = ['--server-core', 'any', '--threads', '1'];
  const args = ['compare', 'echo', ...servers, ...core, '--rounds', '3', '--seconds', '0.4', '--warm-up', '0.1'];
  const file = await ringload('compare', args);
  await check('report-compare', file);
  const { page, context } = await open(file);
  const text = await page.locator('body').innerText();
  for (const words of ['Ratios to other', 'too few rounds', '3 other', 'messages a second']) {
    assert.ok(text.includes(words), `${words} in ${text}`);
  }
  await context.close();
});
