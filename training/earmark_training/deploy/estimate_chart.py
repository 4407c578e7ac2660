"""Bar chart of an estimate: where the milliseconds go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from earmark_training.deploy.estimate import Estimate


def chart(result: Estimate) -> Figure:
    """Return a bar chart of milliseconds per layer, compiled beside TFLM with ESP-NN.

    Parameters
    ----------
    result : Estimate
        From `estimate`, executed or not (then only TFLM's bars).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers = [layer for layer in result.layers if layer.macs or layer.instructions]
    figure = Figure(figsize=(8, 1.2 + 0.28 * len(layers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    positions = range(len(layers))
    compiled = [result.milliseconds(layer.instructions) or 0.0 for layer in layers]
    esp_nn = [result.milliseconds(layer.esp_nn_instructions) or 0.0 for layer in layers]
    axes.barh([p - 0.2 for p in positions], compiled, 0.4, color="#0072b2", label="compiled, MAC16")
    axes.barh([p + 0.2 for p in positions], esp_nn, 0.4, color="#e69f00", label="TFLM with ESP-NN")
    axes.set_yticks(list(positions), [layer.name for layer in layers])
    axes.invert_yaxis()
    axes.set_xlabel(f"estimated ms on {result.target.name}")
    axes.set_title(f"{result.name}: {result.macs / 1e6:.1f} M multiply-accumulates")
    axes.legend()
    return figure


def draw(result: Estimate, path: Path) -> None:
    """Write `chart` to a ``.png`` or ``.svg``."""
    chart(result).savefig(path)
