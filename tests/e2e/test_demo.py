"""The main job, shortened: two epochs on synthesised sounds, everything else as in `make demo`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from earmark_training.demo import chain
from earmark_training.demo.broker import free_port
from earmark_training.demo.data import SYNTHESISED_EVENTS
from earmark_training.demo.processes import child_process
from tools import require_tool

REQUIRED_KEYS = {
    "dataset", "n_train_clips", "n_test_clips", "accuracy_float", "accuracy_int8_tflm",
    "accuracy_c", "model_bytes", "tflm_arena_bytes", "events_played", "events_notified",
    "false_alarms", "median_latency_s", "audio_s", "wall_s",
}  # fmt: skip


def environment(tmp_path, **more):
    """An empty data folder and cache: no recordings, and proxies that lead nowhere."""
    (tmp_path / "none").mkdir(exist_ok=True)
    return os.environ | {
        "EARMARK_DATA": str(tmp_path / "none"),
        "EARMARK_CACHE": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:9",
        **more,
    }


def command(tmp_path, *more):
    return [sys.executable, "-c", "from earmark_training.cli import main; main()", "demo",
            "--out", str(tmp_path / "out"), *more]  # fmt: skip


@pytest.mark.slow
def test_the_whole_chain_without_network_or_recordings(tmp_path):
    run = subprocess.run(
        command(tmp_path, "--epochs", "2", "--json"),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    summary = json.loads(run.stdout)
    assert summary == json.loads((tmp_path / "out/summary.json").read_text())
    assert summary.keys() >= REQUIRED_KEYS
    assert summary["real_recordings"] is False
    assert "not recordings" in summary["dataset"]
    assert "SYNTHESISED" in run.stderr
    assert summary["accuracy_c"] == summary["accuracy_int8_tflm"]
    assert summary["n_identical_windows"] > 100
    assert summary["audio_s"] >= 180
    assert summary["false_alarms"] == 0
    assert summary["events_repeated"] == 0
    notifications = [
        json.loads(line)
        for line in (tmp_path / "out/gateway/notifications.jsonl").read_text().splitlines()
    ]
    assert [n["label"] for n in notifications].count("smoke_alarm") == 1
    page = (tmp_path / "out/report.html").read_text()
    assert "not recordings" in page
    assert not re.search(r"(?:src|href)=[\"']?https?:", page), "the page must work offline"
    assert not list((tmp_path / "out").glob("**/*.part"))
    the_same_device_over_mosquitto(tmp_path / "out", [n["label"] for n in notifications])


def the_same_device_over_mosquitto(out, labels):
    """Device, a real broker with MQTT 5, gateway: the caregiver is told the same."""
    ports = chain.Ports(mqtt=free_port(), web=free_port())
    folder = out / "mosquitto"
    folder.mkdir()
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {ports.mqtt} 127.0.0.1\nallow_anonymous true\n")
    broker = child_process(
        [require_tool("mosquitto"), "-c", str(settings)], log_path=folder / "mosquitto.log"
    )
    config = chain.gateway_config(
        ports=ports,
        directory=folder,
        event_labels=SYNTHESISED_EVENTS,
        web=False,
        protocol="5",
    )
    with chain.gateway_running(config, ports=ports, directory=folder, broker=broker):
        told, result = chain.hear(
            out / "simulator" / "earmark-sim",
            wav=out / "evening.wav",
            audio_s=240.0,
            ports=ports,
            directory=folder,
        )
    assert result.protocol == "MQTT 5"
    assert [t.label for t in told] == labels


@pytest.mark.slow
def test_interrupted_training_leaves_no_process_and_is_resumed(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, "--epochs", "40"),
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/checkpoints/*/*.index")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "Traceback" not in process.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not (tmp_path / "out/summary.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits are set the Linux way")
def test_a_disk_that_takes_no_more_is_one_message(tmp_path):
    import resource

    def no_large_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # write() then fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    run = subprocess.run(
        command(tmp_path),
        env=environment(tmp_path),
        preexec_fn=no_large_files,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert run.returncode == 1
    assert "error: cannot write" in run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert not list((tmp_path / "out").glob("**/manifest.csv")), "a rerun must not trust it"
