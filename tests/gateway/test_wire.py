"""The closed schema: what it accepts, what it refuses, and that audio has no way in."""

from __future__ import annotations

import base64
import json

import pytest
from earmark_gateway import topics, wire
from fuzz_payloads import fuzz, is_valid_event
from gwkit import encode, event_fields, health_fields


def info_fields(**changes):
    fields = {
        "v": 1,
        "firmware": "1.0.0",
        "model": "em-1.4.0+3fa9",
        "frontend": "0123456789abcdef",
        "labels": ["dog", "smoke_alarm"],
        "thresholds": {"dog": 0.8, "smoke_alarm": 0.75},
    }
    return fields | changes


def test_valid_messages_pass():
    event = wire.decode_event(encode(event_fields(ts=1_795_227_818_123, sync=True)))
    assert (event.event_type, event.seq, event.conf) == ("glass_break", 1, 0.93)
    assert wire.decode_health(encode(health_fields(flags=["mic_dc"]))).flags == ["mic_dc"]
    assert wire.decode_info(encode(info_fields())).labels == ["dog", "smoke_alarm"]
    assert wire.decode_response(b'{"v":1,"id":"a1","ok":true}').ok
    assert (
        wire.decode_response(b'{"v":1,"id":"a1","ok":false,"error":"expired"}').error == "expired"
    )
    assert wire.decode_status(b"online") == "online"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "version"),
        ({"v": "1"}, "schema"),
        ({"event_type": "Glass"}, "schema"),
        ({"event_type": "glass_break\n"}, "schema"),
        ({"event_type": "a" * 33}, "schema"),
        ({"phase": "middle"}, "schema"),
        ({"boot": "5B1E9C7702AA41D3"}, "schema"),
        ({"seq": 0}, "schema"),
        ({"seq": 1.0}, "schema"),
        ({"seq": True}, "schema"),
        ({"conf": 1.001}, "schema"),
        ({"conf": 0.12345}, "schema"),
        ({"dur_ms": 1}, "schema"),
        ({"phase": "end", "dur_ms": 600_001}, "schema"),
        ({"model": "em-1.4.0"}, "schema"),
        ({"extra": 1}, "schema"),
        ({"sync": 1}, "schema"),
    ],
)
def test_every_rule_refuses(change, reason):
    with pytest.raises(wire.WireError) as caught:
        wire.decode_event(encode(event_fields(**change)))
    assert caught.value.reason == reason


@pytest.mark.parametrize("key", sorted(event_fields()))
def test_every_field_is_needed(key):
    fields = event_fields()
    del fields[key]
    with pytest.raises(wire.WireError):
        wire.decode_event(encode(fields))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[" * 1000,
        b'{"v":1',
        b"\xff\xfe",
        b'{"v":1e999}',
        encode(event_fields())[:-1],
    ],
)
def test_nonsense_is_refused(payload):
    for decode in (wire.decode_event, wire.decode_health, wire.decode_info, wire.decode_response):
        with pytest.raises(wire.WireError):
            decode(payload)


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"1e999", b"0.9300"])
def test_numbers_python_would_take(constant):
    payload = encode(event_fields()).replace(b"0.93", constant)
    if constant == b"0.9300":
        assert wire.decode_event(payload).conf == 0.93
        return
    with pytest.raises(wire.WireError):
        wire.decode_event(payload)


@pytest.mark.parametrize("n_bytes", [40, 300, 5000])
def test_audio_has_no_way_in(n_bytes):
    """Over 1 KiB, as an unknown key, as a label, hidden behind a repeated key, appended."""
    audio = base64.b64encode(bytes(range(256)) * 20)[:n_bytes].decode()
    plain = encode(event_fields())
    hidden = [
        encode(event_fields(audio=audio)),
        encode(event_fields(event_type=audio)),
        encode(event_fields(model=audio)),
        encode(event_fields(eid=audio)),
        plain.replace(b'{"v":1', f'{{"model":"{audio}","v":1'.encode()),
        plain + audio.encode(),
        encode([*event_fields().values(), audio]),
        json.dumps(event_fields()).encode() + b" " * 1024,
    ]
    for payload in hidden:
        with pytest.raises(wire.WireError):
            wire.decode_event(payload)


def test_mutations_never_escape_or_slip_through():
    accepted = fuzz(40_000, seed=7)
    # Some mutations stay valid (another digit): the oracle is exercised, not only the refusals.
    assert 100 < accepted < 10_000


def test_the_oracle_refuses_what_the_decoder_must():
    assert is_valid_event(encode(event_fields()))
    assert not is_valid_event(encode(event_fields(extra=1)))
    assert not is_valid_event(encode(event_fields(dur_ms=5)))


def test_repeated_keys_are_refused_everywhere():
    for decode, fields in (
        (wire.decode_event, event_fields()),
        (wire.decode_health, health_fields(flags=["mic_dc", "overrun"])),
        (wire.decode_info, info_fields()),
    ):
        payload = encode(fields)
        decode(payload)
        with pytest.raises(wire.WireError, match="twice"):
            decode(payload.replace(b'{"v":1', b'{"v":1,"v":1', 1))
    with pytest.raises(wire.WireError, match="twice"):
        wire.decode_response(b'{"v":1,"id":"x","id":"y","ok":true}')


def test_json_schema_agrees_with_the_decoder():
    schema = wire.json_schema()
    event = schema["$defs"]["Event"]
    assert set(event["required"]) == set(event["properties"]) == set(event_fields())
    assert event["additionalProperties"] is False
    json.dumps(schema)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("earmark/v1/demo/event", ("demo", "event", "")),
        ("earmark/v1/0a1b2c3d4e5f/rsp/identify", ("0a1b2c3d4e5f", "rsp", "identify")),
        ("earmark/v1/demo/ack", None),
        ("earmark/v1/demo/event/x", None),
        ("earmark/v1/demo/rsp", None),
        ("earmark/v1/gateway/event", None),
        ("earmark/v1/Demo/event", None),
        ("earmark/v2/demo/event", None),
        ("earmark/v1/demo/event\n", None),
    ],
)
def test_topics(topic, expected):
    assert topics.parse(topic) == expected
