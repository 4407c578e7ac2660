"""The page in a real Chromium: looks (screenshots), accessibility, keyboard, no script, live."""

from __future__ import annotations

import contextlib
from importlib import resources
from pathlib import Path

import pytest
from earmark_gateway import links
from earmark_gateway.web.server import WebServer
from earmark_gateway.web.session import hash_password
from playwright.sync_api import expect, sync_playwright
from tools import require_tool
from webkit import PASSWORD, SECRET, House

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
DESKTOP, PHONE = (1280, 800), (360, 740)
LOOKS = [(size, scheme) for size in (DESKTOP, PHONE) for scheme in ("light", "dark")]
# First screens for docs/caregiver.md, which says how they get into docs/img.
FOR_DOCS = {"2-quiet": "quiet", "3-alarm": "alarm", "4-people": "people", "5-devices": "devices"}
WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def chromium():
    program = require_tool("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        # CI runs as root, where Chromium's own sandbox refuses to start.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"], timeout=WAIT_MS
        )
        yield browser
        browser.close()


@pytest.fixture
def serve():
    """Function that serves a house's page; returns its address."""
    with contextlib.ExitStack() as stack:

        def start(house):
            server = WebServer(house.gateway)
            stack.callback(house.close)
            stack.callback(server.stop)
            return f"http://127.0.0.1:{server.port}"

        yield start


class Visit:
    """One browser profile; remembers every request and every complaint of the browser."""

    def __init__(self, browser, base, *, size=DESKTOP, script=True):
        self.base = base
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            java_script_enabled=script,
            base_url=base,
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(WAIT_MS)
        self.requests, self.complaints = [], []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message):
        # A policy violation is an error on the console. A 4xx page is one too, on purpose.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def open(self, path):
        # The live stream never ends, so "networkidle" would never come.
        self.page.goto(path, wait_until="load")
        return self.page

    def sign_in(self):
        self.open("/login").fill("#password", PASSWORD)
        self.page.press("#password", "Enter")
        self.page.wait_for_url("**/")

    def clean(self):
        """Close; True if nothing outside was asked and the browser did not complain."""
        self.context.close()
        foreign = [url for url in self.requests if not url.startswith(self.base + "/")]
        assert not foreign
        assert not self.complaints
        return bool(self.requests)


@pytest.fixture
def visit(chromium):
    with contextlib.ExitStack() as stack:

        def start(base, **options):
            one = Visit(chromium, base, **options)
            stack.callback(one.context.close)
            return one

        yield start


