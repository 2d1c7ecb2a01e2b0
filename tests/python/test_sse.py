"""Server-Sent Events as curl and Python's own HTTP client see them."""

import http.client
import json
import subprocess
from urllib.parse import urlsplit

from clients import curl


def publish(server, topic, body):
    assert curl("--data", body, server.http(f"/publish/{topic}")).status == 200


def open_events(server, target, headers=None):
    connection = http.client.HTTPConnection(urlsplit(server.http("/")).netloc, timeout=20)
    connection.request("GET", target, headers=headers or {})
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
    return response


def next_event(response):
    """The fields of the next event."""
    fields = {}
    while line := response.readline().decode().rstrip("\n"):
        name, value = line.split(": ", 1)
        fields[name] = value
    return fields


def test_python_reads_events_and_goes_on_where_it_was(server):
    first = open_events(server, "/sse/py.events")
    assert next_event(first)["event"] == "subscribed"
    for number in range(3):
        publish(server, "py.events", json.dumps({"n": number}))
    events = [next_event(first) for _ in range(3)]
    assert [json.loads(event["data"])["data"] for event in events] == [{"n": 0}, {"n": 1}, {"n": 2}]
    again = open_events(server, f"/sse/py.events?since={events[0]['id']}")
    assert json.loads(next_event(again)["data"])["state"] == "resumed"
    assert [next_event(again), next_event(again)] == events[1:]


def test_curl_prints_events_as_they_come(server):
    command = ["curl", "--silent", "--no-buffer", "--noproxy", "*", "--max-time", "20", server.http("/sse/curl.events")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert next_event(process.stdout)["event"] == "subscribed"
        publish(server, "curl.events", "[1]")
        event = next_event(process.stdout)
        process.kill()
    assert event["event"] == "message"
    assert json.loads(event["data"])["data"] == [1]
