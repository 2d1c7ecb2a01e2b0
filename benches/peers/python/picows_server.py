"""picows as a peer: `/echo`, `/ws/TOPIC`, `/pub/TOPIC`, 404 for all else.

Its core API on uvloop with aiofastnet, as its documentation advises: callbacks without coroutines, and payloads that are
passed on without a copy. Frames go on as they come, so a fragmented message stays in fragments; two publishers of one
topic that both fragment theirs would mix them.
"""

import argparse
import asyncio
from collections import defaultdict

import uvloop
from picows import WSListener, WSMsgType, ws_create_server

DATA = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)
topics = defaultdict(set)


def answer_close(transport, frame):
    """The answer to a close frame, and the end."""
    if frame.msg_type == WSMsgType.CLOSE:
        transport.send_close(frame.get_close_code(), frame.get_close_message())
        transport.disconnect()


class Echo(WSListener):
    """Each message goes back."""

    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind in DATA:
            transport.send(kind, frame.get_payload_as_memoryview(), frame.fin)
        else:
            answer_close(transport, frame)


class Subscriber(WSListener):
    """Is in the topic until the connection ends."""

    def __init__(self, topic):
        self.topic = topics[topic]

    def on_ws_connected(self, transport):
        self.topic.add(transport)

    def on_ws_disconnected(self, transport):
        self.topic.discard(transport)

    def on_ws_frame(self, transport, frame):
        answer_close(transport, frame)


class Publisher(WSListener):
    """Each message is published."""

    def __init__(self, topic):
        self.topic = topics[topic]

    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind in DATA:
            payload, fin = frame.get_payload_as_memoryview(), frame.fin
            for subscriber in self.topic:
                subscriber.send(kind, payload, fin)
        else:
            answer_close(transport, frame)


def listener(request):
    """Who serves a path; nobody is 404."""
    path = request.path.decode("ascii", "replace")
    if path == "/echo":
        return Echo()
    for start, kind in (("/ws/", Subscriber), ("/pub/", Publisher)):
        if path.startswith(start) and path != start:
            return kind(path.removeprefix(start))
    return None


async def main(port):
    """Serves for ever."""
    server = await ws_create_server(listener, "127.0.0.1", port, max_frame_size=64 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8090)
    uvloop.run(main(parser.parse_args().port))
