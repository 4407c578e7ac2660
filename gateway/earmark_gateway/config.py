"""One TOML file, validated as a whole; environment variables may override single values."""

from __future__ import annotations

import datetime as dt
import re
import ssl
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from earmark_gateway import labels, topics
from earmark_gateway.errors import GatewayError

Severity = Literal["critical", "alert", "notice", "log"]
Role = Literal["resident", "primary", "backup", "professional"]
ROLES: tuple[Role, ...] = ("resident", "primary", "backup", "professional")


def _label(value: str) -> str:
    if value != "*" and not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", value):
        raise ValueError(f"{value!r} is not a label: lower-case letters, digits and _")
    return value


def _device_id(value: str) -> str:
    if not topics.DEVICE_ID.fullmatch(value) or value == topics.GATEWAY_SEGMENT:
        raise ValueError(f"{value!r} is not a device id: lower-case letters, digits, - and _")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise ValueError(f"{value!r} is not a time zone such as Europe/Berlin") from exc
    return value


class Window(BaseModel):
    """A daily span of local time; it may cross midnight."""

    model_config = ConfigDict(frozen=True)
    start: dt.time
    end: dt.time

    def contains(self, at: dt.time) -> bool:
        """Whether local time `at` lies in the window (start inclusive, end exclusive)."""
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def _window(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", value)
    if not match:
        raise ValueError(f"{value!r} is not a span such as 22:00-07:00")
    return {"start": match[1], "end": match[2]}


LabelName = Annotated[str, AfterValidator(_label)]
DeviceId = Annotated[str, AfterValidator(_device_id)]
WindowText = Annotated[Window, BeforeValidator(_window)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySection(_Section):
    """Who this gateway is."""

    id: Identifier = "home"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    # Where links in notifications lead; empty: notifications carry no link.
    base_url: str = ""
    link_hours: float = Field(default=24, gt=0, le=168)


class TlsSection(_Section):
    """Certificates for the broker connection."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None


class MqttSection(_Section):
    """The broker."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    # 5 reveals refusals that 3.1.1 hides; "3.1.1" is for the demonstration broker.
    protocol: Literal["5", "3.1.1"] = "5"
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    client_id: str = ""
    keepalive_s: int = Field(default=20, ge=5, le=600)
    tls: TlsSection | None = None
    # A round trip through the broker; the process restarts when it stops returning.
    echo_interval_s: float = Field(default=20, gt=0)
    echo_timeout_s: float = Field(default=90, gt=0)
    # Off only in the test that shows what it is for.
    application_ack: bool = True


class StoreSection(_Section):
    """The database: ``sqlite:///PATH`` or ``postgresql://...``."""

    url: SecretStr = SecretStr("sqlite:///earmark.db")
    events_days: int = Field(default=30, ge=1)
    alerts_days: int = Field(default=90, ge=1)
    digests_days: int = Field(default=395, ge=1)
    dead_letters_days: int = Field(default=7, ge=1)


class WebSection(_Section):
    """The caregivers' page."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=8480, ge=0, le=65535)
    # argon2id hash from `earmark-gateway hash-password`; without one nobody can sign in.
    password_hash: SecretStr = SecretStr("")
    # What Prometheus sends as a bearer token to read /metrics without a session; empty: none.
    metrics_token: SecretStr = SecretStr("")
    # Demonstration only: no login, refused on anything but loopback.
    login: bool = True


class HomeAssistantSection(_Section):
    """MQTT discovery mirror."""

    enabled: bool = False
    discovery_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")] = (
        "homeassistant"
    )
    # An automation that fires on a sound of an hour ago frightens people; alarms stay "on" anyway.
    max_event_age_s: float = Field(default=120, gt=0)


class LimitsSection(_Section):
    """Per device; what exceeds them stays in the device's outbox and comes later."""

    events_per_s: float = Field(default=10, gt=0)
    burst: int = Field(default=512, ge=1)
    critical_events_per_s: float = Field(default=10, gt=0)
    critical_burst: int = Field(default=512, ge=1)
    max_quarantined: int = Field(default=256, ge=0)


class WatchSection(_Section):
    """When silence is a message."""

    # Heartbeat age that counts as offline; devices send one every 30-60 s.
    offline_after_s: float = Field(default=180, gt=0)
    # After a will, how long a device has to come back before it counts as offline.
    will_grace_s: float = Field(default=90, ge=0)
    gap_after_s: float = Field(default=120, gt=0)
    # A break of the gateway itself that people are told about.
    gateway_gap_s: float = Field(default=600, gt=0)
    broker_offline_s: float = Field(default=300, gt=0)
    # Older non-critical sounds are told once, without escalation; over a day, only listed.
    late_after_s: float = Field(default=900, gt=0)
    self_test_day: int = Field(default=1, ge=0, le=28, description="0: never")
    self_test_at: dt.time = dt.time(11, 0)
    digest_at: dt.time = dt.time(8, 0)
    # Pinged once a minute while all is well; an outside service reports its silence.
    dead_man_url: SecretStr = SecretStr("")


class Person(_Section):
    """Somebody in the circle."""

    id: Identifier
    name: str = Field(min_length=1, max_length=64)
    role: Role
    # apprise URLs, ``console:`` or ``file:PATH``; each is tried on its own.
    channels: tuple[SecretStr, ...] = ()
    quiet: WindowText | None = None
    digest: bool = False


class Device(_Section):
    """A device approved in the file; others are approved with the command or the page."""

    id: DeviceId
    name: str = ""
    room: str = ""
    resident: str = ""


class Step(_Section):
    """One rung of the escalation."""

    after_s: float = Field(default=0, ge=0, le=86400)
    to: tuple[str, ...] = Field(min_length=1)


class Rule(_Section):
    """What happens on a sound; the first rule that matches decides."""

    name: str = ""
    labels: tuple[LabelName, ...] = Field(min_length=1)
    rooms: tuple[str, ...] = ()
    residents: tuple[str, ...] = ()
    between: WindowText | None = None
    severity: Severity = "alert"
    steps: tuple[Step, ...] = (Step(after_s=0, to=("primary",)),)
    # Further sounds of the same kind within this time are counted, not told one by one.
    group_s: float = Field(default=300, ge=0, le=86400)
    # A critical alert starts over after its last step until somebody acknowledges.
    repeat_s: float = Field(default=300, ge=10, le=86400)

    @model_validator(mode="after")
    def _ascending(self) -> Rule:
        times = [step.after_s for step in self.steps]
        if times != sorted(times) or not times:
            raise ValueError("steps must be in ascending order of after_s, and at least one")
        return self


class NoActivity(_Section):
    """Tell somebody if nothing was heard from a resident by a time of day."""

    resident: str
    by: dt.time
    since: dt.time = dt.time(5, 0)
    labels: tuple[LabelName, ...] = ("*",)
    to: tuple[str, ...] = ("primary",)


class Config(BaseSettings):
    """The whole configuration. Environment: ``EARMARK_GATEWAY__MQTT__PASSWORD=...``."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="EARMARK_GATEWAY__",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    gateway: GatewaySection = GatewaySection()
    mqtt: MqttSection = MqttSection()
    store: StoreSection = StoreSection()
    web: WebSection = WebSection()
    homeassistant: HomeAssistantSection = HomeAssistantSection()
    limits: LimitsSection = LimitsSection()
    watch: WatchSection = WatchSection()
    people: tuple[Person, ...] = ()
    devices: tuple[Device, ...] = ()
    rules: tuple[Rule, ...] = ()
    no_activity: tuple[NoActivity, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; nothing else is read."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def zone(self) -> ZoneInfo:
        """The residents' time zone."""
        return ZoneInfo(self.gateway.timezone)

    def person(self, person_id: str) -> Person | None:
        """Look up somebody in the circle."""
        return next((person for person in self.people if person.id == person_id), None)

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        ids = [person.id for person in self.people]
        _refuse_twice(ids, "people")
        _refuse_twice([device.id for device in self.devices], "devices")
        known = {*ROLES, *ids, "everybody"}
        steps = [to for rule in self.rules for step in rule.steps for to in step.to]
        for name in (*steps, *(to for entry in self.no_activity for to in entry.to)):
            if name not in known:
                raise ValueError(f"{name!r} is neither a role nor the id of a person")
        for rule in self.rules:
            if clash := labels.INTERNAL.intersection(rule.labels) - _ROUTABLE:
                raise ValueError(f"{clash} cannot be routed by a rule")
        if not self.web.login and self.web.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("web.login = false is allowed on loopback only")
        return self


_SQLITE = "sqlite:///"
_ROUTABLE = frozenset(
    {
        "device_offline",
        "microphone_fault",
        "microphone_muted",
        "device_fault",
        "events_missing",
        "no_activity",
    }
)


def _refuse_twice(ids: list[str], where: str) -> None:
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))} appears twice in {where}")


