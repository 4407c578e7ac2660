"""What Prometheus reads."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from earmark_gateway import model
from earmark_gateway.web.app import create_app
from earmark_gateway.web.session import bearer_matches
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from webkit import House

TOKEN = "scrape-me-0123456789"


@pytest.fixture
def house(tmp_path):
    with contextlib.closing(House(tmp_path, metrics_token=TOKEN)) as house:
        yield house


def client_of(house):
    return TestClient(create_app(house.gateway), base_url="http://127.0.0.1")


def scrape(client):
    answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return answer.text


def samples_of(text):
    return {
        (sample.name.removeprefix("earmark_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_only_a_session_or_the_token_opens_the_metrics(house):
    client = client_of(house)
    for header in ({}, {"authorization": "Bearer guess"}, {"authorization": f"Basic {TOKEN}"}):
        answer = client.get("/metrics", headers=header, follow_redirects=False)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "earmark_build_info" in scrape(client)


def test_the_token_opens_nothing_else(house):
    answer = client_of(house).get(
        "/", headers={"authorization": f"Bearer {TOKEN}"}, follow_redirects=False
    )
    assert answer.status_code == 303


def test_an_empty_token_matches_nothing():
    for header in ("", "Bearer ", "Bearer", "bearer  "):
        assert not bearer_matches("", header)
    assert bearer_matches(TOKEN, f"bearer {TOKEN}")
    assert not bearer_matches(TOKEN, f"Bearer {TOKEN}x")
    assert not bearer_matches(TOKEN, "Bearer é")


def test_the_numbers_follow_what_happens(house):
    client = client_of(house)
    before = samples_of(scrape(client))
    assert before["devices", "new"] == 3
    assert before["commit_latency_seconds_count",] == 0
    house.live_two_days()
    house.smoke()
    n_events = sum(house.seq.values())
    house.seq["a1b2c3d4e5f6"] -= 2
    house.hear("a1b2c3d4e5f6", "dog")  # the numbers of the smoke alarm again
    house.receive("a1b2c3d4e5f6", "event", {"v": 9})
    house.trouble()
    after = samples_of(scrape(client))
    expected = {
        ("events_total", "stored"): n_events,
        ("events_total", "duplicate"): 2,
        ("dead_letters_total", "version"): 1,
        ("open_alerts", "critical"): 1,
        ("devices", "online"): 2,
        ("devices", "offline"): 1,
        ("devices", "quarantined"): 1,
        ("device_problems", "microphone_muted"): 1,
        ("database_rows", "events"): n_events,
        ("mqtt_connected",): 1,
        ("store_writable",): 1,
        ("writer_backlog_messages",): 0,
        ("missing_events",): 0,
    }
    assert {key: after[key] for key in expected} == expected
    newest = (house.clock.now_ms() - 100_000) / 1000
    assert after["latest_heartbeat_timestamp_seconds",] >= newest
    assert after["oldest_heartbeat_timestamp_seconds",] < newest
    assert after["commit_latency_seconds_count",] > n_events


def test_a_delivery_is_timed_from_when_it_was_due(house):
    client = client_of(house)
    house.introduce()
    house.hear("a1b2c3d4e5f6", "smoke_alarm")
    house.clock.advance(3)
    waiting = samples_of(scrape(client))
    assert waiting["notifications", "pending"] == 1
    assert waiting["notification_overdue_seconds",] == 3
    house.gateway.outbox.start()
    deadline = time.monotonic() + 60
    while (sent := samples_of(scrape(client)))["notification_attempts_total", "sent"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    house.gateway.outbox.stop()
    assert sent["notification_delay_seconds_count",] == 1
    assert sent["notification_delay_seconds_sum",] == 3


def test_missing_events_are_counted_after_their_time(house):
    house.introduce()
    house.hear("a1b2c3d4e5f6", "dog")
    house.seq["a1b2c3d4e5f6"] += 4  # four more that never arrive
    house.health("a1b2c3d4e5f6")
    house.clock.advance(house.gateway.config.watch.gap_after_s + 1)
    assert samples_of(scrape(client_of(house)))["missing_events",] == 4


def test_the_text_follows_the_conventions_and_names_nobody(house):
    house.live_two_days()
    house.smoke()
    house.trouble()
    text = scrape(client_of(house))
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"(earmark|process)_[a-z_]+", family.name)
        assert family.documentation, family.name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb)(_|$)", family.name)
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
            for name, value in sample.labels.items():
                assert name in {"outcome", "reason", "state", "kind", "severity", "table", "le",
                                "version"}  # fmt: skip
                assert re.fullmatch(r"[a-z_]+|[0-9.]+(dev\w*)?|\+Inf", value), value
    for secret in ("Marta", "Anna", "kitchen", "a1b2c3d4e5f6", "console", TOKEN):
        assert secret not in text


def test_both_stores_count_notifications_by_state(store):
    rows = [
        model.NewOutboxRow(
            key=f"k{i}", alert_id=None, recipient="anna", channel="c", kind="digest",
            severity="notice", payload={}, next_ms=1,
        )
        for i in range(3)
    ]  # fmt: skip
    with store.write() as tx:
        assert tx.count_outbox() == {}
        for row in rows:
            assert tx.insert_outbox(row, now_ms=1)
    store.claim_outbox("one", now_ms=2, lease_ms=1000, limit=1)
    with store.read() as tx:
        assert tx.count_outbox() == {"pending": 2, "leased": 1}
