"""One self-contained HTML page per bundle, and a model card in Markdown."""

from __future__ import annotations

import base64
import html
import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from earmark_training import report_figures as figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.estimate import Estimate
    from earmark_training.evaluate import BundleScores

INTENDED_USE = (
    "Tells caregivers about sounds at home; only labels leave the device. Supplements smoke and CO "
    "alarms. Not a life-safety device, not a medical device."
)
STYLE = """
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:.2rem}h2{margin-top:2.2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;margin:.8rem 0;display:block;overflow-x:auto}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child{text-align:left}
img,svg{max-width:100%;height:auto;background:#fff;border-radius:6px}
.figures{display:flex;flex-wrap:wrap;gap:1rem}.figures figure{margin:0;flex:1 1 20rem}
.note{color:#777}audio{height:2rem}
"""


@dataclass(frozen=True)
class HardClip:
    """A clip that the network got wrong, or nearly."""

    label: str
    voted: str
    margin: float
    name: str
    pcm: np.ndarray


@dataclass
class Findings:
    """What was measured for the report; every part is optional but the bundle."""

    bundle: Bundle
    scores: BundleScores | None = None
    fold: int | None = None
    slices: list[tuple[str, int, float]] = field(default_factory=list)
    hardest: list[HardClip] = field(default_factory=list)
    streams: dict[str, Any] | None = None
    losses: Sequence[float] = ()
    tflm_arena_bytes: int | None = None
    estimate: Estimate | None = None


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _interval(pair: Sequence[float] | None, digits: int = 2) -> str:
    return "" if pair is None else f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _data_section(bundle: Bundle) -> str:
    rows = [
        (d.name, d.licence, d.n_clips or "-", "recorded" if d.real else "synthesised")
        for d in bundle.info.data
    ]
    if not rows:
        return "<p class=note>The bundle names no data.</p>"
    return _table(("data", "licence", "clips", "kind"), rows)


def _clip_section(findings: Findings) -> str:
    scores, names = findings.scores, findings.bundle.info.class_names
    if scores is None:
        return "<p class=note>No held-out clips were at hand.</p>"
    parts = [("int8, C on this machine", scores.c), ("int8, TFLM", scores.int8_tflm)]
    if scores.float32 is not None:
        parts.insert(0, ("float", scores.float32))
    accuracy = _table(
        ("arithmetic", "accuracy", "clips"),
        [(name, f"{s.accuracy:.1%}", int(s.confusion.sum())) for name, s in parts],
    )
    drawn = "".join(
        f"<figure>{figures.confusion(s.confusion, names)}<figcaption>{name}</figcaption></figure>"
        for name, s in parts
        if name != "int8, TFLM"
    )
    slices = _table(
        ("slice", "clips", "accuracy (C)"),
        [(name, n, f"{value:.1%}") for name, n, value in findings.slices],
    )
    return (
        f"<p>Held-out fold {findings.fold}; windows voted as the device votes. TFLM and C gave the "
        f"same integers on {scores.n_windows} windows.</p>{accuracy}"
        f"<div class=figures>{drawn}</div><h3>Per slice</h3>{slices if findings.slices else ''}"
    )


def _stream_section(streams: dict[str, Any] | None) -> str:
    if streams is None:
        return (
            "<p class=note>Not measured: run <code>python -m earmark_training.bench.streams</code> "
            "and give its result with <code>--streams</code>.</p>"
        )
    home = streams["home"]
    rows = [
        (
            row["label"],
            f"{row['n_found']}/{row['n_played']}" if row["n_played"] else "-",
            _interval(row["recall_interval"]) if row["n_played"] else "",
            _number(row["latency_median_s"], ".1f"),
            row["n_false"],
            _number(row["false_per_24h"], ".1f"),
            _interval(row["false_per_24h_interval"], 1),
        )
        for row in home["labels"]
    ]
    alarms = [
        (
            row["label"],
            f"{row['n_found']}/{row['n_played']}",
            row["n_in_time"],
            row["n_confused"],
            _number(row["cycles_median"], ".2f"),
            _number(row["cycles_max"], ".2f"),
        )
        for row in streams["alarms"]
    ]
    recorded = "".join(
        f"<li>{html.escape(label)}, {html.escape(row['clip'])}: "
        f"{'reported' if row['found'] else '<b>missed</b>'}</li>"
        for label, found in streams["recorded"].items()
        for row in found
    )
    head = ("label", "found", "95 %", "latency s", "false", "false per 24 h", "95 %")
    alarm_head = ("alarm", "found", "within 2.5 cycles", "confused", "median cycles", "slowest")
    return (
        f"<p>{home['hours']:.1f} h of recorded backgrounds and other sounds with "
        f"{home['n_events']} events at 0 to 20 dB SNR in simulated rooms.</p>"
        f"{_table(head, rows)}<h3>Synthetic alarms at 0 dB SNR in rooms</h3>"
        f"{_table(alarm_head, alarms)}<h3>Recorded alarms</h3><ul>{recorded}</ul>"
    )


def _detector_section(bundle: Bundle) -> str:
    rows = [
        (
            label.name,
            f"{label.threshold_permille / 1000:.3f}",
            label.cadence.value if label.cadence.value != "none" else "",
            label.min_duration_ms,
            label.refractory_ms,
            "once" if label.once else "start, end",
            "critical" if label.critical else "",
        )
        for label in bundle.params.labels
        if label.reported
    ]
    head = ("event", "threshold", "cadence", "min ms", "refractory ms", "messages", "")
    calibration = bundle.info.metrics.get("calibration")
    if calibration is None:
        drawn = "<p class=note>Defaults; <code>earmark calibrate</code> chooses from streams.</p>"
    else:
        drawn = (
            f"<p>Chosen from {calibration['settings']['hours']:.1f} h of streams, at most "
            f"{calibration['settings']['max_false_per_24h']:g} false alarms per 24 h.</p>"
            + figures.operating_points(calibration["labels"])
        )
    return _table(head, rows) + drawn


