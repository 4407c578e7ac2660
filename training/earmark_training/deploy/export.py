"""Hands a bundle over: TFLite files, SavedModel, a C library, a firmware component, a notebook."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_training.deploy.bundle_schema import SPEC_FILE
from earmark_training.deploy.bundle_training import CREDITS_FILE, FLOAT_FILE, load_float
from earmark_training.deploy.export_c import write_component, write_library
from earmark_training.deploy.export_notebook import write_notebook

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_training.deploy.bundle import Bundle

MARKER = "EARMARK_EXPORT.md"


def export_bundle(
    bundle: Bundle, out_dir: Path, progress: Callable[[str], object] = lambda _: None
) -> list[str]:
    """Write everything that others need into `out_dir`, replaced as a whole.

    Parameters
    ----------
    bundle : Bundle
    out_dir : Path
        New, or an earlier export.
    progress : callable
        Told what is being written.

    Returns
    -------
    list of str
        What was written, one line each, and what could not be.
    """
    if out_dir.exists() and any(out_dir.iterdir()) and not (out_dir / MARKER).is_file():
        raise EarmarkError(f"{out_dir} exists and is no export", "choose another directory")
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    parts: list[tuple[str, Callable[[Bundle, Path], str]]] = [
        ("models", write_models),
        ("c_library", write_library),
        ("firmware_component/earmark", write_component),
        ("notebook", write_notebook),
    ]
    try:
        scratch.chmod(0o755)
        notes = []
        for name, write in parts:
            progress(name)
            (scratch / name).mkdir(parents=True)
            notes.append(write(bundle, scratch / name))
        title = f"# Export of {bundle.info.name} {bundle.info.model_version}"
        lines = [title, "", *(f"- {note}" for note in notes), "", "## Licences of the data", ""]
        lines += [f"- {d.name}: {d.licence} {d.attribution}".rstrip() for d in bundle.info.data]
        if CREDITS_FILE in bundle.info.files:
            shutil.copyfile(bundle.path / CREDITS_FILE, scratch / CREDITS_FILE)
        (scratch / MARKER).write_text("\n".join([*lines, ""]))
        if out_dir.exists():
            shutil.rmtree(out_dir)
        scratch.rename(out_dir)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return notes


def write_models(bundle: Bundle, directory: Path) -> str:
    """Write the int8 network, and the float one as Keras file, SavedModel and TFLite."""
    (directory / "model_int8.tflite").write_bytes(bundle.tflite)
    shutil.copyfile(bundle.path / SPEC_FILE, directory / SPEC_FILE)
    model = load_float(bundle)
    if model is None:
        return f"models: model_int8.tflite; no float network: the bundle holds no {FLOAT_FILE}"
    from earmark_training.quantisation import float_tflite
    from earmark_training.quiet import quiet

    shutil.copyfile(bundle.path / FLOAT_FILE, directory / FLOAT_FILE)
    with quiet():
        model.export(directory / "saved_model", verbose=False)
    (directory / "model_float.tflite").write_bytes(float_tflite(model))
    return f"models: model_int8.tflite, model_float.tflite, saved_model, {FLOAT_FILE}"
