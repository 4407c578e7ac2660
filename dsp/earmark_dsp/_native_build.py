"""Compiles the C front end into `earmark_dsp._native` (cffi, API mode) at installation."""

from __future__ import annotations

import re
from pathlib import Path

import cffi

# setuptools runs in the root of the source tree and wants relative paths.
C_ROOT = Path("dsp/c")
SOURCES = ["compress.c", "fft.c", "frontend.c", "mel.c"]

# Whole arrays: one call per array instead of one per row. Host only, not part of the device API.
_EXTRACT = """
size_t em_extract(em_frontend_t *fe, const int16_t *pcm, size_t n_samples, int8_t *rows,
                  int16_t *rows_q8, size_t n_features)
{
    size_t n_rows = 0;
    while (n_samples != 0) {
        size_t consumed;
        int ready;
        if (em_frontend_process(fe, pcm, n_samples, &consumed, rows, &ready) != EM_OK) {
            return n_rows;
        }
        pcm += consumed;
        n_samples -= consumed;
        if (ready) {
            rows += n_features;
            n_rows++;
            if (rows_q8 != NULL) {
                memcpy(rows_q8, em_frontend_last_row_q8(fe), n_features * sizeof(int16_t));
                rows_q8 += n_features;
            }
        }
    }
    return n_rows;
}
"""


def _declarations() -> str:
    """Return the public headers without preprocessor lines: one description of the API."""
    headers = ("status.h", "frontend.h")
    texts = [(C_ROOT / "include/earmark" / name).read_text(encoding="utf-8") for name in headers]
    return re.sub(r"(?m)^#.*$", "", "\n".join(texts))


ffibuilder = cffi.FFI()
ffibuilder.cdef(_declarations() + _EXTRACT.partition("\n{")[0] + ";")
ffibuilder.set_source(
    "earmark_dsp._native",
    '#include "earmark/frontend.h"\n#include <string.h>\n' + _EXTRACT,
    sources=[str(C_ROOT / "src" / name) for name in SOURCES],
    depends=sorted(str(path) for path in C_ROOT.rglob("*.h")),
    include_dirs=[str(C_ROOT / "include"), str(C_ROOT / "src")],
    extra_compile_args=["-std=c11", "-O3", "-DEM_BUILD_HOST"],
)
