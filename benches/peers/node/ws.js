// Node's ws as a peer: `/echo`, `/ws/TOPIC`, `/pub/TOPIC`, 404 for all else.
//
// With bufferutil, the native addon that its documentation advises, and without compression. Sockets are corked until the
// end of the tick, the pattern of Node's own documentation, so that what was published in one tick leaves in one write.

"use strict";

const http = require("node:http");
const { WebSocketServer } = require("ws");

const topics = new Map();
const corked = new Set();

function topicOf(name) {
  let topic = topics.get(name);
  if (topic === undefined) {
    topic = new Set();
    topics.set(name, topic);
  }
  return topic;
}

function uncork() {
  for (const socket of corked) socket.uncork();
  corked.clear();
}

/** Sends on a socket that is uncorked when this turn of the event loop has read all it can. */
function send(subscriber, message, options) {
  if (!corked.has(subscriber.stream)) {
    if (corked.size === 0) setImmediate(uncork);
    corked.add(subscriber.stream);
    subscriber.stream.cork();
  }
  subscriber.socket.send(message, options);
}

/** Serves a connection for the path that it asked for. */
function serve(socket, stream, path) {
  const connection = { socket, stream };
  socket.on("error", () => {}); // It is followed by the close.
  if (path === "/echo") {
    socket.on("message", (message, binary) => send(connection, message, { binary }));
  } else if (path.startsWith("/ws/")) {
    const topic = topicOf(path.slice("/ws/".length));
    topic.add(connection);
    socket.on("close", () => topic.delete(connection));
  } else {
    const topic = topicOf(path.slice("/pub/".length));
    socket.on("message", (message, binary) => {
      const options = { binary };
      for (const subscriber of topic) send(subscriber, message, options);
    });
  }
}

function port() {
  const at = process.argv.indexOf("--port");
  return at < 0 ? 8090 : Number(process.argv[at + 1]);
}

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false, maxPayload: 64 << 20 });
const server = http.createServer((_request, response) => response.writeHead(404).end());
server.on("upgrade", (request, stream, head) => {
  const path = request.url;
  if (path !== "/echo" && !/^\/(ws|pub)\/./.test(path)) {
    stream.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  }
  stream.setNoDelay(true);
  sockets.handleUpgrade(request, stream, head, (socket) => serve(socket, stream, path));
});
server.listen(port(), "127.0.0.1", 4096);
