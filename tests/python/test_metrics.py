"""/metrics, read by Prometheus' own parser."""

import json
import socket
import struct

from clients import curl
from prometheus_client.parser import text_string_to_metric_families


def samples(server):
    """What each sample says, by its name and labels, and the types of the families."""
    answer = curl(server.http("/metrics"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert len({family.name for family in families}) == len(families), "a family is there once"
    types = {family.name: family.type for family in families}
    assert set(types.values()) == {"gauge", "counter"} and all(family.documentation for family in families)
    return {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}


def test_metrics_are_what_prometheus_reads(server):
    before = samples(server)[("ringwire_published_total",)]
    for _ in range(3):
        assert curl("--data", "1", server.http("/publish/metrics.a")).status == 200
    after = samples(server)
    assert after[("ringwire_published_total",)] == before + 3
    assert after[("ringwire_shards",)] == 2 and after[("ringwire_connections",)] >= 1
    assert not [key for key in after if "metrics.a" in str(key)], "no label names a topic"


def record(kind, topic, seq, payload, key=b"", flags=4):
    size = 24 + len(key) + len(payload)
    whole = (size + 7) // 8 * 8
    head = struct.pack("<IIQBBHI", whole, topic, seq, kind, flags, len(key), len(payload))
    return (head + key + payload).ljust(whole, b"\0")


def test_sources_are_counted_by_kind_and_reason(serve, tmp_path):
    path = tmp_path / "in.sock"
    config = tmp_path / "ringwire.toml"
    config.write_text(f"[unix]\npath = {json.dumps(str(path))}\n")
    server = serve("--config", str(config))
    with socket.socket(socket.AF_UNIX) as ringwire:
        ringwire.settimeout(20)
        ringwire.connect(str(path))
        ringwire.sendall(record(6, 0, 0, json.dumps({"type": "bind", "topic": "a", "id": 7, "ack": True}).encode()))
        ringwire.sendall(record(1, 7, 41, b'{"p":"1.50"}') + record(1, 7, 42, b"\xff"))
        answers = b""
        while len(answers) < 33:
            answers += ringwire.recv(4096)
    assert answers[:32] == struct.pack("<IIQBBHIQ", 32, 0, 41, 7, 0, 0, 8, 1)
    labels = (("kind", "unix"), ("source", str(path)))
    after = samples(server)
    assert after[("ringwire_source_published_total", *labels)] == 1
    assert after[("ringwire_source_dropped_total", *labels, ("why", "not_text"))] == 1
    assert after[("ringwire_source_ok", *labels)] == 1
