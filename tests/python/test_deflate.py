"""permessage-deflate (RFC 7692) as Python's websockets sees it: every form of it that a client may ask for."""

import asyncio
import json
import random

import pytest
import websockets
from clients import connect, curl, scenario
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

OFFERS = {
    "plain": {},
    "as browsers do": {"client_max_window_bits": True},
    "no server takeover": {"server_no_context_takeover": True},
    "no client takeover": {"client_no_context_takeover": True},
    "no takeover": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    # Python's zlib inflates no window of 8 bits; what is sent with it is tested in Rust.
    "smallest server window": {"server_max_window_bits": 9},
    "small windows": {"server_max_window_bits": 10, "client_max_window_bits": 9},
    "all": {
        "server_no_context_takeover": True,
        "client_no_context_takeover": True,
        "server_max_window_bits": 11,
        "client_max_window_bits": 12,
    },
}


def messages():
    """Some of each kind: short and long, text and bytes, ones that compress and ones that do not."""
    quotes = [json.dumps({"n": n, "bids": [[f"{39000 + n}.{at:02}", at] for at in range(n)]}) for n in range(40)]
    noise = [random.Random(n).randbytes(n * 777) for n in range(12)]
    return ["", "x", "é€𝄞" * 5000, *quotes, b"", *noise, "x" * 300_000, json.dumps(quotes * 20)]


async def echoes(url, offer):
    """Sends all messages; gives the extension agreed on."""
    compression = ClientPerMessageDeflateFactory(**offer)
    async with connect(url, compression=None, extensions=[compression]) as client:
        for message in messages():
            await client.send(message)
            assert await client.recv() == message
        # Many at once, so that several lie in one receive.
        await asyncio.gather(*(client.send(message) for message in messages()))
        assert [await client.recv() for _ in messages()] == messages()
        (extension,) = client.protocol.extensions
        return extension


@pytest.mark.parametrize("name", OFFERS)
@scenario(seconds=60)
async def test_messages_come_back_whatever_was_offered(server, name):
    offer = OFFERS[name]
    extension = await echoes(server.ws("/echo"), offer)
    assert extension.remote_no_context_takeover and extension.local_no_context_takeover
    assert extension.remote_max_window_bits == offer.get("server_max_window_bits", 15)
    wanted = offer.get("client_max_window_bits", 15)
    assert extension.local_max_window_bits == (15 if wanted is True else wanted)


@pytest.mark.parametrize("name", OFFERS)
@scenario(seconds=60)
async def test_messages_come_back_with_takeover(serve, tmp_path, name):
    file = tmp_path / "takeover.toml"
    file.write_text("[deflate]\nserver_no_context_takeover = false\nclient_no_context_takeover = false\n")
    server = serve("--config", str(file))
    offer = OFFERS[name]
    extension = await echoes(server.ws("/echo"), offer)
    assert extension.remote_no_context_takeover == offer.get("server_no_context_takeover", False)
    assert extension.local_no_context_takeover == offer.get("client_no_context_takeover", False)
    assert server.stop() == 0, server.output()


@scenario(seconds=30)
async def test_compression_that_is_not_enabled_is_declined_and_the_connection_works(serve, tmp_path):
    file = tmp_path / "plain.toml"
    file.write_text("[deflate]\nenabled = false\n")
    server = serve("--config", str(file))
    async with connect(server.ws("/echo"), compression="deflate") as client:
        assert "permessage-deflate" in client.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        await client.send("x" * 10_000)
        assert await client.recv() == "x" * 10_000
    assert server.stop() == 0, server.output()


@scenario(seconds=30)
async def test_fragments_of_a_compressed_message_come_back_as_one(server):
    text = json.dumps([["39432.48", n] for n in range(5000)])
    async with connect(server.ws("/echo")) as client:
        await client.send([text[at : at + 700] for at in range(0, len(text), 700)])
        assert await client.recv() == text


@scenario(seconds=30)
async def test_subscribers_get_the_same_with_and_without_compression(server):
    offers = [None, *(ClientPerMessageDeflateFactory(**offer) for offer in OFFERS.values())]
    clients = [
        await connect(server.ws("/ws/deflated"), compression=None, extensions=[offer] if offer else None)
        for offer in offers
    ]
    texts = [message for message in messages() if isinstance(message, str)]
    for _ in range(500):
        topics = json.loads(curl(server.http("/topics")).text)["topics"]
        if any(topic["name"] == "deflated" and topic["subscribers"] == len(clients) for topic in topics):
            break
        await asyncio.sleep(0.02)
    async with connect(server.ws("/pub/deflated")) as publisher:
        for text in texts:
            await publisher.send(text)
        for client in clients:
            assert [await client.recv() for _ in texts] == texts
    for client in clients:
        await client.close()


@scenario(seconds=30)
async def test_a_bomb_is_refused_with_1009(server):
    for size in [16 << 20, 64 << 20]:
        async with connect(server.ws("/echo")) as client:
            await client.send(bytes(size))
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as refused:
                await client.recv()
            assert refused.value.rcvd.code == 1009
