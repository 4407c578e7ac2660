"""One transaction per batch: numbering, acknowledgements, quarantine, limits, times, faults."""

from __future__ import annotations

import json

import pytest
from earmark_gateway.limits import TokenBucket
from earmark_gateway.store.sqlite import SqliteStore
from gwkit import BOOT, START_MS, Bench, event_fields, health_fields, incoming


@pytest.fixture
def bench(store):
    """On both stores."""
    return Bench(store, rules=[{"labels": ["*"], "severity": "notice", "group_s": 0}])


def acks(outcome):
    return [(device, ack.upto, list(ack.seqs)) for device, ack in outcome.ack_messages()]


def test_acknowledgement_covers_exactly_what_is_stored(bench):
    assert acks(bench.event(seq=1)) == [("demo", 1, [])]
    assert acks(bench.event(seq=4)) == [("demo", 1, [4])]
    assert acks(bench.event(seq=3)) == [("demo", 1, [3])]
    assert acks(bench.event(seq=2)) == [("demo", 4, [])]
    assert acks(bench.event(seq=2)) == [("demo", 4, [])]


def test_acknowledgements_respect_the_firmwares_limit(bench):
    messages = [incoming(event_fields(seq=seq, eid=f"5b1e-{seq}")) for seq in range(10, 160)]
    outcome = bench.receive(*messages)
    sizes = [len(ack.seqs) for _, ack in outcome.ack_messages()]
    assert sum(sizes) == 150
    assert max(sizes) <= 64


def test_a_duplicate_makes_no_second_alert(bench):
    bench.event(seq=1)
    bench.event(seq=1)
    bench.receive(*[incoming(event_fields(seq=1))] * 3)
    assert len(bench.alerts()) == 1


def test_a_replay_is_recognised_after_the_events_are_purged(bench):
    bench.event(seq=1)
    with bench.store.write() as tx:
        tx.purge(events_ms=2**60, alerts_ms=2**60, digest_day="", dead_letters_ms=0)
    outcome = bench.event(seq=1)
    assert outcome.counts == {"duplicates": 1}


def test_quarantine_keeps_events_with_the_device_until_approval(bench):
    outcome = bench.event("stranger")
    assert outcome.ack_messages() == []
    with bench.store.read() as tx:
        assert tx.get_device("stranger").state == "quarantined"
        assert tx.get_device("stranger").refused == 1
        assert tx.counts()["events"] == 0
    from earmark_gateway.service import approve_device

    with bench.store.write() as tx:
        approve_device(tx, "stranger", now_ms=START_MS, room="hall")
    assert acks(bench.event("stranger")) == [("stranger", 1, [])]


def test_a_revoked_device_is_not_heard(bench):
    with bench.store.write() as tx:
        tx.update_device("demo", state="revoked")
    assert bench.event().ack_messages() == []


def test_a_flood_of_invented_devices_fills_the_quarantine_and_no_more(tmp_path):
    store = SqliteStore(str(tmp_path / "q.db"))
    bench = Bench(store, limits={"max_quarantined": 5})
    bench.receive(*[incoming(event_fields(), device_id=f"x{i}") for i in range(50)])
    with store.read() as tx:
        assert len(tx.devices(state="quarantined")) == 5
    store.close()


def test_rate_limit_holds_back_without_acknowledging_and_spares_critical_sounds(tmp_path):
    store = SqliteStore(str(tmp_path / "r.db"))
    limits = {
        "events_per_s": 1,
        "burst": 2,
        "critical_events_per_s": 1,
        "critical_burst": 2,
    }
    bench = Bench(store, limits=limits)
    messages = [
        incoming(event_fields(seq=i, eid=f"5b1e-{i}", event_type="dog", phase="once", dur_ms=1))
        for i in range(1, 6)
    ]
    assert acks(bench.receive(*messages)) == [("demo", 2, [])]
    assert acks(bench.event(seq=6, event_type="smoke_alarm")) == [("demo", 2, [6])]
    bench.clock.advance(1)
    assert acks(bench.event(seq=3, event_type="dog")) == [("demo", 3, [])]
    store.close()


def test_token_bucket_over_an_hour():
    bucket = TokenBucket(2.0, 10)
    passed = sum(bucket.take(i / 100) for i in range(360_000))
    assert passed == pytest.approx(7200 + 10, abs=2)


def test_unknown_labels_are_dead_letters_and_acknowledged(bench):
    outcome = bench.event(event_type="unheard_of")
    assert acks(outcome) == [("demo", 0, [1])]
    info = {
        "v": 1,
        "firmware": "1",
        "model": "em-1.4.0+3fa9",
        "frontend": "0" * 16,
        "labels": ["unheard_of"],
        "thresholds": {"unheard_of": 0.5},
    }
    bench.send("info", info, retain=True)
    assert bench.event(event_type="unheard_of").counts == {"events": 1}
    assert bench.event(seq=2, event_type="dog").counts == {"dead_letter_label": 1}


@pytest.mark.parametrize("label", ["self_test", "device_offline", "digest"])
def test_a_device_cannot_speak_for_the_gateway(bench, label):
    assert bench.event(event_type=label).counts == {"dead_letter_label": 1}


