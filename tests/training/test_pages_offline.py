"""Pages of the workbench in a browser: nothing asked of a network, nothing beyond the edge."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from earmark_datasets.cli import app as data_app
from earmark_dsp.spec import load_spec
from earmark_training import gallery, report_figures, report_html, tune, tune_page, tune_space
from tools import require_tool
from typer.testing import CliRunner

SIZES = ({"width": 1280, "height": 900}, {"width": 390, "height": 800})
# A name as long as they come, and one that would ask the network if it were not escaped.
HOSTILE = "<img src=http://127.0.0.1:9/x>"


@pytest.fixture(scope="module")
def chromium():
    """Chromium of the system, held by Playwright."""
    from playwright.sync_api import sync_playwright

    path = require_tool("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def look(chromium, path):
    """Open a page in both sizes and settings; return (requests, complaints, pixels too wide)."""
    asked, complaints, excess = [], [], 0
    for size in SIZES:
        for scheme in ("light", "dark"):
            tab = chromium.new_page(viewport=size, color_scheme=scheme)
            tab.on("request", lambda request: asked.append(request.url))
            tab.on("console", lambda message: complaints.append(message.text))
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.goto(path.resolve().as_uri())
            tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            width = tab.evaluate("document.documentElement.scrollWidth")
            excess = max(excess, width - size["width"])
            tab.close()
    return [u for u in asked if not u.startswith(("file:", "data:"))], complaints, excess


def write_gallery(path):
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, 16000).astype(np.float32)
    spec = load_spec("logmel-64-20ms")
    gallery.write_gallery(path, noise, noise[::-1].copy(), spec=spec, title=HOSTILE)


def write_explorer(path):
    import soundfile

    rng = np.random.default_rng(1)
    for label in ("hum", "a_label_of_thirty_two_characters"):
        folder = path.parent / "sounds" / label
        folder.mkdir(parents=True)
        for i in range(3):
            name = f"{label} {i} {'with a long name ' * 6}.wav"
            soundfile.write(folder / name, rng.normal(0, 0.1, 16000), 16000)
    out = ["explore", str(path.parent / "sounds"), "-o", str(path)]
    result = CliRunner().invoke(data_app, out)
    assert result.exit_code == 0, result.output


def write_search(path):
    study = optuna.create_study(directions=["maximize", "minimize"])
    for i, (accuracy, instructions) in enumerate([(0.8, 1e6), (0.9, 2e6), (0.7, 3e6)]):
        study.enqueue_trial(tune_space.START)
        trial = study.ask()
        tune_space.suggest(trial)
        cost = {"instructions_per_s": instructions, "ram_bytes": 2000, "flash_bytes": 9000}
        trial.set_user_attr("cost", cost)
        trial.set_user_attr("rung", accuracy - 0.1)
        study.tell(trial, [accuracy, instructions])
        assert tune.n_trained(study) == i + 1
    found = tune_page.points(study, path.parent, 40)
    settings = {"data": HOSTILE, "max_instructions_per_s": 4e6}
    path.write_text(tune_page.html_page(study, found, settings), "utf-8")


def write_report_parts(path):
    """What a report is built of; the report itself needs a training (test_report.py)."""
    point = {"n_played": 4, "threshold_permille": 500, "recall": 1.0, "false_per_24h": 0.0}
    curve = [point | {"false_per_24h_interval": [0.0, 90.0]}]
    curves = {name: {"curve": curve, "chosen_permille": 500} for name in ("hum", HOSTILE)}
    links = "".join(f"<a href='#{i}'>Section of the page {i}</a>" for i in range(12))
    body = (
        f"<nav>{links}</nav>"
        + report_html.facts([("of a fact", "97.5 %")] * 6)
        + report_html.table(["name", "value"], [(HOSTILE * 5, 1.5)])
        + f"<code>{'a/long/path/without/a/blank/' * 9}</code><pre>{'x = network(x)  ' * 40}</pre>"
        + report_figures.operating_points(curves, 24.0)
        + report_figures.learning_curve([2.0, 1.0])
        + f"<div class=figures><figure>{report_figures.confusion(np.eye(3), list('abc'))}</figure>"
        "</div>"
        + report_html.feature_picture(np.zeros((9, 4), np.int8), HOSTILE)
        + report_html.player(np.zeros(8000, np.int16), 16000)
    )
    path.write_text(report_html.document(HOSTILE, body), "utf-8")


@pytest.mark.parametrize("write", [write_gallery, write_explorer, write_search, write_report_parts])
def test_a_page_asks_for_nothing_and_fits_a_telephone(write, chromium, tmp_path):
    path = tmp_path / "page.html"
    write(path)
    assert look(chromium, path) == ([], [], 0)


def test_the_checks_notice_what_they_look_for(chromium, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f"<p style='width:2000px'>wide{HOSTILE}", "utf-8")
    asked, complaints, excess = look(chromium, path)
    assert len(asked) == 4
    assert complaints
    assert excess > 1000


def test_the_browser_refuses_what_a_page_should_not_ask(chromium, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(report_html.document("", HOSTILE), "utf-8")
    _, complaints, _ = look(chromium, path)
    assert "Content Security Policy" in complaints[0]


def test_numbers_stand_right_and_words_left():
    head = ("name", "share", "95 %", "licence", "found")
    rows = [("a", "93.3%", "78% to 99%", "CC0", "3/4"), ("b", "-", "", "", "-")]
    page = report_html.table(head, rows)
    assert page.count("class=words") == 2 * 3
    assert "<td class=words>CC0" in page
    assert "<td>93.3%" in page


def test_an_empty_search_says_what_to_do():
    study = optuna.create_study(directions=["maximize", "minimize"])
    page = tune_page.html_page(study, [], {"max_instructions_per_s": 1e6})
    assert "--max-ram" in page
    assert "<svg" not in page
