"""The generated house against a real mosquitto: who gets in, and what they may do there."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from deploykit import (
    GATEWAY,
    HOME_ASSISTANT,
    NO_SUBSCRIBERS,
    NODE_RED,
    SUCCESS,
    Client,
    as_pem,
    broker_of,
    refused,
    run_cli,
    topic,
)
from earmark_gateway.config import load_config
from earmark_gateway.deploy import devices, pki
from earmark_gateway.deploy.house import Plan, create
from earmark_gateway.errors import GatewayError
from earmark_gateway.simulate.killloop import free_port
from earmark_gateway.store import open_store
from gwkit import encode, event_fields
from test_service import wait_for


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    root = tmp_path_factory.mktemp("deploy") / "house"
    plan = Plan(host="localhost", port=free_port(), timezone="Europe/Berlin", home_assistant=True)
    return create(root, plan)


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
