"""What is wrong with a data set before a network learns it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from earmark_datasets.duplicates import acoustic_duplicates, exact_duplicates
from earmark_datasets.licences import licence_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_datasets.features import ClipFacts
    from earmark_datasets.manifest import Manifest

Severity = Literal["error", "warning", "note"]
_SILENT_DBFS = -60.0
_CLIPPED_SHARE = 1e-3
_NARROW_HZ = 6000.0
_LONG_S = 600.0
_IMBALANCE = 10.0


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes
    ----------
    check : str
        Which check found it.
    severity : {"error", "warning", "note"}
        An error makes every figure on this data untrustworthy.
    message : str
        What is wrong and what to do.
    paths : list of str
        The files concerned.
    """

    check: str
    severity: Severity
    message: str
    paths: list[str] = field(default_factory=list)


def lint(manifest: Manifest, facts: Sequence[ClipFacts]) -> list[Finding]:
    """Check a data set.

    Parameters
    ----------
    manifest : Manifest
    facts : sequence of ClipFacts
        From `features.measure_all`, in the manifest's order.

    Returns
    -------
    list of Finding
        Errors first.
    """
    findings = [
        *_unreadable(manifest, facts),
        *_duplicates(manifest, facts),
        *_levels(manifest, facts),
        *_bandwidth(manifest, facts),
        *_silence_by_label(manifest, facts),
        *_formats(manifest, facts),
        *_groups(manifest),
        *_balance(manifest),
        *[Finding("licence", severity, text) for severity, text in licence_findings(manifest)],
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _paths(manifest: Manifest, indices: Sequence[int]) -> list[str]:
    return [str(manifest.clips[i].path) for i in indices]


def _unreadable(manifest: Manifest, facts: Sequence[ClipFacts]) -> list[Finding]:
    return [
        Finding("unreadable", "error", fact.error, [str(clip.path)])
        for clip, fact in zip(manifest.clips, facts, strict=True)
        if fact.error
    ]


def _duplicates(manifest: Manifest, facts: Sequence[ClipFacts]) -> list[Finding]:
    found = [
        (first, second, "the same samples")
        for group in exact_duplicates(facts)
        for first, second in pairwise(group)
    ]
    found += [
        (first, second, f"the same sound (similarity {score:.2f})")
        for first, second, score in acoustic_duplicates(facts)
    ]
    findings = []
    for first, second, how in found:
        one, two = manifest.clips[first], manifest.clips[second]
        severity: Severity = "warning"
        advice = "keep one of them, or give both the same group"
        if one.label != two.label:
            severity, advice = "error", f"labelled {one.label} and {two.label}: one is wrong"
        elif one.fold != two.fold:
            severity, advice = "error", f"in folds {one.fold} and {two.fold}: the test is known"
        elif one.group and one.group == two.group:
            severity, advice = "note", "same group and fold: counted twice in training"
        findings.append(
            Finding(
                "duplicate",
                severity,
                f"{one.path.name} and {two.path.name} are {how}; {advice}",
                _paths(manifest, [first, second]),
            )
        )
    return findings


def _levels(manifest: Manifest, facts: Sequence[ClipFacts]) -> list[Finding]:
    readable = [(i, fact) for i, fact in enumerate(facts) if not fact.error]
    silent = [i for i, fact in readable if fact.peak_dbfs < _SILENT_DBFS]
    clipped = [i for i, fact in readable if fact.clipped_share > _CLIPPED_SHARE]
    findings = []
    if silent:
        text = f"{len(silent)} clips never exceed {_SILENT_DBFS:.0f} dBFS: nothing to learn there"
        findings.append(Finding("silence", "error", text, _paths(manifest, silent)))
    if clipped:
        shares = Counter(manifest.clips[i].label for i in clipped)
        common = ", ".join(f"{label} {count}" for label, count in shares.most_common(5))
        text = (
            f"{len(clipped)} clips are overdriven (flat tops): {common}; "
            "record with less gain, or accept it if the device will clip as well"
        )
        findings.append(Finding("clipping", "warning", text, _paths(manifest, clipped)))
    return findings


def _share_by_label(manifest: Manifest, values: Sequence[float | None]) -> dict[str, float]:
    """Mean of the values per label; None is left out."""
    by_label: dict[str, list[float]] = {}
    for clip, value in zip(manifest.clips, values, strict=True):
        if value is not None:
            by_label.setdefault(clip.label, []).append(value)
    return {label: float(np.mean(held)) for label, held in by_label.items()}


def _bandwidth(manifest: Manifest, facts: Sequence[ClipFacts]) -> list[Finding]:
    narrow = [None if f.error else float(f.bandwidth_hz < _NARROW_HZ) for f in facts]
    shares = _share_by_label(manifest, narrow)
    cut = sorted(label for label, share in shares.items() if share > 0.5)
    if not cut or min(shares.values()) > 0.25:
        return []
    indices = [i for i, value in enumerate(narrow) if value and manifest.clips[i].label in cut]
    lowest = min(facts[i].bandwidth_hz for i in indices)
    text = (
        f"most clips of {', '.join(cut)} end at about {lowest / 1000:.1f} kHz, others do not: the "
        "network would learn the recorder; record the label anew, or low-pass all labels alike"
    )
    return [Finding("bandwidth", "error", text, _paths(manifest, indices))]


def _silence_by_label(manifest: Manifest, facts: Sequence[ClipFacts]) -> list[Finding]:
    shares = _share_by_label(manifest, [None if f.error else f.zero_share for f in facts])
    if not shares or max(shares.values()) - min(shares.values()) < 0.2:
        return []
    worst = sorted(shares, key=lambda label: -shares[label])[:3]
    shown = ", ".join(f"{label} {100 * shares[label]:.0f} %" for label in worst)
    text = (
        f"digital silence differs between labels ({shown}): put a noise floor under everything, or "
        "the network learns the padding"
    )
    return [Finding("digital silence", "warning", text)]


def _formats(manifest: Manifest, facts: Sequence[ClipFacts]) -> list[Finding]:
    readable = [fact for fact in facts if not fact.error]
    findings = []
    rates = Counter(fact.sample_rate_hz for fact in readable)
    channels = Counter(fact.n_channels for fact in readable)
    if len(rates) > 1:
        shown = ", ".join(f"{rate} Hz ({count})" for rate, count in rates.most_common())
        findings.append(
            Finding("format", "note", f"sample rates differ and are converted: {shown}")
        )
    if max(channels, default=1) > 1:
        shown = ", ".join(f"{n} ({count})" for n, count in channels.most_common())
        findings.append(
            Finding("format", "note", f"channels are averaged; clips by count: {shown}")
        )
    long = [i for i, fact in enumerate(facts) if fact.duration_s > _LONG_S]
    if long:
        text = (
            f"{len(long)} clips are longer than {_LONG_S / 60:.0f} minutes; if only parts hold the "
            "sound, label spans (Audacity label track beside the file)"
        )
        findings.append(Finding("duration", "warning", text, _paths(manifest, long)))
    return findings


def _groups(manifest: Manifest) -> list[Finding]:
    findings = []
    folds: dict[str, set[int | None]] = {}
    for clip in manifest.clips:
        if clip.group:
            folds.setdefault(clip.group, set()).add(clip.fold)
    leaking = sorted(group for group, held in folds.items() if len(held) > 1)
    if leaking:
        text = (
            f"{len(leaking)} groups are in more than one fold ({', '.join(leaking[:3])}): scores "
            "would be too good; `earmark data import --folds N` assigns folds by group"
        )
        paths = [str(clip.path) for clip in manifest.clips if clip.group in leaking]
        findings.append(Finding("leakage", "error", text, paths))
    without = sum(not clip.group for clip in manifest.clips)
    if without and manifest.folds:
        text = f"{without} clips name no group: leakage between folds cannot be excluded"
        findings.append(Finding("leakage", "warning", text))
    return findings


def _balance(manifest: Manifest) -> list[Finding]:
    counts = Counter(clip.label for clip in manifest.clips)
    findings = []
    if len(counts) == 1:
        text = f"only one label, {next(iter(counts))}: add recordings of what it is not"
        findings.append(Finding("labels", "error", text))
    largest, smallest = max(counts.values()), min(counts.values())
    if largest > _IMBALANCE * smallest:
        rare = ", ".join(f"{label} {n}" for label, n in counts.most_common()[-3:])
        text = f"labels are unbalanced {largest}:{smallest}; the rarest: {rare}"
        findings.append(Finding("imbalance", "warning", text))
    if manifest.folds:
        gaps = sorted(set(range(1, max(manifest.folds) + 1)) - set(manifest.folds))
        if gaps:
            text = f"fold {', '.join(map(str, gaps))} is empty"
            findings.append(Finding("folds", "error", text))
        held = {(clip.label, clip.fold) for clip in manifest.clips}
        absent = [
            f"{label} in {fold}"
            for label in manifest.labels
            for fold in manifest.folds
            if (label, fold) not in held
        ]
        if absent:
            text = f"labels are missing in folds: {', '.join(absent[:5])} ({len(absent)} in all)"
            findings.append(Finding("folds", "warning", text))
    return findings
