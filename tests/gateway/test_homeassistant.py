"""Home Assistant: its own validation accepts every message, and the mirror follows the truth."""

from __future__ import annotations

import json

import ha_oracle
import jinja2
import paho.mqtt.client as paho
import pytest
from earmark_gateway import labels, model
from earmark_gateway.config import load_config
from earmark_gateway.errors import GatewayError
from earmark_gateway.homeassistant import discovery
from earmark_gateway.homeassistant.mirror import HomeAssistantMirror
from earmark_gateway.ingest import Change
from earmark_gateway.service import Gateway
from earmark_gateway.wire import decode_event
from gwkit import config, encode, event_fields, health_fields
from servers import free_port, mosquitto_broker
from test_service import wait_for

DEVICE = model.Device(
    id="4f0c9a1b22d3",
    state="approved",
    name='Bedside "left"',
    room="bed room",
    resident="Marta Mustermann",
    last_seen_ms=1_795_227_818_123,
    labels=("dog", "smoke_alarm", "co_alarm"),
    firmware="1.0.0",
    model="em-1.4.0+3fa9",
    health=health_fields(),
)
HOUSE = config(gateway={"id": "home", "base_url": "https://gateway.example/earmark"})


def bare(device_id, **fields):
    return model.Device(id=device_id, state="approved", **fields)


def messages():
    """Discovery messages of every kind of device."""
    everything = tuple(sorted(labels.CATALOGUE))
    devices = [
        DEVICE,
        bare("demo"),  # has said nothing yet
        bare("a", labels=()),  # hears nothing
        bare("a" * 32, labels=everything, name="x" * 64, room="\N{SNOWMAN} \u00fcber"),
        bare("with_under-score", labels=("x" * 32,)),
    ]
    for settings in (HOUSE, config(homeassistant={"discovery_prefix": "home/assistant"})):
        for device in devices:
            yield settings, device.id, discovery.device_discovery(device, settings)
        yield settings, discovery.gateway_node(settings), discovery.gateway_discovery(settings)


def broken(change):
    message = discovery.device_discovery(DEVICE, HOUSE)
    change(message)
    return message


# One for every kind of check, so that a stub in the oracle cannot hide that it has gone blind.
BROKEN = {
    "identifi": lambda m: m["device"].pop("identifiers"),
    "origin": lambda m: m.pop("origin"),
    "unique_id": lambda m: m["components"]["rssi"].pop("unique_id"),
    "unit": lambda m: m["components"]["rssi"].update(unit_of_measurement="kg"),
    "template": lambda m: m["components"]["queue"].update(value_template="{{ x"),
    "object_id": lambda m: m["components"]["queue"].update(object_id="queue"),
    "event_types": lambda m: m["components"]["sounds"].pop("event_types"),
    "device_class": lambda m: m["components"]["smoke_alarm"].update(device_class="smell"),
    "icon": lambda m: m["components"]["sounds"].update(icon="ear"),
    "url": lambda m: m["device"].update(configuration_url="no url"),
    "topic": lambda m: m["components"]["sounds"].update(state_topic="a/#/b"),
    "must be one of": lambda m: m["components"]["sounds"].update(platform="nose"),
}


def test_home_assistant_itself_accepts_every_discovery_message_and_refuses_broken_ones(
    tmp_path,
):
    sent = []
    for settings, node, message in messages():
        topic = discovery.discovery_topic(settings, node)
        # The prefix is a setting of both sides; Home Assistant removes it before matching.
        prefix = settings.homeassistant.discovery_prefix
        sent.append([topic.replace(f"{prefix}/", "homeassistant/", 1), json.dumps(message)])
    n_good = len(sent)
    topic = sent[0][0]
    sent += [[topic, json.dumps(broken(change))] for change in BROKEN.values()]
    sent.append(["homeassistant/device/not valid/config", sent[0][1]])
    result = ha_oracle.judge(sent, tmp_path)
    assert result["version"] == ha_oracle.HOME_ASSISTANT
    assert not {"probatio", "jinja2", "homeassistant", "yarl"} & set(result["stubbed"])
    for (name, _), (objections, _parts) in zip(sent, result["verdicts"][:n_good], strict=False):
        assert objections == [], name
    for reason, (objections, _parts) in zip(
        [*BROKEN, "topic"], result["verdicts"][n_good:], strict=True
    ):
        assert objections, f"the oracle is blind for {reason}"
        assert any(reason in line for line in objections), (reason, objections)
    parts = result["verdicts"][0][1]
    assert parts["sounds"] == "event"
    assert parts["smoke_alarm"] == parts["co_alarm"] == parts["connected"] == "binary_sensor"
    assert parts["fall"] is None  # its model does not hear falls: Home Assistant removes the entity


def rendered(message, state):
    """What Home Assistant reads out of a state message, by component."""
    templates = {
        key: jinja2.Template(part["value_template"])
        for key, part in message["components"].items()
        if "value_template" in part
    }
    return {key: template.render(value_json=state) for key, template in templates.items()}


