// The page in Chromium: it opens, quotes move, it survives a restart of the server, and it says nothing on the console.
//
// The page shows what it does in `window.ringwire`: `messages` counts what it received, `connected` says whether its
// session stands, `latencyMs` is the time from feed to browser, `account` is what became of all entries, `states` are the
// keyed topics. $CHROMIUM names the browser; pictures go to $SCREENSHOTS.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs/promises');
const os = require('node:os');
const path = require('node:path');
const { chromium } = require('playwright-core');
const { start } = require('../node/server.js');

const WAIT = { timeout: 20_000 };
const DESK = { width: 1440, height: 900 };
/** What the browser itself says while there is no server; no page can prevent it. */
const OUTAGE = [/^WebSocket connection to .* failed/, /^Failed to load resource: net::ERR_CONNECTION_(REFUSED|RESET)/];

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // A machine without a network must not slow the browser's start.
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
});
after(() => browser?.close());

/** A page of the server, all of whose errors and requests are kept. */
async function open(server, { path: at = '/', ...options } = {}) {
  const context = await browser.newContext({ viewport: DESK, ...options });
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on('pageerror', (error) => errors.push(`uncaught: ${error}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) errors.push(message.text());
  });
  page.on('request', (request) => requests.push(request.url()));
  page.on('websocket', (socket) => requests.push(socket.url()));
  await page.goto(server.http(at));
  return { page, errors, requests, context };
}

/** Waits until the page is connected and has received so many messages more than now. */
async function moving(page, more = 20) {
  const from = await page.evaluate(() => window.ringwire.messages);
  await page.waitForFunction(
    (wanted) => window.ringwire.connected && window.ringwire.messages >= wanted,
    from + more,
    WAIT,
  );
}

function picture(page, name) {
  const folder = process.env.SCREENSHOTS ?? path.join(__dirname, '../../target/screenshots');
  return page.screenshot({ path: path.join(folder, `${name}.png`) });
}

/** Runs the test's body with a server of its own on the synthetic market. */
async function withServer(body) {
  const server = await start(['--shards', '2', '--feed', 'demo']);
  try {
    await body(server);
    assert.equal(await server.stop(), 0);
  } finally {
    await server.kill();
  }
}

test('the page opens and its quotes move', { timeout: 60_000 }, () =>
  withServer(async (server) => {
    const { page, errors, requests, context } = await open(server);
    assert.match(await page.title(), /ringwire/i);
    await moving(page);
    const before = await page.locator('body').innerText();
    await moving(page, 50);
    const numbers = (text) => text.match(/\d+\.\d+/g) ?? [];
    const now = numbers(await page.locator('body').innerText());
    assert.ok(now.length > 20, `only ${now.length} figures on the page`);
    assert.notDeepEqual(now, numbers(before), 'no figure has changed');
    await page.waitForFunction(() => window.ringwire.latencyMs.median >= 0, undefined, WAIT);
    assert.deepEqual(errors, []);
    const foreign = requests.filter((url) => !/^(data|blob):/.test(url) && new URL(url).host !== server.address);
    assert.deepEqual(foreign, [], 'the page is not self-contained');
    await context.close();
  }),
);

test('the book follows the symbol that is chosen', { timeout: 60_000 }, () =>
  withServer(async (server) => {
    const { page, errors, context } = await open(server);
    await moving(page, 100);
    const symbol = 'ETHUSD';
    const shown = () => page.locator('body').innerText();
    assert.doesNotMatch(await shown(), new RegExp(`book\\.${symbol}`));
    await page.getByText(symbol, { exact: true }).first().click();
    await page.getByText(`book.${symbol}`).first().waitFor(WAIT);
    await moving(page, 100);
    await picture(page, 'page-other-symbol');
    assert.deepEqual(errors, []);
    await context.close();
  }),
);

for (const colorScheme of ['light', 'dark']) {
  test(`the page is ${colorScheme} where ${colorScheme} is wanted`, { timeout: 60_000 }, () =>
    withServer(async (server) => {
      const { page, errors, context } = await open(server, { colorScheme });
      // Long enough for the tape, the book and the plot to have something to show.
      await moving(page, 400);
      await picture(page, `page-${colorScheme}`);
      const brightness = await page.evaluate(() => {
        const colours = [document.body, document.documentElement].map((part) => getComputedStyle(part).backgroundColor);
        const parts = colours.map((colour) => colour.match(/[\d.]+/g).map(Number));
        const [red, green, blue] = parts.find(([, , , alpha = 1]) => alpha > 0) ?? [255, 255, 255];
        return (red + green + blue) / 3;
      });
      assert.ok(colorScheme === 'light' ? brightness > 180 : brightness < 75, `background brightness ${brightness}`);
      assert.deepEqual(errors, []);
      await context.close();
    }),
  );
}

for (const width of [1440, 1024, 400]) {
  test(`nothing is cut off at the side at ${width} pixels`, { timeout: 60_000 }, () =>
    withServer(async (server) => {
      const { page, context } = await open(server, { viewport: { width, height: 900 } });
      await moving(page, 100);
      await picture(page, `page-${width}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(wide <= 0, `${wide} pixels wider than the window`);
      await context.close();
    }),
  );
}

