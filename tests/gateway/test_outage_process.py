"""Whole gateways on a bad day: killed, doubled, misconfigured; and what their logs give away."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from earmark_gateway.service import Gateway
from gwkit import config, wait_for
from outage_kit import publish, publisher, queue_rows
from servers import free_port


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
