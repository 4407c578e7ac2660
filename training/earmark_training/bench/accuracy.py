"""`python -m earmark_training.bench.accuracy`: clip accuracy over official folds and seeds.

Each (fold, seed) is trained alone, with a fixed schedule, and its held-out fold is scored once, at
the end. Finished runs are kept and reused while code, recipe and data stay the same. Augmented
windows are drawn once per fold of training clips and shared by folds, seeds and presets.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from earmark_datasets.manifest import Manifest
from rich.console import Console

from earmark_training import (
    augment,
    energies,
    evaluate,
    fresh,
    networks,
    pipeline,
    quantize,
    recordings,
    shards,
    train,
    training_set,
    windows,
    workflow,
    yamnet,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_dsp.spec import FrontEndSpec

ARITHMETICS = ("float", "int8_tflm", "int8_c")
_N_SEEDS = 3  # a result of fewer is not complete
_MODULES = (
    augment,
    energies,
    evaluate,
    fresh,
    networks,
    pipeline,
    quantize,
    recordings,
    shards,
    train,
    training_set,
    windows,
    workflow,
    yamnet,
)

console = Console()


@dataclass(frozen=True)
class Job:
    """One training: everything a worker process needs.

    Attributes
    ----------
    data : Path
        As `earmark train` takes it.
    spec_name : str
    fold : int
        Held out.
    recipe : Recipe
    folder : Path
        Holds results, checkpoints and augmented windows.
    bundles : Path or None
        Where to leave the bundle.
    background : Path or None
        Sounds to ignore, as `earmark train` takes them.
    """

    data: Path
    spec_name: str
    fold: int
    recipe: train.Recipe
    folder: Path
    bundles: Path | None = None
    background: Path | None = None


def run_key(recipe: train.Recipe, spec: FrontEndSpec, manifest: Manifest, fold: int) -> str:
    """Return a name for a run that changes with its code, recipe, front end, data and fold."""
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode())
    digest.update(f"{spec.hash_hex}:{fold}".encode())
    for clip in manifest.clips:
        size = clip.path.stat().st_size
        place = f"{clip.path.name}:{size}:{clip.onset_s}"
        digest.update(f"{place}:{clip.label}:{clip.fold}".encode())
    for module in _MODULES:
        digest.update(inspect.getsource(module).encode())
    return f"{recipe.preset}-fold{fold}-seed{recipe.seed}-{digest.hexdigest()[:12]}"


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a file that is either whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(value, indent=2) + "\n")
    draft.replace(path)


def run_job(job: Job) -> dict[str, Any]:
    """Train, quantise and score one fold, or return the stored result of the same run."""
    from earmark_datasets.sources import open_data
    from earmark_dsp.spec import load_spec

    from earmark_training.deploy.compile import load, plan_model
    from earmark_training.quiet import import_tensorflow

    manifest, spec = open_data(job.data), load_spec(job.spec_name)
    train_clips, test_clips = manifest.split(job.fold)
    ignored = None
    if job.background:
        ignored = recordings.open_background(job.background, manifest, leave_out={job.fold})
        train_clips = ignored.added_to(train_clips)
    key = run_key(job.recipe, spec, Manifest(train_clips.clips + test_clips.clips), job.fold)
    stored = job.folder / f"{key}.json"
    if stored.is_file():
        found: dict[str, Any] = json.loads(stored.read_text())
        return found
    import_tensorflow()
    work_dir = job.folder / "checkpoints" / key
    resumed = work_dir.exists()
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    result = train.train(
        train_clips,
        spec=spec,
        recipe=job.recipe,
        work_dir=work_dir,
        shard_dir=job.folder / "windows",
    )
    train_s, train_cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    drawn = workflow.representative_windows(train_clips, result.labels, spec, job.recipe)
    tflite = quantize.quantize(result.model, drawn, spec)
    with tempfile.TemporaryDirectory() as folder:
        bundle = workflow.bundle_from(
            (job.bundles or Path(folder)) / f"{job.recipe.preset}-fold{job.fold}",
            tflite=tflite,
            spec=spec,
            result=result,
            data_name=str(job.data),
            clips=manifest,
            name=job.recipe.preset,
            test_fold=job.fold,
            recipe=job.recipe,
            background=ignored,
        )
        few = evaluate.TFLM_SAMPLE if len(tflite) > evaluate.TFLM_SLOW_BYTES else None
        scores = evaluate.evaluate_bundle(
            bundle, test_clips, float_model=result.model, tflm_windows=few
        )
    run = {
        "fold": job.fold,
        "seed": job.recipe.seed,
        "float": scores.float32.accuracy if scores.float32 else None,
        "int8_tflm": scores.int8_tflm.accuracy,
        "int8_c": scores.c.accuracy,
        "n_test_clips": len(test_clips.clips),
        "n_windows": scores.n_windows,
        "n_tflm_windows": scores.n_tflm_windows,
        # Batch normalisation's moving averages are folded away and not counted.
        "params": sum(int(np.prod(v.shape)) for v in result.model.trainable_variables),
        # Per window; one window each `hop_s` seconds.
        "macs": plan_model(load(tflite)).macs,
        "hop_s": workflow.hop_frames(spec) * spec.hop_length / spec.sample_rate_hz,
        "model_bytes": len(tflite),
        "resumed": resumed,
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
    }
    write_json(stored, run)
    return run


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a preset; a fold's accuracy (0..1) is its mean over the seeds.

    Parameters
    ----------
    runs : sequence of dict
        As `run_job` returns them; only folds that occur are listed, in order.
    """
    folds = sorted({run["fold"] for run in runs})
    seeds = sorted({run["seed"] for run in runs})
    figures: dict[str, Any] = {"folds": folds, "seeds": seeds}
    for name in ARITHMETICS:
        means = [float(np.mean([r[name] for r in runs if r["fold"] == fold])) for fold in folds]
        figures[f"folds_{name}"] = means
        figures[f"mean_{name}"] = float(np.mean(means))
    figures |= {name: runs[0][name] for name in ("params", "macs", "hop_s", "model_bytes")}
    # A resumed run's clock has seen only its last part.
    whole_s = [run["train_s"] for run in runs if not run["resumed"]]
    figures["train_s"] = float(np.mean(whole_s)) if whole_s else None
    figures["runs"] = sorted(runs, key=lambda run: (run["fold"], run["seed"]))
    return figures