test('the account balances, and the latest of each key can be asked for', { timeout: 60_000 }, () =>
  withServer(async (server) => {
    const { page, errors, context } = await open(server);
    await moving(page, 100);
    const all = await page.evaluate(() => window.ringwire.account);
    assert.ok(all.balanced && all.delivered >= 100 && all.skipped === 0 && all.gap === 0, JSON.stringify(all));
    await page.getByRole('button', { name: 'latest' }).click();
    await page.waitForURL(/mode=latest/);
    await moving(page, 100);
    assert.equal(await page.evaluate(() => window.ringwire.mode), 'latest');
    assert.ok((await page.evaluate(() => window.ringwire.account)).balanced);
    assert.deepEqual(errors, []);
    await context.close();
  }),
);

test('only the topics that are asked for come', { timeout: 60_000 }, () =>
  withServer(async (server) => {
    const { page, context } = await open(server);
    await moving(page);
    await page.getByLabel('Topics and patterns').fill('quotes.* trades.ETHUSD');
    await page.keyboard.press('Enter');
    await page.waitForURL(/topics=/);
    await moving(page, 50);
    const streams = await page.evaluate(() => window.ringwire.streams);
    assert.ok(streams.length > 2 && streams.every((name) => /^quotes\.|^trades\.ETHUSD$/.test(name)), streams.join(' '));
    await context.close();
  }),
);

test('keyed topics are tables, presence among them', { timeout: 60_000 }, async () => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'ringwire-page-'));
  const config = path.join(folder, 'ringwire.toml');
  await fs.writeFile(config, '[[topics]]\nmatch = "room.>"\nkind = "keyed"\npresence = "members"\n');
  const server = await start(['--shards', '2', '--config', config]);
  try {
    const publish = async (key, body) => {
      const response = await fetch(server.http(`/publish/room.lobby?key=${key}`), { method: 'POST', body });
      assert.equal(response.status, 200);
    };
    await publish('anna', '{"x":1}');
    await publish('ben', '{"x":2}');
    const { page, errors, context } = await open(server, { path: '/?topics=room.>+$presence.room.lobby' });
    await page.waitForFunction(() => Object.keys(window.ringwire.states['room.lobby'] ?? {}).length === 2, undefined, WAIT);
    await page.getByLabel('Keyed topic', { exact: true }).selectOption('room.lobby');
    await publish('anna', '{"x":3}');
    await page.getByText('{"x":3}').waitFor(WAIT);
    await page.waitForFunction(() => Object.keys(window.ringwire.states['$presence.room.lobby'] ?? {}).length === 1, undefined, WAIT);
    await picture(page, 'page-keyed');
    assert.deepEqual(errors, []);
    await context.close();
    assert.equal(await server.stop(), 0);
  } finally {
    await server.kill();
    await fs.rm(folder, { recursive: true });
  }
});

test('the page survives a restart of the server', { timeout: 90_000 }, async () => {
  const first = await start(['--shards', '2', '--feed', 'demo']);
  let second;
  try {
    const { page, errors, context } = await open(first);
    await moving(page);
    assert.deepEqual(errors, []);
    await first.kill();
    await page.waitForFunction(() => !window.ringwire.connected, undefined, WAIT);
    await picture(page, 'page-disconnected');
    second = await start(['--shards', '2', '--feed', 'demo'], { listen: first.address });
    await page.waitForFunction(() => window.ringwire.connected, undefined, WAIT);
    const own = errors.filter((line) => !OUTAGE.some((known) => known.test(line)));
    assert.deepEqual(own, []);
    const during = errors.length;
    await moving(page, 50);
    assert.deepEqual(errors.slice(during), [], 'errors after the server was back');
    await context.close();
    assert.equal(await second.stop(), 0);
  } finally {
    await first.kill();
    await second?.kill();
  }
});
