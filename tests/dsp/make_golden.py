"""Writes golden.json: rows of every shipped front end for a short deterministic signal.

Run `python tests/dsp/make_golden.py` after a deliberate change of the arithmetic, together with a
new ARITHMETIC_REVISION in earmark_dsp/spec.py. The signal is made of integers only, so that the
file is the same on every machine.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from earmark_dsp.native import extract_q8
from earmark_dsp.spec import list_specs, load_spec

GOLDEN = Path(__file__).with_name("golden.json")
N_SAMPLES = 1600


def golden_signal():
    """Return noise of a linear congruential generator, 6 dB quieter every 100 samples."""
    state, samples = 1, []
    for index in range(N_SAMPLES):
        state = (state * 1664525 + 1013904223) % 2**32
        samples.append(((state >> 16) - 32768) >> (index // 100))
    return np.array(samples, np.int16)


def golden_rows():
    """Return, by front end, its hash and its rows in 1/256 output steps as little-endian hex."""
    rows = {}
    for name in list_specs():
        spec = load_spec(name)
        fine = extract_q8(spec, golden_signal())
        rows[name] = {
            "hash": spec.hash_hex,
            "q8": [row.astype("<i2").tobytes().hex() for row in fine],
        }
    return rows


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_rows(), indent=1) + "\n", encoding="utf-8")
