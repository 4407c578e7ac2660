"""Draws a front end: window, filter bank, and one recording in float64 against fixed point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from earmark_dsp import reference
from earmark_dsp.audio import optional_module
from earmark_dsp.mel import filter_bank
from earmark_dsp.native import extract
from earmark_dsp.windows import window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec


def demonstration_signal(spec: FrontEndSpec) -> NDArray[np.int16]:
    """Return two seconds of rising chirp over faint noise, shown when no recording is given."""
    n_samples = 2 * spec.sample_rate_hz
    t = np.arange(n_samples) / spec.sample_rate_hz
    low, high = spec.fmin_hz + 50.0, 0.95 * spec.fmax_hz
    phase = 2 * np.pi * low * 2 / np.log(high / low) * ((high / low) ** (t / 2) - 1)
    noise = np.random.default_rng(0).standard_normal(n_samples)
    return np.asarray(np.rint(8000 * np.sin(phase) + 30 * noise), dtype=np.int16)


def draw(spec: FrontEndSpec, pcm: NDArray[np.int16], title: str, out: Path) -> dict[str, float]:
    """Write the figure and return how far fixed point is from float64.

    Returns
    -------
    dict
        ``max_abs_lsb`` and ``within_1_lsb`` (fraction), in steps of the int8 output.
    """
    optional_module("matplotlib", "drawing")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    fixed = extract(spec, pcm)
    oracle = reference.quantized(spec, pcm)
    difference = fixed.astype(int) - oracle
    figure = plt.figure(figsize=(13, 9), layout="constrained")
    figure.suptitle(f"{spec.name}  ({spec.hash_hex})    {title}")
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 1.3, 1.3])
    _draw_window(spec, figure.add_subplot(grid[0, 0]))
    _draw_filters(spec, figure.add_subplot(grid[0, 1]))
    real = spec.output_scale * (oracle.astype(float) - spec.output_zero_point)
    limits = (real.min(), max(real.max(), real.min() + spec.output_scale))
    for cell, rows, name in (
        (grid[1, :], oracle, "float64, rounded to int8"),
        (grid[2, 0], fixed, "fixed point, as on the device"),
    ):
        axes = figure.add_subplot(cell)
        image = _draw_rows(spec, axes, spec.output_scale * (rows - float(spec.output_zero_point)))
        image.set_clim(*limits)
        axes.set_title(name)
        figure.colorbar(image, ax=axes)
    axes = figure.add_subplot(grid[2, 1])
    image = _draw_rows(spec, axes, difference.astype(float), cmap="coolwarm")
    image.set_clim(-2, 2)
    axes.set_title("difference in int8 steps")
    figure.colorbar(image, ax=axes, ticks=[-2, -1, 0, 1, 2])
    figure.savefig(out, dpi=110)
    plt.close(figure)
    magnitude = np.abs(difference)
    return {
        "max_abs_lsb": float(magnitude.max(initial=0)),
        "within_1_lsb": float((magnitude <= 1).mean()) if magnitude.size else 1.0,
    }


def _draw_window(spec: FrontEndSpec, axes: Any) -> None:
    axes.plot(np.arange(spec.window_length) * 1e3 / spec.sample_rate_hz, window(spec))
    axes.set(xlabel="ms", title=f"{spec.window} window, {spec.window_length} samples")
    axes.axvline(spec.hop_length * 1e3 / spec.sample_rate_hz, color="grey", linestyle=":")
    axes.annotate(" hop", (spec.hop_length * 1e3 / spec.sample_rate_hz, 0.02), color="grey")


def _draw_filters(spec: FrontEndSpec, axes: Any) -> None:
    bins_hz = np.arange(spec.fft_length // 2 + 1) * spec.sample_rate_hz / spec.fft_length
    axes.plot(bins_hz, filter_bank(spec).T, linewidth=0.8)
    axes.set(xlabel="Hz", title=f"{spec.n_mels} mel bands ({spec.mel_scale})")


def _draw_rows(
    spec: FrontEndSpec, axes: Any, rows: NDArray[np.floating[Any]], cmap: str = "magma"
) -> Any:
    seconds = len(rows) * spec.hop_length / spec.sample_rate_hz
    axes.set(xlabel="s", ylabel="coefficient" if spec.dct else "mel band")
    return axes.imshow(
        rows.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=cmap,
        extent=(0.0, seconds, -0.5, rows.shape[1] - 0.5),
    )
