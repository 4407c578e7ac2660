"""Sounds with known labels and a stand-in bundle, for every test of the firmware on the host."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import numpy as np
from earmark_dsp.codegen import generate
from earmark_dsp.spec import load_spec
from earmark_training.deploy import golden_features

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "stand_in"
RATE_HZ = 16000


def write_stand_in(target: Path) -> Path:
    """Write the `c` directory of the stand-in bundle."""
    spec = load_spec("logmel-64-20ms")
    generate(spec, target)
    (target / golden_features.SOURCE).write_text(golden_features.source(spec))
    for source in STAND_IN.glob("*.c"):
        shutil.copy(source, target)
    return target


def evening(seed: int, seconds: int = 20) -> np.ndarray:
    """Quiet noise; a whistle (2.5..7.5 kHz noise) from 4 to 7 s, a hum (below 500 Hz) at 12..15 s.

    Another seed is another recording of the same happenings at the same levels.
    """
    rng = np.random.default_rng(seed)
    n = seconds * RATE_HZ
    spectrum = np.fft.rfft(rng.normal(size=n))
    hertz = np.fft.rfftfreq(n, 1 / RATE_HZ)

    def band(low: float, high: float) -> np.ndarray:
        sound = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), n)
        return sound / sound.std()

    # -70 dBFS: in the middle of a 3 dB step of the reported noise floor.
    audio = 10 ** (-70 / 20) * band(100, 7500)
    audio[4 * RATE_HZ : 7 * RATE_HZ] += 0.05 * band(2500, 7500)[: 3 * RATE_HZ]
    audio[12 * RATE_HZ : 15 * RATE_HZ] += 0.05 * band(60, 500)[: 3 * RATE_HZ]
    return np.clip(np.round(audio * 32768), -32768, 32767).astype("<i2")


def write_wav(path: Path, pcm: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())
    return path
