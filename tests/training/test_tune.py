"""The tuner: predicted costs against executed ones, budgets, resuming, and the unseen test fold."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from earmark_datasets.manifest import Manifest
from earmark_dsp.errors import EarmarkError
from earmark_dsp.spec import load_spec
from earmark_training import tune, tune_cost, tune_measure, tune_page, tune_space
from earmark_training.cli import main
from earmark_training.deploy.compile import load, plan_model
from earmark_training.deploy.estimate_source import convert
from earmark_training.tune_cost import Budget, Cost
from hypothesis import given, settings
from hypothesis import strategies as st
from tools import require_tool

sys.path.insert(0, str(Path(__file__).parent))

import trained_kit

ANYTHING = Budget(1e12, 10**9, 10**9)
# A corner of the space whose networks train in seconds.
SMALL = {
    "compression": ("log", "pcen"), "window_length": (512,), "hop_ms": (32,), "n_mels": (32,),
    "context_ms": (640,), "inference_ms": (320,), "stem": (8,), "stem_stride": (2,),
    "conv_1": (16, 24), "conv_2": (24,), "separable": (48,), "n_separable": (1,),
    "last": (48,), "bands": (1,),
}  # fmt: skip
candidates = st.builds(
    tune_space.Candidate, **{k: st.sampled_from(v) for k, v in tune_space.CHOICES.items()}
)


@pytest.fixture(scope="module")
def converted():
    """Conversion takes seconds and the cost of candidates this small hardly differs."""
    candidate = tune_space.Candidate.of({name: values[0] for name, values in SMALL.items()})
    return convert(tune_space.build(candidate, 6))


@pytest.fixture
def _small(monkeypatch, converted):
    monkeypatch.setattr(tune_space, "CHOICES", SMALL)
    monkeypatch.setattr(tune_space, "START", {name: values[0] for name, values in SMALL.items()})
    monkeypatch.setattr(tune, "_untrained", lambda *_: converted)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three folds; the recordings of the outer test fold (3) do not exist."""
    folder = tmp_path_factory.mktemp("tune")
    manifest = trained_kit.sounds(folder)
    for clip in manifest.clips:
        if clip.fold == 3:
            clip.path.unlink()
    return manifest


def search_of(data, out, *, budget=ANYTHING, epochs=2):
    manifest, inner = tune.without_test_fold(data, 3)
    return tune.Search(manifest, inner, budget, out, epochs)


@settings(max_examples=60, deadline=None)
@given(candidates)
def test_every_point_of_the_space_is_a_front_end_or_one_message(candidate):
    try:
        spec = tune_space.spec_of(candidate)
    except EarmarkError:
        return
    assert spec.context_frames * candidate.hop_ms == pytest.approx(candidate.context_ms, rel=0.05)
    assert 1 <= candidate.hop_frames <= spec.context_frames
    if candidate.compression == "pcen":
        base = load_spec("pcen-64-20ms")
        decay_per_s = (1 - spec.compression.smoothing) ** (16000 / spec.hop_length)
        expected = (1 - base.compression.smoothing) ** (16000 / base.hop_length)
        assert decay_per_s == pytest.approx(expected, rel=1e-2)


