"""The page: who may read, who may change, and what it shows."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass, field
from importlib import resources

import pytest
from earmark_gateway import config as config_module
from earmark_gateway import model, service
from earmark_gateway.errors import GatewayError
from earmark_gateway.web.app import create_app
from earmark_gateway.web.security import HEADERS
from earmark_gateway.web.server import WebServer
from earmark_gateway.web.session import LoginLimit, Sessions, hash_password, password_matches
from starlette.testclient import TestClient

PASSWORD = "correct horse"
HASHES = {word: hash_password(word) for word in (PASSWORD, "a new one")}


@dataclass
class NoBroker:
    """Stands where the MQTT link would be; the page only asks whether it is connected."""

    connected: bool = True
    sent: list = field(default_factory=list)


def make_gateway(tmp_path, **web):
    values = {
        "store": {"url": f"sqlite:///{tmp_path / 'db.sqlite'}"},
        "web": {"enabled": True, "port": 0, **web},
        "devices": [{"id": "demo", "room": "kitchen", "resident": "Marta"}],
        "people": [{"id": "anna", "name": "Anna <b>", "role": "primary", "channels": ["console:"]}],
    }
    gateway = service.Gateway(config_module.Config.model_validate(values))
    gateway.store.take_over()
    gateway._secret = b"k" * 32
    with gateway.store.write() as tx:
        gateway._register_configured(tx)
    gateway.mqtt = NoBroker()
    return gateway


def add_alert(gateway):
    now_ms = gateway.clock.now_ms()
    alert = model.Alert(
        id=0, group_key="g", label="smoke_alarm", severity="critical", device_id="demo",
        room="kitchen", resident="Marta", rule="r", state="open", opened_ms=now_ms,
        occurred_ms=now_ms, last_ms=now_ms, count=1, flushed=1, dur_ms=None, conf=0.9, step=0,
        round=0, late=False, acked_by="", acked_ms=None, acked_how="", false_alarm=False, note="",
    )  # fmt: skip
    with gateway.store.write() as tx:
        return tx.insert_alert(alert)


def state_of(gateway, alert_id):
    with gateway.store.read() as tx:
        return tx.get_alert(alert_id).state


@pytest.fixture
def open_page(tmp_path):
    """A page without login, as in the demonstration."""
    gateway = make_gateway(tmp_path, login=False)
    with contextlib.closing(gateway.store):
        yield gateway, TestClient(create_app(gateway), base_url="http://127.0.0.1")


@pytest.fixture
def locked_page(tmp_path):
    gateway = make_gateway(tmp_path, password_hash=hash_password(PASSWORD))
    with contextlib.closing(gateway.store):
        yield (
            gateway,
            TestClient(create_app(gateway), base_url="http://127.0.0.1", follow_redirects=False),
        )


PAGES = ("/", "/timeline", "/devices", "/circle", "/privacy")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_needs_a_session(locked_page, path):
    _, client = locked_page
    answer = client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert client.post("/login", data={"password": "wrong"}).status_code == 401
    assert client.post("/login", data={"password": PASSWORD}).status_code == 303
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", [*PAGES, "/login", "/a/nonsense", "/static/page.css", "/none"])
def test_every_answer_carries_the_security_headers(open_page, path):
    _, client = open_page
    answer = client.get(path)
    assert {k: answer.headers.get(k) for k in HEADERS} == HEADERS
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(open_page, path):
    gateway, client = open_page
    add_alert(gateway)
    html = client.get(path).text
    assert not re.search(r"(?:src|href|action)=[\"']?(?:https?:)?//", html)
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", html)
    assert "<b>" not in html, "names are escaped"


def test_five_wrong_passwords_have_to_wait(locked_page):
    _, client = locked_page
    answers = [client.post("/login", data={"password": "x"}).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]
    assert client.post("/login", data={"password": PASSWORD}).status_code == 429


def test_the_login_limit_forgets_after_a_minute():
    limit = LoginLimit()
    for _ in range(5):
        limit.failed("a", 0.0)
    assert limit.blocked("a", 59.0)
    assert not limit.blocked("b", 59.0)
    assert not limit.blocked("a", 61.0)


def test_a_change_without_the_form_token_is_refused(open_page):
    gateway, client = open_page
    alert_id = add_alert(gateway)
    for data in ({}, {"form_token": "guess"}):
        assert client.post(f"/alerts/{alert_id}/ack", data=data).status_code == 403
    assert state_of(gateway, alert_id) == "open"


@pytest.mark.parametrize("action", ["ack", "false"])
def test_the_buttons_work_without_javascript(open_page, action):
    gateway, client = open_page
    alert_id = add_alert(gateway)
    html = client.get("/").text
    assert "Smoke alarm in the kitchen" in html
    token = re.search(r'name="form_token" value="(\w+)"', html)[1]
    assert f"/alerts/{alert_id}/{action}" in html
    answer = client.post(
        f"/alerts/{alert_id}/{action}", data={"form_token": token, "by": "anna", "note": "toast"}
    )
    assert ("It was a false alarm" if action == "false" else "takes care of it") in answer.text
    assert "nobody has answered" not in client.get("/").text
    with gateway.store.read() as tx:
        alert = tx.get_alert(alert_id)
    assert (alert.state, alert.acked_by) == ("acknowledged", "anna")
    assert alert.false_alarm == (action == "false")


def test_a_link_shows_on_get_and_acts_on_post_once(open_page):
    from earmark_gateway import links

    gateway, client = open_page
    alert_id = add_alert(gateway)
    token = links.make_token(b"k" * 32, alert_id, "anna", gateway.clock.now_ms() + 10_000)
    for _ in range(2):  # mail scanners follow links
        assert "I take care of it" in client.get(f"/a/{token}").text
    assert state_of(gateway, alert_id) == "open"
    assert "Thank you" in client.post(f"/a/{token}").text
    assert state_of(gateway, alert_id) == "acknowledged"
    assert client.post(f"/a/{token}").status_code == 410
    assert client.get("/a/" + token[:-4] + "AAAA").status_code == 410


def test_a_foreign_host_name_is_refused(open_page):
    _, client = open_page
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/", headers={"host": "localhost:8480"}).status_code == 200


def test_sessions_expire_and_cannot_be_forged():
    sessions = Sessions(b"key")
    cookie = sessions.issue(1000.0)
    assert sessions.valid(cookie, 1000.0)
    assert not sessions.valid(cookie, 1000.0 + 15 * 24 * 3600)
    assert not sessions.valid(cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), 1000.0)
    assert not Sessions(b"other").valid(cookie, 1000.0)
    for damaged in ("", ".", "a.b.c", "é"):
        assert not sessions.valid(damaged, 1000.0)
    assert not sessions.form_token_matches(cookie, sessions.form_token("other"))


def test_a_session_survives_a_restart_and_ends_with_the_password(tmp_path):
    cookie, statuses = "", []
    for password in (PASSWORD, PASSWORD, "a new one"):
        gateway = make_gateway(tmp_path, password_hash=HASHES[password])
        with contextlib.closing(gateway.store):
            client = TestClient(
                create_app(gateway), base_url="http://127.0.0.1", follow_redirects=False
            )
            if not cookie:
                client.post("/login", data={"password": password})
                cookie = client.cookies["earmark_session"]
            client.cookies.set("earmark_session", cookie)
            statuses.append(client.get("/").status_code)
    assert statuses == [200, 200, 303]


def test_vendored_files_are_the_ones_that_the_notice_names():
    folder = resources.files("earmark_gateway.web") / "static" / "vendor"
    notice = (folder / "NOTICE.txt").read_text("utf-8")
    named = re.findall(r"^(\S+\.js)\s.*?sha256 (\w{64})", notice, re.DOTALL | re.MULTILINE)
    files = {item.name for item in folder.iterdir() if item.name.endswith(".js")}
    assert {name for name, _ in named} == files
    for name, digest in named:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("minutes", ["", "x", "0", "-5", "1441", "9" * 30, "1.5"])
def test_a_pause_lasts_at_most_a_day(open_page, minutes):
    gateway, client = open_page
    token = re.search(r'name="form_token" value="(\w+)"', client.get("/").text)[1]
    answer = client.post("/snooze", data={"form_token": token, "minutes": minutes})
    assert answer.status_code == 400
    with gateway.store.read() as tx:
        assert not tx.snoozes(gateway.clock.now_ms())


@pytest.mark.parametrize("query", ["before=x", "before=" + "9" * 40, "before=-1", "room=none"])
def test_a_strange_address_shows_an_ordinary_page(open_page, query):
    _, client = open_page
    assert client.get(f"/timeline?{query}").status_code == 200


def test_what_is_gone_is_said(open_page):
    _, client = open_page
    answer = client.get("/alerts/4711")
    assert (answer.status_code, "no longer stored" in answer.text) == (404, True)


def test_a_damaged_hash_never_matches():
    assert not password_matches("", "x")
    assert not password_matches("$argon2id$broken", "x")


def test_without_login_only_loopback_is_allowed(tmp_path):
    with pytest.raises(ValueError, match="loopback only"):
        make_gateway(tmp_path, login=False, host="0.0.0.0")  # noqa: S104


def test_a_port_in_use_is_one_message(tmp_path):
    gateway = make_gateway(tmp_path, login=False)
    with contextlib.closing(gateway.store):
        server = WebServer(gateway)
        try:
            (tmp_path / "two").mkdir()
            second = make_gateway(tmp_path / "two", login=False, port=server.port)
            with (
                contextlib.closing(second.store),
                pytest.raises(GatewayError, match=f"cannot listen on 127.0.0.1:{server.port}"),
            ):
                WebServer(second)
        finally:
            server.stop()