def test_every_entity_finds_its_value_in_the_state():
    message = discovery.device_discovery(DEVICE, HOUSE)
    state = discovery.device_state(
        DEVICE, problems={"microphone_fault"}, open_labels={"smoke_alarm"}
    )
    values = rendered(message, json.loads(json.dumps(state)))
    assert values["smoke_alarm"] == values["microphone_fault"] == values["connected"] == "ON"
    assert values["co_alarm"] == values["device_fault"] == values["muted"] == "OFF"
    assert values["rssi"] == "-61"
    assert values["last_seen"] == "2026-11-21T02:23:38.123+00:00"
    for key, value in values.items():
        assert value, f"{key} would keep its last value"  # empty: Home Assistant ignores it
    silent = rendered(message, discovery.device_state(bare("d"), problems=(), open_labels=()))
    assert silent["connected"] == "OFF"
    assert silent["rssi"] == silent["last_seen"] == "None"  # its word for unknown


def test_neither_residents_nor_ids_of_hardware_reach_home_assistant():
    state = discovery.device_state(DEVICE, problems=(), open_labels=())
    text = json.dumps([discovery.device_discovery(DEVICE, HOUSE), state])
    assert "Marta" not in text
    assert "serial" not in text
    assert "connections" not in text  # Home Assistant's key for MAC addresses


@pytest.mark.parametrize("phase", ["update", "end"])
def test_only_the_beginning_of_a_sound_is_an_event(phase):
    event = decode_event(encode(event_fields(phase=phase, dur_ms=900)))
    assert discovery.event(Change("event", "demo", event, 1)) is None
    started = decode_event(encode(event_fields()))
    message = discovery.event(Change("event", "demo", started, 1_795_227_818_123))
    assert message["event_type"] == "glass_break"
    assert message["critical"] is True


def test_a_wrong_prefix_is_refused():
    for prefix in ("", "a/#", "a/", "+", "a b"):
        with pytest.raises(ValueError, match="discovery_prefix"):
            config(homeassistant={"discovery_prefix": prefix})


TEXT = """
[mqtt]
port = {port}
[store]
url = "sqlite:///{folder}/g.db"
[homeassistant]
enabled = {enabled}
[[devices]]
id = "demo"
room = "kitchen"
resident = "Marta"
[[people]]
id = "anna"
name = "Anna"
role = "primary"
channels = ["file:{folder}/told.jsonl"]
"""
CONFIG = "homeassistant/device/earmark_demo/config"
STATE, EVENT = "earmark/ha/demo/state", "earmark/ha/demo/event"


class House:
    """A gateway with its mirror, a device, and Home Assistant's end of the broker."""

    def __init__(self, port, folder):
        self.port, self.folder = port, folder
        self.messages = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = lambda _, __, m: self.messages.append(m)
        self.client.on_connect = self.subscribe
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.gateway = self.mirror = None

    @staticmethod
    def subscribe(client, *_):
        client.subscribe([("homeassistant/device/#", 1), ("earmark/ha/#", 1)])

    def write(self, *, enabled):
        path = self.folder / "c.toml"
        text = TEXT.format(port=self.port, folder=self.folder, enabled=str(enabled).lower())
        path.write_text(text)
        return path

    def start(self, *, enabled=True):
        path = self.write(enabled=enabled)
        self.gateway = Gateway(load_config(path), config_path=path)
        self.gateway.start()
        self.mirror = HomeAssistantMirror(self.gateway)
        assert self.gateway.mqtt.wait_connected(20)

    def stop(self):
        if self.gateway is not None:
            self.mirror.stop()
            self.gateway.stop()
            self.gateway = None

    def say(self, kind, payload, device_id="demo"):
        topic = f"earmark/v1/{device_id}/{kind}"
        self.client.publish(topic, encode(payload), qos=1).wait_for_publish(20)

    def of(self, topic):
        return [m for m in self.messages if m.topic == topic]

    def state(self):
        found = self.of(STATE)
        return json.loads(found[-1].payload) if found and found[-1].payload else {}

    def until(self, condition):
        return wait_for(condition, 60)


@pytest.fixture
def house(mosquitto, tmp_path):
    made = House(mosquitto, tmp_path)
    yield made
    made.stop()
    made.client.disconnect()
    made.client.loop_stop()


def sound(seq, label="smoke_alarm", **changes):
    return event_fields(seq=seq, eid=f"5b1e-{seq}", event_type=label, late=False, **changes)


def test_the_mirror_shows_what_is_stored_and_only_that(house):
    house.start()
    house.until(lambda: house.of(CONFIG))
    house.until(house.state)
    assert house.state()["smoke_alarm"] == "OFF"
    house.say("event", sound(1))
    (event,) = house.until(lambda: house.of(EVENT))
    assert not event.retain
    assert json.loads(event.payload)["event_type"] == "smoke_alarm"
    house.until(lambda: house.state()["smoke_alarm"] == "ON")
    # The same event again, one of a stranger, and one outside the schema: nothing to show.
    house.say("event", sound(1))
    house.say("event", sound(2), device_id="stranger")
    house.say("event", sound(2) | {"audio": "AAAA"})
    house.say("event", sound(2, "dog"))
    house.until(lambda: len(house.of(EVENT)) == 2)
    assert json.loads(house.of(EVENT)[1].payload)["event_type"] == "dog"
    assert not [m for m in house.messages if "stranger" in m.topic]
    # Somebody takes care of it.
    with house.gateway.store.read() as tx:
        (alert,) = [a for a in tx.open_alerts() if a.label == "smoke_alarm"]
    assert house.gateway.acknowledge(alert.id, by="anna", how="web")
    house.until(lambda: house.state()["smoke_alarm"] == "OFF")
    assert not any(b"Marta" in m.payload for m in house.messages)