def test_poison_is_kept_in_part_and_does_not_stop_the_batch(bench):
    good = incoming(event_fields(seq=1))
    bad = [
        incoming(b"x" * 1025),
        incoming(b"\xff\x00"),
        incoming(event_fields(v=9)),
        incoming(event_fields(seq=9), retain=True),
        incoming(b"maybe", kind="status"),
        incoming(b"{}", kind="health"),
        incoming(b"{}", kind="unheard"),
    ]
    outcome = bench.receive(*bad, good)
    assert outcome.counts["events"] == 1
    with bench.store.read() as tx:
        reasons = {letter.reason for letter in tx.dead_letters()}
        assert all(len(letter.head) <= 256 for letter in tx.dead_letters())
    assert reasons == {"size", "json", "version", "retained", "schema", "topic"}


def test_a_retained_event_never_fires(bench):
    bench.receive(incoming(event_fields(), retain=True))
    assert bench.alerts() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ts": START_MS - 2000, "sync": True}, START_MS - 2000),
        # Ahead of us: never in the future.
        ({"ts": START_MS + 5000, "sync": True}, START_MS),
        ({"ts": START_MS + 7_200_000, "sync": True}, START_MS),
        # Synchronised and an hour old: it waited in the broker.
        ({"ts": START_MS - 3_600_000, "sync": True}, START_MS - 3_600_000),
        # Never synchronised and two hours off, but prompt: the clock is wrong.
        ({"ts": START_MS - 7_200_000, "sync": False}, START_MS),
        ({"ts": START_MS - 7_200_000, "sync": False, "late": True}, START_MS - 7_200_000),
        ({"ts": None}, START_MS),
    ],
)
def test_when_a_sound_was_heard(bench, change, expected):
    bench.event(**change)
    with bench.store.read() as tx:
        assert tx.last_event("demo").occurred_ms == expected


def test_uptime_places_late_events_without_a_clock(bench):
    bench.event(seq=1, up_ms=60_000)
    bench.clock.advance(600)
    bench.event(seq=2, eid="5b1e-2", up_ms=90_000, late=True)
    with bench.store.read() as tx:
        assert tx.last_event("demo").occurred_ms == START_MS + 30_000


def test_a_lost_tail_shows_as_a_gap_and_heals(bench):
    bench.event(seq=1)
    bench.send("health", health_fields(seq_next=4))
    bench.run(130)
    with bench.store.read() as tx:
        (problem,) = tx.problems("demo")
    assert problem.kind == "events_missing"
    assert problem.detail.startswith("2 ")
    bench.event(seq=2)
    bench.event(seq=3)
    bench.run(130)
    with bench.store.read() as tx:
        assert "events_missing" not in {p.kind for p in tx.problems("demo")}


def test_a_dead_microphone_is_told_once_and_its_recovery_ends_it(bench):
    broken = health_fields(mic_ok=False, flags=["mic_silent"])
    for _ in range(3):
        bench.send("health", broken)
    titles = [row.payload["title"] for row in bench.deliver()]
    assert titles == ["Microphone not hearing - kitchen"]
    bench.send("health", health_fields())
    (alert,) = bench.alerts()
    assert (alert.state, alert.acked_how) == ("acknowledged", "resolved")
    assert [row.payload["title"] for row in bench.deliver()] == [
        "Over: Microphone not hearing - kitchen"
    ]


def test_a_muted_microphone_is_told_once_and_is_no_fault(bench):
    for _ in range(2):
        bench.send("health", health_fields(mic_ok=False, flags=["mic_silent", "muted"]))
    titles = [row.payload["title"] for row in bench.deliver()]
    assert titles == ["Microphone switched off at the device - kitchen"]
    assert [alert.state for alert in bench.alerts()] == ["told"]
    bench.send("health", health_fields())
    with bench.store.read() as tx:
        assert tx.problems() == []


def test_an_end_without_its_start_still_alerts_once(bench):
    end = {"phase": "end", "dur_ms": 900, "eid": "5b1e-7"}
    bench.event(seq=2, **end)
    bench.event(seq=1, phase="start", eid="5b1e-7", late=True)
    (alert,) = bench.alerts()
    assert alert.dur_ms == 900
    with bench.store.read() as tx:
        assert len(tx.events_of_alert(alert.id)) == 2


def test_answers_to_commands_reach_listeners(bench):
    answer = {"v": 1, "id": "c1", "ok": False, "error": "expired"}
    (change,) = bench.send("rsp/identify", json.dumps(answer).encode()).changes
    assert (change.kind, change.text) == ("rsp", "identify c1 expired")


def test_a_boot_number_used_twice_is_shown(bench):
    bench.event(seq=1)
    bench.event(seq=1, boot="0" * 16, boot_n=43)
    with bench.store.read() as tx:
        assert tx.problems() == []
    bench.event(seq=1, boot="1" * 16, boot_n=43)
    with bench.store.read() as tx:
        assert [p.kind for p in tx.problems("demo")] == ["boot_repeated"]
        assert tx.counts()["events"] == 3


def test_boots_are_told_apart(bench):
    bench.event(seq=1)
    other = "0" * 16
    assert acks(bench.event(seq=1, boot=other, boot_n=43)) == [("demo", 1, [])]
    with bench.store.read() as tx:
        assert tx.counts()["events"] == 2
        assert tx.get_boot("demo", BOOT).upto == tx.get_boot("demo", other).upto == 1
