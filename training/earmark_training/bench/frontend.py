"""`python -m earmark_training.bench.frontend`: accuracy, speed and LX6 cost of the front end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from earmark_datasets.locate import find_dataset
from earmark_dsp import reference
from earmark_dsp.audio import find_audio, load_pcm, optional_module
from earmark_dsp.native import FrontEnd, extract
from earmark_dsp.spec import load_spec
from rich.console import Console
from rich.progress import track

from earmark_training.bench.lx6_frontend import count_instructions

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_dsp.spec import FrontEndSpec
    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16000
# The clip length of ESC-50: libraries pay their set-up once per clip.
CLIP_S = 5
N_CLIPS = 12
REPEATS = 7
GAINS_DB = (0, -20, -40, -60)
SPEED_SPEC = "logmel-64-20ms"
# pymicro_features has 40 bands every 10 ms, fixed: compared with the front end of that framing.
MICRO_SPEC = "logmel-40-10ms"
SPECS = ("logmel-64-20ms", "pcen-64-20ms", "yamnet-64", "logmel-40-10ms", "mfcc-13")

console = Console()


def _clips() -> list[NDArray[np.int16]]:
    folder = find_dataset("ESC-10")
    if folder is not None:
        paths = find_audio(folder / "audio")[:: 400 // N_CLIPS][:N_CLIPS]
        return [load_pcm(path, SAMPLE_RATE_HZ) for path in paths]
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((N_CLIPS, CLIP_S * SAMPLE_RATE_HZ)) * 3000
    return list(noise.astype(np.int16))


def _librosa_log_mel(spec: FrontEndSpec, signal: NDArray[np.float32]) -> NDArray[np.float32]:
    librosa = optional_module("librosa", "the comparison")
    mel = librosa.feature.melspectrogram(
        y=signal,
        sr=spec.sample_rate_hz,
        n_fft=spec.fft_length,
        hop_length=spec.hop_length,
        win_length=spec.window_length,
        center=False,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
    )
    return np.asarray(np.log(mel + 1e-7), dtype=np.float32)


def _pymicro_features(pcm: NDArray[np.int16]) -> int:
    module = optional_module("pymicro_features", "the comparison")
    front_end = module.MicroFrontend()
    data = pcm.tobytes()
    step = 2 * 160  # its fixed 10 ms hop
    rows = 0
    for start in range(0, len(data) - step + 1, step):
        rows += bool(front_end.process_samples(data[start : start + step]).features)
    return rows


def _side_by_side(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least CPU time of each, in seconds; runs alternate, so that drift hits all."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(REPEATS):
        for name, call in work.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def measure_speed() -> dict[str, Any]:
    """Compare with librosa and TFLM's audio front end on one core."""
    spec, micro_spec = load_spec(SPEED_SPEC), load_spec(MICRO_SPEC)
    clips = _clips()
    signals = [(clip / 32768.0).astype(np.float32) for clip in clips]
    long_clip, long_signal = np.concatenate(clips), np.concatenate(signals)
    seconds = long_clip.size / SAMPLE_RATE_HZ
    with optional_module("threadpoolctl", "the comparison").threadpool_limits(1):
        times = _side_by_side(
            {
                "earmark": lambda: [extract(spec, clip) for clip in clips],
                "librosa": lambda: [_librosa_log_mel(spec, signal) for signal in signals],
                "earmark_10_ms": lambda: [extract(micro_spec, clip) for clip in clips],
                "pymicro_features": lambda: [_pymicro_features(clip) for clip in clips],
                "earmark_one_array": lambda: extract(spec, long_clip),
                "librosa_one_array": lambda: _librosa_log_mel(spec, long_signal),
            }
        )
    milliseconds = {name: 1e3 * value / seconds for name, value in times.items()}
    return {
        "speedup_vs_librosa": times["librosa"] / times["earmark"],
        "speedup_vs_pymicro_features": times["pymicro_features"] / times["earmark_10_ms"],
        "speedup_vs_librosa_one_long_array": times["librosa_one_array"]
        / times["earmark_one_array"],
        "ms_per_s_of_audio": milliseconds,
        "speed_condition": f"{spec.name}, {N_CLIPS} clips of {CLIP_S} s, one core, CPU time, "
        f"best of {REPEATS} alternating runs; pymicro_features against {micro_spec.name}",
    }


def measure_accuracy(n_clips: int | None) -> dict[str, Any]:
    """Compare with the float64 oracle on ESC-10 at falling levels."""
    folder = find_dataset("ESC-10")
    if folder is None:
        console.print("ESC-10 is not on this machine: no accuracy figures")
        return {}
    paths = find_audio(folder / "audio")[:n_clips]
    histogram = {name: np.zeros(256, np.int64) for name in SPECS}
    for path in track(paths, description="accuracy on ESC-10", console=console):
        pcm = load_pcm(path, SAMPLE_RATE_HZ)
        for gain_db in GAINS_DB:
            quiet = np.rint(pcm * 10.0 ** (gain_db / 20)).astype(np.int16)
            for name in SPECS:
                spec = load_spec(name)
                oracle = reference.quantized(spec, quiet)
                difference = np.abs(extract(spec, quiet).astype(int) - oracle)
                histogram[name] += np.bincount(difference.ravel(), minlength=256)
    total = sum(histogram.values(), np.zeros(256, np.int64))
    return {
        **_agreement(total),
        "accuracy": {name: _agreement(counts) for name, counts in histogram.items()},
        "accuracy_condition": f"{len(paths)} clips at {GAINS_DB} dB against float64",
    }


def _agreement(counts: NDArray[np.int64]) -> dict[str, float | int]:
    return {
        "within_1_lsb": float(counts[:2].sum() / counts.sum()),
        "equal": float(counts[0] / counts.sum()),
        "max_abs_lsb": int(np.flatnonzero(counts)[-1]),
        "values": int(counts.sum()),
    }


def main(
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path(
        "build/bench/frontend.json"
    ),
    clips: Annotated[int | None, typer.Option(help="Clips for accuracy; default: all.")] = None,
) -> None:
    """Measure the front end; every figure in its documentation comes from this command."""
    results = measure_speed()
    results |= measure_accuracy(clips)
    results |= count_instructions(SPECS)
    results["state_bytes"] = FrontEnd(load_spec(SPEED_SPEC)).state_bytes
    results["state_bytes_by_front_end"] = {
        name: FrontEnd(load_spec(name)).state_bytes for name in SPECS
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    console.print_json(data=results)
    console.print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
