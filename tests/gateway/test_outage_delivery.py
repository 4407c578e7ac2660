"""Providers that fail, hang or refuse: every notification is told, none twice."""

from __future__ import annotations

import threading
import time

import pytest
from earmark_gateway.clock import SystemClock
from earmark_gateway.errors import StoreUnavailableError
from earmark_gateway.notify.base import Delivery
from earmark_gateway.outbox import OutboxWorker
from earmark_gateway.store.sqlite import SqliteStore
from gwkit import config, wait_for
from outage_kit import Provider, queue_rows


@pytest.fixture
def store(tmp_path):
    opened = SqliteStore(str(tmp_path / "g.db"))
    yield opened
    opened.close()


def test_failures_come_again_and_permanent_ones_do_not(store):
    queue_rows(store, 1)
    provider = Provider([Delivery(ok=False, error="HTTP 500")])
    worker = OutboxWorker(store, config(), SystemClock(), owner="w", make=lambda _: provider)
    worker.start()
    wait_for(lambda: worker.counts["sent"] == 1)
    worker.stop()
    assert provider.calls == [0, 0]
    assert worker.counts == {"sent": 1, "failed": 1, "dead": 0}


def test_a_channel_that_is_gone_is_dead_at_once(store):
    queue_rows(store, 1)
    worker = OutboxWorker(store, config(people=[]), SystemClock(), owner="w")
    worker.start()
    wait_for(lambda: worker.counts["dead"] == 1)
    worker.stop()


def test_a_provider_that_raises_does_not_stop_the_worker(store):
    queue_rows(store, 3)
    provider = Provider([ZeroDivisionError()])
    worker = OutboxWorker(
        store, config(), SystemClock(), owner="w", make=lambda _: provider, lease_ms=300
    )
    worker.start()
    wait_for(lambda: worker.counts["sent"] == 3)
    worker.stop()
    assert sorted(provider.calls)[:2] == [0, 0] or len(provider.calls) == 4


def test_a_channel_records_each_notification_before_it_sends_the_next(store):
    """The bound on repeats after a kill: one per channel, however fast the channel is."""
    queue_rows(store, 60)
    ahead = []

    class Watching(Provider):
        def send(self, message):
            outcome = super().send(message)
            with store.read() as tx:
                ((n_recorded,),) = tx._all("SELECT COUNT(*) FROM outbox WHERE state = 'sent'")
            ahead.append(len(self.calls) - n_recorded)
            return outcome

    provider = Watching([])
    worker = OutboxWorker(store, config(), SystemClock(), owner="w", make=lambda _: provider)
    worker.start()
    wait_for(lambda: worker.counts["sent"] == 60)
    worker.stop()
    assert provider.calls == list(range(60))
    assert set(ahead) == {1}


def test_a_channel_that_hangs_holds_up_nobody_else(store):
    queue_rows(store, 20)
    queue_rows(store, 20, first=20, url="test://ben")
    hang, quick = threading.Event(), Provider([])

    class Hanging(Provider):
        def send(self, message):
            hang.wait(60)
            return super().send(message)

    hanging = Hanging([])
    channels = {"test://anna": hanging, "test://ben": quick}
    worker = OutboxWorker(store, config(), SystemClock(), owner="w", make=channels.__getitem__)
    worker.start()
    wait_for(lambda: len(quick.calls) == 20)
    assert hanging.calls == []
    hang.set()
    wait_for(lambda: worker.counts["sent"] == 40)
    worker.stop()


def test_an_outcome_that_the_database_refuses_is_recorded_later_and_not_sent_again(store):
    queue_rows(store, 1)
    refused = threading.Event()

    class Filling(Provider):
        def send(self, message):
            # The disk fills up between the claim and the record.
            with store._write_lock:
                store._writer.execute("PRAGMA query_only = ON")
            return super().send(message)

    class Watched:
        def __getattr__(self, name):
            return getattr(store, name)

        def finish_outbox(self, *arguments, **changes):
            try:
                return store.finish_outbox(*arguments, **changes)
            except StoreUnavailableError:
                refused.set()
                raise

    provider = Filling([])
    worker = OutboxWorker(
        Watched(), config(), SystemClock(), owner="w", make=lambda _: provider, lease_ms=100
    )
    worker.start()
    assert refused.wait(60)
    with store._write_lock:
        store._writer.execute("PRAGMA query_only = OFF")
    wait_for(lambda: worker.counts["sent"] == 1)
    worker.stop()
    assert provider.calls == [0]


def test_what_a_stopped_gateway_has_not_begun_is_due_at_once(store):
    """A replica that is stopped must not keep the others waiting for its leases."""
    queue_rows(store, 40)
    begun = threading.Event()

    class Slowing(Provider):
        def send(self, message):
            if message["n"] >= 8:  # the channel was fast: several are leased together
                begun.set()
                time.sleep(0.3)
            return super().send(message)

    worker = OutboxWorker(store, config(), SystemClock(), owner="w", make=lambda _: Slowing([]))
    worker.start()
    assert begun.wait(60)
    worker.stop()
    with store.read() as tx:
        states = {state for (state,) in tx._all("SELECT DISTINCT state FROM outbox")}
    assert states == {"sent", "pending"}


def test_apprise_outcomes():
    import http.server

    from earmark_gateway.notify.remote import AppriseNotifier

    codes = iter([200, 404, 500, 429])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(next(codes))
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    notifier = AppriseNotifier(f"json://127.0.0.1:{server.server_address[1]}")
    message = {"title": "t", "body": "b", "severity": "critical"}
    outcomes = [notifier.send(message) for _ in range(4)]
    server.shutdown()
    server.server_close()
    assert [(o.ok, o.permanent) for o in outcomes] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]
    refused = notifier.send(message)
    assert (refused.ok, refused.permanent) == (False, False)
    assert AppriseNotifier("nonsense://x").send(message).permanent


def test_a_refusing_database_is_told_past_the_outbox():
    from earmark_gateway.emergency import StoreAlarm
    from gwkit import FakeClock

    clock, provider = FakeClock(), Provider([])
    provider.send = lambda message: (provider.calls.append(message), Delivery(ok=True))[1]
    alarm = StoreAlarm(clock, make=lambda _: provider)
    alarm.set_state(ok=False)
    assert not alarm.check(config())
    clock.advance(61)
    assert alarm.check(config())
    clock.advance(600)
    assert not alarm.check(config())
    wait_for(lambda: provider.calls)
    assert provider.calls[0]["recipient"] == "anna"
    alarm.set_state(ok=True)
    clock.advance(4000)
    assert not alarm.check(config())


def test_the_dead_man_switch_is_visited_once_a_minute():
    import http.server

    from earmark_gateway.emergency import DeadManSwitch
    from gwkit import FakeClock

    visits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            visits.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    clock = FakeClock()
    switch = DeadManSwitch(clock)
    url = f"http://127.0.0.1:{server.server_address[1]}/id"
    asked = []
    for _ in range(130):
        asked.append(switch.visit(url))
        clock.advance(1)
    wait_for(lambda: len(visits) == 3)
    assert sum(asked) == 3
    assert not DeadManSwitch(clock).visit("")
    server.shutdown()
    server.server_close()
