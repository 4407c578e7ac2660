"""The whole gateway in one process against a real broker: from the sound to the answer."""

from __future__ import annotations

import json
import threading
import time

import paho.mqtt.client as paho
import pytest
from earmark_gateway import links
from earmark_gateway.config import load_config
from earmark_gateway.errors import GatewayError
from earmark_gateway.service import EXIT_STUCK, Gateway
from gwkit import encode, event_fields, wait_for

TEXT = """
[gateway]
base_url = "http://127.0.0.1:1/"
[mqtt]
port = {port}
[store]
url = "sqlite:///{folder}/g.db"
[[devices]]
id = "demo"
room = "kitchen"
[[people]]
id = "anna"
name = "Anna"
role = "primary"
channels = ["file:{folder}/told.jsonl"]
[[rules]]
labels = ["*"]
severity = "{severity}"
group_s = 0
"""


class House:
    def __init__(self, port, folder):
        self.folder, self.port = folder, port
        self.path = folder / "c.toml"
        self.write("alert")
        self.gateway = Gateway(load_config(self.path), config_path=self.path)
        self.changes = []
        self.gateway.add_listener(self.broken)
        self.gateway.add_listener(self.changes.extend)
        self.gateway.start()
        assert self.gateway.mqtt.wait_connected(60)
        self.messages = []
        self.device = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.device.on_message = lambda _, __, m: self.messages.append((m.topic, m.payload))
        self.device.connect("127.0.0.1", port)
        listening = threading.Event()
        self.device.on_subscribe = lambda *_: listening.set()
        self.device.loop_start()
        self.device.subscribe([("earmark/v1/+/ack", 1), ("earmark/v1/+/cmd/#", 1)])
        assert listening.wait(60)

    def broken(self, _changes):
        raise ZeroDivisionError

    def write(self, severity, extra=""):
        text = TEXT.format(port=self.port, folder=self.folder, severity=severity)
        self.path.write_text(text + extra)

    def hear(self, seq, device_id="demo", label="dog"):
        payload = encode(event_fields(seq=seq, eid=f"5b1e-{seq}", event_type=label))
        topic = f"earmark/v1/{device_id}/event"
        self.device.publish(topic, payload, qos=1).wait_for_publish(5)

    def told(self):
        path = self.folder / "told.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def alerts(self):
        with self.gateway.store.read() as tx:
            return tx.alerts()


@pytest.fixture
def house(mosquitto, tmp_path):
    made = House(mosquitto, tmp_path)
    yield made
    made.device.loop_stop()
    made.gateway.stop()


def test_from_the_sound_to_the_answer_by_link(house):
    house.hear(1)
    (message,) = wait_for(house.told)
    assert wait_for(lambda: house.messages)[0][0] == "earmark/v1/demo/ack"
    token = message["link"].removeprefix("http://127.0.0.1:1/a/")
    assert house.gateway.read_link(token).person_id == "anna"
    assert house.gateway.acknowledge_by_link(token)
    assert house.alerts()[0].acked_by == "anna"
    with pytest.raises(links.LinkError):
        house.gateway.acknowledge_by_link(token)
    kinds = {change.kind for change in house.changes}
    assert {"event", "alert"} <= kinds  # in spite of the listener that always fails


def test_actions_of_the_page(house):
    house.hear(1)
    wait_for(house.told)
    (alert,) = house.alerts()
    assert house.gateway.false_alarm(alert.id, by="anna", note="radio")
    assert not house.gateway.acknowledge(alert.id, by="ben", how="web")
    house.gateway.snooze(minutes=5, by="anna", room="kitchen")
    house.hear(2)
    wait_for(lambda: house.gateway.counts.get("events") == 2)
    assert len(house.alerts()) == 1
    house.hear(1, device_id="stranger")
    wait_for(lambda: house.gateway.counts.get("unapproved") == 1)
    house.gateway.approve("stranger", room="hall")
    house.hear(1, device_id="stranger")
    wait_for(lambda: house.gateway.counts.get("events") == 3)
    command_id = house.gateway.send_command("demo", "identify")
    topic, payload = wait_for(
        lambda: next((m for m in house.messages if m[0].endswith("cmd/identify")), None)
    )
    assert topic == "earmark/v1/demo/cmd/identify"
    assert json.loads(payload)["id"] == command_id