def load_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises
    ------
    GatewayError
        If the file is missing, not TOML, or says something that cannot be.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as exc:
        raise GatewayError(
            f"no configuration at {path}", "docs/gateway.md shows the smallest one"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise GatewayError(f"{path}: {exc}", "correct the file; TOML: https://toml.io") from exc
    try:
        config = Config(**raw)
    except ValidationError as exc:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}"
            for item in exc.errors(include_input=False, include_url=False)
        )
        raise GatewayError(f"{path}: {problems}", "docs/gateway.md lists every setting") from None
    return _with_password_file(_with_paths(config, path.parent), path)


def _with_paths(config: Config, folder: Path) -> Config:
    """Resolve relative paths against the file, so that commands work from anywhere."""
    changes: dict[str, Any] = {}
    url = config.store.url.get_secret_value()
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).is_absolute():
        absolute = folder.absolute() / url.removeprefix(_SQLITE)
        changes["store"] = config.store.model_copy(
            update={"url": SecretStr(f"{_SQLITE}{absolute}")}
        )
    if (tls := config.mqtt.tls) is not None:
        files = {name: folder / file for name, file in tls if file is not None}
        _check_tls(files)
        changes["mqtt"] = config.mqtt.model_copy(update={"tls": tls.model_copy(update=files)})
    return config.model_copy(update=changes)


def _check_tls(files: dict[str, Path]) -> None:
    """Refuse now what the connection would refuse later, in the background."""
    hint = "`earmark-gateway init` shows which files belong together"
    for name, file in files.items():
        try:
            file.read_bytes()
        except OSError as exc:
            raise GatewayError(f"mqtt.tls.{name} {file}: {exc.strerror}", hint) from exc
    try:
        context = ssl.create_default_context(cafile=files["ca"])
        if "certificate" in files:
            context.load_cert_chain(files["certificate"], files.get("key"))
    except ssl.SSLError as exc:
        reason = exc.reason or "not a certificate in PEM form"
        raise GatewayError(f"mqtt.tls: {reason}", hint) from exc


def _with_password_file(config: Config, path: Path) -> Config:
    if config.mqtt.password_file is None:
        return config
    file = path.parent / config.mqtt.password_file
    try:
        password = file.read_text("utf-8").strip()
    except OSError as exc:
        raise GatewayError(
            f"mqtt.password_file {file}: {exc.strerror}", "write the broker password into it"
        ) from exc
    mqtt = config.mqtt.model_copy(update={"password": SecretStr(password)})
    return config.model_copy(update={"mqtt": mqtt})
