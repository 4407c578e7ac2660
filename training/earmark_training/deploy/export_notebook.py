"""A Jupyter notebook that trains a bundle again, step by step, in code that can be changed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from earmark_training.deploy.bundle_schema import SPEC_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_training.deploy.bundle import Bundle

NAME = "retrain.ipynb"

_LOOK = """import matplotlib.pyplot as plt
from earmark_datasets.audio import read_clip
from earmark_datasets.sources import open_data
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec
from earmark_training.recordings import open_background

spec = load_spec(SPEC)
manifest = open_data(Path(DATA))
train_clips, test_clips = manifest.split(TEST_FOLD)
background = BACKGROUND and open_background(Path(BACKGROUND), manifest, leave_out={TEST_FOLD})
if background:
    train_clips = background.added_to(train_clips)
print(f"{len(train_clips.clips)} clips to train on, {len(test_clips.clips)} held out")
first = {clip.label: clip for clip in reversed(train_clips.clips)}
figure, axes = plt.subplots(1, len(first), figsize=(2 * len(first), 2), squeeze=False)
for ax, (label, clip) in zip(axes.flat, sorted(first.items())):
    rows = extract(spec, read_clip(clip, sample_rate_hz=spec.sample_rate_hz))
    ax.imshow(rows.T, origin="lower", aspect="auto", cmap="magma")
    ax.set_title(label, fontsize=8)
    ax.set_axis_off()"""

_TRAIN = """import msgspec
from earmark_training.quiet import import_tensorflow
from earmark_training.train import Recipe, train

import_tensorflow()
recipe = msgspec.convert({**RECIPE, **CHANGES}, Recipe)
result = train(
    train_clips,
    spec=spec,
    recipe=recipe,
    work_dir=Path(OUT).with_name(Path(OUT).name + ".checkpoints"),
    progress=lambda epoch, n, loss: print(f"epoch {epoch}/{n}, loss {loss:.2f}", end="\\r"),
)
plt.figure(figsize=(6, 2.5))
plt.plot(result.losses)
plt.xlabel("epoch")
plt.ylabel("training loss");"""

_BUNDLE = """from earmark_training import workflow
from earmark_training.quantize import quantize

windows = workflow.representative_windows(train_clips, result.labels, spec, recipe)
bundle = workflow.bundle_from(
    Path(OUT),
    tflite=quantize(result.model, windows, spec),
    spec=spec,
    result=result,
    data_name=DATA,
    clips=manifest,
    name=NAME,
    test_fold=TEST_FOLD,
    recipe=recipe,
    background=background,
)"""

_SCORE = """from earmark_training.evaluate import evaluate_bundle

scores = evaluate_bundle(bundle, test_clips, float_model=result.model)
print(f"float {scores.float32.accuracy:.1%}, int8 in TFLM {scores.int8_tflm.accuracy:.1%}, "
      f"int8 in C {scores.c.accuracy:.1%}, same integers on {scores.n_windows} windows")"""

_NEXT = """Next, in a terminal:

    earmark calibrate BUNDLE      # thresholds from hours of streams
    earmark report BUNDLE         # everything on one page
    earmark export BUNDLE -o OUT  # and this notebook again"""


def write_notebook(bundle: Bundle, directory: Path) -> str:
    """Write the notebook and the front end it trains on."""
    record = bundle.info.metrics.get("training") or {}
    shutil.copyfile(bundle.path / SPEC_FILE, directory / SPEC_FILE)
    recipe = record.get("recipe") or {}
    if network := record.get("network"):
        (directory / recipe["preset"]).write_text(network, encoding="utf-8")
    test_fold = record.get("test_fold")
    parameters = "\n".join(
        [
            "from pathlib import Path",
            "",
            f"DATA = {record.get('data', 'ESC-10')!r}  # manifest.csv, its folder, or ESC-10",
            f"BACKGROUND = {record.get('background')!r}  # of sounds to ignore, or None",
            f"TEST_FOLD = {5 if test_fold is None else test_fold}  # only scored, at the end",
            f"SPEC = {SPEC_FILE!r}",
            f"NAME = {bundle.info.name!r}",
            'OUT = "build/retrained"',
            f"RECIPE = {_literal(recipe)}",
            "CHANGES = {}  # of the recipe, for example {'epochs': 20}",
        ]
    )
    info = bundle.info
    title = (
        f"# {info.name} {info.model_version}\n\n"
        f"Trains it again. Classes: {', '.join(info.class_names)}. Front end: {info.frontend.name} "
        f"({info.frontend.hash}). Needs `pip install earmark[training] notebook`."
    )
    cells = [
        _markdown(title),
        _code(parameters, "parameters"),
        _markdown("## The recordings, as the network sees them"),
        _code(_LOOK),
        _markdown("## Training\n\nInterrupted, it goes on from its last checkpoint."),
        _code(_TRAIN),
        _markdown("## Int8, C code and bundle"),
        _code(_BUNDLE),
        _markdown("## The held-out fold: float, TFLM and C"),
        _code(_SCORE),
        _markdown(_NEXT),
    ]
    notebook = {
        "cells": [{"id": f"cell-{i}"} | cell for i, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (directory / NAME).write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")
    return f"notebook/{NAME}: trains, quantises and scores again"


def _literal(recipe: dict[str, Any]) -> str:
    import pprint

    return pprint.pformat(recipe, width=88, sort_dicts=False)


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(text: str, *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)} if tags else {},
        "source": text,
        "execution_count": None,
        "outputs": [],
    }
