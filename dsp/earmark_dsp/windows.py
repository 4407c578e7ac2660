"""Window functions in their periodic form, as spectral analysis uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec

# w[n] = a - (1 - a) cos(2 pi n / N)
_COSINE_OFFSET = {"hann": 0.5, "hamming": 0.54, "rectangular": 1.0}


def window(spec: FrontEndSpec) -> NDArray[np.float64]:
    """Return the analysis window.

    Returns
    -------
    ndarray [shape=(window_length,), dtype=float64]
        Values in 0..1.
    """
    offset = _COSINE_OFFSET[spec.window]
    phase = 2.0 * np.pi * np.arange(spec.window_length) / spec.window_length
    return offset - (1.0 - offset) * np.cos(phase)
