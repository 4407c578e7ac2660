"""What a search found: a page with the Pareto front, and the same as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from earmark_training import report_html as page
from earmark_training import tune, tune_space
from earmark_training.stream import binomial_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOTHING = (
    "No candidate has finished. If all were refused, allow more with "
    "<code>--max-instructions</code>, <code>--max-ram</code> or <code>--max-flash</code>; if some "
    "stopped early, raise <code>--trials</code>."
)


def front_end_in_words(candidate: tune_space.Candidate) -> str:
    """Return front end and window in a line."""
    window_ms = 1000 * candidate.window_length // tune_space.RATE_HZ
    return (
        f"{candidate.compression}, {candidate.n_mels} bands, "
        f"{window_ms} ms every {candidate.hop_ms} ms; "
        f"{candidate.context_ms} ms heard every {candidate.hop_frames * candidate.hop_ms} ms"
    )


def network_in_words(candidate: tune_space.Candidate) -> str:
    """Return the channels of the network in a line."""
    blocks = [candidate.separable] * (candidate.n_separable - 1) + [candidate.last]
    return (
        f"convolutions {candidate.stem} (stride {candidate.stem_stride}), {candidate.conv_1}, "
        f"{candidate.conv_2}; separable {', '.join(map(str, blocks))}; "
        f"frequency bands kept: {candidate.bands}"
    )


def points(study: Any, out: Path, n_clips: int) -> list[dict[str, Any]]:
    """Return the Pareto front as plain values, the cheapest first.

    Parameters
    ----------
    study : optuna.Study
    out : Path
        Directory of the search.
    n_clips : int
        Clips of the inner fold, for the interval of the accuracy.
    """
    found = []
    for trial in tune.front(study):
        candidate = tune_space.Candidate.of(trial.params)
        folder = out / "candidates" / tune.candidate_key(candidate)
        low, high = binomial_interval(round(trial.values[0] * n_clips), n_clips)
        found.append(
            {
                "trial": trial.number,
                "accuracy": trial.values[0],
                "accuracy_interval": [low, high],
                **trial.user_attrs["cost"],
                "params": trial.params,
                "command": (
                    f"earmark train DATA --spec {folder / 'frontend.toml'} "
                    f"--model {folder / 'model.py'} --hop-frames {candidate.hop_frames} -o BUNDLE"
                ),
            }
        )
    return found


def html_page(study: Any, found: Sequence[dict[str, Any]], settings: dict[str, Any]) -> str:
    """Return the page: one file, no external request."""
    trials = study.get_trials(deepcopy=False)
    n_trained, refused = tune.n_trained(study), [t for t in trials if "refused" in t.user_attrs]
    n_small = sum("rung" not in t.user_attrs for t in refused)
    rows = [
        (
            point["trial"],
            page.percent(point["accuracy"]),
            page.interval([100 * x for x in point["accuracy_interval"]], 0),
            f"{point['instructions_per_s'] / 1e6:.1f}",
            f"{point['ram_bytes'] / 1024:.1f}",
            f"{point['flash_bytes'] / 1024:.1f}",
            front_end_in_words(tune_space.Candidate.of(point["params"])),
        )
        for point in found
    ]
    head = ("trial", "accuracy", "95 %", "M instr/s", "RAM KiB", "flash KiB", "front end")
    commands = "".join(
        f"<li>trial {p['trial']}: {network_in_words(tune_space.Candidate.of(p['params']))}<br>"
        f"<code>{page.text(p['command'])}</code></li>"
        for p in found
    )
    best = (
        page.table(head, rows)
        + page.note(
            "The accuracy of the best of many is optimistic: score the choice once on the held-out "
            "fold. The command of each:"
        )
        + f"<ul>{commands}</ul>"
    )
    setting_rows = [(key.replace("_", " "), _setting(value)) for key, value in settings.items()]
    return page.document(
        "earmark tune",
        f"<h1>Search</h1><p>{n_trained} candidates trained, {len(refused) - n_small} of them for a "
        f"quarter of the schedule only; {n_small} refused before training because they do not "
        "fit. Accuracy: clips of the inner fold, voted as "
        "the device votes. Cost: predicted from executed kernels, front end and network, RAM-"
        "optimised.</p>"
        f"{_scatter(study, found, settings) if n_trained else ''}<h2>Best for their cost</h2>"
        f"{best if found else page.note(NOTHING)}<h2>Settings</h2>"
        f"{page.table(('setting', 'value'), setting_rows)}",
    )


def _setting(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _scatter(study: Any, found: Sequence[dict[str, Any]], settings: dict[str, Any]) -> str:
    from matplotlib.figure import Figure

    from earmark_training.report_figures import svg

    finished = [t for t in study.get_trials(deepcopy=False) if t.values]
    stopped = [
        t
        for t in study.get_trials(deepcopy=False)
        if "rung" in t.user_attrs and not t.values and "cost" in t.user_attrs
    ]
    figure = Figure(figsize=(7.5, 4.2))
    axes = figure.subplots()
    axes.plot(
        [t.user_attrs["cost"]["instructions_per_s"] / 1e6 for t in stopped],
        [100 * t.user_attrs["rung"] for t in stopped],
        "x", color="#999", label="stopped early",
    )  # fmt: skip
    axes.plot(
        [t.values[1] / 1e6 for t in finished], [100 * t.values[0] for t in finished],
        "o", color="#0072b2", alpha=0.5, label="trained",
    )  # fmt: skip
    x = [p["instructions_per_s"] / 1e6 for p in found]
    y = [100 * p["accuracy"] for p in found]
    axes.step(x, y, "-o", where="post", color="#d55e00", label="best for its cost")
    for point, left, top in zip(found, x, y, strict=True):
        axes.annotate(
            str(point["trial"]), (left, top), textcoords="offset points", xytext=(4, 5), fontsize=8
        )
    axes.axvline(settings["max_instructions_per_s"] / 1e6, color="black", ls=":", label="budget")
    axes.set_xlabel("million instructions per second on the LX6")
    axes.set_ylabel("accuracy on the inner fold, %")
    axes.set_xlim(left=0)
    axes.margins(y=0.08)
    axes.grid(visible=True, alpha=0.3)
    # Below the plot: points may lie in any corner of it.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, fontsize=8, frameon=False)
    return svg(figure)
