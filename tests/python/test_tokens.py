"""Tokens that PyJWT signs, with keys of cryptography: each algorithm, each way in, and what is refused."""

import json
import os
import time

import jwt
import pytest
import websockets
from clients import connect, curl, scenario
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "0123456789abcdef0123456789abcdef"
MAKERS = {
    "HS256": lambda: SECRET,
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
KEYS = {name: make() for name, make in MAKERS.items()}


def public_pem(key):
    """A private key's public one, as `openssl pkey -pubout` writes it."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


def jwk(algorithm, key, kid):
    """A key as PyJWT writes it in a set."""
    key = key if isinstance(key, str) else key.public_key()
    return {**jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True), "kid": kid}


def token(algorithm="HS256", key=None, kid=None, **claims):
    """A token of user u1 for a minute, with these claims before those."""
    claims = {"sub": "u1", "exp": time.time() + 60, "publish": [">"], **claims}
    headers = {"kid": kid} if kid else None
    return jwt.encode(claims, key or KEYS[algorithm], algorithm=algorithm, headers=headers)


def post(server, presented, topic="a"):
    return curl("--data", "x", "--header", f"Authorization: Bearer {presented}", server.http(f"/publish/{topic}"))


@pytest.fixture
def configured(serve, tmp_path):
    """Starts a server with files of these names and texts, and this configuration, in which {folder} is theirs."""

    def start(text, **files):
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        config = tmp_path / "config.toml"
        config.write_text(text.format(folder=tmp_path))
        return serve("--config", str(config))

    return start


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_file_verifies_tokens_of_its_kind(configured, algorithm):
    server = configured("auth.public_key_file = '{folder}/key'", key=public_pem(KEYS[algorithm]))
    assert post(server, token(algorithm)).status == 200
    for other in KEYS.keys() - {algorithm}:
        refused = post(server, token(other))
        assert refused.status == 401 and "another alg" in refused.text
    refused = post(server, token(algorithm, MAKERS[algorithm]()))
    assert refused.status == 401 and "signature is wrong" in refused.text


def test_a_set_that_pyjwt_writes_verifies_all_algorithms_by_kid(configured):
    keys = [jwk(algorithm, key, f"k-{algorithm}") for algorithm, key in KEYS.items()]
    server = configured("auth.jwks_file = '{folder}/jwks'", jwks=json.dumps({"keys": keys}))
    for algorithm in KEYS:
        assert post(server, token(algorithm, kid=f"k-{algorithm}")).status == 200, algorithm
        assert post(server, token(algorithm)).status == 200, f"{algorithm} without kid"
    unknown = post(server, token("ES256", kid="gone"))
    assert unknown.status == 401 and "kid" in unknown.text
    confused = post(server, token("HS256", kid="k-RS256"))
    assert confused.status == 401 and "another alg" in confused.text


def test_a_set_is_read_again_when_it_is_replaced(configured, tmp_path):
    server = configured("auth.jwks_file = '{folder}/jwks'", jwks=json.dumps({"keys": [jwk("HS256", SECRET, "old")]}))
    assert post(server, token(kid="old")).status == 200
    assert post(server, token("EdDSA", kid="new")).status == 401
    (tmp_path / "next").write_text(json.dumps({"keys": [jwk("EdDSA", KEYS["EdDSA"], "new")]}))
    os.replace(tmp_path / "next", tmp_path / "jwks")
    deadline = time.monotonic() + 20
    while post(server, token("EdDSA", kid="new")).status != 200:
        assert time.monotonic() < deadline, server.output()
    assert post(server, token(kid="old")).status == 401


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": 1000}, "expired"),
        ({"nbf": 99999999999}, "not valid yet"),
        ({"aud": "others"}, "auth.audience"),
        ({"iss": "others"}, "auth.issuer"),
        ({"publish": ["a*"]}, "claims are not as they must be"),
        ({"publish": ["b"]}, "may publish"),
    ],
)
def test_claims_that_do_not_fit_are_told(configured, claims, words):
    names = "auth.issuer = 'us'\nauth.audience = 'feed'\n"
    server = configured(f"auth.hmac_secret = '{SECRET}'\n{names}")
    good = {"iss": "us", "aud": ["feed", "more"]}
    assert post(server, token(**good)).status == 200
    refused = post(server, token(**{**good, **claims}))
    assert refused.status == (403 if "publish" in claims and claims["publish"] == ["b"] else 401)
    assert words in refused.text


def test_a_token_that_is_not_signed_is_refused(configured):
    server = configured(f"auth.hmac_secret = '{SECRET}'\n")
    refused = post(server, jwt.encode({"sub": "u1", "exp": time.time() + 60}, None, algorithm="none"))
    assert refused.status == 401 and "alg" in refused.text


@scenario(30)
async def test_a_subscriber_gets_its_topics_until_its_token_expires(configured):
    server = configured(f"auth.hmac_secret = '{SECRET}'\nauth.leeway_ms = 0\n")
    presented = token(exp=time.time() + 2, subscribe=["a"])
    async with connect(server.ws(f"/ws/a?token={presented}")) as subscriber:
        assert post(server, presented).status == 200
        assert await subscriber.recv() == "x"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await subscriber.recv()
        assert closed.value.rcvd.code == 4001
    for path, status in [(f"/ws/b?token={token(subscribe=['a'])}", 403), ("/ws/a", 401)]:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(server.ws(path)):
                pass
        assert refused.value.response.status_code == status
