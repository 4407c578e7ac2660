"""Figures of the report as inline SVG: they scale, and need no other file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from earmark_training.quantisation import LayerError


def svg(figure: Figure) -> str:
    """Return a figure as an element for a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def confusion(matrix: np.ndarray, labels: Sequence[str]) -> str:
    """Draw a confusion matrix; rows are the truth. Labels without a clip or vote are left out."""
    used = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    shown, names = matrix[np.ix_(used, used)], [labels[int(i)] for i in used]
    figure = Figure(figsize=(5.2, 4.8))
    axes = figure.subplots()
    axes.imshow(shown / np.maximum(1, shown.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(shown):
        if count:
            colour = "white" if count > shown[row].sum() / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("voted")
    axes.set_ylabel("truth")
    return svg(figure)


def learning_curve(losses: Sequence[float]) -> str:
    """Draw the mean training loss per epoch."""
    figure = Figure(figsize=(6, 2.6))
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    axes.grid(visible=True, alpha=0.3)
    return svg(figure)


def layer_errors(layers: Sequence[LayerError]) -> str:
    """Draw the signal-to-quantisation-noise ratio of each layer; the worst step stands out."""
    shown = [layer for layer in layers if np.isfinite(layer.sqnr_db)]
    worst = max(layers, key=lambda layer: layer.lost_db)
    figure = Figure(figsize=(7, 0.8 + 0.26 * len(shown)))
    axes = figure.subplots()
    colours = ["#d55e00" if layer is worst else "#0072b2" for layer in shown]
    axes.barh(range(len(shown)), [layer.sqnr_db for layer in shown], color=colours)
    axes.set_yticks(range(len(shown)), [layer.name for layer in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("signal to quantisation noise, dB")
    axes.grid(visible=True, axis="x", alpha=0.3)
    return svg(figure)


def operating_points(labels: Mapping[str, Any], max_false_per_24h: float) -> str:
    """Draw recall over false alarms per 24 h for each label, with the bound and the chosen point.

    The band is the exact 95 % interval of the rate at each threshold.
    """
    drawn = {name: entry for name, entry in labels.items() if entry["curve"][0]["n_played"]}
    if not drawn:
        return "<p class=note>No label was played.</p>"
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.5 * rows))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, (name, entry) in zip(grid.flat, drawn.items(), strict=False):
        curve = entry["curve"]
        recall = [point["recall"] for point in curve]
        rate = [point["false_per_24h"] for point in curve]
        low, high = zip(*(point["false_per_24h_interval"] for point in curve), strict=True)
        axes.fill_betweenx(recall, low, high, alpha=0.15)
        axes.plot(rate, recall, ".-", markersize=3)
        axes.axvline(max_false_per_24h, color="black", ls=":", lw=1)
        for point in curve:
            if point["threshold_permille"] == entry["chosen_permille"]:
                # Most lie on the axis, at no false alarm: not cut in half there.
                where = point["false_per_24h"], point["recall"]
                axes.plot(*where, "o", color="tab:red", clip_on=False, zorder=5)
        axes.set_title(name, fontsize=9)
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xlim(left=0)
        axes.set_ylim(-0.05, 1.05)
        axes.grid(visible=True, alpha=0.3)
    for axes in grid.flat[len(drawn) :]:
        axes.set_visible(False)
    figure.supxlabel("false alarms per 24 h")
    figure.supylabel("recall")
    figure.tight_layout()
    return svg(figure)
