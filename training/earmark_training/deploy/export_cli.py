"""`earmark export`: everything that others need of a bundle."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False)


@app.command()
def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar.")],
    out: Annotated[Path, typer.Option("-o", help="Directory to write.")],
) -> None:
    """Write TFLite models, SavedModel, a C library with example, a firmware component, a notebook.

    Example: earmark export build/demo/bundle -o build/export
    """
    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.export import export_bundle
    from earmark_training.quiet import import_tensorflow

    loaded = Bundle.load(bundle)
    with Console(stderr=True).status("reading") as status:
        import_tensorflow()
        notes = export_bundle(loaded, out, progress=status.update)
    for note in notes:
        typer.echo(note)
    typer.echo(f"wrote {out}")
