"""`earmark dsp`: show, generate, extract, autotune."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root
from earmark_dsp.spec import list_specs, load_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec

app = typer.Typer(
    help="Front end: show, generate, extract, autotune.", no_args_is_help=True, add_completion=False
)
console = Console()

MAX_FAILURES_SHOWN = 10
# Beyond this, more recordings change the proposal little but cost time.
AUTOTUNE_FILES = 400

SpecArgument = Annotated[
    str, typer.Argument(help="Name of a front end that ships with Earmark, or a .toml file.")
]


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


@app.command("list")
def list_command() -> None:
    """List the front ends that ship with Earmark."""
    table = Table()
    table.add_column("name", no_wrap=True)
    table.add_column("description")
    for column in ("hash", "features", "hop", "context"):
        table.add_column(column, no_wrap=True)
    for name in list_specs():
        spec = load_spec(name)
        table.add_row(
            name,
            spec.description,
            spec.hash_hex,
            str(spec.n_features),
            f"{1e3 * spec.hop_length / spec.sample_rate_hz:g} ms",
            f"{spec.context_samples / spec.sample_rate_hz:.2f} s",
        )
    console.print(table)


@app.command()
def show(
    spec_name: SpecArgument,
    audio: Annotated[
        Path | None, typer.Option(help="Recording to show; default: a synthetic chirp.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")] = Path("frontend.png"),
) -> None:
    """Draw the window, the filter bank, and a spectrogram in float64 against fixed point."""
    from earmark_dsp.audio import load_pcm
    from earmark_dsp.native import FrontEnd
    from earmark_dsp.plot import demonstration_signal, draw

    spec = load_spec(spec_name)
    pcm = load_pcm(audio, spec.sample_rate_hz) if audio else demonstration_signal(spec)
    if spec.n_frames(pcm.size) == 0:
        raise EarmarkError(
            f"{audio} is shorter than one window ({spec.window_length} samples)",
            "choose a longer recording",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    agreement = draw(spec, pcm, audio.name if audio else "rising chirp", out)
    console.print(spec.to_toml(), markup=False, highlight=False)
    console.print(
        f"hash {spec.hash_hex}; {FrontEnd(spec).state_bytes} bytes of state and scratch\n"
        f"fixed point against float64: {agreement['within_1_lsb']:.4%} within 1 int8 step, "
        f"largest difference {agreement['max_abs_lsb']:g}\n"
        f"drawn: {out}",
        highlight=False,
    )


@app.command()
def generate(
    spec_name: SpecArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    *,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Without the C sources of the front end.")
    ] = False,
) -> None:
    """Write the front end as C for a firmware project of your own."""
    from earmark_dsp import codegen

    spec = load_spec(spec_name)
    written = codegen.generate(spec, out)
    if not tables_only:
        written += _copy_sources(out)
    for path in written:
        console.print(str(path), highlight=False)
    console.print(
        f"front end {spec.name}, hash {spec.hash_hex}. Compile the .c files with this folder on "
        "the include path;\n`earmark/frontend.h` says how to call it.",
        highlight=False,
    )


def _copy_sources(out: Path) -> list[Path]:
    c_root = sources_root() / "dsp" / "c"
    copies = {path: out / path.name for path in sorted((c_root / "src").iterdir())}
    for path in sorted((c_root / "include" / "earmark").iterdir()):
        copies[path] = out / "earmark" / path.name
    for source, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return list(copies.values())


@app.command()
def extract(
    spec_name: SpecArgument,
    folder: Annotated[Path, typer.Argument(help="Folder with recordings, searched recursively.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the .npy files.")],
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads; default: all cores.")] = None,
) -> None:
    """Turn a folder of recordings into int8 features, with the code that runs on the device.

    Interrupt it any time: the next run continues.
    """
    from earmark_dsp.batch import extract_folder

    spec = load_spec(spec_name)
    with _progress() as progress:
        task = progress.add_task("extracting", total=None)
        result = extract_folder(
            spec,
            folder,
            out,
            jobs=jobs,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    console.print(
        f"{result.n_written} files written ({result.n_rows} rows of {spec.n_features}), "
        f"{result.n_skipped} kept from before: {out}",
        highlight=False,
    )
    if result.failures:
        shown = "\n".join(result.failures[:MAX_FAILURES_SHOWN])
        raise EarmarkError(f"{len(result.failures)} files could not be read:\n{shown}")


@app.command()
def autotune(
    folder: Annotated[
        Path, typer.Argument(help="Recordings; sub-folders, if any, are taken as labels.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Specification to write.")] = Path(
        "frontend.toml"
    ),
    sample_rate_hz: Annotated[int, typer.Option("--sample-rate", help="Of the device.")] = 16000,
    labels_csv: Annotated[
        Path | None,
        typer.Option("--labels", help="CSV with columns filename and category (as in ESC-50)."),
    ] = None,
) -> None:
    """Propose a front end for a data set and say why."""
    from earmark_dsp.audio import find_audio, load_pcm
    from earmark_dsp.autotune import propose

    files = find_audio(folder)
    if len(files) > AUTOTUNE_FILES:
        files = files[:: -(-len(files) // AUTOTUNE_FILES)]
    labels, groups = _labels(folder, files, labels_csv)
    recordings: list[NDArray[np.int16]] = []
    with _progress() as progress:
        for path in progress.track(files, description="reading"):
            recordings.append(load_pcm(path, sample_rate_hz))  # noqa: PERF401
    with console.status("comparing candidates"):
        proposal = propose(recordings, sample_rate_hz=sample_rate_hz, labels=labels, groups=groups)
    _write_proposal(proposal.spec, proposal.reasons, out)
    if proposal.scores:
        table = Table("candidate", "accuracy", title="quick classifier, 5 folds")
        for name, score in sorted(proposal.scores.items(), key=lambda item: -item[1]):
            table.add_row(name, f"{score:.1%}")
        console.print(table)
    for reason in proposal.reasons:
        console.print(f"• {reason}", highlight=False)
    console.print(f"written: {out}", highlight=False)


def _labels(
    folder: Path, files: list[Path], labels_csv: Path | None
) -> tuple[list[str] | None, list[str] | None]:
    """Return a label and a source per file: from a CSV, or labels from sub-folders."""
    if labels_csv is None:
        parts = [path.relative_to(folder).parts for path in files]
        if all(len(part) > 1 for part in parts):
            return [part[0] for part in parts], None
        return None, None
    import csv

    try:
        with labels_csv.open(newline="", encoding="utf-8") as file:
            table = {Path(row["filename"]).stem: row for row in csv.DictReader(file)}
        rows = [table[path.stem] for path in files]
        return [row["category"] for row in rows], [
            row.get("src_file", row["filename"]) for row in rows
        ]
    except OSError as exc:
        raise EarmarkError(f"cannot read {labels_csv}: {exc}") from exc
    except KeyError as exc:
        raise EarmarkError(
            f"{labels_csv}: no column or row {exc}", "it needs filename and category for each file"
        ) from exc


def _write_proposal(spec: FrontEndSpec, reasons: list[str], out: Path) -> None:
    why = "".join(f"# {reason}\n" for reason in reasons)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"# Proposed by `earmark dsp autotune`:\n{why}\n{spec.to_toml()}")
    except OSError as exc:
        raise EarmarkError(f"cannot write {out}: {exc}") from exc
