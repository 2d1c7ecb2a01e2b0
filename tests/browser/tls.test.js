// Chromium over `wss://` with permessage-deflate: the page moves, and an echo comes back, compressed.
//
// The certificate is made for the test, and the browser is told to take any.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const { chromium } = require('playwright-core');
const { makeCertificate } = require('../node/certificate.js');
const { start } = require('../node/server.js');

let browser;
let server;
before(async () => {
  const { cert, key } = makeCertificate();
  server = await start(['--shards', '2', '--feed', 'demo', '--tls', `${cert},${key}`]);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--ignore-certificate-errors'],
  });
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0);
});

test('the page moves over wss, and what a browser offers is agreed on', { timeout: 60_000 }, async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const network = await context.newCDPSession(page);
  await network.send('Network.enable');
  const answers = [];
  network.on('Network.webSocketHandshakeResponseReceived', ({ response }) => answers.push(response));
  await page.goto(server.http('/'));
  await page.waitForFunction(() => window.ringwire.connected && window.ringwire.messages > 50, undefined, {
    timeout: 20_000,
  });
  assert.equal(answers[0].status, 101);
  const headers = Object.entries(answers[0].headers).map(([name, value]) => [name.toLowerCase(), value]);
  assert.match(new Map(headers).get('sec-websocket-extensions') ?? 'none', /^permessage-deflate/);
  await context.close();
});

test('messages of every length come back over wss', { timeout: 60_000 }, async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(server.http('/health'));
  const outcome = await page.evaluate(async (url) => {
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    const event = (name) => new Promise((resolve) => socket.addEventListener(name, resolve, { once: true }));
    await event('open');
    for (const length of [0, 1, 125, 126, 1000, 65_536, 1_000_000]) {
      const text = 'é'.repeat(length);
      socket.send(text);
      if ((await event('message')).data !== text) return `a text of ${length} characters came back changed`;
      const bytes = Uint8Array.from({ length }, (_, at) => (at * 7) % 251);
      socket.send(bytes);
      const back = new Uint8Array((await event('message')).data);
      if (back.length !== length || back.some((byte, at) => byte !== bytes[at])) return `${length} bytes came back changed`;
    }
    const closed = event('close');
    socket.close(4000, 'done');
    const { code, wasClean } = await closed;
    return `${socket.extensions} ${code} ${wasClean}`;
  }, server.ws('/echo'));
  assert.match(outcome, /^permessage-deflate.* 4000 true$/);
  await context.close();
});
