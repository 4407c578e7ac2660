"""What the demonstration shows while it works, and at the end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console
    from rich.progress import TaskID

    from earmark_training.demo.score import Score


class Step:
    """One line with a progress bar."""

    def __init__(self, progress: Progress, task: TaskID, name: str) -> None:
        self._progress, self._task, self._name = progress, task, name

    def update(self, done: int, total: int, detail: str) -> None:
        """Show that `done` of `total` is finished."""
        self._progress.update(
            self._task, completed=done, total=total, description=f"{self._name}: {detail}"
        )

    def bytes(self, done: int, total: int) -> None:
        """Show a download."""
        detail = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
        self.update(done, max(total, 1), detail)


class Ui:
    """Progress and results on a terminal.

    Parameters
    ----------
    console : rich.console.Console
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """Print one remark."""
        self.console.print(f"  {text}", highlight=False, markup=False)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a step; a line with its duration stays when it is done."""
        started_s = time.monotonic()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Step(progress, progress.add_task(name, total=None), name)
        self.console.print(f"[green]done[/] {name} ({time.monotonic() - started_s:.1f} s)")

    def result(self, summary: dict[str, Any], score: Score, out: Path) -> None:
        """Print what was played against what the caregiver was told."""
        table = Table(title="An evening at home: played and told")
        for heading in ("at", "played", "caregiver told", "after", "confidence"):
            table.add_column(heading, justify="right" if heading in {"at", "after"} else "left")
        for played, told in score.rows:
            first = told[0] if told else None
            table.add_row(
                f"{played.onset_s:.1f} s",
                played.label,
                "[red]missed[/]" if first is None else f"[green]told[/] x{len(told)}",
                "" if first is None else f"{first.at_s - played.onset_s:.1f} s",
                "" if first is None else f"{first.confidence:.2f}",
            )
        for told_of_nothing in score.false_alarms:
            table.add_row(
                f"{told_of_nothing.at_s:.1f} s",
                "(nothing)",
                f"[red]false alarm: {told_of_nothing.label}[/]",
                "",
                f"{told_of_nothing.confidence:.2f}",
            )
        self.console.print(table)
        latency = summary["median_latency_s"]
        self.console.print(
            f"{summary['events_notified']} of {summary['events_played']} sounds told, "
            f"{summary['false_alarms']} false alarms"
            + (f", {latency:.1f} s after the onset (median)" if latency is not None else "")
        )
        self.console.print(
            f"held-out clips: float {summary['accuracy_float']:.1%}, "
            f"int8 TFLM {summary['accuracy_int8_tflm']:.1%}, C {summary['accuracy_c']:.1%}; "
            f"identical integers on {summary['n_identical_windows']} windows"
        )
        self.console.print(f"[bold]{out / 'report.html'}[/] shows it; {out / 'summary.json'}")

    def serve(self, port: int) -> None:
        """Wait until Ctrl-C."""
        self.console.print(
            f"the caregiver's page: [bold]http://127.0.0.1:{port}/[/]  (Ctrl-C ends)"
        )
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            self.console.print("stopped")
