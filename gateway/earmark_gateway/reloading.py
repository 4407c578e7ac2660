"""What a new configuration changes at once and what only a restart does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark_gateway.config import Config

# Taken by the connection, the database and the page when they start. Their old values stay in
# force together: half of a new section (a page without login, on the old address) is neither.
_AT_START = {
    "gateway": ("id",),
    "mqtt": (
        "host",
        "port",
        "protocol",
        "username",
        "password",
        "password_file",
        "client_id",
        "keepalive_s",
        "tls",
        "application_ack",
    ),
    "store": ("url",),
    "web": ("enabled", "host", "port", "login"),
}


def after_reload(running: Config, read: Config) -> tuple[Config, list[str]]:
    """Merge a configuration that was read into the running gateway's.

    Returns
    -------
    config : Config
        `read`, but with the running values of what a restart alone can change.
    needs_restart : list of str
        Those settings that differ, as ``section.name``; names only, values may be secret.
    """
    sections, needs_restart = {}, []
    for section, names in _AT_START.items():
        old, new = getattr(running, section), getattr(read, section)
        kept = {
            name: getattr(old, name) for name in names if getattr(old, name) != getattr(new, name)
        }
        needs_restart += [f"{section}.{name}" for name in kept]
        sections[section] = new.model_copy(update=kept)
    return read.model_copy(update=sections), needs_restart
