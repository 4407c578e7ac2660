"""Deployment kit: a generated house, its broker, and clients with its certificates."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from earmark_gateway import cli
from earmark_gateway.deploy import devices
from servers import wait_for_port
from test_service import wait_for
from tools import require_tool

SOURCE = Path(__file__).parents[2]


@contextmanager
def broker_of(house):
    program = require_tool("mosquitto")
    process = subprocess.Popen(
        [program, "-c", "broker/mosquitto.conf"], cwd=house.root, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(devices.broker_port(house), process)
        yield process
    finally:
        process.kill()
        process.wait()


class Client:
    """An MQTT 5 client with a certificate that remembers everything."""

    def __init__(self, port, folder, ca, certificate, key, *, client_id="", start=True):
        self.messages, self.retained, self.reasons = [], [], []
        self.connected, self.gone = threading.Event(), threading.Event()
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5
        )
        context = ssl.create_default_context(cadata=ca)
        if certificate:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "c.pem").write_text(certificate + key)
            context.load_cert_chain(folder / "c.pem")
        self.client.tls_set_context(context)
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_disconnect = lambda *_: (self.connected.clear(), self.gone.set())
        self.client.on_message = lambda _, __, m: (
            self.retained if m.retain else self.messages
        ).append((m.topic, m.payload))
        self.client.on_publish = lambda _, __, ___, reason, ____: self.reasons.append(reason)
        # mosquitto 2.0 ends a TLS connection after a refusal; the client comes back at once.
        self.client.reconnect_delay_set(0.05, 0.05)
        if start:
            self.client.connect("localhost", port)
            self.client.loop_start()
            assert self.connected.wait(30), "the broker refuses"

    def publish(self, topic, payload=b"x", qos=1):
        """Reason code of the broker's answer."""
        n_before = len(self.reasons)
        self.client.publish(topic, payload, qos)
        wait_for(lambda: len(self.reasons) > n_before, 30)
        return self.reasons[n_before].value

    def refuses(self, topic):
        """Whether the broker refuses a message; then it has dropped the connection or not."""
        value = self.publish(topic)
        wait_for(self.connected.is_set, 30)
        return value == NOT_AUTHORIZED

    def subscribe(self, *topics):
        answers = []
        self.client.on_subscribe = lambda _, __, ___, reasons, ____: answers.extend(reasons)
        self.client.subscribe([(topic, 1) for topic in topics])
        wait_for(lambda: answers, 30)
        return [answer.value for answer in answers]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def as_pem(identity, name):
    """DER in base64, as the firmware gets it, as a PEM block."""
    kind = "PRIVATE KEY" if name == "key" else "CERTIFICATE"
    text = base64.b64encode(base64.b64decode(identity[name], validate=True)).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


GATEWAY = ("gateway", "gateway")
HOME_ASSISTANT = ("clients/homeassistant", "client")
NODE_RED = ("clients/nodered", "client")
SUCCESS, NO_SUBSCRIBERS, NOT_AUTHORIZED = 0, 16, 135


def topic(device, kind):
    return f"earmark/v1/{device['device_id']}/{kind}"


def refused(port, context):
    """Whether the broker ends a TLS connection before or at MQTT's CONNECT."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                # MQTT 3.1.1 CONNECT, clean session, client id "a"
                wrapped.sendall(bytes.fromhex("100d00044d5154540402003c000161"))
                return wrapped.recv(4)[:4] != bytes.fromhex("20020000")
        except (ssl.SSLError, ConnectionError):
            return True


def run_cli(*arguments):
    """The command line, in this process."""
    return cli.app(list(arguments), standalone_mode=False)
