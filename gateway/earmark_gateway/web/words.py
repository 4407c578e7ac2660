"""Times, durations and states of devices as a caregiver says them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from earmark_gateway.clock import local

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from earmark_gateway import model

# A number and its unit stay on one line of a narrow phone.
_NBSP = "\N{NO-BREAK SPACE}"
# Received signal strength (dBm) from which phones show as many bars.
_WIFI = ((-60, "strong"), (-70, "good"), (-80, "weak"))
_MICROPHONE = {
    "mic_silent": "hears nothing: covered, unplugged or broken",
    "mic_dc": "broken: gives no sound, only a constant signal",
    "mic_no_floor": "hears nothing: covered, unplugged or broken",
    "mic_clipping": "overdriven: something very loud is close to it",
}
_FLAGS = {
    "self_test": "Its self-test failed. Switch it off and on; if this stays, replace it.",
    "log_failed": "It cannot store sounds over a power cut.",
    "kv_lost": "It has lost settings. Set it up again.",
    "clock_unset": "Its clock is not set; times come from the gateway.",
    "overrun": "It was too busy and skipped some audio.",
}


def duration(ms: int | None) -> str:
    """Say how long a sound lasted, e.g. "2 min 5 s"; empty if that is not known."""
    if ms is None:
        return ""
    if ms < 10_000:
        return f"{ms / 1000:.1f}{_NBSP}s"
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds}{_NBSP}s"
    rest = f"{_NBSP}{seconds % 60}{_NBSP}s" if seconds % 60 else ""
    return f"{seconds // 60}{_NBSP}min{rest}"


def span(ms: int) -> str:
    """Say a length of time roughly, e.g. "3 hours"."""
    seconds = max(0, ms // 1000)
    for unit_s, name in ((86400, "day"), (3600, "hour"), (60, "min")):
        if seconds >= unit_s:
            count = seconds // unit_s
            return f"{count}{_NBSP}{name}{'s' if count > 1 and name != 'min' else ''}"
    return f"{seconds}{_NBSP}s"


def ago(ms: int) -> str:
    """Say how long ago something was; `ms` is its age."""
    return "just now" if ms < 5000 else f"{span(ms)} ago"


def until(ms: int) -> str:
    """Say how soon something will be; `ms` is the time left."""
    return "now" if ms < 1000 else f"in {span(ms)}"


def day_name(ms: int, now_ms: int, zone: ZoneInfo) -> str:
    """Name a day, e.g. "Today", "Yesterday", "Thursday 19 November"."""
    day, today = local(ms, zone).date(), local(now_ms, zone).date()
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day:%A} {day.day} {day:%B}" + (f" {day.year}" if day.year != today.year else "")


def wifi(rssi_dbm: int) -> str:
    """Say how good the radio link is."""
    word = next((word for limit, word in _WIFI if rssi_dbm >= limit), "very weak")
    return f"{word} ({rssi_dbm}{_NBSP}dBm)"


@dataclass(frozen=True)
class DeviceWords:
    """A device as the page shows it.

    Attributes
    ----------
    state : str
        ``good``, ``warn``, ``bad`` or ``new`` (not heard from yet).
    headline : str
        One sentence.
    facts : tuple of (str, str)
        For the caregiver.
    technical : tuple of (str, str)
        For the installer.
    advice : tuple of str
        What is wrong, and what to do about it.
    """

    device: model.Device
    state: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    technical: tuple[tuple[str, str], ...]
    advice: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its room; otherwise its name or identifier."""
        name = self.device.room or self.device.name or self.device.id
        return name[:1].upper() + name[1:]


def describe(device: model.Device, problems: list[model.Problem], now_ms: int) -> DeviceWords:
    """Put what is known about a device into words."""
    health = device.health or {}
    flags = tuple(health.get("flags", ()))
    kinds = {problem.kind: problem for problem in problems}
    advice = [_FLAGS[flag] for flag in flags if flag in _FLAGS]
    if (missing := kinds.get("events_missing")) is not None:
        advice.append(f"{missing.detail[:1].upper()}{missing.detail[1:]}.")
    if "boot_repeated" in kinds:
        advice.append("It counts its starts wrongly: a copy or a reset device. Let it in again.")
    heard = ago(now_ms - device.last_seen_ms) if device.last_seen_ms else ""
    microphone, mic_state = _microphone(health, flags)
    if not device.last_seen_ms:
        state, headline = "new", "Not heard from yet. Is it plugged in?"
    elif device.offline_since_ms is not None:
        silent = span(now_ms - device.offline_since_ms)
        state, headline = "bad", f"Offline for {silent}: this room is not heard"
        advice.insert(0, "Check its plug and the Wi-Fi. It keeps what it hears until it is back.")
    elif mic_state:
        muted = mic_state == "warn"
        state = mic_state
        headline = (
            "Switched off at the device: this room is not heard"
            if muted
            else "The microphone does not work: this room is not heard"
        )
        advice.insert(0, "Press its button to listen again." if muted else "Uncover or replace it.")
    elif advice:
        state, headline = "warn", "Listening, but needs a look"
    else:
        state, headline = "good", "Listening"
    facts = [("Last sign of life", heard or "none yet")]
    # What an offline device said last is no longer true.
    if health and device.offline_since_ms is None:
        facts.append(("Microphone", microphone))
        if health["rssi"] is not None:
            facts.append(("Wi-Fi", wifi(health["rssi"])))
        waiting = health["queue"]
        facts.append(("Waiting to be sent", f"{waiting} sounds" if waiting else "nothing"))
        facts.append(("Running for", span(health["up_ms"])))
    if device.labels:
        facts.append(("Can hear", f"{len(device.labels)} kinds of sound"))
    technical = _technical(device, health, flags)
    return DeviceWords(device, state, headline, tuple(facts), technical, tuple(advice))


def _microphone(health: dict[str, Any], flags: tuple[str, ...]) -> tuple[str, str]:
    """Return the microphone in words, and ``warn`` or ``bad`` if nothing is heard."""
    if "muted" in flags:
        return "switched off at the device", "warn"
    if health and not health["mic_ok"]:
        known = [_MICROPHONE[flag] for flag in flags if flag in _MICROPHONE]
        return (known or ["does not hear"])[0], "bad"
    return "hears", ""


def _technical(
    device: model.Device, health: dict[str, Any], flags: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    facts = [("Identifier", device.id)]
    if device.firmware:
        facts.append(("Firmware", device.firmware))
    if device.model:
        facts.append(("Model", device.model))
    if device.frontend:
        facts.append(("Front end", device.frontend))
    if health:
        noise = health["noise_dbfs"]
        facts += [
            ("Quietest level", f"{noise} dBFS" if noise is not None else "unknown"),
            ("Recognition time", f"{health['inf_p99_ms']} ms (99 of 100 are faster)"),
            ("Starts", f"{health['boot_n']}, {health['wdt_resets']} by its watchdog"),
            ("Sounds dropped", f"{health['drops']}, {health['drops_critical']} critical"),
            ("Audio skipped", f"{health['overruns']} times"),
            ("Free memory, lowest", f"{health['heap_min']} bytes"),
            ("Free stack, lowest", f"{health['stack_min']} bytes"),
            ("Clock", "set" if health["sync"] else "not set within a day"),
            ("Flags", ", ".join(flags) or "none"),
        ]
    if device.refused:
        facts.append(("Messages refused", str(device.refused)))
    return tuple(facts)
