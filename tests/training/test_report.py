"""Report, model card, quantisation and comparison of a bundle of three kinds of sound."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_datasets.audio import read_pcm_cached
from earmark_dsp.errors import EarmarkError
from earmark_training import report, report_clips, report_measure
from earmark_training.cli import main
from earmark_training.deploy import bundle_training as kept
from earmark_training.deploy.bundle import Bundle, rewrite_bundle
from earmark_training.evaluate import evaluate_bundle
from earmark_training.quantisation import float_tflite, layer_errors
from earmark_training.report_measure import AS_RECORDED, FLOAT, TFLM, C

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit

TEST_FOLD = 3


@pytest.fixture(scope="module")
def clips(trained):
    bundle, manifest, _ = trained
    _, test = manifest.split(TEST_FOLD)
    return report_measure.measure_clips(
        bundle, test, data="kit", float_model=kept.load_float(bundle), snrs_db=(10.0,)
    )


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """The page and card that the command writes, found from the bundle alone."""
    out = tmp_path_factory.mktemp("out") / "report"
    status = run("report", str(trained[0].path), "-o", str(out), "--no-execute")
    assert status == 0
    return out


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


class Page(html.parser.HTMLParser):
    """Collects what a browser would fetch, and checks that elements are closed."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self):
        super().__init__()
        self.fetched, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.fetched += [v for k, v in attrs if k in {"src", "href", "xlink:href", "data"} and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, _tag, attrs):
        self.fetched += [v for k, v in attrs if k in {"src", "href", "xlink:href", "data"} and v]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_votes_are_those_of_the_evaluation(trained, clips):
    bundle, manifest, result = trained
    _, test = manifest.split(TEST_FOLD)
    scores = evaluate_bundle(bundle, test, float_model=result.model)
    np.testing.assert_array_equal(clips.confusion(C), scores.c.confusion)
    np.testing.assert_array_equal(clips.confusion(TFLM), scores.int8_tflm.confusion)
    np.testing.assert_array_equal(clips.confusion(FLOAT), scores.float32.confusion)
    assert clips.n_identical_windows == clips.n_tflm_windows == scores.n_windows


def test_of_a_slow_network_tflm_runs_a_window_a_clip(trained, clips, monkeypatch):
    monkeypatch.setattr("earmark_training.evaluate.TFLM_SLOW_BYTES", 0)
    bundle, manifest, _ = trained
    _, test = manifest.split(TEST_FOLD)
    again = report_measure.measure_clips(bundle, test, data="kit", snrs_db=())
    assert again.n_tflm_windows == len(test.clips) < again.n_identical_windows
    np.testing.assert_array_equal(again.confusion(TFLM), clips.confusion(TFLM))


def test_slices_part_the_clips(clips):
    slices = clips.slices()
    overall = slices[0]
    for kind in ("label", "source"):
        parts = [part for part in slices if part.kind == kind]
        assert len(parts) > 1
        assert sum(part.n for part in parts) == overall.n
        assert sum(part.right[C] for part in parts) == overall.right[C]
    assert [p.name for p in slices if p.kind == "SNR"] == ["pink noise, 10 dB SNR"]
    assert np.trace(clips.confusion(C)) == overall.right[C]


