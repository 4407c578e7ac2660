"""Sections of the report about held-out clips: confusion, slices, quantisation, hardest clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_dsp.native import extract

from earmark_training import report_figures as figures
from earmark_training import report_html as page
from earmark_training.report_measure import AS_RECORDED, FLOAT, TFLM, C

if TYPE_CHECKING:
    from earmark_training.quantisation import LayerError
    from earmark_training.report import Findings
    from earmark_training.report_measure import ClipFindings, Heard

N_HARDEST = 8
LIMIT_POINTS = 0.5
NO_CLIPS = "No held-out clips were at hand: name them with <code>--data</code>."


def clip_section(findings: Findings) -> str:
    """Return accuracy and confusion in every arithmetic, and accuracy per slice."""
    clips = findings.clips
    if clips is None:
        return page.note(NO_CLIPS)
    drawn = "".join(
        f"<figure>{figures.confusion(clips.confusion(a), clips.class_names)}"
        f"<figcaption>{page.text(a)}</figcaption></figure>"
        for a in clips.arithmetics
    )
    intro = (
        f"<p>{page.text(clips.data)}: windows voted as the device votes. C gave the integers of "
        f"TensorFlow Lite's reference kernels on all {clips.n_identical_windows:,} windows, "
        f"{clips.n_tflm_windows:,} of them run in TFLM itself.</p>"
    )
    if FLOAT not in clips.arithmetics:
        intro += page.note("The bundle holds no float network (<code>model.keras</code>).")
    return f"{intro}<div class=figures>{drawn}</div><h3>Per slice</h3>{slice_table(clips)}"


def slice_table(clips: ClipFindings) -> str:
    """Return float beside int8, with the exact interval of the latter."""
    slices = clips.slices()
    has_float = FLOAT in clips.arithmetics
    head = ["slice", "", "clips", *([FLOAT] if has_float else []), TFLM, C, "95 %"]
    rows, rules = [], []
    for i, part in enumerate(slices):
        low, high = part.interval()
        row: list[object] = [part.kind, part.name, part.n]
        if has_float:
            row.append(page.percent(part.accuracy(FLOAT)))
        row += [
            page.percent(part.accuracy(TFLM)),
            page.percent(part.accuracy(C)),
            f"{low:.0%} to {high:.0%}",
        ]
        if has_float:
            row.append(_lost(part.lost_points))
        rows.append(row)
        if i and slices[i - 1].kind != part.kind:
            rules.append(i)
    if has_float:
        head.append("int8 - float")
    return page.table(head, rows, rules)


def _lost(points: float) -> page.Raw:
    kind = "bad" if points > LIMIT_POINTS else "good"
    return page.Raw(f"<span class={kind}>{-points:+.1f}</span>" if points else "0.0")


def quantisation_section(findings: Findings) -> str:
    """Return what int8 costs, and where it comes from."""
    clips = findings.clips
    if clips is None or FLOAT not in clips.arithmetics:
        return page.note("Float and int8 cannot be compared: float network or clips are missing.")
    sentence = verdict(clips, LIMIT_POINTS)
    layers = findings.layers
    if not layers:
        return f"<p>{page.text(sentence)}</p>"
    rows = [
        (
            layer.name,
            "x".join(map(str, layer.shape)),
            page.number(layer.sqnr_db, ".1f"),
            f"{0.0 - layer.lost_db:+.1f}",
            f"{layer.used:.0%}",
            f"{layer.saturated:.2%}",
        )
        for layer in layers
    ]
    head = ("layer", "output", "SQNR dB", "change dB", "codes used", "clipped")
    return (
        f"<p>{page.text(sentence)}</p>"
        f"<p>Error of each layer's int8 output against the float network, on windows of the same "
        f"clips; most is lost in <b>{page.text(worst_layer(layers).name)}</b>. SQNR: "
        "signal-to-quantisation-noise ratio, earlier layers' errors included.</p>"
        f"{figures.layer_errors(layers)}{page.table(head, rows)}"
        + page.note(
            "<code>earmark quantize-report BUNDLE --remedies</code> converts again in other ways."
        )
    )


def verdict(clips: ClipFindings, limit_points: float) -> str:
    """Say in a sentence whether int8 keeps within the limit, and on how many clips."""
    overall = clips.slices()[0]
    lost, one = overall.lost_points, 100 / overall.n
    changed = sum(h.voted(FLOAT) != h.voted(C) for h in clips.under(AS_RECORDED))
    state = "more than" if lost > limit_points else "within"
    return (
        f"int8 changes accuracy by {0.0 - lost:+.1f} points against float, {state} the limit of "
        f"{limit_points:g}; {changed} of {overall.n} votes differ (one clip is {one:.2g} points)."
    )


def worst_layer(layers: list[LayerError]) -> LayerError:
    """Return the layer that lowers the signal-to-noise ratio most."""
    return max(layers, key=lambda layer: layer.lost_db)


def hardest(clips: ClipFindings, n: int = N_HARDEST) -> list[Heard]:
    """Return the clips with the smallest margin for the truth, as recorded, in C."""
    names = clips.class_names
    return sorted(clips.under(AS_RECORDED), key=lambda h: h.margin(names.index(h.clip.label)))[:n]


def hardest_section(findings: Findings) -> str:
    """Return the hardest clips as players over their features."""
    from earmark_datasets.audio import read_clip

    clips, spec = findings.clips, findings.bundle.spec
    if clips is None:
        return page.note(NO_CLIPS)
    items = []
    for heard in hardest(clips):
        pcm = read_clip(heard.clip, sample_rate_hz=spec.sample_rate_hz)
        truth, voted = heard.clip.label, clips.class_names[heard.voted(C)]
        margin = heard.margin(clips.class_names.index(truth))
        word = "bad" if truth != voted else "good"
        credit = f"{heard.clip.attribution}, {heard.clip.licence}".strip(", ")
        items.append(
            f"<li>{page.feature_picture(extract(spec, pcm), f'features of {truth}')}"
            f"{page.player(pcm, spec.sample_rate_hz)}<br><b>{page.text(truth)}</b>, voted "
            f"<b class={word}>{page.text(voted)}</b>, margin {margin:+.2f}<br>"
            f"<span class=note>{page.text(heard.clip.path.name)}; {page.text(credit)}</span></li>"
        )
    return (
        page.note("Margin: share of the vote for the truth minus the best other label.")
        + f"<ul class=hard>{''.join(items)}</ul>"
    )