def test_earmark_train_takes_a_candidate(data, tmp_path):
    """The command that the page shows: front end, network and hop reach the bundle."""
    from earmark_datasets.manifest import save_manifest
    from earmark_training.deploy.bundle import Bundle

    candidate = dataclasses.replace(
        tune_space.Candidate.of({name: values[0] for name, values in SMALL.items()}),
        inference_ms=200,
    )
    folder = tune.write_candidate(candidate, tmp_path)
    assert tune.write_candidate(candidate, tmp_path) == folder
    save_manifest(Manifest(tuple(c for c in data.clips if c.fold != 3)), tmp_path / "m.csv")
    arguments = [
        "train", str(tmp_path / "m.csv"), "--spec", str(folder / "frontend.toml"), "--model",
        str(folder / "model.py"), "--hop-frames", str(candidate.hop_frames), "-o",
        str(tmp_path / "bundle"), "--epochs", "1", "--test-fold", "2", "--json",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.hop_frames == candidate.hop_frames == 6
    assert bundle.spec.hash_hex == tune_space.spec_of(candidate).hash_hex
    assert bundle.info.metrics["training"]["network"] == (folder / "model.py").read_text()


def test_predicted_instructions_are_those_executed_on_the_lx6():
    """On a candidate that the weights were not fitted to."""
    require_tool("qemu-system-xtensa")
    require_tool("clang-22")
    candidate = tune_measure.draw(4, seed=77)[3]
    tflite = convert(tune_space.build(candidate, 13))
    rows = tune_measure.executed_layers(tflite, 0)
    executed = sum(instructions for _, _, instructions in rows)
    predicted = tune_cost.network_instructions(plan_model(load(tflite), ram_limit=0))
    assert predicted == pytest.approx(executed, rel=0.08)
    spec = tune_space.spec_of(candidate)
    assert tune_cost.frame_instructions(spec) == pytest.approx(
        tune_measure.executed_frame(spec), rel=0.04
    )


def test_unknown_kernels_are_dear(converted, monkeypatch):
    program = plan_model(load(converted))
    known = tune_cost.network_instructions(program)
    monkeypatch.setattr(tune_cost, "coefficients", lambda: {"layers": {}})
    assert tune_cost.network_instructions(program) > 2 * known


@given(st.lists(st.floats(0.5, 100), min_size=2, max_size=3), st.integers(0, 2**31))
def test_the_fit_finds_the_weights_it_was_made_from(weights, seed):
    rng = np.random.default_rng(seed)
    terms = [f"t{i}" for i in range(len(weights))]
    rows = []
    for _ in range(12):
        counts = dict(zip(terms, rng.uniform(1, 100, len(terms)), strict=True))
        rows.append((counts, tune_cost.weigh(dict(zip(terms, weights, strict=True)), counts)))
    found, worst = tune_measure.fit(rows, terms)
    assert [found[t] for t in terms] == pytest.approx(weights, rel=1e-3, abs=1e-3)
    assert worst < 1e-3


def test_a_budget_names_what_is_exceeded():
    cost = Cost(2e6, 1e6, 2000, 3000, 10)
    assert Budget(2e6, 2000, 3000).exceeded_by(cost) == ""
    assert (
        Budget(1e6, 2000, 3000).exceeded_by(cost) == "2,000,000 instructions/s, 1,000,000 allowed"
    )
    assert "RAM" in Budget(2e6, 1999, 3000).exceeded_by(cost)
    assert "flash" in Budget(2e6, 2000, 2999).exceeded_by(cost)


@pytest.mark.usefixtures("_small")
def test_what_does_not_fit_is_never_trained(data, tmp_path, monkeypatch):
    monkeypatch.setattr("earmark_training.train.train", lambda *_a, **_k: pytest.fail("trained"))
    search = search_of(data, tmp_path, budget=Budget(1e12, 1000, 10**9))
    study = tune.open_study(tmp_path, seed=1, settings={})
    tune.work(study, search, 1, n_attempts=3)
    assert len(study.trials) == 3
    assert all("RAM" in t.user_attrs["refused"] for t in study.trials)
    assert tune.front(study) == []


@pytest.mark.usefixtures("_small")
def test_a_search_goes_on_and_never_opens_the_test_fold(data, tmp_path, monkeypatch):
    search = search_of(data, tmp_path)
    assert {clip.fold for clip in search.manifest.clips} == {1, 2}
    study = tune.open_study(tmp_path, seed=1, settings={"epochs": 4})
    tune.work(study, search, 1)
    assert tune.n_trained(study) == 1
    again = tune.open_study(tmp_path, seed=1, settings={"epochs": 4})
    first = again.trials[0]
    assert first.params == tune_space.START
    assert 0 <= first.values[0] <= 1
    # The second one's trainings would show nothing new.
    monkeypatch.setattr(tune, "_accuracy", lambda *_: 1.0)
    tune.work(again, search, 2)
    assert tune.n_trained(again) == 2
    assert again.trials[0].values == first.values
    with pytest.raises(EarmarkError, match="other settings: epochs"):
        tune.open_study(tmp_path, seed=1, settings={"epochs": 5})
    # Nothing on the front is beaten in both.
    values = [t.values for t in tune.front(again)]
    assert all(not (b[0] >= a[0] and b[1] < a[1]) for a in values for b in values)
    points = tune_page.points(again, tmp_path, 6)
    page = tune_page.html_page(again, points, {"max_instructions_per_s": 1e6})
    assert "<svg" in page
    assert not any(f"{a}{b}" in page for a in ("src=", "href=") for b in ("'http", '"http'))
    assert all(f"trial {p['trial']}" in page for p in points)


@pytest.mark.usefixtures("_small")
def test_an_interrupted_candidate_is_the_next_ones_first(data, tmp_path, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    search = search_of(data, tmp_path)
    study = tune.open_study(tmp_path, seed=1, settings={})
    monkeypatch.setattr("earmark_training.train.train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune.work(study, search, 1)
    assert tune.n_trained(study) == 0
    states = [t.state.name for t in study.trials]
    assert states[0] == "FAIL"
    assert study.trials[1].system_attrs["fixed_params"] == tune_space.START


@pytest.mark.usefixtures("_small")
def test_candidates_of_a_killed_worker_are_put_back(tmp_path):
    code = (
        "import os, socket\nfrom pathlib import Path\nfrom earmark_training import tune\n"
        f"study = tune.open_study(Path({str(tmp_path)!r}), seed=1, settings={{}})\n"
        "trial = study.ask()\ntrial.suggest_categorical('stem', (8, 16))\n"
        "trial.set_user_attr('worker', [socket.gethostname(), os.getpid()])\nos._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    study = tune.open_study(tmp_path, seed=1, settings={})
    mine = study.ask()
    mine.set_user_attr("worker", [socket.gethostname(), os.getpid()])
    assert tune.adopt_orphans(study) == 1
    assert study.trials[0].state.name == "FAIL"
    assert study.trials[mine.number].state.name == "RUNNING"
    assert study.trials[-1].state.name == "WAITING"
    assert tune.adopt_orphans(study) == 0


def test_only_a_cheaper_and_clearly_better_candidate_stops_another():
    study = optuna.create_study(directions=["maximize", "minimize"])

    def add(rung, instructions_per_s):
        trial = study.ask()
        trial.set_user_attr("rung", rung)
        trial.set_user_attr("cost", {"instructions_per_s": instructions_per_s})
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    add(0.8, 5e6)
    cost = Cost(6e6, 0, 0, 0, 0)
    assert tune._dominated(study, 0.8 - tune.MARGIN - 0.01, cost)
    assert not tune._dominated(study, 0.8 - tune.MARGIN + 0.01, cost)
    assert not tune._dominated(study, 0.1, dataclasses.replace(cost, instructions_per_s=4e6))


def test_two_folds_are_not_enough(data):
    two = Manifest(tuple(clip for clip in data.clips if clip.fold != 1))
    with pytest.raises(EarmarkError, match="1 fold is left"):
        tune.without_test_fold(two, 3)


@pytest.mark.slow
def test_the_command_searches_with_several_workers(tmp_path, capsys):
    """Two processes share the study; nothing fits, so that the whole search takes seconds."""
    from earmark_datasets.manifest import save_manifest

    manifest = trained_kit.sounds(tmp_path, per_fold=1)
    save_manifest(manifest, tmp_path / "manifest.csv")
    arguments = [
        "tune", str(tmp_path / "manifest.csv"), "-o", str(tmp_path / "out"), "--trials", "1",
        "--test-fold", "3", "--workers", "2", "--attempts", "2", "--max-ram", "10", "--json",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert json.loads(capsys.readouterr().out) == []
    assert (tmp_path / "out" / "pareto.html").is_file()
