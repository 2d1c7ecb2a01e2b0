"""The native protocol as someone else's client speaks it: JSON and binary records."""

import asyncio
import json
import struct

from clients import connect, scenario

PUBLISHES = 500
HEADER = struct.Struct("<IIQBBHI")
MESSAGE, UPDATE, REMOVE, CONTROL, ACK = 1, 2, 3, 6, 7
TS, SOURCE, TEXT = 1, 2, 4


async def objects(client):
    """The objects of all messages that come, without heartbeats."""
    async for message in client:
        for line in message.split("\n"):
            value = json.loads(line)
            if value.get("type") != "heartbeat":
                yield value


async def ask(client, method, params=None, id=1):
    """What a request is answered with, if nothing else comes before."""
    await client.send(json.dumps({"id": id, "method": method, "params": params or {}}))
    answer = await anext(objects(client))
    assert answer["id"] == id, answer
    return answer


def record(kind, topic=0, seq=0, flags=0, key=b"", payload=b""):
    """A record without times."""
    body = key + payload
    size = HEADER.size + len(body)
    padding = -size % 8
    return HEADER.pack(size + padding, topic, seq, kind, flags, len(key), len(payload)) + body + bytes(padding)


def records(message):
    """The records of a message: type, topic, seq, key and payload."""
    while message:
        size, topic, seq, kind, flags, key_bytes, payload_bytes = HEADER.unpack_from(message)
        start = HEADER.size + 8 * bool(flags & TS) + 8 * bool(flags & SOURCE)
        key = message[start : start + key_bytes]
        payload = message[start + key_bytes : start + key_bytes + payload_bytes]
        assert size % 8 == 0
        yield kind, topic, seq, key, payload
        message = message[size:]


@scenario(seconds=60)
async def test_publishes_are_acknowledged_in_order_and_reach_a_subscriber(server):
    async with connect(server.ws("/connect")) as subscriber, connect(server.ws("/connect")) as publisher:
        subscribed = await ask(subscriber, "subscribe", ["native.a"])
        assert subscribed["result"][0]["state"] == "new"
        for number in range(PUBLISHES):
            params = {"topic": "native.a", "data": {"n": number, "text": "é€𝄞" * 20}, "source_seq": number}
            await publisher.send(json.dumps({"id": number, "method": "publish", "params": params}))
        answers = objects(publisher)
        for number in range(PUBLISHES):
            answer = await anext(answers)
            assert (answer["id"], answer["result"]["seq"]) == (number, number + 1)
        pushes = objects(subscriber)
        for number in range(PUBLISHES):
            push = await anext(pushes)
            assert (push["seq"], push["source_seq"], push["data"]["n"]) == (number + 1, number, number)
        account = (await ask(subscriber, "account"))["result"][0]
        assert account["delivered"] == account["published"] == PUBLISHES


@scenario(seconds=30)
async def test_records_are_read_and_written_with_struct_alone(server):
    protocols = ["ringwire.bin.1"]
    async with (
        connect(server.ws("/connect"), subprotocols=protocols) as client,
        connect(server.ws("/connect")) as other,
    ):
        assert client.subprotocol == "ringwire.bin.1"
        request = json.dumps({"id": 1, "method": "subscribe", "params": "native.b"}).encode()
        await client.send(record(CONTROL, payload=request))
        [(kind, _, _, _, payload)] = records(await client.recv())
        assert kind == CONTROL
        topic = json.loads(payload)["result"][0]["id"]
        await client.send(record(MESSAGE, topic, seq=7, flags=TEXT, payload=b'{"x":1}') * 2)
        acks = [(kind, seq, struct.unpack("<Q", payload)[0]) async for kind, seq, payload in taken(client, 2, ACK)]
        assert acks == [(ACK, 7, 1), (ACK, 7, 2)]
        history = await ask(other, "history", {"topic": "native.b"})
        assert [item["data"] for item in history["result"]["items"]] == [{"x": 1}, {"x": 1}]


async def taken(client, count, wanted):
    """So many records of one type, past others."""
    while count:
        for kind, _, seq, _, payload in records(await client.recv()):
            if kind == wanted:
                yield kind, seq, payload
                count -= 1


@scenario(seconds=30)
async def test_a_bound_key_goes_with_its_connection(serve, tmp_path):
    config = tmp_path / "ringwire.toml"
    config.write_text('[[topics]]\nmatch = "hands"\nkind = "keyed"\n')
    server = serve("--config", str(config))
    async with connect(server.ws("/connect")) as watcher:
        await ask(watcher, "subscribe", {"topics": "hands", "snapshot": False})
        async with connect(server.ws("/connect")) as client:
            params = {"topic": "hands", "key": "ann", "data": True, "bound": True}
            await ask(client, "publish", params)
        pushes = objects(watcher)
        seen = [await asyncio.wait_for(anext(pushes), 10) for _ in range(2)]
        assert [(push["type"], push["seq"], push["key"]) for push in seen] == [("update", 1, "ann"), ("remove", 2, "ann")]
