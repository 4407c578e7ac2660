"""The operator's commands, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from earmark_gateway import links
from earmark_gateway.store.sqlite import SqliteStore
from gwkit import START_MS, Bench, config

CONFIG = """
[gateway]
timezone = "Europe/Berlin"
[store]
url = "sqlite:///{folder}/g.db"
[[devices]]
id = "demo"
room = "kitchen"
[[people]]
id = "anna"
name = "Anna"
role = "primary"
channels = ["file:{folder}/told.jsonl", "console:"]
[[people]]
id = "ben"
name = "Ben"
role = "backup"
channels = ["nonsense://x"]
[[rules]]
labels = ["smoke_alarm"]
severity = "critical"
steps = [{{ after_s = 0, to = ["primary"] }}, {{ after_s = 120, to = ["backup"] }}]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


def command(folder, *arguments, status=0):
    run = subprocess.run(
        [sys.executable, "-m", "earmark_gateway.cli", *arguments],
        env={**os.environ, "EARMARK_GATEWAY_CONFIG": str(folder / "c.toml"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stderr + run.stdout
    assert "Traceback" not in run.stderr
    return run.stdout + run.stderr


def test_check_explains_one_label_and_all(folder):
    one = command(folder, "check", "smoke_alarm", "--at", "03:00", "--room", "kitchen")
    assert one.startswith("smoke_alarm at 03:00 in the kitchen: Anna now, Ben after 2 min\n")
    assert "valid" in command(folder, "check")
    assert "not a time of day" in command(folder, "check", "dog", "--at", "25:00", status=1)


def test_devices_are_listed_approved_and_revoked(folder):
    assert "approved" in command(folder, "devices", "approve", "a1b2", "--room", "hall")
    assert "a1b2  approved  never seen  hall" in command(folder, "devices", "list")
    command(folder, "devices", "revoke", "a1b2")
    assert "a1b2  revoked" in command(folder, "devices", "list")
    assert "no device" in command(folder, "devices", "revoke", "zzz", status=1)
    assert "before it was ever heard" in command(folder, "devices", "approve", "c3d4")
    assert "what it has kept" in command(folder, "devices", "approve", "c3d4")
    assert "not a device id" in command(folder, "devices", "approve", "Hall 2", status=1)


def test_backup_export_and_erase(folder):
    store = SqliteStore(str(folder / "g.db"))
    Bench(store).event()
    store.close()
    assert "bytes" in command(folder, "backup", str(folder / "copy.db"))
    assert "exists" in command(folder, "backup", str(folder / "copy.db"), status=1)
    assert "folder" in command(folder, "backup", str(folder / "no" / "copy.db"), status=1)
    for name in ("copy.db", "g.db"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert "rows" in command(folder, "export", "Marta", str(folder / "marta.jsonl"))
    rows = [json.loads(line) for line in (folder / "marta.jsonl").read_text().splitlines()]
    assert {"devices", "events", "alerts"} <= {row["table"] for row in rows}
    assert (folder / "marta.jsonl").stat().st_mode & 0o777 == 0o600
    assert "exists" in command(folder, "export", "Marta", str(folder / "marta.jsonl"), status=1)
    assert "nothing is stored about 'Zoe'" in command(folder, "export", "Zoe", str(folder / "z"))
    assert "--yes" in command(folder, "erase", "Marta", status=1)
    running = SqliteStore(str(folder / "g.db"))  # as the gateway's: keeps the log file alive
    with running.read() as tx:
        assert tx.counts()["events"] == 1
    assert "events 1" in command(folder, "erase", "Marta", "--yes")
    for file in folder.glob("g.db*"):
        assert b"Marta" not in file.read_bytes(), file
    running.close()


def test_test_notify_reports_every_channel(folder):
    text = command(folder, "test-notify", status=1)
    assert "Anna over file: sent" in text
    assert "Ben over nonsense: apprise does not know this URL" in text
    assert json.loads((folder / "told.jsonl").read_text())["kind"] == "test"
    assert "no person" in command(folder, "test-notify", "--person", "zoe", status=1)


def test_schema_is_json(folder):
    assert json.loads(command(folder, "schema"))["$defs"]["Event"]


def test_the_command_line_loads_nothing_heavy():
    """Why it answers at once; `python -m earmark_gateway.bench start` measures the service."""
    code = "import sys, earmark_gateway.cli; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"apprise", "starlette", "paho", "pydantic", "psycopg", "sqlite3", "numpy"}
    assert not heavy & set(run.stdout.split())


def test_help_names_every_command(folder):
    text = command(folder, "--help")
    for name in ("run", "init", "check", "backup", "export", "erase", "test-notify", "simulate"):
        assert f" {name} " in text
    assert "approve" in command(folder, "devices", "--help")


# --- one-time links --------------------------------------------------------------------------


@pytest.fixture
def alerted(tmp_path):
    store = SqliteStore(str(tmp_path / "l.db"))
    bench = Bench(store)
    bench.event(event_type="smoke_alarm")
    yield bench
    store.close()


def test_a_link_acknowledges_once(alerted):
    secret = links.secret_of(alerted.store)
    assert secret == links.secret_of(alerted.store)
    (alert,) = alerted.alerts()
    token = links.make_token(secret, alert.id, "anna", START_MS + 1000)
    assert links.read_token(secret, token, START_MS).alert_id == alert.id
    assert alerted.alerts()[0].state == "open"  # looking (GET) changes nothing
    assert links.acknowledge_by_link(alerted.store, config(), secret, token, START_MS)
    assert (alerted.alerts()[0].acked_by, alerted.alerts()[0].acked_how) == ("anna", "link")
    with pytest.raises(links.LinkError, match="used"):
        links.acknowledge_by_link(alerted.store, config(), secret, token, START_MS)
    other = links.make_token(secret, alert.id, "ben", START_MS + 1000)
    assert not links.acknowledge_by_link(alerted.store, config(), secret, other, START_MS)


def test_damaged_foreign_and_expired_links_are_refused():
    token = links.make_token(b"k" * 32, 7, "anna", START_MS)
    with pytest.raises(links.LinkError, match="expired"):
        links.read_token(b"k" * 32, token, START_MS)
    with pytest.raises(links.LinkError, match="damaged"):
        links.read_token(b"x" * 32, token, 0)
    for i in range(len(token)):
        changed = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :]
        try:
            link = links.read_token(b"k" * 32, changed, 0)
        except links.LinkError:
            continue
        # base64's last character has unused bits: the same token, spelled differently.
        assert (link.alert_id, link.person_id) == (7, "anna")
        assert i == len(token) - 1
    for text in ("", "é", "a", "====", "A" * 500):
        with pytest.raises(links.LinkError):
            links.read_token(b"k" * 32, text, 0)
