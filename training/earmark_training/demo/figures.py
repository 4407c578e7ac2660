"""The demonstration's pictures, as PNG data URIs so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from earmark_training.demo.score import Played, Score

_SOUND_COLOUR = "#4c9fd6"
_TOLD_COLOUR = "#2e9e5b"
_FALSE_COLOUR = "#d64545"
_MAX_COLUMNS = 2400  # more than a screen shows; keeps the page small


def _data_uri(figure: Figure) -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def save_png(data_uri: str, path: Path) -> None:
    """Write a picture of this module to a file of its own."""
    path.write_bytes(base64.b64decode(data_uri.partition(",")[2]))


def timeline(
    rows: npt.NDArray[np.int8], *, hop_s: float, score: Score, not_events: Sequence[Played]
) -> str:
    """Draw what the device heard, what was played and what the caregiver was told.

    Parameters
    ----------
    rows : ndarray [shape=(n_frames, n_features), dtype=int8]
        The features the network saw.
    hop_s : float
        Seconds per row.
    score : Score
        Played sounds with their notifications.
    not_events : sequence of Played
        Sounds in the scene that nobody should be told about.

    Returns
    -------
    str
        A PNG image as a data URI.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    step = max(1, len(rows) // _MAX_COLUMNS)
    duration_s = len(rows) * hop_s
    figure, (spectrum, lanes) = plt.subplots(
        2, 1, figsize=(13, 5.6), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    # The loudest row of each column: short sounds must not fall between two.
    columns = np.maximum.reduceat(rows, np.arange(0, len(rows), step)).T.astype(np.float64)
    low, high = np.percentile(columns, (5, 99.7))
    spectrum.imshow(
        np.clip((columns - low) / max(1.0, high - low), 0, 1) ** 0.6,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, duration_s, 0, rows.shape[1]),
    )
    spectrum.set_ylabel("mel band")
    spectrum.set_title("What the device hears: int8 features, computed by the C code it runs")

    for played in not_events:
        lanes.barh(0, played.offset_s - played.onset_s, left=played.onset_s, color="#b9bec5")
        lanes.text(
            (played.onset_s + played.offset_s) / 2,
            -0.48,
            played.label,
            ha="center",
            va="top",
            fontsize=7,
            color="#555",
        )
    for played, told in score.rows:
        lanes.barh(1, played.offset_s - played.onset_s, left=played.onset_s, color=_SOUND_COLOUR)
        lanes.text(
            (played.onset_s + played.offset_s) / 2,
            1.43,
            played.label,
            ha="center",
            va="bottom",
            fontsize=8,
        )
        for notification in told:
            lanes.plot(notification.at_s, 2.2, "^", color=_TOLD_COLOUR, markersize=9)
            lanes.plot([notification.at_s] * 2, [1.4, 2.1], color=_TOLD_COLOUR, linewidth=0.8)
    for notification in score.false_alarms:
        lanes.plot(notification.at_s, 2.2, "X", color=_FALSE_COLOUR, markersize=10)
        lanes.text(notification.at_s, 2.5, notification.label, ha="center", fontsize=8)
    lanes.set_yticks([0, 1, 2.2], ["played, not an event", "played, an event", "caregiver told"])
    lanes.set_ylim(-1.0, 2.9)
    lanes.set_xlim(0, duration_s)
    lanes.set_xlabel("seconds")
    for side in ("top", "right"):
        lanes.spines[side].set_visible(False)
    return _data_uri(figure)


def confusion(matrix: npt.NDArray[np.int64], labels: Sequence[str]) -> str:
    """Draw a confusion matrix with counts; rows are the truth. Returns a PNG data URI."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    side = 1.6 + 0.42 * len(labels)
    figure, axes = plt.subplots(figsize=(side + 1, side), layout="constrained")
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        axes.text(
            column,
            row,
            str(matrix[row, column]),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if share[row, column] > 0.5 else "black",
        )
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("heard as")
    axes.set_ylabel("recording")
    return _data_uri(figure)
