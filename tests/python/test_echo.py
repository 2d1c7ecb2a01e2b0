"""`/echo` as Python's websockets sees it."""

import asyncio
import random
import struct

import pytest
import websockets
from clients import connect, raw_websocket, read_to_end, scenario

# Around each change of the length field (RFC 6455, section 5.2), and well over one receive buffer.
SIZES = [0, 1, 7, 125, 126, 127, 4095, 65535, 65536, 65537, 1 << 20, 3_000_001]


def some_text(size):
    """Text of exactly `size` bytes in UTF-8, with characters of one to four bytes where they fit."""
    return ("aé€𝄞" * (size // 10) + "x" * (size % 10)) if size >= 10 else "x" * size


@pytest.mark.parametrize("size", SIZES)
@scenario(seconds=20)
async def test_binary_comes_back_as_it_went(server, size):
    message = random.Random(size).randbytes(size)
    async with connect(server.ws("/echo")) as client:
        await client.send(message)
        assert await client.recv() == message


@pytest.mark.parametrize("size", SIZES)
@scenario(seconds=20)
async def test_text_comes_back_as_text(server, size):
    message = some_text(size)
    assert len(message.encode()) == size
    async with connect(server.ws("/echo")) as client:
        await client.send(message)
        assert await client.recv() == message


@pytest.mark.parametrize("cut", [1, 3, 125, 126, 5000])
@scenario(seconds=20)
async def test_fragments_come_back_as_one_message(server, cut):
    message = random.Random(cut).randbytes(40 * cut)
    async with connect(server.ws("/echo")) as client:
        await client.send([message[at : at + cut] for at in range(0, len(message), cut)])
        assert await client.recv() == message


@scenario(seconds=20)
async def test_a_ping_between_fragments_is_answered_before_the_message(server):
    async with connect(server.ws("/echo")) as client:

        async def fragments():
            yield "first "
            await (await client.ping(b"between"))
            yield "second"

        await client.send(fragments())
        assert await client.recv() == "first second"


@pytest.mark.parametrize("payload", [b"", b"a", bytes(range(125))])
@scenario(seconds=20)
async def test_a_pong_carries_the_payload_of_its_ping(server, payload):
    async with connect(server.ws("/echo"), ping_interval=None) as client:
        # websockets completes the waiter only for a pong with this very payload.
        await (await client.ping(payload))


@scenario(seconds=30)
async def test_a_thousand_messages_in_flight_come_back_in_order(server):
    messages = [random.Random(seed).randbytes(seed * 7 % 1500) for seed in range(1000)]
    async with connect(server.ws("/echo")) as client:

        async def send():
            for message in messages:
                await client.send(message)

        _, received = await asyncio.gather(send(), receive(client, len(messages)))
        assert received == messages


@scenario(seconds=20)
async def test_a_subprotocol_that_the_server_does_not_speak_is_not_answered(server):
    async with connect(server.ws("/echo"), subprotocols=["nobody.speaks.this"]) as client:
        assert client.subprotocol is None


@pytest.mark.parametrize(
    "code, reason",
    [(1000, ""), (1000, "done"), (3000, ""), (4999, "x" * 123)],
    ids=["1000", "1000 done", "3000", "4999 long"],
)
@scenario(seconds=20)
async def test_a_close_is_answered_with_its_code(server, code, reason):
    client = await connect(server.ws("/echo"))
    await client.close(code, reason)
    assert client.close_code == code


@pytest.mark.parametrize(
    "frame, code",
    [
        pytest.param(b"\x81\x05hello", 1002, id="unmasked"),
        pytest.param(b"\xc1\x80\0\0\0\0", 1002, id="reserved bit"),
        pytest.param(b"\x83\x80\0\0\0\0", 1002, id="reserved opcode"),
        pytest.param(b"\x09\x80\0\0\0\0", 1002, id="fragmented ping"),
        pytest.param(b"\x89\xfe\0\x7e\0\0\0\0" + bytes(126), 1002, id="long ping"),
        pytest.param(b"\x80\x80\0\0\0\0", 1002, id="continuation of nothing"),
        pytest.param(b"\x81\x82\0\0\0\0\xff\xff", 1007, id="text that is not UTF-8"),
        pytest.param(b"\x88\x81\0\0\0\0\x03", 1002, id="close with one byte"),
        pytest.param(b"\x82\xff" + struct.pack(">Q", 1 << 40) + b"\0\0\0\0", 1009, id="a tebibyte announced"),
    ],
)
def test_a_violation_is_closed_with_its_code(server, frame, code):
    with raw_websocket(server, "/echo") as connection:
        connection.sendall(frame)
        answer = read_to_end(connection)
    assert answer[0] == 0x88 and answer[2:4] == struct.pack(">H", code), answer


@scenario(seconds=20)
async def test_the_server_serves_on_after_a_violation(server):
    async with connect(server.ws("/echo")) as bad, connect(server.ws("/echo")) as good:
        bad.transport.write(b"\x83\x80\0\0\0\0")
        with pytest.raises(websockets.ConnectionClosed):
            await bad.recv()
        await good.send("still here")
        assert await good.recv() == "still here"


async def receive(client, count):
    """The next `count` messages."""
    return [await client.recv() for _ in range(count)]