def as_table(report: dict[str, Any]) -> str:
    """Return the result file as a Markdown table, accuracies in per cent."""
    lines = [
        "| preset | seeds | folds, C | float | int8, TFLM | int8, C | parameters | bytes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, f in report.items():
        folds = " ".join(
            f"{number}: {100 * value:.1f}"
            for number, value in zip(f["folds"], f["folds_int8_c"], strict=True)
        )
        means = " | ".join(f"{100 * f[f'mean_{a}']:.2f}" for a in ARITHMETICS)
        seeds = f"{len(f['seeds'])}" + ("" if f["complete"] else ", incomplete")
        lines.append(
            f"| `{name}` | {seeds} | {folds} | {means} | {f['params']:,} | {f['model_bytes']:,} |"
        )
    return "\n".join(lines)


def main(
    *,
    preset: Annotated[list[str] | None, typer.Option(help="Networks; all if not given.")] = None,
    data: Annotated[Path, typer.Option(help="As for earmark train.")] = Path("ESC-10"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.")] = None,
    n_seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings per fold.")] = _N_SEEDS,
    fold: Annotated[list[int] | None, typer.Option(help="Only these folds.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    out: Annotated[Path, typer.Option(help="Result.")] = Path("build/bench/accuracy.json"),
    background: Annotated[
        Path | None, typer.Option(help="Sounds to ignore, as for earmark train.")
    ] = None,
    bundles: Annotated[Path | None, typer.Option(help="Keep the bundles of seed 1.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Only print the results there are.")] = False,
) -> None:
    """Write clip accuracy in float, int8 under TFLM and C; interrupt and repeat to go on."""
    from earmark_datasets.sources import open_data

    if show:
        typer.echo(as_table(json.loads(out.read_text())))
        return
    folder = out.with_name("accuracy_runs")
    folds = list(open_data(data).folds)
    # Spawned, because TensorFlow does not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            for name in preset or networks.PRESETS:
                spec = networks.PRESETS[name].spec_name
                changes = {} if epochs is None else {"epochs": epochs}
                jobs = [
                    Job(
                        data,
                        spec,
                        number,
                        train.recipe_for(name, seed=seed, **changes),
                        folder,
                        bundles if seed == 1 else None,
                        background,
                    )
                    for seed in range(1, n_seeds + 1)
                    for number in fold or folds
                ]
                all_folds = fold is None or set(fold) == set(folds)
                title = f"{name} --background {background}" if background else name
                _run_preset(title, jobs, pool, out, complete=all_folds and n_seeds >= _N_SEEDS)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if preset is None:
        shutil.rmtree(folder / "windows", ignore_errors=True)


def _run_preset(
    title: str, jobs: Sequence[Job], pool: ProcessPoolExecutor, out: Path, *, complete: bool
) -> None:
    """Run one preset's jobs; the result file is rewritten after each."""
    report = json.loads(out.read_text()) if out.is_file() else {}
    first = jobs[0]
    settings = {
        "data": str(first.data),
        "background": str(first.background) if first.background else None,
        "spec": first.spec_name,
        **asdict(first.recipe),
    }
    del settings["seed"]
    runs: list[dict[str, Any]] = []
    for done in as_completed([pool.submit(run_job, job) for job in jobs]):
        run = done.result()
        runs.append(run)
        console.print(
            f"{title} {len(runs)}/{len(jobs)} fold {run['fold']} seed {run['seed']}: "
            f"float {run['float']:.1%}, C {run['int8_c']:.1%}, {run['train_s']:.0f} s"
        )
        report[title] = summarise(runs) | {"settings": settings}
        report[title]["complete"] = complete and len(runs) == len(jobs)
        write_json(out, report)
    figures = report[title]
    console.print(
        f"{title}: float {figures['mean_float']:.2%}, int8 C {figures['mean_int8_c']:.2%}; {out}"
    )


if __name__ == "__main__":
    typer.run(main)
