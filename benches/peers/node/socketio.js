// Socket.IO as a peer, over WebSocket only: a client emits `subscribe` [topic], which is acknowledged, and `publish`
// [topic, data]; all in the topic's room are sent `message` [topic, data]. Paths other than /socket.io/ are 404.
//
// On ws with bufferutil, without compression. Its pings, each 25 s, cannot be turned off.

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
});
io.on("connection", (socket) => {
  socket.on("subscribe", (topic, acknowledge) => {
    socket.join(topic);
    acknowledge();
  });
  // A listener is called a tick later, and not any more if the client has left in the same packet of bytes: what it said
  // last would be lost. A middleware is called at once.
  socket.use(([event, topic, data], next) => {
    if (event === "publish") io.to(topic).emit("message", topic, data);
    else next();
  });
});
server.listen(port(), "127.0.0.1", 4096);
