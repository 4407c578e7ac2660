"""The golden front-end features: a sound made of integers, and a hash of its rows.

The device makes the same sound at boot (`firmware/components/pipeline/src/golden_features.c`), runs
its front end over it and compares the hash, before it trusts anything that it hears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from earmark_dsp.spec import FrontEndSpec

SOURCE = "golden_features.c"
# One second: through all sixteen levels, so that a PCEN state moves both ways.
DURATION_S = 1
LEVEL_SAMPLES, LEVEL_STEP, LEVELS = 512, 5, 16
LCG_FACTOR, LCG_INCREMENT = 1664525, 1013904223
FNV_OFFSET, FNV_PRIME = 2166136261, 16777619
_MASK = 0xFFFFFFFF


def sound(n_samples: int) -> np.ndarray:
    """Return noise whose level changes every 512 samples.

    Returns
    -------
    ndarray [shape=(n_samples,), dtype=int16]
        The integers of ``em_golden_sample``.
    """
    values, state = [], 1
    for index in range(n_samples):
        state = (state * LCG_FACTOR + LCG_INCREMENT) & _MASK
        noise = (state >> 16) - 32768
        level = index // LEVEL_SAMPLES * LEVEL_STEP % LEVELS
        # C divides towards zero.
        values.append(-(-noise >> level) if noise < 0 else noise >> level)
    return np.array(values, np.int16)


def fnv1a(rows: np.ndarray) -> int:
    """FNV-1a, 32 bits (Fowler, Noll, Vo), over int8 values in order."""
    value = FNV_OFFSET
    for byte in rows.astype(np.int8).tobytes():
        value = ((value ^ byte) * FNV_PRIME) & _MASK
    return value


def source(spec: FrontEndSpec) -> str:
    """Return the C file that defines ``em_golden_features`` for a front end."""
    from earmark_dsp.native import extract

    n_samples = DURATION_S * spec.sample_rate_hz
    rows = extract(spec, sound(n_samples))
    return f"""/* What the front end must give at boot; generated, do not edit. */
#include "earmark/golden_features.h"

const em_golden_features_t em_golden_features = {{
    .n_samples = {n_samples}u,
    .n_rows = {len(rows)}u,
    .fnv1a = 0x{fnv1a(rows):08x}u,
}};
"""
