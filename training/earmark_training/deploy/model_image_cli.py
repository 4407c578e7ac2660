"""`earmark pack-model` and `earmark new-model-key`: model updates for devices in the field."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)
key_app = typer.Typer(add_completion=False)


@app.command()
def pack_model(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar.")],
    key: Annotated[Path, typer.Option(help="Private key of model releases (PEM).")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Image to write.")],
) -> None:
    """Sign a bundle as an update for the model slot of devices with the TFLM engine.

    Publish it as BASE_URL/VERSION/model.img and send the command `update` with that VERSION.
    """
    from earmark_training.deploy import model_image
    from earmark_training.deploy.bundle import Bundle

    signing_key = model_image.load_key(key)
    packed = Bundle.load(bundle)
    image = model_image.pack(packed, signing_key)
    temporary = out.with_name(out.name + ".part")
    temporary.write_bytes(image)
    temporary.replace(out)
    typer.echo(
        f"{out}: {packed.info.model_version}, {len(image):,} bytes of {model_image.SLOT_BYTES:,}\n"
        f"for devices with front end {packed.spec.hash_hex} and the labels "
        f"{', '.join(packed.labels)}\n"
        f"that trust the key {model_image.public_point(signing_key)}",
    )


@key_app.command()
def new_model_key(
    out: Annotated[Path, typer.Argument(help="Private key to write (PEM).")],
) -> None:
    """Make the key that signs model updates, and print what the firmware must know of it.

    Keep it like the boot key (docs/firmware-release-keys.md): whoever has it decides what is heard.
    """
    from earmark_training.deploy.model_image import new_key

    point = new_key(out)
    typer.echo(f"wrote {out}; into the firmware's sdkconfig:")
    typer.echo(f'CONFIG_EARMARK_MODEL_PUBLIC_KEY="{point}"')
