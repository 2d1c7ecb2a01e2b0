"""`wss://` as Python's ssl and websockets see it, with compression and without."""

import ssl

import pytest
import websockets
from clients import connect, curl, scenario


@pytest.fixture
def secure(serve, certificate):
    """A server that speaks TLS only, with a certificate from files."""
    return serve("--shards", "2", "--tls", ",".join(certificate))


def trusting(certificate):
    """A context that trusts this certificate and no other."""
    return ssl.create_default_context(cafile=certificate[0])


@pytest.mark.parametrize("compression", ["deflate", None])
@scenario(seconds=60)
async def test_messages_come_back_over_tls(secure, certificate, compression):
    async with connect(secure.ws("/echo"), ssl=trusting(certificate), compression=compression) as client:
        agreed = [extension.name for extension in client.protocol.extensions]
        assert agreed == (["permessage-deflate"] if compression else [])
        for message in ("", "é€𝄞" * 1000, b"", bytes(range(256)) * 4096, "x" * 1_000_000):
            await client.send(message)
            assert await client.recv() == message
        await client.send(["in ", "three ", "fragments"])
        assert await client.recv() == "in three fragments"
        await (await client.ping(b"over tls"))
    assert client.close_code == 1000


@scenario(seconds=20)
async def test_a_client_that_does_not_trust_the_certificate_does_not_connect(secure):
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect(secure.ws("/echo"), ssl=ssl.create_default_context())


@scenario(seconds=20)
async def test_what_is_not_encrypted_is_refused_in_words(secure):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
        await connect(secure.ws("/echo").replace("wss://", "ws://"))
    assert refusal.value.response.status_code == 400


def test_curl_publishes_and_reads_over_tls(secure, certificate):
    trust = ("--cacert", certificate[0])
    assert curl(*trust, "--data", "x", secure.http("/publish/a")).status == 200
    answer = curl(*trust, secure.http("/topics"))
    assert '"name":"a"' in answer.text
