"""The database refuses, is damaged or taken; clocks jump; somebody is told past the database."""

from __future__ import annotations

import threading

import pytest
from earmark_gateway.errors import GatewayError, StoreUnavailableError
from earmark_gateway.ingest import Processor
from earmark_gateway.store.sqlite import SqliteStore
from earmark_gateway.writer import Writer
from gwkit import Bench, event_fields, incoming, wait_for


@pytest.fixture
def store(tmp_path):
    opened = SqliteStore(str(tmp_path / "g.db"))
    yield opened
    opened.close()


class Connection:
    """Stands in for the broker: remembers acknowledgements."""

    def __init__(self):
        self.acked = []
        self.app_acked = []

    def ack(self, message):
        self.acked.append(message.mid)

    def send_ack(self, device_id, ack):
        self.app_acked.append((device_id, ack.upto))


def run_writer(store):
    bench = Bench(store)
    connection, states = Connection(), []
    writer = Writer(
        store, bench.processor, connection, on_commit=lambda _: None, on_state=states.append
    )
    writer.start()
    return writer, connection, states


def test_disk_full_acknowledges_nothing_and_loses_nothing(store):
    writer, connection, states = run_writer(store)
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    with store._write_lock:
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
    for seq in range(1, 1001):
        writer.put(incoming(event_fields(seq=seq, eid=f"5b1e-{seq}"), mid=seq))
    wait_for(lambda: False in states, what="refusal noticed")
    before = len(connection.acked)
    with store.read() as tx:
        assert tx.counts()["events"] == before < 1000
    with store._write_lock:
        store._writer.execute("PRAGMA max_page_count = 1000000")
    wait_for(lambda: len(connection.acked) == 1000, what="recovery")
    writer.stop()
    assert states[-1] is True
    assert connection.acked == sorted(connection.acked)
    assert connection.app_acked[-1] == ("demo", 1000)
    with store.read() as tx:
        assert tx.counts()["events"] == 1000


def test_read_only_database_acknowledges_nothing_until_it_is_writable(store):
    writer, connection, states = run_writer(store)
    with store._write_lock:
        store._writer.execute("PRAGMA query_only = ON")
    writer.put(incoming(event_fields(), mid=7))
    wait_for(lambda: False in states)
    assert connection.acked == []
    with store._write_lock:
        store._writer.execute("PRAGMA query_only = OFF")
    wait_for(lambda: connection.acked == [7])
    writer.stop()


def test_read_only_file_is_one_clear_error(tmp_path, store):
    def write():
        with store.write() as tx:
            store._writer.execute("PRAGMA query_only = ON")
            tx.put_meta("a", "b")

    with pytest.raises(StoreUnavailableError, match="database"):
        write()
    store._writer.execute("PRAGMA query_only = OFF")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GatewayError, match="folder"):
        SqliteStore(str(tmp_path / "folder"))


def test_a_second_gateway_on_the_same_file_is_refused(store):
    store.take_over()
    again = SqliteStore(store._path)
    with pytest.raises(GatewayError, match="another gateway"):
        again.take_over()
    again.close()


def test_a_message_that_trips_a_defect_does_not_block_the_others(store):
    bench = Bench(store)

    class Defective(Processor):
        def apply(self, tx, batch):
            if any(message.mid == 3 for message in batch):
                raise KeyError("a defect")
            return super().apply(tx, batch)

    connection = Connection()
    processor = Defective(bench.config, bench.clock)
    writer = Writer(store, processor, connection, on_commit=lambda _: None)
    for seq in range(1, 7):
        writer.put(incoming(event_fields(seq=seq, eid=f"5b1e-{seq}"), mid=seq))
    writer.start()
    wait_for(lambda: len(connection.acked) == 6)
    writer.stop()
    with store.read() as tx:
        assert tx.counts()["events"] == 5
        assert [letter.reason for letter in tx.dead_letters()] == ["internal"]
    # The device keeps event 3: it is not among the acknowledged.
    assert connection.app_acked[-1] == ("demo", 2)


def test_the_database_lock_is_handed_over_in_the_order_of_asking():
    from earmark_gateway.store.fifo import FifoLock

    lock, order = FifoLock(), []

    def take(name):
        with lock:
            order.append(name)

    threads = []
    with lock:
        for name in range(5):
            threads.append(threading.Thread(target=take, args=(name,)))
            threads[-1].start()
            wait_for(lambda n=name: len(lock._waiting) == n + 1)
        assert order == []
    # Whoever comes now queues behind those who wait, though this thread has just had it.
    take("again")
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4, "again"]


def test_a_thousand_timers_over_a_restart_fire_once_each(tmp_path):
    rule = {"labels": ["dog"], "group_s": 0, "steps": [{"after_s": 60, "to": ["primary"]}]}
    bench = Bench(SqliteStore(str(tmp_path / "t.db")), rules=[rule])
    for start in range(1, 1001, 50):
        bench.receive(
            *[
                incoming(event_fields(seq=seq, eid=f"5b1e-{seq}", event_type="dog"))
                for seq in range(start, start + 50)
            ]
        )
    assert bench.deliver() == []
    bench.store.close()
    clock = bench.clock
    clock.advance(3600)
    again = Bench(SqliteStore(str(tmp_path / "t.db")), clock, rules=[rule])
    assert again.scheduler.fire_due() == 1000
    again.scheduler.fire_due()
    rows = again.deliver()
    assert len(rows) == len({row.alert_id for row in rows}) == 1000
    again.store.close()


@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_clock_jumps_of_an_hour_delay_nothing_and_repeat_nothing(store, jump_s):
    rule = {
        "labels": ["smoke_alarm"],
        "severity": "critical",
        "steps": [{"to": ["primary"]}, {"after_s": 120, "to": ["backup"]}],
    }
    bench = Bench(store, rules=[rule])
    bench.event(event_type="smoke_alarm")
    assert len(bench.deliver()) == 1
    bench.run(60)
    bench.clock.jump(jump_s)
    sent = bench.run(130)
    # Forward: the next step comes early. Backward: at most one step length from now.
    assert [who for _, who, _ in sent] == ["ben"]
    assert sent[0][0] <= 121
