"""The demonstration's own parts: scoring, child processes, ports, broker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from earmark_dsp.errors import EarmarkError
from earmark_training.demo.broker import embedded_broker, free_port, require_free_port
from earmark_training.demo.processes import child_process, wait_until_ready
from earmark_training.demo.score import LATE_S, Played, Told, score_scene
from hypothesis import given
from hypothesis import strategies as st


def test_each_notification_is_counted_once_and_in_its_place():
    played = [Played("dog", 10, 12), Played("smoke_alarm", 30, 60), Played("dog", 100, 101)]
    told = [
        Told("smoke_alarm", 38.5, 0.9),
        Told("dog", 11, 0.8),
        Told("smoke_alarm", 50, 0.9),
        Told("dog", 50, 0.7),
        Told("rooster", 11, 0.7),
    ]
    score = score_scene(played, told)
    assert score.n_notified == 2
    assert score.n_repeated == 1
    assert [t.at_s for t in score.false_alarms] == [11, 50]
    assert score.median_latency_s == pytest.approx((1 + 8.5) / 2)


def test_nothing_notified_has_no_latency():
    assert score_scene([Played("dog", 1, 2)], []).median_latency_s is None


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100)), max_size=8),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 120)), max_size=12),
)
def test_no_notification_is_lost_or_invented(sounds, notifications):
    score = score_scene(
        [Played(label, onset, onset + 3) for label, onset in sounds],
        [Told(label, at, 0.5) for label, at in notifications],
    )
    assert sum(len(told) for _, told in score.rows) + len(score.false_alarms) == len(notifications)
    for played, told in score.rows:
        for t in told:
            assert played.label == t.label
            assert played.onset_s <= t.at_s <= played.offset_s + LATE_S


def test_a_child_ends_with_its_block_even_if_it_ignores_sigterm(tmp_path, monkeypatch):
    monkeypatch.setattr("earmark_training.demo.processes._TERMINATE_GRACE_S", 0.3)
    code = (
        "import signal, time, pathlib\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\ntime.sleep(60)"
    )
    log = tmp_path / "log"
    with child_process([sys.executable, "-c", code], log_path=log) as process:
        wait_until_ready(process, tmp_path / "ready", log_path=log, timeout_s=20)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_child_dies_with_a_killed_parent(tmp_path):
    code = (
        "import os, signal, sys, time, pathlib\n"
        "from earmark_training.demo.processes import child_process\n"
        f"log = pathlib.Path({str(tmp_path / 'log')!r})\n"
        "with child_process(['sleep', '60'], log_path=log) as p:\n"
        "    print(p.pid, flush=True)\n"
        "    time.sleep(0.2)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    pid = int(run.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_gateway_that_fails_to_start_is_explained_by_its_log(tmp_path):
    log = tmp_path / "gateway.log"
    command = [sys.executable, "-c", "raise SystemExit('no room on disk')"]
    with (
        child_process(command, log_path=log) as process,
        pytest.raises(EarmarkError, match="no room on disk"),
    ):
        wait_until_ready(process, tmp_path / "never", log_path=log, timeout_s=20)


def test_a_port_in_use_is_refused_with_the_option_that_helps():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EarmarkError, match="in use") as caught:
            require_free_port(taken.getsockname()[1], purpose="broker", option="--mqtt-port")
    assert "--mqtt-port" in caught.value.hint


def test_the_embedded_broker_delivers_and_leaves_its_port():
    import paho.mqtt.client as mqtt

    port = free_port()
    received: list[bytes] = []
    with embedded_broker(port):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        client.on_connect = lambda c, *_: c.subscribe("t", qos=1)
        client.on_subscribe = lambda c, *_: c.publish("t", b"label", qos=1)
        client.on_message = lambda _c, _u, message: received.append(message.payload)
        client.connect("127.0.0.1", port)
        client.loop_start()
        deadline = time.monotonic() + 10
        while not received and time.monotonic() < deadline:
            time.sleep(0.02)
        client.disconnect()
        client.loop_stop()
    assert received == [b"label"]
    require_free_port(port, purpose="broker", option="--mqtt-port")
