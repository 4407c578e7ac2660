"""The closed schema of everything a device can say. No field can carry audio.

Decoding accepts exactly one object with exactly these keys, each once, in at most
`MAX_PAYLOAD_BYTES`; everything else raises `WireError` with a reason for the dead-letter table.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

MAX_PAYLOAD_BYTES = 1024
MAX_DURATION_MS = 600_000
_U32 = 2**32 - 1

Label = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Boot = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z", description="64 random bits per boot")]
Model = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,22}\+[0-9a-f]{4}\Z",
        description="version + 4 hex digits of the weights' hash",
    ),
]
Firmware = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,30}\Z")]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0, le=_U32)]
UpMs = Annotated[int, Meta(ge=0, le=2**53, description="milliseconds since boot")]
UnixMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Unix milliseconds")]
Phase = Literal["start", "update", "end", "once"]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One recognised sound, or the end of one."""

    v: Literal[1]
    event_type: Label
    phase: Phase
    eid: Annotated[str, Meta(pattern=r"^[0-9a-f]{4}-[0-9]{1,10}\Z")]
    boot: Boot
    boot_n: Count
    seq: Annotated[int, Meta(ge=1, le=_U32)]
    up_ms: UpMs
    ts: UnixMs | None
    sync: bool
    conf: Probability
    thr: Probability
    dur_ms: Annotated[int, Meta(ge=0, le=MAX_DURATION_MS)] | None
    model: Model
    late: bool


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sign of life with what decides whether the device can hear."""

    v: Literal[1]
    boot: Boot
    boot_n: Count
    seq_next: Count
    up_ms: UpMs
    ts: UnixMs | None
    sync: bool
    state: Annotated[str, Meta(pattern=r"^[a-z_-]{1,32}\Z")]
    queue: Count
    queue_critical: Count
    drops: Count
    drops_critical: Count
    mic_ok: bool
    noise_dbfs: Annotated[int, Meta(ge=-200, le=0)] | None
    overruns: Count
    heap_min: Count
    stack_min: Count
    rssi: Annotated[int, Meta(ge=-128, le=0)] | None
    inf_p99_ms: Count
    wdt_resets: Count
    flags: Annotated[list[Annotated[str, Meta(pattern=r"^[a-z_]{1,24}\Z")]], Meta(max_length=32)]
    firmware: Firmware
    model: Model


class Info(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the device can hear, at boot and on change."""

    v: Literal[1]
    firmware: Firmware
    model: Model
    frontend: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z", description="front-end hash")]
    labels: Annotated[list[Label], Meta(max_length=32)]
    thresholds: Annotated[dict[Label, Probability], Meta(max_length=32)]


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer to a command."""

    v: Literal[1]
    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}\Z")]
    ok: bool
    error: Annotated[str, Meta(pattern=r"^[a-z0-9_ -]{1,64}\Z")] | None = None


class Ack(msgspec.Struct, frozen=True):
    """Gateway to device: these events are stored."""

    boot: Boot
    upto: Annotated[int, Meta(ge=0, le=_U32)]
    seqs: Annotated[list[Annotated[int, Meta(ge=1, le=_U32)]], Meta(max_length=64)]


class WireError(ValueError):
    """A payload outside the schema.

    Parameters
    ----------
    reason : str
        Stable short code (``size``, ``schema``, ``version``, ...), used in metrics.
    detail : str
        For the operator; never contains the payload.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class _Version(msgspec.Struct):
    v: Any = None


T = TypeVar("T", Event, Health, Info, Response)
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Event, Health, Info, Response)
}
_VERSION = msgspec.json.Decoder(_Version)
# Every valid event has 15 keys and 5 string values: more quotes mean a repeated key, which JSON
# parsers silently drop and which could carry anything.
_EVENT_QUOTES = 2 * (len(Event.__struct_fields__) + 5)
STATUSES: dict[bytes, str] = {b"online": "online", b"offline": "offline", b"stopped": "stopped"}


def decode_event(payload: bytes) -> Event:
    """Decode and validate an event.

    Raises
    ------
    WireError
        For anything but one event of the schema.
    """
    event = _decode(Event, payload)
    if payload.count(b'"') != _EVENT_QUOTES:
        raise WireError("schema", "a key appears twice")
    if event.phase == "start" and event.dur_ms is not None:
        raise WireError("schema", "dur_ms must be null at start")
    for name, value in (("conf", event.conf), ("thr", event.thr)):
        if round(value, 3) != value:
            raise WireError("schema", f"{name} has more than 3 decimals")
    return event


def decode_health(payload: bytes) -> Health:
    """Decode and validate a health message; raises `WireError`."""
    health = _decode(Health, payload)
    _refuse_repeats(payload, len(Health.__struct_fields__) + 4 + len(health.flags))
    return health


def decode_info(payload: bytes) -> Info:
    """Decode and validate an info message; raises `WireError`."""
    info = _decode(Info, payload)
    strings = len(Info.__struct_fields__) + 3 + len(info.labels) + len(info.thresholds)
    _refuse_repeats(payload, strings)
    return info


def decode_response(payload: bytes) -> Response:
    """Decode and validate an answer to a command; raises `WireError`."""
    response = _decode(Response, payload)
    _refuse_repeats(payload, 4 + (b'"error"' in payload) + (response.error is not None))
    return response


def decode_status(payload: bytes) -> str:
    """Return ``online``, ``offline`` or ``stopped``; raises `WireError`."""
    try:
        return STATUSES[payload]
    except KeyError:
        raise WireError("schema", "status is not online, offline or stopped") from None


def _decode(kind: type[T], payload: bytes) -> T:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise WireError("size", f"{len(payload)} bytes, allowed are {MAX_PAYLOAD_BYTES}")
    if b"\\" in payload:
        raise WireError("schema", "escape sequence: no field needs one")
    try:
        value: T = _DECODERS[kind].decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise _reason(payload, exc) from None
    return value


def _reason(payload: bytes, exc: Exception) -> WireError:
    """Tell a newer protocol version from plain nonsense."""
    try:
        version = _VERSION.decode(payload).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return WireError("json", "not a JSON object")
    if version != 1 and isinstance(version, int):
        return WireError("version", "unknown protocol version")
    # msgspec names the field and the rule, never the value.
    return WireError("schema", str(exc)[:200])


def _refuse_repeats(payload: bytes, n_strings: int) -> None:
    if payload.count(b'"') != 2 * n_strings:
        raise WireError("schema", "a key appears twice")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every message, by name."""
    kinds = (Event, Health, Info, Response, Ack)
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for name, definition in components.items():
        if name != "Ack":
            definition["additionalProperties"] = False
    names = ("event", "health", "info", "rsp", "ack")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Earmark wire format, version 1",
        "oneOf": [{"title": name, **schema} for name, schema in zip(names, schemas, strict=True)],
        "$defs": components,
    }
