"""What int8 costs: other conversions are measured on data of their own, and the best is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_training import quantisation, quantisation_remedies
from earmark_training.cli import main
from earmark_training.deploy import bundle_training as kept
from earmark_training.deploy.bundle import Bundle, rewrite_bundle
from earmark_training.quantisation_cli import training_material
from earmark_training.quantisation_remedies import IN_BUNDLE
from earmark_training.tflm import TflmModel

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit
import trained_kit


@pytest.fixture(scope="module")
def bundle(trained):
    return trained[0]


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


def test_scores_of_int8_are_those_of_tflm(bundle):
    windows = np.random.default_rng(1).integers(-128, 128, (5, 50, 64)).astype(np.int8)
    scores = quantisation_remedies.scores_of(bundle.tflite, windows, bundle.spec)
    tflm = TflmModel(bundle.tflite).invoke(windows).reshape(5, -1)
    np.testing.assert_array_equal(scores * 256 - 128, tflm)


def test_conversions_are_chosen_by_windows_they_have_not_seen(bundle):
    material = training_material(bundle, None, None)
    used = {window.tobytes() for window in (*material.augmented, *material.recorded)}
    # Windows before the first sound are silence, one like the other.
    sounding = {w.tobytes() for w in material.unseen if len(np.unique(w)) > 1}
    assert sounding
    assert not used & sounding
    assert kept.recipe_of(bundle) == trained_kit.RECIPE


def test_remedies_are_measured_and_a_bundle_is_written(bundle, tmp_path, capsys):
    pytest.importorskip("ai_edge_quantizer", reason="pip install 'earmark[dev]'")
    out = tmp_path / "better"
    assert run("quantize-report", str(bundle.path), "--remedies", "--json", "-o", str(out)) == 0
    result = json.loads(capsys.readouterr().out)
    remedies = {remedy["name"]: remedy for remedy in result["remedies"]}
    assert set(remedies) == {
        IN_BUNDLE, "more windows", "recordings", "averaged ranges", "int16 activations",
        "int8 weights alone",
    }  # fmt: skip
    assert all(remedy["score_error"] is not None for remedy in remedies.values())
    # Keeping activations in float cannot be worse than rounding them as well.
    assert remedies["int8 weights alone"]["score_error"] < remedies[IN_BUNDLE]["score_error"]
    assert not remedies["int16 activations"]["deployable"]
    best = min((r for r in remedies.values() if r["deployable"]), key=lambda r: r["score_error"])
    written = Bundle.load(out)
    assert len(written.tflite) == best["n_bytes"]
    assert written.info.metrics == bundle.info.metrics
    assert result["layers"][0]["sqnr_db"] is None  # exact


def test_losing_more_than_the_limit_is_an_exit_status(bundle, capsys):
    assert run("quantize-report", str(bundle.path), "--limit", "-0.1") == 2
    shown = capsys.readouterr().out
    assert "more than the limit" in shown
    assert "SQNR" in shown


def test_without_a_float_network_it_is_one_message(tmp_path, capsys):
    plain = bundle_kit.make_bundle(tmp_path / "plain")
    assert run("quantize-report", str(plain.path)) == 1
    assert "model.keras" in capsys.readouterr().err
    with pytest.raises(EarmarkError, match="recipe"):
        kept.recipe_of(plain)
    old = rewrite_bundle(plain, tmp_path / "old", metrics={"training": {"recipe": {"epochs": "x"}}})
    with pytest.raises(EarmarkError, match="another version"):
        kept.recipe_of(old)


def test_networks_of_different_layers_cannot_be_compared(bundle, tmp_path):
    other = bundle_kit.make_bundle(tmp_path / "other")
    windows = np.zeros((1, 50, 64), np.int8)
    exact = quantisation.float_tflite(kept.load_float(bundle))
    with pytest.raises(EarmarkError, match="different operators"):
        quantisation.layer_errors(exact, other.tflite, windows, bundle.spec)