@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_noise_has_the_stated_level(trained, snr_db):
    pcm = read_pcm_cached(trained[1].clips[0].path, sample_rate_hz=16000)
    heard = report_measure.in_noise(pcm // 4, snr_db, np.random.default_rng(1))
    noise = heard - (pcm // 4).astype(float)
    found = 10 * np.log10(np.mean((pcm // 4).astype(float) ** 2) / np.mean(noise**2))
    assert found == pytest.approx(snr_db, abs=0.05)


def test_the_page_shows_everything_and_asks_for_nothing(written, trained):
    content = (written / "report.html").read_text()
    page = Page()
    page.feed(content)
    assert page.open == []
    assert page.fetched
    assert all(value.startswith(("data:", "#")) for value in page.fetched)
    assert not re.search(r"@import|url\((?!#)", content)
    text = " ".join(page.text)
    for title in (
        "Data and licences", "Training", "Clips", "Quantisation", "Streams", "Detector", "Device",
        "Hardest clips", "Limits",
    ):  # fmt: skip
        assert f"{title}" in text
    # Licences with their hours, the learning curve, three confusions, SNR, sources, players.
    assert {"CC0-1.0", "CC-BY-4.0", "Ada", "attic", "pink noise, 0 dB SNR"} <= set(page.text)
    assert content.count("<svg") >= 6
    n_clips = sum(clip.fold == TEST_FOLD for clip in trained[1].clips)
    assert content.count("<audio") == min(n_clips, report_clips.N_HARDEST)
    assert str(trained[1].clips[0].path.parent) not in content


def test_the_model_card_names_use_data_figures_and_limits(written, clips):
    card = (written / "model_card.md").read_text()
    for heading in ("Intended use", "Events", "Data", "Training", "Figures", "Limits"):
        assert f"\n## {heading}\n" in card
    overall = clips.slices()[0]
    assert f"{C}: {overall.accuracy(C):.1%} of {overall.n} clips" in card
    assert "CC-BY-4.0" in card
    assert "fold 3 held out" in card


def test_a_report_without_clips_or_float_network_says_so(tmp_path, capsys):
    bundle = bundle_kit.make_bundle(tmp_path / "plain")
    out = tmp_path / "out"
    assert run("report", str(bundle.path), "-o", str(out), "--no-execute") == 0
    content = (out / "report.html").read_text()
    assert "No held-out clips were at hand" in content
    assert "holds no learning curve" in content
    assert "Nothing was measured" in content
    # Asked for, but impossible: one message.
    assert run("report", str(bundle.path), "-o", str(out), "--data", str(tmp_path)) == 1
    assert "error:" in capsys.readouterr().err


def test_streams_of_another_bundle_are_refused(trained, tmp_path, capsys):
    (tmp_path / "streams.json").write_text('{"bundle": "em-0+0000"}')
    arguments = [str(trained[0].path), "-o", str(tmp_path / "o")]
    assert run("report", *arguments, "--streams", str(tmp_path / "streams.json")) == 1
    assert "was measured with em-0+0000" in capsys.readouterr().err


def test_stream_figures_are_shown_with_intervals(trained):
    row = {
        "label": "hum", "n_played": 4, "n_found": 3, "recall_interval": [0.19, 0.99],
        "latency_median_s": 1.5, "n_false": 2, "hours": 2.0, "false_per_24h": 24.0,
        "false_per_24h_interval": [2.9, 86.7],
    }  # fmt: skip
    cause = {"label": "hum", "heard": ["fridge", "fridge", "<script>"]}
    streams = {
        "home": {"hours": 2.0, "n_events": 4, "labels": [row], "false_alarms": [cause] * 2},
        "alarms": [
            {"label": "smoke_alarm", "n_played": 5, "n_found": 5, "n_in_time": 4, "n_confused": 0,
             "cycles_median": 2.1, "cycles_max": 2.6}
        ],
        "recorded": {"smoke_alarm": [{"clip": "hall", "found": False}]},
        "beeps": {"n_clips": 7, "alarms_raised": [{"event": "co_alarm", "clip": "oven"}]},
    }  # fmt: skip
    content = report.html_page(report.Findings(trained[0], streams=streams))
    for shown in (
        "3/4",
        "2.9 to 86.7",
        "5/5",
        "<b>missed</b>",
        "1 alarms: co_alarm by oven",
        "<td class=words>fridge</td><td>2</td>",
    ):
        assert shown in content
    assert "<script>" not in content


def test_layer_errors_find_the_layer_that_was_spoiled(trained):
    """Halving the scale of one layer's output clips it: that layer must be named."""
    bundle, manifest, result = trained
    windows = report_measure.clip_windows(bundle, manifest, 8)
    exact = float_tflite(result.model)
    layers = layer_errors(exact, bundle.tflite, windows, bundle.spec)
    assert layers[0].sqnr_db == np.inf  # the front end's integers
    assert all(layer.sqnr_db > 10 for layer in layers)
    assert all(0 < layer.used <= 1 and 0 <= layer.saturated < 0.2 for layer in layers)
    changed = next(i for i, layer in enumerate(layers) if "DEPTHWISE" in layer.name)
    spoiled = _with_half_scale(bundle.tflite, changed)
    worse = layer_errors(exact, spoiled, windows, bundle.spec)
    assert report_clips.worst_layer(worse).name == layers[changed].name
    assert worse[changed].saturated > layers[changed].saturated


def _with_half_scale(tflite, position):
    """Return the model with half the output scale at one operator: larger values saturate."""
    from earmark_training.deploy.tflite import parse_model

    model = parse_model(tflite)
    tensor = model.tensors[model.operators[position].outputs[0]]
    old = np.float32(tensor.quantisation.scale[0]).tobytes()
    new = np.float32(tensor.quantisation.scale[0] / 8).tobytes()
    assert tflite.count(old) == 1
    return tflite.replace(old, new)


def test_compare_lists_differences_and_who_is_right(trained, tmp_path, capsys):
    bundle, _, _ = trained
    params = bundle.params
    label = next(x for x in params.labels if x.name == "hum")
    import msgspec

    changed = msgspec.structs.replace(
        params,
        labels=tuple(
            msgspec.structs.replace(x, on_permille=900) if x is label else x for x in params.labels
        ),
    )
    other = rewrite_bundle(bundle, tmp_path / "other", detector_params=changed)
    data = str(Path(bundle.info.metrics["training"]["data"]))
    arguments = [str(bundle.path), str(other.path)]
    assert run("compare", *arguments, "--data", data, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["hum: threshold"] == [0.5, 0.9]
    assert {key for key, (a, b) in rows.items() if a != b} == {"hum: threshold"}
    assert rows["only this one is right"] == ["0 of 6 clips"] * 2
    assert run("compare", *arguments) == 0
    assert "hum: threshold" in capsys.readouterr().out


def test_a_known_fold_is_held_out_unless_another_is_named(trained):
    from earmark_training.report_cli import held_out

    bundle = Bundle.load(trained[0].path)
    manifest, name = held_out(bundle, None, None)
    assert {clip.fold for clip in manifest.clips} == {TEST_FOLD}
    assert name == f"{trained[1].clips[0].path.parent.name}/manifest.csv, fold 3"
    assert "trained with fold 3 held out" in held_out(bundle, None, 1)[1]


def test_clips_of_labels_that_the_network_lacks_are_left_out_and_counted(trained, tmp_path):
    from earmark_datasets.manifest import Manifest, save_manifest
    from earmark_training.report_cli import held_out

    renamed = [
        dataclasses.replace(clip, label="siren") if clip.label == "hum" else clip
        for clip in trained[1].clips
    ]
    save_manifest(Manifest(tuple(renamed)), tmp_path / "m.csv")
    clips, name = held_out(trained[0], tmp_path / "m.csv", None)
    assert set(clips.labels) == {"beep", "hiss"}
    assert "2 clips of other labels left out" in name
    none = [dataclasses.replace(clip, label="siren") for clip in trained[1].clips]
    save_manifest(Manifest(tuple(none)), tmp_path / "none.csv")
    with pytest.raises(EarmarkError, match="none of the labels siren"):
        held_out(trained[0], tmp_path / "none.csv", None)


def test_without_comparable_layers_the_report_goes_on(trained, tmp_path):
    """A float network of another build: its clips are scored, its layers are not compared."""
    keras = pytest.importorskip("keras")
    shape = trained[2].model.input_shape[1:]
    inputs = keras.Input(shape)
    scores = keras.layers.Dense(6, activation="softmax")(keras.layers.Flatten()(inputs))
    other = kept.float_bytes(keras.Model(inputs, scores))
    bundle = rewrite_bundle(trained[0], tmp_path / "b", extra_files={kept.FLOAT_FILE: other})
    out = tmp_path / "out"
    assert run("report", str(bundle.path), "-o", str(out), "--no-execute") == 0
    content = (out / "report.html").read_text()
    assert "SQNR dB" not in content
    assert "votes differ" in content


def test_conditions_come_in_order(clips):
    conditions = list(dict.fromkeys(h.condition for h in clips.heard))
    assert conditions == [AS_RECORDED, "pink noise, 10 dB SNR"]
    assert set(clips.under(conditions[1])[0].votes) == {FLOAT, C}
