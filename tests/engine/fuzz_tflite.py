"""Fuzzer for the `.tflite` reader and compiler.

    python tests/engine/fuzz_tflite.py 100000

Mutates small networks over the whole operator list and compiles each result. Every file must end in
C or in one EarmarkError; anything else is printed with the bytes that caused it.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from earmark_dsp.errors import EarmarkError
from earmark_training.deploy.codegen import Tables
from earmark_training.deploy.compile import generate, plan_model
from earmark_training.deploy.tflite import parse_model

sys.path.insert(0, str(Path(__file__).parent))
from random_networks import sample

SECONDS_PER_FILE = 10
INTERESTING = (0, 1, 2, 4, 7, 8, 16, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31,
               2**32 - 1, 2**32 - 4, 2**24)  # fmt: skip


def mutate(tflite: bytes, rng: np.random.Generator) -> bytes:
    """One to eight edits: flipped bits, overwritten words, moved offsets, cut or copied parts."""
    data = bytearray(tflite)
    for _ in range(min(int(rng.geometric(0.4)), 8)):
        at = int(rng.integers(0, max(len(data) - 4, 1)))
        kind = int(rng.integers(0, 7))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            data[at] = int(rng.integers(0, 256))
        elif kind == 2:
            word = INTERESTING[int(rng.integers(0, len(INTERESTING)))]
            at -= at % 4
            data[at : at + 4] = (word % 2**32).to_bytes(4, "little")
        elif kind == 3:
            at -= at % 4
            word = int.from_bytes(data[at : at + 4], "little") + int(rng.integers(-16, 17))
            data[at : at + 4] = (word % 2**32).to_bytes(4, "little")
        elif kind == 4:
            length = int(rng.integers(1, 64))
            source = int(rng.integers(0, len(data)))
            data[at : at + length] = data[source : source + length]
        elif kind == 5 and rng.integers(0, 4) == 0:
            del data[at:]
        elif kind == 6:
            data[at : at + 2] = int(rng.integers(0, 64)).to_bytes(2, "little")
        if len(data) < 8:
            break
    return bytes(data)


def compile_once(tflite: bytes) -> str:
    """Return 'compiled' or the refusal; any other exception is a finding."""
    try:
        model = parse_model(tflite)
        for limit in (None, 0):
            generate(plan_model(model, ram_limit=limit), Tables(), "model")
    except EarmarkError as exc:
        return exc.what
    return "compiled"


def fuzz(n: int, seed: int = 0) -> Counter[str]:
    """Compile `n` mutated files; raises on the first finding."""
    rng = np.random.default_rng(seed)
    originals = sample(200, 0)
    outcomes: Counter[str] = Counter()
    signal.signal(signal.SIGALRM, _too_slow)
    for i in range(n):
        tflite = mutate(originals[int(rng.integers(0, len(originals)))], rng)
        signal.alarm(SECONDS_PER_FILE)
        try:
            outcome = compile_once(tflite)
        except Exception:
            print(f"finding: file {i} of seed {seed}: {tflite.hex()}")  # noqa: T201
            raise
        finally:
            signal.alarm(0)
        outcomes["compiled" if outcome == "compiled" else "refused"] += 1
    return outcomes


def _too_slow(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"one file took more than {SECONDS_PER_FILE} s")


def peak_memory_bytes() -> int:
    """Peak resident memory of this program.

    Linux counts into ru_maxrss what the parent held when it started this process; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(t for t in status.read_text().splitlines() if t.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.monotonic()
    counts = fuzz(arguments.files, arguments.seed)
    print(  # noqa: T201
        f"{arguments.files} files: {counts['compiled']} compiled, {counts['refused']} refused, "
        f"0 findings, {time.monotonic() - start:.0f} s, "
        f"peak memory {peak_memory_bytes() / 2**20:.0f} MiB"
    )
