"""`earmark export`: everything that others need of a bundle."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar.")],
    out: Annotated[Path, typer.Option("-o", help="Directory to write.")],
) -> None:
    """Write TFLite models, a C library with example, a firmware component and a notebook.

    Example: earmark export build/demo/bundle -o build/export
    """
    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.export import export_bundle

    for note in export_bundle(Bundle.load(bundle), out):
        typer.echo(note)
    typer.echo(f"wrote {out}")
