"""Outcomes that docs/gateway.md states for a bad day, each with the real parts involved."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from earmark_gateway import model
from earmark_gateway.clock import SystemClock
from earmark_gateway.errors import GatewayError, StoreUnavailableError
from earmark_gateway.ingest import Incoming, Processor
from earmark_gateway.mqtt_in import MqttLink
from earmark_gateway.notify.base import Delivery
from earmark_gateway.outbox import OutboxWorker
from earmark_gateway.service import Gateway
from earmark_gateway.store.sqlite import SqliteStore
from earmark_gateway.writer import Writer
from gwkit import Bench, config, encode, event_fields, incoming
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from servers import free_port, mosquitto_broker, wait_for_port


def wait_for(condition, timeout_s=60.0, what="condition"):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} not reached in {timeout_s} s"
        time.sleep(0.02)


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


def publisher(port):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def publish(client, n, topic="earmark/v1/demo/event"):
    for seq in range(1, n + 1):
        fields = event_fields(seq=seq, eid=f"5b1e-{seq}", event_type="dog")
        client.publish(topic, encode(fields), qos=1).wait_for_publish(60)


def link_to(port, deliver, **mqtt):
    made = MqttLink(config(mqtt={"port": port, **mqtt}), SystemClock(), deliver)
    made.start()
    assert made.wait_connected(60)
    return made


# --- the database refuses --------------------------------------------------------------------


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


# --- clocks and timers -----------------------------------------------------------------------


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


# --- the broker ------------------------------------------------------------------------------


def test_acknowledgements_of_an_old_connection_are_dropped(tmp_path):
    """After a reconnection the same packet id means another message."""
    port = free_port()
    received = []
    with mosquitto_broker(port, tmp_path / "a"):
        link = link_to(port, received.append)
        client = publisher(port)
        publish(client, 1)
        wait_for(lambda: len(received) == 1)
        client.loop_stop()
    (old,) = received
    with mosquitto_broker(port, tmp_path / "b"):
        wait_for(lambda: link.connected and link.epoch > old.epoch)
        client = publisher(port)
        publish(client, 1)
        wait_for(lambda: len(received) == 2)
        new = received[1]
        assert (new.mid, new.epoch > old.epoch) == (old.mid, True)
        link.ack(old)
        # The new message is unacknowledged: it comes again on the next connection.
        link._client._sock.shutdown(2)
        wait_for(lambda: len(received) == 3, what="redelivery")
        # Control: the right acknowledgement, and nothing comes again.
        link.ack(received[2])
        # Packets keep their order: when this one is through, so is the acknowledgement.
        link._client.publish("after/it", b"", qos=1).wait_for_publish(60)
        link._client._sock.shutdown(2)
        wait_for(lambda: link.epoch > received[2].epoch + 1 and link.connected)
        publish(client, 1, topic="earmark/v1/demo/health")
        wait_for(lambda: len(received) >= 4)
        assert [message.topic[-6:] for message in received[3:]] == ["health"]
        client.loop_stop()
        link.stop()


@pytest.mark.parametrize(
    "broken", ["deliver", "handler", "_on_connect", "_on_subscribe", "_on_disconnect"]
)
def test_an_exception_in_any_callback_leaves_the_link_alive(mosquitto, broken):
    received, fail = [], threading.Event()
    fail.set()

    def deliver(message):
        if broken == "deliver" and fail.is_set():
            raise ZeroDivisionError
        received.append(message)

    def handler(_topic, _payload):
        raise ZeroDivisionError

    link = MqttLink(config(mqtt={"port": mosquitto}), SystemClock(), deliver)
    link.add_handler("other/topic", handler)
    if broken.startswith("_on"):
        original = getattr(link._client, broken[1:])
        inner = getattr(link, broken)

        def raising(*arguments):
            inner(*arguments)
            if fail.is_set():
                raise ZeroDivisionError

        assert original is not None
        setattr(link._client, broken[1:], link._guard(raising))
    link.start()
    assert link.wait_connected(60)
    client = publisher(mosquitto)
    if broken == "deliver":
        publish(client, 1)
    elif broken == "handler":
        client.publish("other/topic", b"x", qos=1).wait_for_publish(60)
    else:
        link._client._sock.shutdown(2)
    wait_for(lambda: link.errors > 0, what="the exception")
    fail.clear()
    wait_for(lambda: link.connected)
    publish(client, 1)
    wait_for(lambda: len(received) >= 1, what="a message after the exception")
    assert link._client._thread.is_alive()
    client.loop_stop()
    link.stop()


def test_refused_subscriptions_are_no_connection():
    link = MqttLink(config(), SystemClock(), print)
    granted = ReasonCode(PacketTypes.SUBACK, "Granted QoS 1")
    refused = ReasonCode(PacketTypes.SUBACK, "Not authorized")
    link._subscribe_mid = 7
    link._on_subscribe(link._client, None, 7, [granted, refused])
    assert not link.connected
    assert link.lost_since_s is not None  # counts towards "cannot reach its message broker"
    link._on_subscribe(link._client, None, 6, [granted])
    assert not link.connected
    link._on_subscribe(link._client, None, 7, [granted, granted])
    assert link.connected
    assert link.lost_since_s is None


def test_a_half_open_connection_is_noticed_and_replaced(tmp_path):
    port = free_port()
    received = []
    with mosquitto_broker(port, tmp_path / "m") as broker:
        link = link_to(port, received.append, keepalive_s=5)
        # The broker's machine freezes: the socket stays open and silent.
        broker.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: not link.connected, what="loss noticed")
        finally:
            broker.send_signal(signal.SIGCONT)
        wait_for(lambda: link.connected)
        client = publisher(port)
        publish(client, 1)
        wait_for(lambda: received)
        client.loop_stop()
        link.stop()


def test_a_missing_echo_asks_for_a_restart(mosquitto, tmp_path):
    settings = {"port": mosquitto, "echo_interval_s": 0.1, "echo_timeout_s": 5}
    store = {"url": f"sqlite:///{tmp_path}/e.db"}
    gateway = Gateway(config(mqtt=settings, store=store))
    gateway.start()
    assert gateway.mqtt.wait_connected(60)
    for _ in range(3):
        before = gateway.mqtt.echo_s
        wait_for(lambda s=before: gateway.stuck() == "" and gateway.mqtt.echo_s > s, what="echo")
    # paho's thread hangs in a callback: connected, but nothing comes back.
    hang = threading.Event()
    gateway.mqtt._deliver = lambda _: hang.wait(60)
    client = publisher(mosquitto)
    publish(client, 1)
    wait_for(lambda: gateway.stuck() == "no echo through the broker")
    hang.set()
    client.loop_stop()
    gateway.stop()


# --- notifications ---------------------------------------------------------------------------


def queue_rows(store, n, *, first=0, url="test://anna"):
    with store.write() as tx:
        for i in range(first, first + n):
            tx.insert_outbox(
                model.NewOutboxRow(
                    key=f"k{i}",
                    alert_id=None,
                    recipient="anna",
                    channel=channel_of(url),
                    kind="alert",
                    severity="notice",
                    payload={"n": i, "title": "t", "body": "b"},
                    next_ms=0,
                ),
                now_ms=0,
            )


def channel_of(url):
    from earmark_gateway.escalation import channel_id

    return channel_id(url)


class Provider:
    def __init__(self, outcomes):
        self.outcomes = list(outcomes)
        self.calls = []

    def send(self, message):
        self.calls.append(message["n"])
        outcome = self.outcomes.pop(0) if self.outcomes else Delivery(ok=True)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


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


# --- the whole process -----------------------------------------------------------------------


def test_logs_carry_no_names_rooms_addresses_or_texts(mosquitto, tmp_path):
    """Canaries are planted in every field that a person could fill in."""
    path = tmp_path / "c.toml"
    path.write_text(f"""
