"""`earmark tune`: a search under the budget of a device."""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from earmark_dsp.errors import EarmarkError
from rich.console import Console
from rich.table import Table

from earmark_training import tune
from earmark_training.tune_cost import Budget

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from earmark_training.demo.ui import Step

app = typer.Typer(add_completion=False)
# Of the chip's instructions, for listening: the rest is for Wi-Fi, TLS and idling.
SHARE = 0.25
_POLL_S = 1.0


@dataclass(frozen=True)
class Job:
    """What a worker process needs to take part in a search."""

    data: Path
    test_fold: int
    out: Path
    budget: Budget
    epochs: int
    seed: int
    n_trials: int
    n_attempts: int | None

    @property
    def settings(self) -> dict[str, Any]:
        """What must not change within one study."""
        return {
            "data": str(self.data),
            "test_fold": self.test_fold,
            "epochs": self.epochs,
            "seed": self.seed,
            "max_instructions_per_s": self.budget.instructions_per_s,
            "max_ram_bytes": self.budget.ram_bytes,
            "max_flash_bytes": self.budget.flash_bytes,
        }

    def search(self) -> tune.Search:
        """Open the data; the clips of the outer test fold stay outside."""
        from earmark_datasets.sources import open_data

        manifest, inner_fold = tune.without_test_fold(open_data(self.data), self.test_fold)
        return tune.Search(manifest, inner_fold, self.budget, self.out, self.epochs, self.seed)

    def study(self) -> Any:
        """Open the study."""
        return tune.open_study(self.out, seed=self.seed, settings=self.settings)


@app.command()
def main(
    data: Annotated[Path, typer.Argument(help="manifest.csv, its folder, or ESC-10.")],
    *,
    out: Annotated[Path, typer.Option("-o", help="The search's folder.")] = Path("build/tune"),
    trials: Annotated[int, typer.Option(min=1, help="Candidates to train, in all.")] = 30,
    epochs: Annotated[int, typer.Option(min=1, help="Schedule of each candidate.")] = 40,
    test_fold: Annotated[int, typer.Option(help="Outer fold; never opened.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes; more may join later.")] = 1,
    attempts: Annotated[
        int | None, typer.Option(min=1, help="Candidates to look at; default: 30 x trials.")
    ] = None,
    target: Annotated[str, typer.Option(help="Chip.")] = "esp32-pico",
    max_instructions: Annotated[
        float | None, typer.Option(help="Million instructions per second; default: a quarter.")
    ] = None,
    max_ram: Annotated[int | None, typer.Option(help="Bytes; default: what the chip has.")] = None,
    max_flash: Annotated[int | None, typer.Option(help="Bytes; default: its partition.")] = None,
    seed: Annotated[int, typer.Option(help="Of search and trainings.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the front as JSON.")] = False,
) -> None:
    """Search front end, window, hop and network for the best accuracy at each cost.

    Interrupt it at any time; the same command goes on. Run it in several terminals, or with
    --workers, to search faster. Writes pareto.html, pareto.json and a folder per candidate.

    Example: earmark tune ESC-10 --trials 30 --max-instructions 20
    """
    from earmark_training.deploy.estimate import CYCLES_PER_INSTRUCTION
    from earmark_training.deploy.estimate import target as target_of

    chip = target_of(target)
    budget = Budget(
        instructions_per_s=(
            SHARE * chip.clock_hz / CYCLES_PER_INSTRUCTION
            if max_instructions is None
            else 1e6 * max_instructions
        ),
        ram_bytes=chip.ram_bytes if max_ram is None else max_ram,
        flash_bytes=chip.flash_bytes if max_flash is None else max_flash,
    )
    job = Job(data, test_fold, out.resolve(), budget, epochs, seed, trials, attempts)
    search = job.search()
    study = job.study()
    console = Console(stderr=as_json)
    try:
        _run(job, search, study, workers, console)
    finally:
        found = write_results(job, search, study)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(found, console)
        console.print(f"wrote {out / 'pareto.html'}", highlight=False)


def _run(job: Job, search: tune.Search, study: Any, workers: int, console: Console) -> None:
    from earmark_training.demo.ui import Ui

    with Ui(console).step("Searching") as step:
        if workers == 1:
            from earmark_training.quiet import import_tensorflow

            import_tensorflow()
            tune.work(
                study,
                search,
                job.n_trials,
                n_attempts=job.n_attempts,
                say=lambda what: step.update(tune.n_trained(study), job.n_trials, what),
            )
        else:
            _run_processes(job, study, workers, step)


def _run_processes(job: Job, study: Any, workers: int, step: Step) -> None:
    # Spawned, because TensorFlow does not survive a fork.
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [
        context.Process(target=_worker, args=(job,), daemon=True) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            n_alive = sum(process.is_alive() for process in processes)
            step.update(tune.n_trained(study), job.n_trials, f"{n_alive} workers")
            time.sleep(_POLL_S)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    if all(process.exitcode for process in processes):
        raise EarmarkError(
            "all workers failed", "repeat with --workers 1 to see why; nothing finished is lost"
        )


def _worker(job: Job) -> None:
    from earmark_training.quiet import import_tensorflow

    import_tensorflow()
    tune.work(job.study(), job.search(), job.n_trials, n_attempts=job.n_attempts)


def write_results(job: Job, search: tune.Search, study: Any) -> list[dict[str, Any]]:
    """Write pareto.json and pareto.html of everything found so far; return the front."""
    from earmark_training import tune_page

    _, inner = search.manifest.split(search.inner_fold)
    found = tune_page.points(study, job.out, len(inner.clips))
    settings = job.settings | {"inner_fold": search.inner_fold, "inner_clips": len(inner.clips)}
    files = {
        "pareto.json": json.dumps({"settings": settings, "front": found}, indent=2) + "\n",
        "pareto.html": tune_page.html_page(study, found, settings),
    }
    for name, content in files.items():
        temporary = job.out / f"{name}.part"
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(job.out / name)
    return found


def _print(found: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="best for their cost")
    for heading in ("trial", "inner accuracy", "M instructions/s", "RAM KiB", "flash KiB"):
        table.add_column(heading, justify="right")
    for point in found:
        table.add_row(
            str(point["trial"]),
            f"{point['accuracy']:.1%}",
            f"{point['instructions_per_s'] / 1e6:.1f}",
            f"{point['ram_bytes'] / 1024:.1f}",
            f"{point['flash_bytes'] / 1024:.1f}",
        )
    console.print(table)
