"""A bundle keeps its training for the host: float network, learning curve, licences, credits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_training.deploy import bundle_training as kept
from earmark_training.deploy.bundle import Bundle, rewrite_bundle
from earmark_training.train import Recipe

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit
import trained_kit


def test_the_float_network_comes_back_and_never_reaches_the_device(trained):
    bundle, _, result = trained
    windows = np.random.default_rng(0).normal(size=(3, *result.model.input_shape[1:]))
    np.testing.assert_array_equal(
        kept.load_float(Bundle.load(bundle.path))(windows), result.model(windows)
    )
    assert kept.FLOAT_FILE not in {path.name for path in bundle.c_dir.rglob("*")}
    assert kept.float_bytes(result.model) == (bundle.path / kept.FLOAT_FILE).read_bytes()


def test_learning_curve_recipe_and_held_out_fold_are_kept(trained, tmp_path):
    bundle, _, result = trained
    record = Bundle.load(bundle.path).info.metrics["training"]
    assert record["losses"] == pytest.approx(result.losses, abs=1e-5)
    assert record["test_fold"] == 3
    assert record["recipe"]["epochs"] == trained_kit.RECIPE.epochs
    assert Bundle.load(bundle.path).info == bundle.info
    assert rewrite_bundle(bundle, tmp_path / "again").info.metrics == bundle.info.metrics


def test_licences_hours_and_credits_are_those_of_the_clips(trained):
    bundle, manifest, _ = trained
    by_licence = {source.licence: source for source in bundle.info.data}
    assert set(by_licence) == {"CC0-1.0", "CC-BY-4.0", "CC-BY-3.0"}
    n_hum = sum(clip.label == "hum" for clip in manifest.clips)
    assert by_licence["CC0-1.0"].n_clips == n_hum
    assert by_licence["CC0-1.0"].attribution.startswith("Ben")
    hours = n_hum * trained_kit.CLIP_S / 3600
    assert by_licence["CC0-1.0"].hours == pytest.approx(hours, abs=1e-4)
    rows = kept.read_credits(bundle)
    ignored = rows[len(manifest.clips) :]
    del rows[len(manifest.clips) :]
    assert [row["file"] for row in rows] == [clip.path.name for clip in manifest.clips]
    assert {row["attribution"] for row in rows} == {"Ada", "Ben"}
    assert {(row["label"], row["attribution"]) for row in ignored} == {("background", "Cyd")}
    assert by_licence["CC-BY-3.0"].n_clips == len(ignored) > 0
    assert by_licence["CC-BY-3.0"].name != by_licence["CC0-1.0"].name
    folder = str(manifest.clips[0].path.parent)
    assert folder not in (bundle.path / kept.CREDITS_FILE).read_text()


def test_a_network_of_ones_own_is_kept_as_text(tmp_path):
    """Not its place on this machine: bundles are passed on."""
    path = tmp_path / "mine.py"
    path.write_text("def build(shape, n): ...\n")
    record = kept.training_record(
        losses=[1.0], data="x", test_fold=None, recipe=Recipe(preset=str(path))
    )
    assert record["network"] == path.read_text()
    assert record["recipe"]["preset"] == "mine.py"
    assert str(tmp_path) not in json.dumps(record)


def test_a_bundle_without_its_training_is_complete(tmp_path):
    bundle = bundle_kit.make_bundle(tmp_path / "plain")
    assert kept.load_float(bundle) is None
    assert kept.read_credits(bundle) == []


def test_a_float_network_that_cannot_be_opened_is_one_error(trained, tmp_path):
    broken = rewrite_bundle(
        trained[0], tmp_path / "broken", extra_files={kept.FLOAT_FILE: b"not an archive"}
    )
    with pytest.raises(EarmarkError, match="cannot be opened"):
        kept.load_float(broken)
