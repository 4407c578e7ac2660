"""Known sounds: what a person calls them, and which are critical unless a rule says otherwise."""

from __future__ import annotations

# Critical: somebody may be in danger now, so quiet hours, grouping and snooze never hold it back.
CRITICAL = frozenset({"smoke_alarm", "co_alarm", "glass_break", "scream", "fall", "help_call"})

# Raised by the gateway itself, never accepted from a device.
INTERNAL = frozenset(
    {
        "device_offline",
        "microphone_fault",
        "microphone_muted",
        "device_fault",
        "events_missing",
        "gateway_was_offline",
        "broker_offline",
        "no_activity",
        "self_test",
        "digest",
    }
)

# Accepted from a device that has not said which labels its model has.
CATALOGUE = CRITICAL | {
    "appliance_beep",
    "baby_cry",
    "breathing",
    "brushing_teeth",
    "car_horn",
    "cat",
    "chainsaw",
    "clapping",
    "clock_alarm",
    "clock_tick",
    "cough",
    "coughing",
    "crackling_fire",
    "crying_baby",
    "dog",
    "door_knock",
    "door_wood_creaks",
    "door_wood_knock",
    "doorbell",
    "drinking_sipping",
    "footsteps",
    "glass_breaking",
    "helicopter",
    "keyboard_typing",
    "kettle",
    "laughing",
    "mouse_click",
    "phone_ring",
    "pouring_water",
    "rain",
    "rooster",
    "sea_waves",
    "siren",
    "sneezing",
    "snoring",
    "speech",
    "thunderstorm",
    "toilet_flush",
    "vacuum_cleaner",
    "washing_machine",
    "water_drops",
    "water_running",
}

_NAMES = {
    "co_alarm": "Carbon monoxide alarm",
    "glass_break": "Breaking glass",
    "help_call": "Call for help",
    "device_offline": "Listening device offline",
    "microphone_fault": "Microphone not hearing",
    "microphone_muted": "Microphone switched off at the device",
    "device_fault": "Listening device reports a fault",
    "boot_repeated": "Boot counter repeated: copied or reset device",
    "events_missing": "Sounds were lost on the way",
    "gateway_was_offline": "Gateway was off",
    "broker_offline": "Gateway cannot reach its message broker",
    "no_activity": "No activity",
    "self_test": "Monthly self-test",
    "digest": "Daily summary",
}


def display_name(label: str) -> str:
    """Name a label as a caregiver reads it, e.g. ``smoke_alarm`` -> "Smoke alarm"."""
    return _NAMES.get(label) or label.replace("_", " ").capitalize()
