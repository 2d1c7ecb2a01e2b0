// EventSource in Chromium: events by name, a page of another origin, and a lost connection after which nothing is missing.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const http = require('node:http');
const net = require('node:net');
const { chromium } = require('playwright-core');
const { start } = require('../node/server.js');

const WAIT = { timeout: 20_000 };

let browser;
let server;
/** Serves a page of another origin. */
const elsewhere = http.createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<p>here'));
before(async () => {
  server = await start([]);
  await new Promise((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  });
});
after(async () => {
  await browser?.close();
  elsewhere.close();
  assert.equal(await server.stop(), 0);
});

async function post(topic, data) {
  const response = await fetch(server.http(`/publish/${topic}`), { method: 'POST', body: JSON.stringify(data) });
  assert.equal(response.status, 200);
}

/** A port whose connections go to the server until they are cut. */
async function wire() {
  const open = new Set();
  const { hostname, port } = new URL(server.http('/'));
  const between = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      one.pipe(other).on('error', () => {});
      one.on('error', () => other.destroy()).on('close', () => open.delete(one));
      open.add(one);
    }
  });
  await new Promise((resolve) => between.listen(0, '127.0.0.1', resolve));
  const cut = () => open.forEach((socket) => socket.destroy());
  return { port: between.address().port, cut, close: () => (cut(), between.close()) };
}

/** Has the page keep what comes on a stream, in `window.kept[name]`. */
function keep(page, name, url) {
  return page.evaluate(
    ([name, url]) => {
      const kept = { begun: [], data: [] };
      (window.kept ??= {})[name] = kept;
      const source = new EventSource(url);
      source.addEventListener('subscribed', (event) => kept.begun.push(JSON.parse(event.data).state));
      source.onmessage = (event) => kept.data.push(JSON.parse(event.data).data);
    },
    [name, url],
  );
}

function kept(page, name, count) {
  return page.waitForFunction(([name, count]) => window.kept[name].data.length >= count, [name, count], WAIT);
}

test('a page of another origin that loses its connection misses nothing', { timeout: 60_000 }, async () => {
  const between = await wire();
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  await keep(page, 'near', server.http('/sse/web.a'));
  await keep(page, 'far', `http://127.0.0.1:${between.port}/sse/web.a`);
  await page.waitForFunction(() => window.kept.near.begun.length + window.kept.far.begun.length === 2, null, WAIT);
  await post('web.a', 1);
  await kept(page, 'near', 1);
  await kept(page, 'far', 1);
  between.cut();
  // The browser comes again after a few seconds.
  for (const data of [2, 3]) await post('web.a', data);
  await kept(page, 'near', 3);
  await kept(page, 'far', 3);
  assert.deepEqual(await page.evaluate(() => window.kept), {
    near: { begun: ['new'], data: [1, 2, 3] },
    far: { begun: ['new', 'resumed'], data: [1, 2, 3] },
  });
  await page.close();
  between.close();
});
