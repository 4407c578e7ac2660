"""Nothing is lost under SIGKILLs; the full loop is `python -m earmark_gateway.bench kill_loop`."""

from __future__ import annotations

import time

import msgspec
import pytest
from earmark_gateway import wire
from earmark_gateway.simulate.device import OUTBOX_CAPACITY, SimDevice
from earmark_gateway.simulate.fleet import FleetOptions, run_fleet
from earmark_gateway.simulate.killloop import KillOptions, count, run_kill_loop
from tools import require_tool


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_stored_twice(tmp_path):
    require_tool("mosquitto")
    options = KillOptions(n_events=3000, gateway_period_s=1.2, broker_period_s=3.0)
    result = run_kill_loop(options, tmp_path / "loop")
    assert result.events == 3000
    assert result.gateway_kills >= 5
    assert result.broker_kills >= 2
    assert (result.lost, result.stored_twice, result.never_notified) == (0, 0, 0)
    assert result.duplicate_notifications <= result.gateway_kills


@pytest.mark.slow
def test_without_the_application_ack_the_same_loop_reports_loss(tmp_path):
    require_tool("mosquitto")
    options = KillOptions(
        n_events=2000,
        gateway_period_s=1.2,
        broker_period_s=2.0,
        application_ack=False,
        drain_s=10,
    )
    assert run_kill_loop(options, tmp_path / "loop").lost > 0


def test_the_count_sees_losses_and_repeats(tmp_path):
    """The referee itself, on a database made by hand."""
    import sqlite3

    connection = sqlite3.connect(tmp_path / "gateway.db")
    connection.execute("CREATE TABLE events (device_id, boot, seq, alert_id)")
    rows = [("sim1", "b", 1, 1), ("sim1", "b", 1, 2), ("sim1", "b", 2, 3)]
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    (tmp_path / "notifications.jsonl").write_text('{"alert_id": 2}\n{"alert_id": 2}\n')
    accepted = {("sim1", "b", 1), ("sim1", "b", 2), ("sim1", "b", 3)}
    result = count(tmp_path, accepted)
    assert result.lost == 1
    assert result.stored_twice >= 1
    assert result.never_notified == 1
    assert result.duplicate_notifications == 1


def test_a_fleet_against_a_real_broker_and_nobody_listening(mosquitto):
    """Without a gateway every event stays in its outbox: PUBACK is no reason to forget."""
    options = FleetOptions(
        port=mosquitto,
        n_devices=20,
        duration_s=3,
        drain_s=1,
        events_per_s=2,
        gap_rate=0.1,
        reboots_per_s=0.05,
        clock_errors=True,
    )
    result = run_fleet(options)
    assert result.acknowledged == 0
    assert result.pending == len(result.accepted) > 0
    assert result.dropped > 0


def test_a_device_numbers_resends_and_forgets_as_the_firmware_does():
    device = SimDevice("sim0")
    device.start(0.0)
    for i in range(3):
        device.hear(float(i), 1_795_227_818_123)
    device.hear(3.0, 1_795_227_818_123, gap=True)
    device.hear(4.0, 1_795_227_818_123)
    assert [key[1] for key, _ in device.due(5.0, 10.0, 99)] == [1, 2, 3, 5]
    assert device.due(6.0, 10.0, 99) == []
    device.on_puback((device.boot, 1))
    assert len(device.outbox) == 4
    boot = device.boot
    device.on_ack(msgspec.json.encode(wire.Ack(boot=boot, upto=2, seqs=[5])))
    assert [seq for _, seq in device.outbox] == [3]
    device.start(20.0)
    assert device.boot != boot
    ((key, payload),) = device.due(21.0, 10.0, 99)
    assert key == (boot, 3)
    assert wire.decode_event(payload).late
    device.hear(22.0, 1_795_227_818_123)
    assert (device.boot, 1) in device.outbox


def test_a_full_outbox_uses_numbers_up():
    device = SimDevice("sim0")
    device.start(0.0)
    accepted = [device.hear(0.0, 1) for _ in range(OUTBOX_CAPACITY + 5)]
    assert sum(key is not None for key in accepted) == OUTBOX_CAPACITY
    assert device.next_seq == OUTBOX_CAPACITY + 6


def test_every_simulated_message_is_valid():
    device = SimDevice("sim0", clock_error_ms=None)
    device.start(time.monotonic())
    device.hear(time.monotonic(), 1)
    wire.decode_event(device.due(time.monotonic(), 1.0, 1)[0][1])
    wire.decode_health(device.health(time.monotonic(), 1))
    wire.decode_info(device.info())
