"""Mutated payloads: `python tests/gateway/fuzz_payloads.py 1000000` runs a million.

Each mutation of a valid message is decoded. Accepted ones must satisfy an independent check of the
schema (written a second time below, with plain `json` and `re`); refused ones must be
refused with a `WireError` and nothing else.
"""

from __future__ import annotations

import base64
import json
import random
import re
import sys

from earmark_gateway import wire
from gwkit import encode, event_fields, health_fields

ACCENTS = [b"\xc3\xa9", b"\xff", b"\x00", b"\xf0\x9f\x94\x94", b"\\u0041", b"\\n", b'\\"']
TOKENS = [b"NaN", b"1e999", b"-1", b"1.5", b"null", b"true", b"[]", b"{}", b'""', b"9" * 400]


def mutate(rng, payload):
    data = bytearray(payload)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.randrange(9)
        at = rng.randrange(len(data) + 1)
        if kind == 0 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = bytes([rng.randrange(256)])
        elif kind == 2:
            del data[at : at + rng.randrange(1, 9)]
        elif kind == 3:
            data[at:at] = rng.choice(ACCENTS)
        elif kind == 4:
            swap_value(rng, data)
        elif kind == 5:
            pcm = rng.randbytes(rng.choice((12, 90, 700, 1500)))
            wrapped = base64.b64encode(pcm)
            data[at:at] = rng.choice((wrapped, b'"pcm":"' + wrapped + b'",', pcm))
        elif kind == 6:
            data += data[: rng.randrange(len(data) + 1)]
        elif kind == 7:
            data[0:0] = b"[" * rng.choice((1, 30, 1100))
        else:
            repeat_key(rng, data)
    return bytes(data)


def swap_value(rng, data):
    values = list(re.finditer(rb':("[^"]*"|[^,}\]]+)', data))
    if values:
        match = rng.choice(values)
        data[match.start(1) : match.end(1)] = rng.choice(TOKENS)


def repeat_key(rng, data):
    pairs = list(re.finditer(rb'"[a-z_]+":("[^"]*"|[^,}\]]+),', data))
    if pairs:
        data[1:1] = rng.choice(pairs).group(0)


def no_repeats(pairs):
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError("repeated key")
    return dict(pairs)


def whole(value, low, high):
    return type(value) is int and low <= value <= high


def is_valid_event(payload):
    """The schema of docs/gateway.md, written a second time."""
    fields = json.loads(
        payload.decode(), object_pairs_hook=no_repeats, parse_constant=lambda _: "constant"
    )
    u32 = 2**32 - 1
    texts = {
        "event_type": r"[a-z][a-z0-9_]{0,31}",
        "eid": r"[0-9a-f]{4}-[0-9]{1,10}",
        "boot": r"[0-9a-f]{16}",
        "model": r"[A-Za-z0-9][A-Za-z0-9._-]{0,22}\+[0-9a-f]{4}",
    }
    return (
        len(payload) <= 1024
        and fields.keys() == event_fields().keys()
        and whole(fields["v"], 1, 1)
        and all(re.fullmatch(p, fields[k], re.ASCII) for k, p in texts.items())
        and fields["phase"] in ("start", "update", "end", "once")
        and whole(fields["boot_n"], 0, u32)
        and whole(fields["seq"], 1, u32)
        and whole(fields["up_ms"], 0, 2**53)
        and (fields["ts"] is None or whole(fields["ts"], 0, 253_402_300_799_999))
        and type(fields["sync"]) is type(fields["late"]) is bool
        and all(type(fields[k]) in (int, float) and 0 <= fields[k] <= 1 for k in ("conf", "thr"))
        and all(round(fields[k], 3) == fields[k] for k in ("conf", "thr"))
        and (fields["dur_ms"] is None or whole(fields["dur_ms"], 0, 600_000))
        and not (fields["phase"] == "start" and fields["dur_ms"] is not None)
    )


def fuzz(n, seed):
    """Returns how many mutations were accepted; raises at the first wrong decision."""
    rng = random.Random(seed)  # noqa: S311 - a repeatable test
    base = [
        encode(event_fields()),
        encode(event_fields(phase="end", dur_ms=1200, ts=1_795_227_818_123, sync=True)),
    ]
    health, accepted = encode(health_fields()), 0
    for i in range(n):
        payload = mutate(rng, base[i % 2])
        try:
            wire.decode_event(payload)
        except wire.WireError:
            continue
        finally:
            if i % 8 == 0:
                refuse_or_accept(wire.decode_health, mutate(rng, health))
        if not is_valid_event(payload):
            raise AssertionError(f"accepted outside the schema: {payload!r}")
        accepted += 1
    return accepted


def refuse_or_accept(decode, payload):
    try:
        decode(payload)
    except wire.WireError:
        return


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    sys.stdout.write(f"{count} mutations, {fuzz(count, seed=1)} still valid and accepted\n")