def axe_finds(page, **options):
    """Rules that the page breaks, each with the elements concerned."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("o => axe.run(o)", options | {"resultTypes": ["violations"]})
    return {v["id"]: [node["html"] for node in v["nodes"]] for v in found["violations"]}


def scenes(house):
    """Every page, in the states that people see: (name, path), preparing the house on the way."""
    yield "1-empty", "/"
    yield "1-empty-devices", "/devices"
    yield "1-empty-timeline", "/timeline"
    yield "1-empty-privacy", "/privacy"
    house.live_two_days()
    yield "2-quiet", "/"
    alert = house.smoke()
    yield "3-alarm", "/"
    yield "3-alert", f"/alerts/{alert.id}"
    token = links.make_token(SECRET, alert.id, "anna", house.clock.now_ms() + 10**7)
    yield "3-link", f"/a/{token}"
    house.gateway.acknowledge(alert.id, by="ben", how="link")
    yield "4-answered", f"/alerts/{alert.id}"
    yield "4-timeline", "/timeline"
    yield "4-people", "/circle"
    yield "4-privacy", "/privacy"
    house.trouble()
    yield "5-trouble", "/"
    yield "5-devices", "/devices"


def test_every_page_is_accessible_fits_and_is_drawn(tmp_path, serve, visit):
    house = House(tmp_path, password_hash=hash_password(PASSWORD))
    browser = visit(serve(house))
    (SCREENSHOTS / "docs").mkdir(parents=True, exist_ok=True)

    def look(name):
        page = browser.page
        for size, scheme in LOOKS:
            page.set_viewport_size({"width": size[0], "height": size[1]})
            page.emulate_media(color_scheme=scheme)
            which = f"{name}-{'phone' if size == PHONE else 'desktop'}-{scheme}"
            # Colours are all that dark mode changes.
            rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
            wrong = axe_finds(page, **rules)
            assert not wrong, f"{which}: {wrong}"
            overflow = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert overflow <= 0, f"{which} scrolls sideways by {overflow} px"
            page.screenshot(path=SCREENSHOTS / f"{which}.png", full_page=True)
            if name in FOR_DOCS and (size, scheme) == (PHONE, "light"):
                page.screenshot(path=SCREENSHOTS / "docs" / f"page-{FOR_DOCS[name]}.png")

    browser.open("/login")
    look("0-login")
    browser.sign_in()
    for name, path in scenes(house):
        browser.open(path)
        look(name)
    assert browser.clean()


def test_the_checks_notice_what_they_look_for(tmp_path, serve, visit):
    house = House(tmp_path, login=False)
    browser = visit(serve(house))
    page = browser.open("/")
    page.evaluate(
        """() => {
        const main = document.getElementById("main");
        main.insertAdjacentHTML("beforeend", '<p class="pale">Pale</p>');
        main.insertAdjacentHTML("beforeend", '<img src="/static/icon.svg">');
        for (const rule of document.styleSheets) rule.insertRule(".pale { color: #eee; }");
        const script = document.createElement("script");
        script.textContent = "document.title = 'inline'";
        main.append(script);
        const foreign = document.createElement("img");
        foreign.src = "http://elsewhere.invalid/pixel.png";
        main.append(foreign);
        }"""
    )
    assert {"color-contrast", "image-alt"} <= axe_finds(page).keys()
    assert page.title() != "inline"
    refused = "\n".join(browser.complaints)
    assert "script-src" in refused, "the policy forbids inline scripts, and the test hears of it"
    assert "elsewhere.invalid" in refused
    with pytest.raises(AssertionError):
        browser.clean()


def focused(page):
    return page.evaluate("document.activeElement.innerText || document.activeElement.id")


def tab_to(page, text):
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused(page) == text:
            return
    raise AssertionError(f"the Tab key never reaches {text!r}")


def test_everything_is_done_with_the_keyboard_alone(tmp_path, serve, visit):
    house = House(tmp_path, password_hash=hash_password(PASSWORD))
    house.live_two_days()
    alert = house.smoke()
    browser = visit(serve(house))
    page = browser.open("/")
    assert focused(page) == "password", "the only field has the focus"
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to(page, "I take care of it")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2, "the focus can be seen"
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_have_text("Anna takes care of it.")
    assert house.alert(alert.id).acked_by == "anna"
    assert browser.clean()


def test_without_javascript_the_forms_do_it(tmp_path, serve, visit):
    house = House(tmp_path, login=False)
    house.live_two_days()
    alert = house.smoke()
    browser = visit(serve(house), size=PHONE, script=False)
    page = browser.open("/")
    page.select_option(f"#by-{alert.id}", label="Ben")
    page.click("text=I take care of it")
    expect(page.locator(".verdict")).to_have_text("Ben takes care of it.")
    page.fill("#note", "toast")
    page.click("text=It was a false alarm")
    expect(page.locator(".verdict")).to_contain_text("toast")
    stored = house.alert(alert.id)
    assert (stored.acked_by, stored.false_alarm, stored.note) == ("ben", True, "toast")
    assert browser.clean()


def test_the_page_follows_what_happens(tmp_path, serve, visit):
    house = House(tmp_path, login=False)
    house.live_two_days()
    browser = visit(serve(house), size=PHONE)
    page = browser.open("/")
    expect(page.locator("h1")).to_have_text("All quiet")
    with page.expect_event("request", lambda request: request.url.endswith("/events")):
        page.reload()
    house.smoke()
    expect(page.locator("h1")).to_have_text("Smoke alarm in the kitchen")
    expect(page.locator("#announce")).to_have_text("Smoke alarm in the kitchen")
    expect(page).to_have_title("Smoke alarm in the kitchen - Earmark")
    # Somebody is about to answer: news must take neither the focus nor the choice away.
    alert = house.open_alert()
    page.select_option(f"#by-{alert.id}", label="Ben")
    page.focus(f"#ack-{alert.id}")
    house.hear("a1b2c3d4e5f6", "dog")
    expect(page.locator(".sounds .what").first).to_contain_text("Dog")
    assert focused(page) == "I take care of it"
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_have_text("Ben takes care of it.")
    # The phone remembers who answered.
    house.smoke()
    browser.open("/")
    expect(page.locator("select[name=by]").first).to_have_value("ben")
    page.click("text=False alarm")
    expect(page.locator(".verdict")).to_have_text("It was a false alarm, says Ben.")
    assert browser.clean()


def test_an_emergency_stands_above_newer_worries(tmp_path, serve, visit):
    house = House(tmp_path, login=False)
    house.live_two_days()
    house.smoke()
    house.hear("b2c3d4e5f6a1", "cough")
    page = visit(serve(house), size=PHONE).open("/")
    expect(page.locator("h1")).to_have_text("Smoke alarm in the kitchen")
    titles = ["Smoke alarm in the kitchen", "Cough in the bedroom"]
    expect(page.locator("article h2")).to_have_text(titles)


def test_a_page_whose_gateway_is_gone_says_so(tmp_path, visit, caplog):
    house = House(tmp_path, login=False)
    house.live_two_days()
    with contextlib.closing(house):
        server = WebServer(house.gateway)
        page = visit(f"http://127.0.0.1:{server.port}").open("/")
        expect(page.locator("h1")).to_have_text("All quiet")
        expect(page.locator("#stale")).to_be_hidden()
        server.stop()
        expect(page.locator("#stale")).to_be_visible()
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_link_from_a_notification_needs_no_login_and_works_once(tmp_path, serve, visit):
    house = House(tmp_path, password_hash=hash_password(PASSWORD))
    house.live_two_days()
    alert = house.smoke()
    token = links.make_token(SECRET, alert.id, "ben", house.clock.now_ms() + 10**7)
    browser = visit(serve(house), size=PHONE)
    page = browser.open(f"/a/{token}")
    expect(page.locator("h1")).to_have_text("Smoke alarm in the kitchen")
    assert house.alert(alert.id).state == "open", "looking changes nothing"
    page.click("text=I take care of it")
    expect(page.locator("h1")).to_contain_text("Thank you")
    assert house.alert(alert.id).acked_by == "ben"
    browser.open(f"/a/{token}")
    expect(page.locator(".verdict")).to_have_text("Ben takes care of it.")
    browser.open("/")
    expect(page.locator("h1")).to_have_text("Sign in")
    assert browser.clean()


def test_pause_self_test_blink_and_sign_out(tmp_path, serve, visit):
    house = House(tmp_path, password_hash=hash_password(PASSWORD))
    house.live_two_days()
    browser = visit(serve(house), size=PHONE)
    browser.sign_in()
    page = browser.page
    page.select_option("#minutes", label="4 hours")
    page.click("#pause")
    expect(page.locator("text=3 hours left").or_(page.locator("text=4 hours left"))).to_be_visible()
    page.click("text=End the pause")
    expect(page.locator("text=hours left")).to_have_count(0)
    browser.open("/circle").click("text=Send a test now")
    expect(page.locator("h1")).to_contain_text("on its way")
    browser.open("/devices").click("#blink-a1b2c3d4e5f6")
    expect(page.locator("h1")).to_have_text("Devices")
    topics = [topic for topic, _ in house.gateway.mqtt.published]
    assert "earmark/v1/gw-home/event" in topics
    assert "earmark/v1/a1b2c3d4e5f6/cmd/identify" in topics
    page.click("text=Sign out")
    expect(page.locator("h1")).to_have_text("Sign in")
    assert browser.clean()
