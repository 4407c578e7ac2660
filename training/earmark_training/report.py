"""One self-contained HTML page per bundle: what it was made of, how it does, where it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from earmark_training import report_clips, report_sections
from earmark_training import report_html as page
from earmark_training.report_measure import FLOAT, C

if TYPE_CHECKING:
    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.estimate import Estimate
    from earmark_training.quantisation import LayerError
    from earmark_training.report_measure import ClipFindings

INTENDED_USE = (
    "Tells caregivers about sounds at home; only labels leave the device. Supplements smoke and CO "
    "alarms. Not a life-safety device, not a medical device."
)


@dataclass
class Findings:
    """What was measured for the report; every part is optional but the bundle."""

    bundle: Bundle
    clips: ClipFindings | None = None
    layers: list[LayerError] = field(default_factory=list)
    streams: dict[str, Any] | None = None
    estimate: Estimate | None = None


def html_page(findings: Findings) -> str:
    """Return the report: one file, no external request."""
    info = findings.bundle.info
    sections = [
        ("Data and licences", report_sections.data_section(findings.bundle)),
        ("Training", report_sections.training_section(findings.bundle)),
        ("Clips", report_clips.clip_section(findings)),
        ("Quantisation", report_clips.quantisation_section(findings)),
        ("Streams", report_sections.stream_section(findings.streams)),
        ("Detector and operating points", report_sections.detector_section(findings.bundle)),
        ("Device", report_sections.device_section(findings)),
        ("Hardest clips", report_clips.hardest_section(findings)),
        (
            "Limits",
            "<ul>" + "".join(f"<li>{page.text(x)}</li>" for x in limits(findings)) + "</ul>",
        ),
    ]
    body = "".join(f"<h2 id={_anchor(title)}>{title}</h2>{content}" for title, content in sections)
    links = "".join(f"<a href='#{_anchor(title)}'>{title}</a>" for title, _ in sections)
    return page.document(
        f"{info.name} {info.model_version}",
        f"<h1>{page.text(info.name)}</h1>"
        f"<p class=note>{page.text(info.model_version)} · front end "
        f"{page.text(info.frontend.name)} ({info.frontend.hash})</p>"
        f"<p>{INTENDED_USE}</p>{page.facts(_facts(findings))}<nav>{links}</nav>{body}",
    )


def _anchor(title: str) -> str:
    return title.split(maxsplit=1)[0].lower()


def _facts(findings: Findings) -> list[tuple[str, str]]:
    info, clips, estimate = findings.bundle.info, findings.clips, findings.estimate
    facts = [("classes", str(len(info.class_names)))]
    if clips is not None:
        overall = clips.slices()[0]
        facts.append(
            (f"of {overall.n} held-out clips, int8 in C", page.percent(overall.accuracy(C)))
        )
        if FLOAT in clips.arithmetics:
            facts.append(("the same in float", page.percent(overall.accuracy(FLOAT))))
    if findings.streams is not None:
        rows = findings.streams["home"]["labels"]
        n_false = sum(row["n_false"] for row in rows)
        facts.append((f"false alarms in {findings.streams['home']['hours']:.1f} h", str(n_false)))
    facts.append(("model", f"{info.model.n_bytes / 1000:.0f} kB"))
    facts.append(("arena, compiled", f"{info.model.arena_bytes / 1024:.1f} KiB"))
    if estimate is not None and estimate.instructions is not None:
        ms = estimate.milliseconds(estimate.instructions)
        facts.append(
            (f"per {findings.bundle.hop_s:.2f} s on {estimate.target.name}", f"{ms:.0f} ms")
        )
    return facts


def limits(findings: Findings) -> list[str]:
    """Return what the model must not be relied on for: stated, and found by measuring."""
    found = list(findings.bundle.info.limits)
    clips = findings.clips
    if clips is None:
        found.append("Nothing was measured on held-out clips for this report.")
    else:
        slices = clips.slices()
        low, high = slices[0].interval()
        found.append(
            f"{slices[0].n} held-out clips: the 95 % interval of the accuracy is {low:.0%} to "
            f"{high:.0%}."
        )
        for kind in ("label", "SNR"):
            parts = [part for part in slices if part.kind == kind]
            if parts:
                worst = min(parts, key=lambda part: part.accuracy(C))
                found.append(
                    f"Worst {kind}: {worst.name}, {worst.right[C]} of {worst.n} clips right."
                )
        heard = {part.name for part in slices if part.kind == "label"}
        unheard = [
            label.name
            for label in findings.bundle.params.labels
            if label.reported and label.name not in heard
        ]
        if unheard:
            found.append(f"No held-out clip of {', '.join(unheard)}.")
    if findings.streams is None:
        found.append("False alarms per day were not measured for this report.")
    return found


def model_card(findings: Findings) -> str:
    """Return a model card [1]_ in Markdown.

    References
    ----------
    .. [1] M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
    """
    bundle, clips = findings.bundle, findings.clips
    info = bundle.info
    lines = [
        f"# {info.name} ({info.model_version})",
        "",
        f"Int8 network, {info.model.n_bytes} bytes, front end `{info.frontend.name}`.",
        f"One inference every {bundle.hop_s:.2f} s.",
        *_card_part("Intended use", [INTENDED_USE]),
        *_card_part(
            "Events", [", ".join(label.name for label in bundle.params.labels if label.reported)]
        ),
        *_card_part("Data", [f"- {_card_source(d)}" for d in info.data] or ["Not stated."]),
        *_card_part("Training", _card_training(bundle)),
        *_card_part("Figures", _card_figures(findings) or ["None measured."]),
    ]
    if clips is not None:
        lines += _card_part(
            "Per slice",
            [
                "| slice | clips | int8 in C |",
                "|---|---|---|",
                *(
                    f"| {part.kind}: {part.name} | {part.n} | {part.accuracy(C):.1%} |"
                    for part in clips.slices()
                ),
            ],
        )
    lines += _card_part("Limits", [f"- {x}" for x in limits(findings)])
    return "\n".join([*lines, ""])


def _card_part(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _card_source(source: Any) -> str:
    hours = f", {source.hours:.2f} h" if source.hours else ""
    credit = f"; {source.attribution}" if source.attribution else ""
    return f"{page.place(source.name)}: {source.licence}, {source.n_clips} clips{hours}{credit}"


def _card_training(bundle: Bundle) -> list[str]:
    record = bundle.info.metrics.get("training")
    if record is None:
        return ["The bundle does not say."]
    recipe = record["recipe"] or {}
    settings = ", ".join(
        f"{key} {recipe[key]}"
        for key in ("preset", "epochs", "seed")
        if recipe.get(key) is not None
    )
    held_out = f"; fold {record['test_fold']} held out" if record["test_fold"] is not None else ""
    tools = ", ".join(f"{name} {version}" for name, version in bundle.info.tools.items())
    return [f"{page.place(record['data'])}{held_out}. {settings}.", "", f"Written with {tools}."]


def _card_figures(findings: Findings) -> list[str]:
    lines = []
    if findings.clips is not None:
        overall = findings.clips.slices()[0]
        lines += [
            f"- {findings.clips.data}, {arithmetic}: {overall.accuracy(arithmetic):.1%} of "
            f"{overall.n} clips"
            for arithmetic in overall.right
        ]
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
        if beeps := findings.streams.get("beeps"):
            lines.append(
                f"- {beeps['n_clips']} recorded beeps and ringtones: "
                f"{len(beeps['alarms_raised'])} taken for an alarm"
            )
    estimate = findings.estimate
    if estimate is not None and estimate.instructions is not None:
        lines.append(
            f"- {estimate.target.name}: {estimate.instructions:,} instructions per inference, "
            f"estimated {estimate.milliseconds(estimate.instructions):.0f} ms, "
            f"{estimate.ram_bytes_optimised:,} bytes of RAM at least"
        )
    return lines
