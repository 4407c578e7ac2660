"""`python -m earmark_training.tune_measure`: what layers and frames cost, executed on the LX6.

Draws candidates from the tuner's space, runs them in emulation, counts each layer, and fits the
weights of `tune_cost`. Run it again when kernels, front end or compiler change.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from earmark_dsp.errors import EarmarkError
from rich.console import Console
from rich.progress import track

from earmark_training import tune_cost, tune_space
from earmark_training.deploy.compile import compile_model, load, plan_model
from earmark_training.deploy.emulator import run_model
from earmark_training.deploy.golden import random_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_dsp.spec import FrontEndSpec

N_CLASSES = 13
COSTS_PATH = Path(__file__).with_name(tune_cost.COSTS_FILE)

Row = tuple[dict[str, float], float]


def executed_layers(
    tflite: bytes, ram_limit: int | None
) -> list[tuple[str, dict[str, float], int]]:
    """Run a network; return (kind, counts, executed instructions) of each layer."""
    model = load(tflite)
    program = plan_model(model, ram_limit=ram_limit)
    inputs = random_inputs(model, np.random.default_rng(0))
    with tempfile.TemporaryDirectory(prefix="earmark-costs-") as folder:
        directory = Path(folder) / "c"
        compile_model(tflite, directory, ram_limit=ram_limit, golden=False)
        run = run_model(directory, "model", [inputs], per_layer=True)
    rows = []
    for number, (kind, counts) in enumerate(tune_cost.layer_counts(program)):
        region = run.layers.get(f"layer_{number:02d}_{program.layers[number].kernel}")
        if region is not None:
            rows.append((kind, counts, region.instructions))
    return rows


def executed_frame(spec: FrontEndSpec) -> float:
    """Run a front end on noise; return executed instructions per frame."""
    from earmark_training.bench.lx6_frontend import N_FRAMES, run_frontend

    n_samples = spec.window_length + N_FRAMES * spec.hop_length
    noise = np.random.default_rng(0).standard_normal(n_samples) * 3000
    frame = run_frontend(spec, noise.astype(np.int16)).regions["frame"]
    return frame.instructions / frame.calls


def fit(rows: Sequence[Row], terms: Sequence[str]) -> tuple[dict[str, float], float]:
    """Return non-negative weights with the least relative error, and the largest such error."""
    from scipy.optimize import nnls

    executed = np.array([n for _, n in rows], float)
    counts = np.array([[row[term] for term in terms] for row, _ in rows], float)
    weights, _ = nnls(counts / executed[:, None], np.ones(len(rows)))
    worst = float(np.max(np.abs(counts @ weights / executed - 1)))
    return {t: round(float(w), 4) for t, w in zip(terms, weights, strict=True)}, round(worst, 4)


def draw(n: int, seed: int) -> list[tune_space.Candidate]:
    """Return candidates spread over the space, the starting point first."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    found = [tune_space.Candidate.of(tune_space.START)]
    while len(found) < n:
        chosen = {name: rng.choice(values) for name, values in tune_space.CHOICES.items()}
        candidate = tune_space.Candidate.of(chosen)
        try:
            tune_space.spec_of(candidate)
        except EarmarkError:
            continue
        found.append(candidate)
    return found


def main(
    n: Annotated[int, typer.Option(help="Candidates to execute.", min=2)] = 16,
    seed: Annotated[int, typer.Option(help="Draws them.")] = 1,
    out: Annotated[Path, typer.Option(help="File to write.")] = COSTS_PATH,
) -> None:
    """Measure and write the weights."""
    from earmark_training.deploy.estimate_source import convert
    from earmark_training.quiet import import_tensorflow

    import_tensorflow()
    layers: dict[str, list[Row]] = defaultdict(list)
    frames: dict[str, list[Row]] = defaultdict(list)
    for candidate in track(draw(n, seed), "executing", console=Console(stderr=True)):
        tflite = convert(tune_space.build(candidate, N_CLASSES))
        for ram_limit in (None, 0):
            for kind, counts, instructions in executed_layers(tflite, ram_limit):
                layers[kind].append((counts, instructions))
        spec = tune_space.spec_of(candidate)
        kind = type(spec.compression).__name__
        frames[kind].append((tune_cost.frame_counts(spec), executed_frame(spec)))
    result: dict[str, Any] = {"command": f"python -m earmark_training.tune_measure --n {n}"}
    errors = {}
    for name, groups, terms in (
        ("layers", layers, tune_cost.LAYER_TERMS),
        ("frontend", frames, tune_cost.FRAME_TERMS),
    ):
        result[name] = {}
        for kind, rows in sorted(groups.items()):
            result[name][kind], errors[kind] = fit(rows, terms)
    result["largest_relative_error"] = errors
    temporary = out.with_suffix(".part")
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    temporary.replace(out)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