[mqtt]
port = {mosquitto}
[store]
url = "sqlite:///{tmp_path}/g.db"
[web]
enabled = false
[[devices]]
id = "demo"
name = "canaryname"
room = "canaryroom"
resident = "canaryresident"
[[people]]
id = "canaryid"
name = "Canaryperson"
role = "primary"
channels = ["json://canaryuser:canarypass@127.0.0.1:{free_port()}", "nonsense://canaryurl"]
[[rules]]
labels = ["*"]
severity = "notice"
""")
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "earmark_gateway.cli", "run", "-c", str(path)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)], stdout=log, stderr=subprocess.STDOUT
        )
    wait_for(ready.exists)
    client = publisher(mosquitto)
    publish(client, 2)
    client.publish("earmark/v1/demo/event", b'{"canarypayload": 1}', qos=1).wait_for_publish(60)

    def tried():
        with sqlite3.connect(tmp_path / "g.db") as db:
            rows = db.execute("SELECT state FROM outbox").fetchall()
        return rows and all(state != "pending" for (state,) in rows)

    wait_for(tried)
    wait_for(lambda: "notification not delivered" in (tmp_path / "log").read_text())
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in (tmp_path / "log").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    client.loop_stop()
    text = (tmp_path / "log").read_text()
    assert "notification not delivered" in text
    assert "configuration reloaded" in text
    assert "canary" not in text.lower()
    for line in text.splitlines():
        assert line == "ready" or json.loads(line)["message"]


def test_wrong_configuration_and_database_are_messages_not_tracebacks(tmp_path):
    missing = subprocess.run(
        [sys.executable, "-m", "earmark_gateway.cli", "run", "-c", str(tmp_path / "no.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 1
    assert "no configuration" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_two_replicas_one_killed_mid_delivery(fresh_database, tmp_path):
    """Every notification arrives; what the killed one had in hand comes within the lease time."""
    from earmark_gateway.store import open_store

    url = fresh_database()
    store = open_store(url)
    queue_rows(store, 200)
    out = tmp_path / "out.jsonl"
    script = tmp_path / "replica.py"
    script.write_text(f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from earmark_gateway.clock import SystemClock
from earmark_gateway.notify.local import FileNotifier
from earmark_gateway.outbox import OutboxWorker
from earmark_gateway.store import open_store
from gwkit import config
class Slow(FileNotifier):
    def send(self, message):
        time.sleep(0.05)
        return super().send({{**message, "owner": sys.argv[1]}})
worker = OutboxWorker(open_store({url!r}), config(), SystemClock(), owner=sys.argv[1],
                      make=lambda _: Slow(Path({str(out)!r})), lease_ms=3000)
worker.start()
print("running", flush=True)
time.sleep(600)
""")
    replicas = [
        subprocess.Popen([sys.executable, str(script), name], stdout=subprocess.PIPE)
        for name in ("a", "b")
    ]
    try:
        for replica in replicas:
            replica.stdout.readline()
        wait_for(lambda: out.exists() and len(out.read_text().splitlines()) > 40)
        replicas[0].kill()

        def unsent():
            with store.read() as tx:
                rows = tx._all("SELECT COUNT(*) FROM outbox WHERE state <> 'sent'")
            return rows[0][0]

        wait_for(lambda: unsent() == 0)
    finally:
        for replica in replicas:
            replica.kill()
            replica.wait()
            replica.stdout.close()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    told = [line["n"] for line in lines]
    assert {line["owner"] for line in lines} == {"a", "b"}
    assert set(told) == set(range(200))
    # At most what the killed one's only channel had in hand is told twice.
    assert len(told) - 200 <= 1
    store.close()


