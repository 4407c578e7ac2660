"""The webhook channel against a real HTTP server, and through the whole gateway."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from earmark_gateway.notify.base import make_notifier
from earmark_gateway.notify.webhook import WebhookNotifier
from earmark_gateway.service import Gateway
from gwkit import config, encode, event_fields, incoming
from test_service import wait_for

MESSAGE = {"id": "4711", "title": "Smoke alarm", "body": "Heard at 03:00", "severity": "critical"}


class Receiver(ThreadingHTTPServer):
    """What an operator would write; answers what the test wants."""

    def __init__(self, answers=()):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.posts = list(answers), []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.posts.append((self.path, dict(self.headers), body))
            answer = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.port}/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


def test_the_signature_is_what_the_documentation_says(receiver):
    url = f"webhook+http://s%40cret@127.0.0.1:{receiver.port}/hook/x?y=1"
    assert make_notifier(url).send(MESSAGE).ok
    ((path, headers, body),) = receiver.posts
    assert path == "/hook/x?y=1"
    assert json.loads(body) == MESSAGE
    # Written anew from docs/deploy.md.
    signed = headers["X-Earmark-Timestamp"].encode() + b"." + body
    expected = hmac.new(b"s@cret", signed, hashlib.sha256).hexdigest()
    assert headers["X-Earmark-Signature"] == f"v1={expected}"
    assert headers["Idempotency-Key"] == "4711"
    assert "Authorization" not in headers  # the secret itself stays here


def test_without_a_secret_there_is_no_signature(receiver):
    assert make_notifier(f"webhook+http://127.0.0.1:{receiver.port}").send(MESSAGE).ok
    ((path, headers, _),) = receiver.posts
    assert path == "/"
    assert "X-Earmark-Signature" not in headers


@pytest.mark.parametrize(
    ("status", "ok", "permanent"),
    [
        (200, True, False),
        (202, True, False),
        (302, False, False),
        (401, False, True),
        (404, False, True),
        (408, False, False),
        (409, False, False),
        (429, False, False),
        (500, False, False),
        (503, False, False),
    ],
)
def test_what_an_answer_means(receiver, status, ok, permanent):
    receiver.answers.append(status)
    result = make_notifier(f"webhook+http://x@127.0.0.1:{receiver.port}/").send(MESSAGE)
    assert (result.ok, result.permanent) == (ok, permanent)
    assert len(receiver.posts) == 1  # a redirect is not followed


@pytest.mark.parametrize(
    "url",
    [
        "webhook+https://",
        "webhook+https:///path",
        "webhook+http://host:port/",
        "webhook+http://host:99999/",
        "webhook+http://[::1/",
        f"webhook+http://{'a' * 70}\N{SNOWMAN}/",
        "webhook+http://x/a b",
        "webhook+ftp://host/",
    ],
)
def test_an_address_that_cannot_be_is_one_outcome(url):
    result = WebhookNotifier(url).send(MESSAGE)
    assert not result.ok
    assert "host" not in result.error


def test_nobody_listens_or_somebody_speaks_something_else():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    result = make_notifier(f"webhook+http://x@127.0.0.1:{port}/").send(MESSAGE)
    assert (result.ok, result.permanent) == (False, False)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"220 smtp.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"webhook+http://x@127.0.0.1:{server.getsockname()[1]}/"
        result = make_notifier(url).send(MESSAGE)
        thread.join()
    assert (result.ok, result.permanent) == (False, False)


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver):
    import ssl

    from earmark_gateway.deploy import pki

    authority = pki.make_authority("nobody")
    issued = pki.issue(authority, "localhost", hosts=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with_key = issued.certificate_pem + issued.key_pem
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(with_key)
        file.flush()
        context.load_cert_chain(file.name)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    result = make_notifier(f"webhook+https://x@127.0.0.1:{receiver.port}/").send(MESSAGE)
    assert not result.ok
    assert receiver.posts == []


def test_every_label_reaches_a_program_that_is_sometimes_away(receiver, tmp_path):
    """Refused, slow and repeated: each stored sound arrives, with one id whatever happens."""
    receiver.answers += [503, 500, 429]
    url = f"webhook+http://secret@127.0.0.1:{receiver.port}/"
    settings = config(
        store={"url": f"sqlite:///{tmp_path}/w.db"},
        people=[{"id": "hook", "name": "Program", "role": "professional", "channels": [url]}],
        rules=[
            {
                "labels": ["*", "smoke_alarm"],
                "severity": "notice",
                "group_s": 0,
                "steps": [{"to": ["hook"]}],
            }
        ],
        mqtt={"port": 1},
    )
    gateway = Gateway(settings)
    gateway.start()
    try:
        for seq in range(1, 6):
            label = "smoke_alarm" if seq == 3 else "dog"
            fields = event_fields(seq=seq, eid=f"5b1e-{seq}", event_type=label)
            gateway.writer.put(incoming(encode(fields), now_ms=gateway.clock.now_ms()))
        wait_for(lambda: gateway.outbox.counts["sent"] == 5, 60)
    finally:
        gateway.stop()
    bodies = {json.loads(body)["id"]: body for _, _, body in receiver.posts}
    labels = sorted(json.loads(body)["label"] for body in bodies.values())
    assert labels == ["dog", "dog", "dog", "dog", "smoke_alarm"]
    assert len(receiver.posts) >= 8  # three refusals
    for _, headers, body in receiver.posts:
        assert headers["Idempotency-Key"] == json.loads(body)["id"]
