"""`ringwire subscribe` and `publish` against the server of Python's websockets: `ws` and `wss`, compressed and not."""

import asyncio
import ssl

import pytest
from clients import scenario
from ringwire_server import binary
from websockets.asyncio.server import serve as listen

# Long and short ones, some of which compress well; what comes late may refer to what came before.
MESSAGES = ["", "x", "é€𝄞", *(f'{{"n":{n},"bids":[{"[39000.01,1]," * 50}[0,0]]}}' for n in range(50)), "y" * 200_000]


def terms(certificate, secure):
    """The server's context, the scheme, and the client's flags."""
    if not secure:
        return None, "ws", []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context, "wss", ["--ca", certificate[0]]


async def ringwire(*arguments, stdin=b""):
    """What the command prints on its standard output and standard error, and its exit code."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(binary(), *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        printed, said = await child.communicate(stdin)
    finally:
        if child.returncode is None:
            child.kill()
    return printed.decode(), said.decode(), child.returncode


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("compression", ["deflate", None])
@scenario(seconds=60)
async def test_subscribe_prints_what_the_server_sends(certificate, secure, compression):
    context, scheme, flags = terms(certificate, secure)
    seen = {}

    async def handle(connection):
        seen["path"] = connection.request.path
        seen["extensions"] = [extension.name for extension in connection.protocol.extensions]
        seen["subprotocol"] = connection.subprotocol
        for message in MESSAGES:
            await connection.send(message)
        await connection.send([MESSAGES[-1], MESSAGES[-1]])
        await connection.close(1000, "that is all")
        seen["close"] = connection.close_code

    async with listen(handle, "127.0.0.1", 0, ssl=context, compression=compression, subprotocols=["v2"]) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"{scheme}://localhost:{port}/feed?symbols=a,b"
        printed, said, code = await ringwire("subscribe", url, *flags, "--subprotocol", "v2")
    assert code == 0, said
    assert printed == "".join(f"{message}\n" for message in [*MESSAGES, MESSAGES[-1] * 2])
    agreed = ["permessage-deflate"] if compression else []
    assert seen == {"path": "/feed?symbols=a,b", "extensions": agreed, "subprotocol": "v2", "close": 1000}


@pytest.mark.parametrize("secure", [False, True])
@scenario(seconds=60)
async def test_publish_sends_each_line_as_a_message(certificate, secure):
    context, scheme, flags = terms(certificate, secure)
    lines = [message for message in MESSAGES if message]
    received = []

    async def handle(connection):
        received.extend([message async for message in connection])

    async with listen(handle, "127.0.0.1", 0, ssl=context) as server:
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        _, said, code = await ringwire("publish", url, *flags, stdin="\n".join(lines).encode())
    assert code == 0, said
    assert received == lines


@scenario(seconds=30)
async def test_a_server_that_nobody_vouches_for_is_refused_in_words(certificate):
    context, _, _ = terms(certificate, True)

    async def handle(connection):
        await connection.wait_closed()

    async with listen(handle, "127.0.0.1", 0, ssl=context) as server:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        printed, said, code = await ringwire("subscribe", url)
    assert code != 0 and printed == ""
    assert "certificate" in said and "--ca" in said, said


@scenario(seconds=30)
async def test_a_code_other_than_1000_is_an_error_with_the_servers_words(certificate):
    async def handle(connection):
        await connection.close(1013, "come back later")

    async with listen(handle, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        _, said, code = await ringwire("subscribe", url)
    assert code == 1
    assert "1013" in said and "come back later" in said, said
