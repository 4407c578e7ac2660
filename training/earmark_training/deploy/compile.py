"""`earmark compile`: an int8 `.tflite` becomes a self-contained directory of C.

Stages: tflite (validated reading) -> lower (kernels and integers) -> program (memory, order of
rows) -> codegen (text). Nothing is written before all of them have succeeded.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root

from earmark_training.deploy import golden as golden_vectors
from earmark_training.deploy.arena_picture import arena_svg
from earmark_training.deploy.codegen import LayerWriter, Tables, weights_source
from earmark_training.deploy.codegen_model import model_header, model_source
from earmark_training.deploy.codegen_tflm import tflm_source
from earmark_training.deploy.lower import check_borders, lower_model
from earmark_training.deploy.plan import make_plan
from earmark_training.deploy.program import Program, bind, fold_padding
from earmark_training.deploy.tflite import parse_model, read_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from earmark_training.deploy.tflite import Model


@dataclass(frozen=True)
class Compiled:
    """What `compile_model` made, for reports and tests."""

    program: Program
    tables: Tables
    directory: Path

    @property
    def ram_bytes(self) -> int:
        """Arena plus the caller's input and output buffers."""
        return self.program.arena_bytes + self.program.io_bytes


def load(source: bytes | Path | str) -> Model:
    """Read a model from bytes or a path."""
    return parse_model(source) if isinstance(source, bytes) else read_model(Path(source))


def plan_model(model: Model, *, ram_limit: int | None = None) -> Program:
    """Lower a model and plan its memory, without writing anything.

    Parameters
    ----------
    model : Model
        From `load`.
    ram_limit : int or None
        Bytes for arena, input and output together. None: whole maps. A number: leading layers run
        in bands of rows until the plan fits; 0 asks for the smallest plan there is.
    """
    layers = fold_padding(model, lower_model(model))
    return make_plan(bind(model, layers), ram_limit)


def compile_model(
    source: bytes | Path | str,
    out_dir: Path | str,
    name: str = "model",
    *,
    ram_limit: int | None = None,
    golden: bool = True,
    tflm: bool = False,
) -> Compiled:
    """Compile a model into `out_dir`.

    Parameters
    ----------
    source : bytes, Path or str
        The `.tflite` file or its content.
    out_dir : Path or str
        Directory for the C; replaced as a whole when everything has succeeded.
    name : str
        The C symbol is ``em_<name>``.
    ram_limit : int or None
        See `plan_model`.
    golden : bool
        Embed a test input with the outputs of TFLM's own interpreter.
    tflm : bool
        Also write the C++ with which the TFLM engine runs the same model (EM_ENGINE_TFLM).

    Raises
    ------
    EarmarkError
        If the file is damaged, an operator is unknown, or the memory limit cannot be met.
    """
    _check_name(name)
    model = load(source)
    program = plan_model(model, ram_limit=ram_limit)
    tables = Tables()
    files = generate(program, tables, name)
    files |= golden_vectors.source(model, name) if golden else golden_vectors.no_vectors(name)
    if tflm:
        files |= _tflm_files(model, name)
    directory = Path(out_dir)
    _write(directory, files)
    return Compiled(program, tables, directory)


def compile_for_tflm(source: bytes | Path | str, out_dir: Path | str, name: str = "model") -> None:
    """Write only what the TFLM engine needs: for models with operators the compiler lacks."""
    model = load(source)
    check_borders(model)
    _check_name(name)
    files = {f"{name}.h": model_header(name)}
    files |= _tflm_files(model, name)
    files |= golden_vectors.source(model, name)
    _write(Path(out_dir), files)


def _tflm_files(model: Model, name: str) -> dict[str, str]:
    from earmark_training.tflm import minimal_arena_bytes

    arena_bytes = minimal_arena_bytes(model)
    return {f"{name}_tflm.cc": tflm_source(model, name, sha256(model), arena_bytes)}


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise EarmarkError(f"'{name}' is no C name in lower case", "use letters, digits and _")


def sha256(model: Model) -> str:
    """64 hex digits over the source file."""
    return hashlib.sha256(model.data).hexdigest()


def generate(program: Program, tables: Tables, name: str) -> dict[str, str]:
    """Return the generated files by name (without the golden vectors)."""
    writer = LayerWriter(program, tables, name)
    functions = [line for i in range(len(program.layers)) for line in writer.write(i)]
    header, source = weights_source(tables, name)
    return {
        f"{name}_arena.svg": arena_svg(program, name),
        f"{name}.c": model_source(program, writer, functions, sha256(program.model)),
        f"{name}.h": model_header(name),
        f"{name}_weights.c": source,
        f"{name}_weights.h": header,
    }


def _write(directory: Path, files: Mapping[str, str]) -> None:
    """Replace `directory` in one step, so that a failure leaves the old content."""
    root = sources_root() / "firmware" / "components"
    directory.parent.mkdir(parents=True, exist_ok=True)
    if directory.exists() and any(directory.iterdir()) and not _is_ours(directory):
        raise EarmarkError(
            f"{directory} exists and was not written by `earmark compile`",
            "give a new directory with -o",
        )
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        for file_name, text in files.items():
            (staging / file_name).write_text(text, encoding="utf-8")
        kernels = staging / "nn"
        (kernels / "earmark").mkdir(parents=True)
        for path in (*(root / "nn/src").glob("*.c"), *(root / "nn/src").glob("*.h")):
            shutil.copyfile(path, kernels / path.name)
        for path in (
            root / "nn/include/earmark/nn.h",
            root / "engine/include/earmark/model.h",
            root.parents[1] / "dsp/c/include/earmark/status.h",
        ):
            shutil.copyfile(path, kernels / "earmark" / path.name)
        if directory.exists():
            shutil.rmtree(directory)
        staging.chmod(0o755)
        staging.rename(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _is_ours(directory: Path) -> bool:
    return any(directory.glob("*_golden.c"))
