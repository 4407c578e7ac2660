"""The accuracy benchmark: what is averaged, and when a stored run may be reused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from earmark_datasets.audio import write_wav
from earmark_datasets.manifest import Clip, Manifest
from earmark_dsp.spec import load_spec
from earmark_training.bench import accuracy
from earmark_training.train import Recipe


def _run(fold, seed, value):
    fixed = {
        "params": 1,
        "macs": 2,
        "hop_s": 0.5,
        "model_bytes": 3,
        "train_s": 4.0,
        "resumed": False,
    }
    return {"fold": fold, "seed": seed, **dict.fromkeys(accuracy.ARITHMETICS, value), **fixed}


def test_folds_are_means_over_seeds_and_weigh_the_same():
    # Fold 1 has a seed more than fold 2, as in an interrupted benchmark.
    runs = [_run(2, 1, 0.5), _run(1, 1, 0.8), _run(1, 2, 1.0)]
    figures = accuracy.summarise(runs)
    assert figures["folds"] == [1, 2]
    assert figures["seeds"] == [1, 2]
    for name in accuracy.ARITHMETICS:
        assert figures[f"folds_{name}"] == pytest.approx([0.9, 0.5])
        assert figures[f"mean_{name}"] == pytest.approx(0.7)
    assert [(r["fold"], r["seed"]) for r in figures["runs"]] == [(1, 1), (1, 2), (2, 1)]


def test_time_of_a_resumed_training_is_not_reported():
    resumed = _run(1, 1, 0.9) | {"resumed": True, "train_s": 0.5}
    assert accuracy.summarise([resumed, _run(1, 2, 0.9)])["train_s"] == pytest.approx(4.0)
    assert accuracy.summarise([resumed])["train_s"] is None


def test_a_run_is_another_when_anything_that_decides_it_changes(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, np.ones(1600, np.int16))
    manifest = Manifest((Clip(path, "dog", fold=1, group="a"),))
    spec, recipe = load_spec("pcen-64-20ms"), Recipe()
    key = accuracy.run_key(recipe, spec, manifest, 1)
    assert key == accuracy.run_key(recipe, spec, manifest, 1)
    relabelled = Manifest((Clip(path, "cat", fold=1, group="a"),))
    others = {
        accuracy.run_key(dataclasses.replace(recipe, epochs=61), spec, manifest, 1),
        accuracy.run_key(dataclasses.replace(recipe, seed=2), spec, manifest, 1),
        accuracy.run_key(recipe, load_spec("logmel-64-20ms"), manifest, 1),
        accuracy.run_key(recipe, spec, relabelled, 1),
        accuracy.run_key(recipe, spec, manifest, 2),
    }
    write_wav(path, np.ones(3200, np.int16))
    others.add(accuracy.run_key(recipe, spec, manifest, 1))
    assert key not in others
    assert len(others) == 6


def test_a_result_file_is_whole_and_leaves_no_draft(tmp_path):
    path = tmp_path / "new" / "accuracy.json"
    accuracy.write_json(path, {"a": 1})
    accuracy.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in path.parent.iterdir()] == ["accuracy.json"]


def test_the_table_says_when_runs_are_missing():
    figures = accuracy.summarise([_run(2, 1, 0.5), _run(1, 1, 0.8)])
    report = {"tiny": figures | {"complete": False}, "big": figures | {"complete": True}}
    _, _, first, second = accuracy.as_table(report).splitlines()
    assert "1, incomplete | 1: 80.0 2: 50.0 | 65.00 | 65.00 | 65.00 | 1 | 3" in first
    assert "incomplete" not in second
