// Bun's server as a peer: `/echo`, `/ws/TOPIC`, `/pub/TOPIC`, 404 for all else.
//
// It publishes natively (`server.publish`), which batches what is published in one turn of its event loop. No pings, no idle
// timeout; a subscriber that falls behind by BACKLOG_BYTES_MAX is closed. `--tls CERT.pem KEY.pem` puts Bun's own TLS under
// it, and `--deflate` compresses what is echoed, without context takeover.

const BACKLOG_BYTES_MAX = 64 << 20;

type Data = { publishes: string; subscribes: string };

const at = process.argv.indexOf("--port");
const secure = process.argv.indexOf("--tls");
const compresses = process.argv.includes("--deflate");
const file = (offset: number) => Bun.file(process.argv[secure + offset]);

const server = Bun.serve<Data>({
  hostname: "127.0.0.1",
  port: at < 0 ? 8090 : Number(process.argv[at + 1]),
  ...(secure < 0 ? {} : { tls: { cert: file(1), key: file(2) } }),
  fetch(request, server) {
    const path = request.url.slice(request.url.indexOf("/", "https://".length));
    const [, kind, topic] = /^\/(echo$|ws\/|pub\/)(.*)$/.exec(path) ?? [];
    const data = { publishes: kind === "pub/" ? topic : "", subscribes: kind === "ws/" ? topic : "" };
    const known = kind === "echo" || data.publishes !== "" || data.subscribes !== "";
    if (known && server.upgrade(request, { data })) return;
    return new Response("Not Found\n", { status: 404 });
  },
  websocket: {
    perMessageDeflate: compresses && { compress: "shared", decompress: "shared" },
    idleTimeout: 0,
    sendPings: false,
    maxPayloadLength: 64 << 20,
    backpressureLimit: BACKLOG_BYTES_MAX,
    closeOnBackpressureLimit: true,
    open(socket) {
      if (socket.data.subscribes !== "") socket.subscribe(socket.data.subscribes);
    },
    message(socket, message) {
      if (socket.data.publishes !== "") server.publish(socket.data.publishes, message);
      else if (socket.data.subscribes === "") socket.send(message, compresses);
    },
  },
});
