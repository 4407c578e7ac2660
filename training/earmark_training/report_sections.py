"""Sections of the report beside the clips: data, training, streams, detector, device."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from earmark_training import report_figures as figures
from earmark_training import report_html as page
from earmark_training.deploy.bundle_training import read_credits
from earmark_training.detector import NEVER_PERMILLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.estimate import Estimate
    from earmark_training.report import Findings

N_CAUSES = 10


def data_section(bundle: Bundle) -> str:
    """Return what the network was made of, under which licences, and whom to credit."""
    if not bundle.info.data:
        return page.note("The bundle names no data.")
    rows = [
        (
            page.place(source.name),
            source.licence,
            source.n_clips or "-",
            page.number(source.hours or None, ".2f"),
            source.attribution,
            "recorded" if source.real else "synthesised",
        )
        for source in bundle.info.data
    ]
    sources = page.table(("data", "licence", "clips", "hours", "credit", "kind"), rows)
    credit_rows = read_credits(bundle)
    if not credit_rows:
        return sources
    listed = page.table(tuple(credit_rows[0]), [tuple(row.values()) for row in credit_rows])
    return (
        f"{sources}<details><summary>Credits of all {len(credit_rows)} recordings</summary>"
        f"{listed}</details>"
    )


def training_section(bundle: Bundle) -> str:
    """Return recipe and learning curve."""
    record = bundle.info.metrics.get("training")
    if record is None:
        return page.note("The bundle holds no learning curve.")
    recipe = record["recipe"] or {}
    settings = [(key, value) for key, value in recipe.items() if not isinstance(value, dict)]
    settings += [
        (f"{group}.{key}", value)
        for group, part in recipe.items()
        if isinstance(part, dict)
        for key, value in part.items()
    ]
    held_out = "-" if record["test_fold"] is None else record["test_fold"]
    network = record.get("network")
    source = f"<details><summary>Network</summary><pre>{page.text(network)}</pre></details>"
    rows = [("data", page.place(record["data"])), ("held-out fold", held_out), *settings]
    if ignored := record.get("background"):
        rows.insert(1, ("sounds to ignore", page.place(ignored)))
    tools = ", ".join(f"{name} {version}" for name, version in bundle.info.tools.items())
    return (
        f"{figures.learning_curve(record['losses']) if record['losses'] else ''}"
        f"<details><summary>Recipe</summary>{page.table(('setting', 'value'), rows)}</details>"
        f"{source if network else ''}" + page.note(page.text(tools))
    )


def stream_section(streams: dict[str, Any] | None) -> str:
    """Return events and false alarms over hours, with their intervals."""
    if streams is None:
        return page.note(
            "Not measured: run <code>python -m earmark_training.bench.streams</code> and give its "
            "result with <code>--streams</code>."
        )
    home = streams["home"]
    rows = [
        (
            row["label"],
            f"{row['n_found']}/{row['n_played']}" if row["n_played"] else "-",
            page.interval(row["recall_interval"]) if row["n_played"] else "",
            page.number(row["latency_median_s"], ".1f"),
            row["n_false"],
            page.number(row["false_per_24h"], ".1f"),
            page.interval(row["false_per_24h_interval"], 1),
        )
        for row in home["labels"]
    ]
    alarms = [
        (
            row["label"],
            f"{row['n_found']}/{row['n_played']}",
            row["n_in_time"],
            row["n_confused"],
            page.number(row["cycles_median"], ".2f"),
            page.number(row["cycles_max"], ".2f"),
        )
        for row in streams["alarms"]
    ]
    recorded = "".join(
        f"<li>{page.text(label)}, {page.text(row['clip'])}: "
        f"{'reported' if row['found'] else '<b>missed</b>'}</li>"
        for label, found in streams["recorded"].items()
        for row in found
    )
    head = ("label", "found", "95 %", "latency s", "false", "false per 24 h", "95 %")
    alarm_head = ("alarm", "found", "within 2.5 cycles", "confused", "median cycles", "slowest")
    return (
        f"<p>{home['hours']:.1f} h of recorded backgrounds and other sounds with "
        f"{home['n_events']} events at 0 to 20 dB SNR in simulated rooms.</p>"
        f"{page.table(head, rows)}{_causes(home.get('false_alarms', ()))}"
        f"<h3>Synthetic alarms at 0 dB SNR in rooms</h3>"
        f"{page.table(alarm_head, alarms)}<h3>Recorded alarms</h3><ul>{recorded}</ul>"
        f"{_beeps(streams.get('beeps'))}"
    )


def _beeps(beeps: dict[str, Any] | None) -> str:
    """Return whether recorded beeps and ringtones were taken for alarms."""
    if beeps is None:
        return ""
    raised = beeps["alarms_raised"]
    which = "; ".join(f"{page.text(r['event'])} by {page.text(r['clip'])}" for r in raised)
    return (
        f"<p>{beeps['n_clips']} recorded beeps and ringtones, repeated for half a minute: "
        f"{len(raised)} alarms{': ' if which else ''}{which}.</p>"
    )


def _causes(false_alarms: Sequence[dict[str, Any]]) -> str:
    """Return which sounds were heard just before false alarms, the most frequent first."""
    heard = Counter(
        (alarm["label"], sound) for alarm in false_alarms for sound in set(alarm["heard"])
    )
    if not heard:
        return ""
    rows = [(label, sound, n) for (label, sound), n in heard.most_common(N_CAUSES)]
    return "<h3>What was heard before false alarms</h3>" + page.table(
        ("false alarm", "heard", "times"), rows
    )


def _threshold(permille: int) -> str:
    return "never" if permille == NEVER_PERMILLE else f"{permille / 1000:.3f}"


def detector_section(bundle: Bundle) -> str:
    """Return thresholds, and the curves they were chosen from."""
    rows = [
        (
            label.name,
            _threshold(label.threshold_permille),
            label.cadence.value if label.cadence.value != "none" else "",
            label.min_duration_ms,
            label.refractory_ms,
            "once" if label.once else "start, end",
            "critical" if label.critical else "",
        )
        for label in bundle.params.labels
        if label.reported
    ]
    head = ("event", "threshold", "cadence", "min ms", "refractory ms", "messages", "importance")
    calibration = bundle.info.metrics.get("calibration")
    if calibration is None:
        drawn = "<p class=note>Defaults; <code>earmark calibrate</code> chooses from streams.</p>"
    else:
        drawn = (
            f"<p>Chosen from {calibration['settings']['hours']:.1f} h of streams, at most "
            f"{calibration['settings']['max_false_per_24h']:g} false alarms per 24 h.</p>"
            + figures.operating_points(
                calibration["labels"], calibration["settings"]["max_false_per_24h"]
            )
            + page.note(
                "A point is a threshold; red: the chosen one; dotted: the bound; band: exact 95 % "
                "interval of the rate. Without a red point no threshold that finds the sound keeps "
                "the bound: the label is silent (never), or stays as it was if it has a cadence."
            )
        )
    return page.table(head, rows) + drawn


def device_section(findings: Findings) -> str:
    """Return sizes, memory and estimated time per engine."""
    info, spec = findings.bundle.info, findings.bundle.spec
    window = spec.context_frames * spec.n_features
    rows = [("compiled C", info.model.n_bytes, info.model.arena_bytes, window)]
    if findings.clips is not None:
        rows.append(
            ("TensorFlow Lite Micro", info.model.n_bytes, findings.clips.tflm_arena_bytes, window)
        )
    note = (
        f"<p class=note>One inference every {findings.bundle.hop_s:.2f} s. TFLM's arena is that of "
        "a 64-bit machine.</p>"
    )
    sizes = page.table(("engine", "model bytes", "arena bytes", "window bytes"), rows) + note
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
            page.number(n, ","),
            page.number(estimate.milliseconds(n), ".1f"),
            f"{ram_bytes:,}",
        )
        for form, n, ram_bytes in forms
    ]
    head = (f"on {estimate.target.name}", "instructions", "estimated ms", "RAM bytes")
    return page.table(head, rows) + figures.svg(chart(estimate))