def test_replicas_store_each_event_once(fresh_database, mosquitto):
    """Both receive everything; the database decides."""
    url = fresh_database()
    settings = {"mqtt": {"port": mosquitto}, "store": {"url": url}}
    rules = [{"labels": ["*"], "severity": "notice", "group_s": 0}]
    replicas = []
    for name in ("one", "two"):
        gateway = Gateway(config(gateway={"id": name}, rules=rules, people=[], **settings))
        gateway.start()
        assert gateway.mqtt.wait_connected(60)
        replicas.append(gateway)
    client = publisher(mosquitto)
    publish(client, 100)

    def stored():
        with replicas[0].store.read() as tx:
            return tx.counts()

    wait_for(lambda: stored()["events"] == 100)
    wait_for(lambda: sum(g.counts.get("duplicates", 0) for g in replicas) >= 100)
    assert stored()["events"] == stored()["alerts"] == 100
    assert sum(g.counts.get("events", 0) for g in replicas) == 100
    client.loop_stop()
    for gateway in replicas:
        gateway.stop()


def test_the_monthly_test_takes_the_whole_way(mosquitto, tmp_path):
    people = [
        {
            "id": "anna",
            "name": "Anna",
            "role": "primary",
            "channels": [f"file:{tmp_path}/told.jsonl"],
        }
    ]
    gateway = Gateway(
        config(mqtt={"port": mosquitto}, store={"url": f"sqlite:///{tmp_path}/s.db"}, people=people)
    )
    gateway.start()
    assert gateway.mqtt.wait_connected(60)
    gateway.run_self_test()
    wait_for((tmp_path / "told.jsonl").exists, what="the notification")
    assert json.loads((tmp_path / "told.jsonl").read_text())["label"] == "self_test"
    gateway.stop()


def test_incoming_is_small_even_if_the_message_is_not(mosquitto):
    received: list[Incoming] = []
    link = link_to(mosquitto, received.append)
    client = publisher(mosquitto)
    client.publish("earmark/v1/demo/event", b"x" * 200_000, qos=1).wait_for_publish(60)
    wait_for(lambda: received)
    assert len(received[0].payload) == 1025
    client.loop_stop()
    link.stop()


def test_wait_for_port_notices_a_server_that_ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(AssertionError, match="ended"):
        wait_for_port(free_port(), process)


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
