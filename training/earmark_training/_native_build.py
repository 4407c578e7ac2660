"""Builds ``earmark_training._native``: the device's detector, callable on numpy arrays."""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "firmware" / "components" / "detector"
INCLUDES = (DETECTOR / "include", ROOT / "dsp" / "c" / "include")


def declarations(header: Path) -> str:
    """Return a header's C declarations; cffi reads no preprocessor and no suffixed numbers."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    text = re.sub(r"^\s*#(?!define EM_\w+ \d).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"(#define EM_\w+ \d+)u\b", r"\1", text)


ffibuilder = FFI()
ffibuilder.cdef(
    "".join(
        declarations(header)
        for header in (
            ROOT / "dsp/c/include/earmark/status.h",
            DETECTOR / "include/earmark/cadence.h",
            DETECTOR / "include/earmark/detector.h",
        )
    )
)
ffibuilder.set_source(
    "earmark_training._native",
    '#include "earmark/detector.h"\n',
    sources=[str(path.relative_to(ROOT)) for path in sorted((DETECTOR / "src").glob("*.c"))],
    include_dirs=[str(path.relative_to(ROOT)) for path in INCLUDES],
    extra_compile_args=["-std=c11", "-O2"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True, tmpdir=str(ROOT / "training"))
