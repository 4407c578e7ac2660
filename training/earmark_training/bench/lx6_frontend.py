"""The front end on the Xtensa LX6 in emulation: its rows, and instructions per frame by stage."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp import codegen
from earmark_dsp.sources import sources_root
from earmark_dsp.spec import load_spec

from earmark_training.deploy.emulator import Run, build, run
from earmark_training.deploy.lx6_toolchain import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_dsp.spec import FrontEndSpec
    from numpy.typing import NDArray

# Speech-like level; enough frames for steady figures.
N_FRAMES = 8
STAGES = ("window_first_stage", "fft", "power", "magnitude", "mel", "compression")


def run_frontend(spec: FrontEndSpec, pcm: NDArray[np.int16], *, level: str = "-O2") -> Run:
    """Compile the front end for the LX6 and feed it `pcm`.

    Parameters
    ----------
    level : str
        Optimisation level of clang.

    Returns
    -------
    Run
        File ``rows.raw``: per row ``n_features`` int8, then as many little-endian int16 values.
    """
    c_root = sources_root() / "dsp" / "c"
    with tempfile.TemporaryDirectory(prefix="earmark-frontend-") as folder:
        generated = codegen.generate(spec, folder)
        includes = (f"-I{c_root / 'include'}", f"-I{c_root / 'src'}", f"-I{folder}")
        sources = [
            *sorted((c_root / "src").glob("*.c")),
            c_root / "lx6" / "frontend_lx6.c",
            *(path for path in generated if path.suffix == ".c"),
        ]
        units = [Unit(path, (level, *includes)) for path in sources]
        done = run(build(units, Path(folder) / "frontend.elf"), {"pcm.raw": pcm.tobytes()})
    if done.status != 0:
        raise RuntimeError(f"the front end stopped with status {done.status} on the LX6")
    return done


def count_instructions(names: Sequence[str]) -> dict[str, Any]:
    """Return executed instructions per frame, by stage and in total, of each front end."""
    counts = {}
    for name in names:
        spec = load_spec(name)
        n_samples = spec.window_length + N_FRAMES * spec.hop_length
        noise = np.random.default_rng(0).standard_normal(n_samples) * 3000
        regions = run_frontend(spec, noise.astype(np.int16)).regions
        frame = regions["frame"]
        stages = {stage: regions[stage].instructions for stage in STAGES if stage in regions}
        counts[name] = {**stages, "total": round(frame.instructions / frame.calls)}
    return {"lx6_instructions_per_frame": counts[names[0]], "lx6_by_front_end": counts}
