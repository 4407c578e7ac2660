"""The simulator: audio in, messages of the wire format out, over a pipe and over real brokers."""

from __future__ import annotations

import json
import socket
import subprocess
import time

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_gateway import wire
from earmark_training.deploy.simulate import build_simulator, run_simulator
from earmark_training.deploy.simulate_mqtt import MqttBridge
from firmware_kit import evening, write_wav
from tools import require_tool

START_MS = 1_795_227_818_123
EXPECTED = [("whistle", "start"), ("whistle", "end"), ("hum", "start"), ("hum", "end")]


def run(simulator, *arguments, stdin=b"", timeout=60):
    return subprocess.run(
        [simulator, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=timeout,
    )


def messages(output: bytes) -> list[tuple[str, str]]:
    lines = [line.split("\t") for line in output.decode("ascii").splitlines()]
    return [(topic, payload) for verb, _, _, topic, payload in lines if verb == "PUB"]


def events(output: bytes) -> list[dict]:
    return [json.loads(p) for topic, p in messages(output) if topic.endswith("/event")]


def test_what_is_heard_is_told_once_with_its_time(simulator, evening_wav):
    result = run(simulator, "--wav", evening_wav, "--loopback", "--start-unix-ms", START_MS)
    assert result.returncode == 0, result.stderr
    heard = events(result.stdout)
    assert [(e["event_type"], e["phase"]) for e in heard] == EXPECTED
    assert [e["seq"] for e in heard] == [1, 2, 3, 4]
    for event, onset_ms in zip(heard, (4000, 7000, 12000, 15000), strict=True):
        # One hop between inferences (200 ms), smoothing none, half a window of hangover.
        assert onset_ms - 250 <= event["up_ms"] <= onset_ms + 600
        assert event["ts"] == START_MS + event["up_ms"]
    assert heard[0]["eid"] == heard[1]["eid"] != heard[2]["eid"]
    assert heard[1]["dur_ms"] == pytest.approx(3000, abs=600)


def test_every_message_passes_the_gateways_schema(simulator, evening_wav):
    decoders = {
        "event": wire.decode_event,
        "health": wire.decode_health,
        "info": wire.decode_info,
        "status": wire.decode_status,
    }
    result = run(simulator, "--wav", evening_wav, "--loopback", "--device-id", "4f0c9a1b22d3")
    kinds = set()
    for topic, payload in messages(result.stdout):
        assert topic.startswith("earmark/v1/4f0c9a1b22d3/")
        kinds.add(topic.rsplit("/", 1)[1])
        decoders[topic.rsplit("/", 1)[1]](payload.encode())
    assert kinds == set(decoders)


def test_a_saved_state_keeps_unacknowledged_events_and_counts_boots(simulator, tmp_path):
    state = tmp_path / "state"
    wav = write_wav(tmp_path / "a.wav", evening(1))
    # The broker accepts everything, the gateway says nothing.
    first = run(
        simulator,
        *("--wav", wav, "--state", state, "--ack-wait-ms", 1, "--drain-ms", 50),
        stdin=b"UP\n",
    )
    assert first.returncode == 3
    quiet = write_wav(tmp_path / "quiet.wav", evening(2)[:16000])
    second = run(simulator, "--wav", quiet, "--loopback", "--state", state)
    assert second.returncode == 0
    kept = events(second.stdout)
    assert [(e["event_type"], e["phase"]) for e in kept] == EXPECTED
    assert {e["boot_n"] for e in kept} == {1}
    assert all(e["late"] for e in kept)
    health = [json.loads(p) for t, p in messages(second.stdout) if t.endswith("health")]
    assert all(h["boot_n"] == 2 for h in health)


def test_raw_pcm_on_standard_input_is_the_same_microphone(simulator, evening_wav):
    pcm = evening(1).tobytes()
    fixed = ("--loopback", "--seed", 7, "--start-unix-ms", START_MS)
    from_file = run(simulator, "--wav", evening_wav, *fixed)
    from_pipe = run(simulator, "--pcm", "-", *fixed, stdin=pcm)
    assert events(from_pipe.stdout) == events(from_file.stdout)


@pytest.mark.parametrize(
    ("rate_hz", "content", "says"),
    [
        (44100, None, "resample"),
        (16000, b"RIFF", "not a WAV file"),
        (16000, b"", "not a WAV file"),
    ],
)
def test_unusable_audio_is_one_clear_message(simulator, tmp_path, rate_hz, content, says):
    path = write_wav(tmp_path / "x.wav", np.zeros(100, dtype="<i2"), rate_hz)
    if content is not None:
        path.write_bytes(content)
    result = run(simulator, "--wav", path, "--loopback")
    assert result.returncode == 1
    assert says in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


def test_a_directory_without_generated_c_is_refused(tmp_path):
    with pytest.raises(EarmarkError, match="no generated C"):
        build_simulator(tmp_path, tmp_path / "build")


def test_a_compiler_error_is_reported_with_the_log(tmp_path):
    broken = tmp_path / "c"
    broken.mkdir()
    (broken / "model.c").write_text("this is not C\n")
    with pytest.raises(EarmarkError, match="building the simulator failed"):
        build_simulator(broken, tmp_path / "build")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class FakeGateway:
    """Stores events and acknowledges them."""

    def __init__(self, port: int, protocol: mqtt.MQTTProtocolVersion):
        self.events: list[dict] = []
        self.retained: dict[str, bytes] = {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("earmark/v1/+/#", 1)
        self.client.loop_start()

    def _on_message(self, client, _data, message):
        root, kind = message.topic.rsplit("/", 1)
        if kind == "event":
            event = json.loads(message.payload)
            self.events.append(event)
            ack = {"boot": event["boot"], "upto": event["seq"], "seqs": []}
            client.publish(f"{root}/ack", json.dumps(ack), qos=1)
        else:
            self.retained[kind] = message.payload

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path):
    program = require_tool("mosquitto")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
        process.terminate()


def test_over_a_real_broker_every_event_arrives_and_is_acknowledged(
    simulator, evening_wav, mosquitto
):
    gateway = FakeGateway(mosquitto, mqtt.MQTTProtocolVersion.MQTTv5)
    try:
        result = run_simulator(
            simulator, wav=evening_wav, bridge=MqttBridge("127.0.0.1", mosquitto), device_id="d1"
        )
    finally:
        time.sleep(0.2)
        gateway.close()
    assert result.protocol == "MQTT 5"
    assert result.undelivered == 0
    assert result.audio_s == 20.0
    assert [(e["event_type"], e["phase"]) for e in gateway.events] == EXPECTED
    assert gateway.retained["status"] == b"stopped"


def test_the_demonstration_broker_is_reached_with_its_older_protocol(simulator, evening_wav):
    from earmark_training.demo.broker import embedded_broker

    port = free_port()
    with embedded_broker(port):
        gateway = FakeGateway(port, mqtt.MQTTProtocolVersion.MQTTv311)
        try:
            result = run_simulator(
                simulator, wav=evening_wav, bridge=MqttBridge("127.0.0.1", port), device_id="d2"
            )
        finally:
            gateway.close()
    assert result.protocol == "MQTT 3.1.1"
    assert result.undelivered == 0
    assert [(e["event_type"], e["phase"]) for e in gateway.events] == EXPECTED


def test_no_broker_is_one_clear_message(simulator, evening_wav):
    with pytest.raises(EarmarkError, match="no MQTT broker answers"):
        run_simulator(simulator, wav=evening_wav, bridge=MqttBridge("127.0.0.1", free_port()))
