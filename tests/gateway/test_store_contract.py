"""Both stores keep the same promises (the `store` fixture runs each test on both)."""

from __future__ import annotations

import threading

import pytest
from earmark_gateway import model, wire
from earmark_gateway.errors import GatewayError
from earmark_gateway.store import open_store
from gwkit import BOOT, START_MS, encode, event_fields

DEVICE = model.Device(id="demo", state="approved", room="kitchen", resident="Marta")


def insert(tx, seq, **changes):
    event = wire.decode_event(encode(event_fields(seq=seq, eid=f"5b1e-{seq}", **changes)))
    return tx.insert_event(DEVICE, event, received_ms=START_MS + seq, occurred_ms=START_MS + seq)


def outbox_row(key, **changes):
    fields = {
        "key": key,
        "alert_id": None,
        "recipient": "anna",
        "channel": "c",
        "kind": "alert",
        "severity": "notice",
        "payload": {"title": "t", "n": 1},
        "next_ms": START_MS,
    }
    return model.NewOutboxRow(**(fields | changes))


def alert(**changes):
    fields = {
        "id": 0,
        "group_key": "g",
        "label": "dog",
        "severity": "alert",
        "device_id": "demo",
        "room": "kitchen",
        "resident": "Marta",
        "rule": "r",
        "state": "open",
        "opened_ms": START_MS,
        "occurred_ms": START_MS,
        "last_ms": START_MS,
        "count": 1,
        "flushed": 1,
        "dur_ms": None,
        "conf": 0.9,
        "step": 0,
        "round": 0,
        "late": False,
        "acked_by": "",
        "acked_ms": None,
        "acked_how": "",
        "false_alarm": False,
        "note": "",
    }
    return model.Alert(**(fields | changes))


def test_an_event_is_stored_once(store):
    with store.write() as tx:
        assert insert(tx, 1) is not None
        assert insert(tx, 1) is None
    with store.write() as tx:
        assert insert(tx, 1) is None
        assert tx.counts()["events"] == 1


