// Socket.IO as a peer, over WebSocket only: a client emits `subscribe` [topic], which is acknowledged, and `publish`
// [topic, data]; all in the topic's room are sent `message` [topic, data]. Paths other than /socket.io/ are 404.
//
// On ws with bufferutil, without compression.

"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

function port() {
  const at = process.argv.indexOf("--port");
  return at < 0 ? 8090 : Number(process.argv[at + 1]);
}

const server = http.createServer((_request, response) => response.writeHead(404).end());
server.on("upgrade", (request, stream) => {
  if (!request.url.startsWith("/socket.io/")) {
    stream.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  }
});
const io = new Server(server, {
  transports: ["websocket"],
  serveClient: false,
  perMessageDeflate: false,
  httpCompression: false,
  maxHttpBufferSize: 64 << 20,
  // It pings each 25 s by itself; ringload answers.
});
io.on("connection", (socket) => {
  socket.on("subscribe", (topic, acknowledge) => {
    socket.join(topic);
    acknowledge();
  });
  socket.on("publish", (topic, data) => io.to(topic).emit("message", topic, data));
});
server.listen(port(), "127.0.0.1", 4096);