def test_a_new_model_a_restart_of_home_assistant_and_a_revoked_device(house):
    house.start()
    house.until(lambda: house.of(CONFIG))
    info = {
        "v": 1,
        "firmware": "2.0.0",
        "model": "em-2.0.0+0000",
        "frontend": "0" * 16,
        "labels": ["dog", "smoke_alarm"],
        "thresholds": {"dog": 0.5, "smoke_alarm": 0.5},
    }
    house.say("info", info)

    def types():
        return json.loads(house.of(CONFIG)[-1].payload)["components"]["sounds"]["event_types"]

    house.until(lambda: types() == ["dog", "smoke_alarm"])
    n_before = len(house.of(CONFIG))
    house.client.publish("homeassistant/status", b"online", qos=1).wait_for_publish(20)
    house.until(lambda: len(house.of(CONFIG)) > n_before)
    # As `earmark-gateway devices revoke` does, in another process.
    with house.gateway.store.write() as tx:
        tx.update_device("demo", state="revoked")
    house.until(lambda: house.of(CONFIG)[-1].payload == b"")
    for topic in (CONFIG, STATE, "earmark/ha/demo/availability"):
        house.until(lambda topic=topic: house.of(topic)[-1].payload == b"")
    late = House(house.port, house.folder)  # sees what is retained
    late.until(lambda: late.of("earmark/ha/gateway_home/state"))
    assert not [m for m in late.messages if "demo" in m.topic]
    late.client.loop_stop()


def test_sounds_that_are_old_news_are_not_fired(house):
    house.start()
    house.until(lambda: house.of(CONFIG))
    old_ms = house.gateway.clock.now_ms() - 600_000
    house.say("event", sound(1, ts=old_ms, sync=True))
    house.until(lambda: house.mirror.counts["too_old"])
    house.until(lambda: house.state()["smoke_alarm"] == "ON")  # the alert is open all the same
    house.say("event", sound(2, "dog"))
    (event,) = house.until(lambda: house.of(EVENT))
    assert json.loads(event.payload)["event_type"] == "dog"


def test_a_broker_that_forgets_everything_is_told_again(tmp_path):
    port = free_port()
    other = None
    try:
        with mosquitto_broker(port, tmp_path / "one"):
            other = House(port, tmp_path)
            other.start()
            other.until(lambda: other.of(CONFIG))
        other.messages.clear()
        with mosquitto_broker(port, tmp_path / "two"):
            other.until(lambda: other.of(CONFIG) and other.state())
            other.say("event", sound(1))
            other.until(lambda: other.of(EVENT))
            other.stop()
    finally:
        if other is not None:
            other.client.loop_stop()


def test_switched_off_it_leaves_nothing_behind_and_on_it_comes_back(house):
    house.start()
    house.until(lambda: house.of(STATE))
    house.stop()
    house.start(enabled=False)  # another process has to clear what the first has published
    house.until(lambda: house.of(CONFIG)[-1].payload == b"")
    heard = []
    house.gateway.add_listener(heard.append)  # called after the mirror's
    house.say("event", sound(1))
    house.until(lambda: heard)
    house.write(enabled=True)
    assert house.gateway.reload()
    house.until(lambda: house.of(CONFIG)[-1].payload != b"")
    house.until(lambda: house.state().get("smoke_alarm") == "ON")
    assert house.of(EVENT) == []  # nobody wanted it when it was heard
    house.client.publish("homeassistant/status", b"online", qos=1).wait_for_publish(20)
    n_before = len(house.of(CONFIG))
    house.until(lambda: len(house.of(CONFIG)) > n_before)


def test_a_flood_of_changes_neither_blocks_nor_grows(house):
    house.start()
    event = decode_event(encode(event_fields(event_type="dog")))
    now_ms = house.gateway.clock.now_ms()
    house.mirror._changed([Change("event", "nobody", event, now_ms)] * 100_000)
    assert len(house.mirror._events) <= 256
    house.until(lambda: not house.mirror._events)


def test_a_database_that_refuses_only_delays_the_mirror(house, monkeypatch):
    house.start()
    house.until(lambda: house.of(CONFIG))
    read = house.gateway.store.read
    refusals = []

    def refuse():
        refusals.append(1)
        raise GatewayError("no")

    monkeypatch.setattr(house.gateway.store, "read", refuse)
    house.until(lambda: refusals)
    monkeypatch.setattr(house.gateway.store, "read", read)
    house.say("event", sound(1))
    house.until(lambda: house.of(EVENT))