def test_reload_takes_a_good_file_and_keeps_the_old_one_otherwise(house):
    house.path.write_text("nonsense")
    assert not house.gateway.reload()
    assert house.gateway.config.rules[0].severity == "alert"
    house.write("log", '[[devices]]\nid = "second"\n')
    assert house.gateway.reload()
    house.hear(1, device_id="second")
    wait_for(lambda: house.gateway.counts.get("events") == 1)
    assert house.alerts() == []


def test_reload_keeps_what_only_a_restart_can_change_and_says_so(house, caplog):
    text = house.path.read_text()
    text = text.replace("[mqtt]", '[mqtt]\nhost = "elsewhere"\npassword = "canary"').replace(
        "[store]", "[web]\nenabled = true\nlogin = false\n[limits]\nburst = 7\n[store]"
    )
    house.path.write_text(text)
    running = house.gateway.config
    assert house.gateway.reload()
    config = house.gateway.config
    assert (config.mqtt, config.web) == (running.mqtt, running.web)
    assert config.limits.burst == house.gateway.processor.config.limits.burst == 7
    (record,) = [r for r in caplog.records if "restart" in r.message]
    assert record.settings == "mqtt.host, mqtt.password, web.enabled, web.login"
    assert "canary" not in caplog.text
    house.hear(1)
    wait_for(house.told)


def test_a_revoked_device_stays_out_although_the_file_names_it(house):
    with house.gateway.store.write() as tx:
        tx.update_device("demo", state="revoked")
    assert house.gateway.reload()
    house.hear(1)
    wait_for(lambda: house.gateway.counts.get("unapproved") == 1)
    house.gateway.approve("demo")
    house.hear(1)
    wait_for(lambda: house.gateway.counts.get("events") == 1)


def test_a_dead_part_asks_for_a_restart(house):
    assert house.gateway.stuck() == ""
    house.gateway.writer.stop()
    assert "Writer" in house.gateway.stuck()
    assert house.gateway.run(threading.Event(), threading.Event()) == EXIT_STUCK


def test_a_broker_that_stays_away_is_told_and_so_is_its_return(house, monkeypatch):
    gateway = house.gateway
    monkeypatch.setattr(gateway.mqtt, "lost_since_s", time.monotonic() - 301)
    gateway._watch_broker()
    gateway._watch_broker()
    monkeypatch.setattr(gateway.mqtt, "lost_since_s", None)
    gateway._watch_broker()
    titles = [m["title"] for m in wait_for(lambda: len(house.told()) == 2 and house.told())]
    assert sorted(titles) == ["Broker is back", "Gateway cannot reach its message broker"]


def test_a_defect_is_told_at_most_once_an_hour(house):
    for _ in range(3):
        house.gateway._on_defect()
    assert len(wait_for(house.told)) == 1


def test_the_older_protocol_of_the_demonstration_broker_works(mosquitto, tmp_path):
    path = tmp_path / "c.toml"
    text = TEXT.format(port=mosquitto, folder=tmp_path, severity="log")
    path.write_text(text.replace("[mqtt]", '[mqtt]\nprotocol = "3.1.1"'))
    gateway = Gateway(load_config(path))
    gateway.start()
    assert gateway.mqtt.wait_connected(60)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", mosquitto)
    client.loop_start()
    client.publish("earmark/v1/demo/event", encode(event_fields(event_type="dog")), qos=1)
    wait_for(lambda: gateway.counts.get("events") == 1)
    client.loop_stop()
    gateway.stop()


def test_commands_need_a_broker(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(TEXT.format(port=1, folder=tmp_path, severity="log"))
    gateway = Gateway(load_config(path))
    with pytest.raises(GatewayError, match="not connected"):
        gateway.send_command("demo", "identify")
    gateway.store.close()