def test_a_failed_transaction_leaves_nothing(store):
    def fail_half_way():
        with store.write() as tx:
            insert(tx, 1)
            tx.insert_outbox(outbox_row("k"), now_ms=START_MS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with store.read() as tx:
        assert tx.counts()["events"] == tx.counts()["outbox"] == 0


def test_contiguous_upto_stops_at_a_gap(store):
    with store.write() as tx:
        for seq in (1, 2, 3, 5, 6, 9):
            insert(tx, seq)
        assert tx.contiguous_upto("demo", BOOT, 0) == 3
        assert tx.contiguous_upto("demo", BOOT, 3) == 3
        insert(tx, 4)
        assert tx.contiguous_upto("demo", BOOT, 3) == 6


def test_reading_is_a_snapshot_and_cannot_write(store):
    with store.read() as tx:
        before = tx.counts()["events"]
        with store.write() as other:
            insert(other, 1)
        assert tx.counts()["events"] == before
    with pytest.raises(Exception, match=r"(?i)read-?only|refuses|query_only"), store.read() as tx:
        insert(tx, 2)


def test_everything_survives_reopening(store):
    with store.write() as tx:
        insert(tx, 1)
        alert_id = tx.insert_alert(alert(conf=None, late=True))
        tx.insert_outbox(outbox_row("k"), now_ms=START_MS)
        tx.insert_timer(model.Timer(key="t", kind="flush", due_ms=5, payload={"a": 1}))
        tx.insert_device(DEVICE)
        tx.update_device("demo", labels=("dog",), health={"mic_ok": True})
    again = open_store(store.url)
    try:
        with again.read() as tx:
            assert tx.last_event("demo").seq == 1
            found = tx.get_alert(alert_id)
            assert (found.conf, found.late, found.false_alarm) == (None, True, False)
            assert tx.timers()[0].payload == {"a": 1}
            assert tx.get_device("demo").labels == ("dog",)
            assert tx.get_device("demo").health == {"mic_ok": True}
    finally:
        again.close()


def test_timeline_joins_start_and_end(store):
    with store.write() as tx:
        for seq, phase, dur in ((1, "start", None), (2, "end", 4200), (3, "once", 700)):
            eid = "5b1e-9" if phase == "once" else "5b1e-1"
            event = wire.decode_event(
                encode(event_fields(seq=seq, phase=phase, dur_ms=dur, eid=eid, event_type="dog"))
            )
            tx.insert_event(DEVICE, event, received_ms=START_MS, occurred_ms=START_MS + seq)
    with store.read() as tx:
        episodes = tx.timeline()
        assert [(e.label, e.dur_ms) for e in episodes] == [("dog", 700), ("dog", 4200)]
        assert tx.timeline(room="cellar") == []
        assert len(tx.timeline(before_ms=START_MS + 3)) == 1
        assert tx.count_events(since_ms=0, until_ms=START_MS + 9) == {("Marta", "dog"): 2}


def test_only_one_acknowledgement_wins(store):
    with store.write() as tx:
        alert_id = tx.insert_alert(alert())
    wins = []

    def acknowledge(who):
        with store.write() as tx:
            if tx.acknowledge_alert(alert_id, by=who, how="web", now_ms=START_MS):
                wins.append(who)

    threads = [threading.Thread(target=acknowledge, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        assert wins == [tx.get_alert(alert_id).acked_by]


def test_no_row_is_claimed_twice(store):
    with store.write() as tx:
        for i in range(60):
            tx.insert_outbox(outbox_row(f"k{i}"), now_ms=START_MS)
    claimed = []

    def claim(owner):
        while rows := store.claim_outbox(owner, now_ms=START_MS, lease_ms=1000, limit=3):
            claimed.extend(row.id for row in rows)

    threads = [threading.Thread(target=claim, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 60


def test_critical_rows_go_first(store):
    with store.write() as tx:
        tx.insert_outbox(outbox_row("a", next_ms=START_MS - 99), now_ms=START_MS)
        tx.insert_outbox(outbox_row("b", severity="critical"), now_ms=START_MS)
    rows = store.claim_outbox("me", now_ms=START_MS, lease_ms=1000, limit=1)
    assert [row.key for row in rows] == ["b"]


def test_lanes_are_found_by_urgency_and_claimed_apart(store):
    with store.write() as tx:
        for key, channel, changes in (
            ("a", "one", {}),
            ("b", "one", {"next_ms": START_MS - 5}),
            ("c", "two", {"severity": "critical"}),
            ("d", "two", {}),
            ("e", "later", {"next_ms": START_MS + 10}),
        ):
            tx.insert_outbox(outbox_row(key, channel=channel, **changes), now_ms=START_MS)

    def due(now_ms=START_MS):
        return store.due_channels(now_ms=now_ms, lease_ms=1000)

    def claim(channel):
        rows = store.claim_outbox("me", now_ms=START_MS, lease_ms=1000, limit=9, channel=channel)
        return {row.key for row in rows}

    assert due() == ["two", "one"]
    assert store.next_outbox_ms(after_ms=START_MS) == START_MS + 10
    assert claim("one") == {"a", "b"}
    assert due() == ["two"]
    assert claim("two") == {"c", "d"}
    assert claim("two") == set()
    assert due() == []
    assert due(START_MS + 10) == ["later"]
    assert due(START_MS + 1000) == ["two", "later", "one"]


def test_a_lease_passes_on_when_it_ends_and_not_before(store):
    with store.write() as tx:
        assert tx.insert_outbox(outbox_row("k"), now_ms=START_MS)
        assert not tx.insert_outbox(outbox_row("k"), now_ms=START_MS)
    (row,) = store.claim_outbox("a", now_ms=START_MS, lease_ms=1000, limit=9)
    assert not store.claim_outbox("b", now_ms=START_MS + 999, lease_ms=1000, limit=9)
    # A replica whose clock is a little behind does not take it either.
    assert not store.claim_outbox("b", now_ms=START_MS - 900, lease_ms=1000, limit=9)
    (again,) = store.claim_outbox("b", now_ms=START_MS + 1000, lease_ms=1000, limit=9)
    assert again.attempts == 2
    # The first owner comes back too late.
    assert not store.finish_outbox(row.id, "a", state="sent", now_ms=START_MS + 1001)
    assert store.finish_outbox(row.id, "b", state="sent", now_ms=START_MS + 1001)
    assert store.next_outbox_ms() is None


def test_a_clock_set_back_does_not_hold_leases_and_backoffs(store):
    with store.write() as tx:
        tx.insert_outbox(outbox_row("leased"), now_ms=START_MS)
        tx.insert_outbox(outbox_row("failed"), now_ms=START_MS)
    rows = store.claim_outbox("a", now_ms=START_MS, lease_ms=1000, limit=9)
    failed = next(row for row in rows if row.key == "failed")
    store.finish_outbox(
        failed.id, "a", state="failed", now_ms=START_MS, next_ms=START_MS + 60_000, error="x"
    )
    earlier = START_MS - 3_600_000
    again = store.claim_outbox("b", now_ms=earlier, lease_ms=1000, limit=9)
    assert {row.key for row in again} == {"leased", "failed"}


def test_a_dead_row_escalates_now(store):
    with store.write() as tx:
        alert_id = tx.insert_alert(alert())
        tx.insert_outbox(outbox_row("k", alert_id=alert_id), now_ms=START_MS)
        timer = model.Timer(
            key="t", kind="escalate", due_ms=START_MS + 9999, delay_ms=9999, alert_id=alert_id
        )
        tx.insert_timer(timer)
    (row,) = store.claim_outbox("a", now_ms=START_MS, lease_ms=1000, limit=9)
    store.finish_outbox(row.id, "a", state="dead", now_ms=START_MS + 5, error="HTTP 404")
    with store.read() as tx:
        assert [t.due_ms for t in tx.due_timers(START_MS + 5, 9)] == [START_MS + 5]


def test_timers_are_taken_once_and_pulled_in(store):
    with store.write() as tx:
        tx.insert_timer(model.Timer(key="t", kind="flush", due_ms=1000, delay_ms=100))
        assert not tx.insert_timer(model.Timer(key="t", kind="flush", due_ms=1, delay_ms=1))
        assert tx.longest_wait_ms(900) == 0
        assert tx.longest_wait_ms(800) == 100
        assert tx.pull_in_timers(800) == 1
        (timer,) = tx.timers()
        assert timer.due_ms == 900
        assert tx.take_timer(timer.id)
        assert not tx.take_timer(timer.id)


def test_dead_letters_are_counted_and_cut(store):
    with store.write() as tx:
        for _ in range(3):
            tx.insert_dead_letter(
                topic="t" * 999, reason="json", detail="d", payload=b"\0x" * 500, now_ms=7
            )
    with store.read() as tx:
        (letter,) = tx.dead_letters()
    assert (letter.count, letter.n_bytes, len(letter.head), len(letter.topic)) == (
        3,
        1000,
        256,
        256,
    )


def test_problems_snoozes_links_and_values(store):
    problem = model.Problem(device_id="demo", kind="mic", since_ms=1, detail="d")
    with store.write() as tx:
        assert tx.set_problem(problem)
        assert not tx.set_problem(problem)
        assert tx.problems("demo") == tx.problems() == [problem]
        assert tx.clear_problem("demo", "mic")
        assert not tx.clear_problem("demo", "mic")
        snooze = tx.insert_snooze(
            model.Snooze(id=0, label="dog", device_id="", room="", until_ms=10, by="anna")
        )
        assert [s.by for s in tx.snoozes(9)] == ["anna"]
        assert tx.snoozes(10) == []
        tx.delete_snooze(snooze)
        assert tx.use_link("x", 1)
        assert not tx.use_link("x", 2)
        assert tx.put_meta_once("k", "a") == "a"
        assert tx.put_meta_once("k", "b") == "a"
        tx.put_meta("k", "c")
        assert tx.get_meta("k") == "c"


def test_retention_keeps_open_alerts_and_replay_protection(store):
    old, new = 1000, START_MS
    with store.write() as tx:
        insert(tx, 1)
        tx.insert_alert(alert(opened_ms=old))
        closed = tx.insert_alert(alert(opened_ms=old, state="told"))
        tx.insert_outbox(outbox_row("k", alert_id=closed), now_ms=old)
        boot = model.Boot(device_id="demo", boot=BOOT, boot_n=1, first_ms=1, last_ms=1, max_seq=7)
        tx.put_boot(boot)
        deleted = tx.purge(
            events_ms=new * 2, alerts_ms=new, digest_day="2020-01-01", dead_letters_ms=new
        )
        assert (deleted["events"], deleted["alerts"], deleted["outbox"]) == (1, 1, 1)
        assert tx.get_boot("demo", BOOT).upto == 7
        assert len(tx.open_alerts()) == 1


def test_export_then_erase_leaves_nothing_of_a_resident(store):
    other = model.Device(id="other", state="approved", room="hall", resident="Otto")
    with store.write() as tx:
        tx.insert_device(DEVICE)
        tx.insert_device(other)
        insert(tx, 1)
        alert_id = tx.insert_alert(alert())
        tx.insert_alert(alert(resident="Otto"))
        tx.insert_outbox(outbox_row("k", alert_id=alert_id), now_ms=START_MS)
        tx.insert_outbox(outbox_row("d", kind="digest"), now_ms=START_MS)
        tx.put_digest("2026-11-20", "Marta", "dog", 3)
    with store.read() as tx:
        exported = list(tx.export("Marta"))
    assert {row["table"] for row in exported} == {
        "devices",
        "events",
        "alerts",
        "outbox",
        "digests",
    }
    with store.write() as tx:
        tx.erase("Marta")
        assert list(tx.export("Marta")) == []
        assert tx.counts()["outbox"] == 0
        assert tx.get_device("demo").state == "quarantined"
        assert len(tx.alerts()) == 1


def test_a_newer_schema_is_refused(store):
    change = (
        "PRAGMA user_version = 999"
        if store.url.startswith("sqlite")
        else "INSERT INTO schema_migrations (number) VALUES (999)"
    )
    with store.write() as tx:
        tx._execute(change, ())
    with pytest.raises(GatewayError, match="newer"):
        open_store(store.url)


def test_backup_is_a_complete_copy(store, tmp_path):
    from tools import require_tool

    with store.write() as tx:
        insert(tx, 1)
    target = tmp_path / "copy"
    if store.url.startswith("postgres"):
        require_tool("pg_dump")
        store.backup(target)
        assert target.read_bytes().startswith(b"PGDMP")
    else:
        store.backup(target)
        copy = open_store(f"sqlite:///{target}")
        with copy.read() as tx:
            assert tx.counts()["events"] == 1
        copy.close()
    with pytest.raises(GatewayError, match="exists"):
        store.backup(target)


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:////proc/nowhere/x.db"])
def test_a_wrong_address_is_one_clear_error(url):
    with pytest.raises(GatewayError, match=r"unknown kind|database"):
        open_store(url)