def _device_section(findings: Findings) -> str:
    info, spec = findings.bundle.info, findings.bundle.spec
    window = spec.context_frames * spec.n_features
    rows = [("compiled C", info.model.n_bytes, info.model.arena_bytes, window)]
    if findings.tflm_arena_bytes is not None:
        rows.append(
            ("TensorFlow Lite Micro", info.model.n_bytes, findings.tflm_arena_bytes, window)
        )
    note = (
        f"<p class=note>One inference every {findings.bundle.hop_s:.2f} s. TFLM's arena is that of "
        "a 64-bit machine.</p>"
    )
    sizes = _table(("engine", "model bytes", "arena bytes", "window bytes"), rows) + note
    return sizes + _estimate_section(findings.estimate)


def _estimate_section(estimate: Estimate | None) -> str:
    """Time and memory on the chip, per engine and per layer."""
    if estimate is None:
        return ""
    from earmark_training.deploy.estimate_chart import chart

    forms = (
        ("compiled", estimate.instructions, estimate.ram_bytes),
        ("RAM-optimised", estimate.instructions_optimised, estimate.ram_bytes_optimised),
        ("TFLM with ESP-NN", estimate.esp_nn_instructions, estimate.tflm_arena_bytes),
    )
    rows = [
        (
            form,
            _number(n, ","),
            _number(estimate.milliseconds(n), ".1f"),
            f"{ram_bytes:,}",
        )
        for form, n, ram_bytes in forms
    ]
    head = (f"on {estimate.target.name}", "instructions", "estimated ms", "RAM bytes")
    return _table(head, rows) + figures.svg(chart(estimate))


def _player(clip: HardClip) -> str:
    buffer = io.BytesIO()
    import soundfile

    soundfile.write(buffer, clip.pcm, 16_000, format="OGG", subtype="VORBIS")
    uri = "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return (
        f"<tr><td>{html.escape(clip.label)}</td><td>{html.escape(clip.voted)}</td>"
        f"<td>{clip.margin:+.2f}</td>"
        f"<td><audio controls preload=none src='{uri}'></audio></td></tr>"
    )


def html_page(findings: Findings) -> str:
    """Return the report: one file, no external request."""
    info = findings.bundle.info
    hardest = "".join(map(_player, findings.hardest))
    sections = [
        ("Data and licences", _data_section(findings.bundle)),
        (
            "Learning curve",
            figures.learning_curve(findings.losses)
            if findings.losses
            else "<p class=note>The bundle holds no learning curve.</p>",
        ),
        ("Clips", _clip_section(findings)),
        ("Streams", _stream_section(findings.streams)),
        ("Detector and operating points", _detector_section(findings.bundle)),
        ("Device", _device_section(findings)),
        (
            "Hardest clips",
            "<p class=note>Margin: share of the vote for the truth minus the best other label.</p>"
            "<table><thead><tr><th>truth</th><th>voted</th><th>margin</th><th></th></tr></thead>"
            f"<tbody>{hardest}</tbody></table>"
            if hardest
            else "<p class=note>No held-out clips were at hand.</p>",
        ),
        ("Limits", "<ul>" + "".join(f"<li>{html.escape(x)}</li>" for x in info.limits) + "</ul>"),
    ]
    body = "".join(f"<h2>{title}</h2>{content}" for title, content in sections)
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{html.escape(info.name)} {html.escape(info.model_version)}</title>"
        f"<style>{STYLE}</style></head><body><h1>{html.escape(info.name)}</h1>"
        f"<p class=note>{html.escape(info.model_version)} · front end "
        f"{html.escape(info.frontend.name)} ({info.frontend.hash}) · "
        f"{info.model.n_bytes / 1000:.0f} kB · {len(info.class_names)} classes</p>{body}"
        "</body></html>"
    )


def model_card(findings: Findings) -> str:
    """Return a model card [1]_ in Markdown.

    References
    ----------
    .. [1] M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
    """
    info = findings.bundle.info
    lines = [
        f"# {info.name} ({info.model_version})",
        "",
        f"Int8 network, {info.model.n_bytes} bytes, front end `{info.frontend.name}`.",
        "",
        "## Intended use",
        "",
        INTENDED_USE,
        "",
        "## Events",
        "",
        ", ".join(label.name for label in findings.bundle.params.labels if label.reported),
        "",
        "## Data",
        "",
        *(f"- {d.name}: {d.licence}, {d.n_clips} clips" for d in info.data),
        "",
        "## Figures",
        "",
    ]
    if findings.scores is not None:
        lines.append(
            f"- clips of fold {findings.fold}, int8 through C: {findings.scores.c.accuracy:.1%} of "
            f"{int(findings.scores.c.confusion.sum())}"
        )
    if findings.streams is not None:
        lines += [
            f"- {row['label']}: {row['n_found']}/{row['n_played']} found, "
            f"{row['n_false']} false in {row['hours']:.1f} h"
            for row in findings.streams["home"]["labels"]
        ]
        lines += [
            f"- synthetic {row['label']} at 0 dB SNR: {row['n_found']}/{row['n_played']}, "
            f"{row['n_confused']} confused"
            for row in findings.streams["alarms"]
        ]
    if lines[-1] == "":
        lines.append("None measured.")
    return "\n".join([*lines, "", "## Limits", "", *(f"- {x}" for x in info.limits), ""])
