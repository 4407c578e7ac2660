"""What the licences of the recordings allow together."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from earmark_datasets.manifest import Manifest

# Clauses of the Creative Commons licences, as they appear in names ("CC BY-NC-SA 4.0") and in
# addresses (creativecommons.org/licenses/by-nc/3.0/).
_CC = re.compile(r"\b(by(?:[- ](?:nc|sa|nd))*)\b|sampling\+|\bcc[- ]?0\b|publicdomain|zero")
_OWN = re.compile(r"^(own|proprietary|apache|mit|bsd|public domain|pd|cc0|gpl)")


def clauses(licence: str) -> frozenset[str] | None:
    """Return the conditions of a licence text: subset of {"by", "nc", "sa", "nd", "sampling+"}.

    Returns
    -------
    frozenset of str or None
        Empty: no condition on the model's use. None: not understood.
    """
    text = licence.lower().replace("_", "-").replace("attribution", "by")
    text = text.replace("noncommercial", "nc").replace("non-commercial", "nc")
    if "sampling+" in text or "sampling plus" in text:
        return frozenset({"by", "sampling+"})
    match = _CC.search(text)
    if match and match.group(1):
        return frozenset(re.split(r"[- ]", match.group(1)))
    return frozenset() if match or _OWN.match(text) else None


def licence_findings(manifest: Manifest) -> list[tuple[Literal["error", "warning", "note"], str]]:
    """Return (severity, message) for each licence problem of a data set.

    Not legal advice: whether a model is a derivative of its recordings is not settled; the cautious
    reading is taken.
    """
    count: Counter[str] = Counter()
    n_unattributed = 0
    unknown = set()
    for clip in manifest.clips:
        found = clauses(clip.licence)
        if found is None:
            count["unknown"] += 1
            unknown.add(clip.licence)
            continue
        count.update(found)
        n_unattributed += "by" in found and not clip.attribution
    findings: list[tuple[Literal["error", "warning", "note"], str]] = []
    if count["unknown"]:
        names = ", ".join(repr(name) for name in sorted(unknown)[:3])
        text = f"{count['unknown']} clips have no licence that is understood ({names})"
        findings.append(("warning", text))
    if count["nd"]:
        text = f"{count['nd']} clips forbid derivatives (ND): leave them out of training"
        findings.append(("error", text))
    if count["nc"] and count["sa"]:
        text = (
            f"licence conflict: {count['sa']} clips are share-alike, {count['nc']} non-commercial; "
            "a model from both can satisfy neither: leave one kind out"
        )
        findings.append(("error", text))
    elif count["nc"]:
        text = f"{count['nc']} clips are non-commercial (NC): a model from them is, too"
        findings.append(("warning", text))
    if n_unattributed:
        text = f"{n_unattributed} clips require attribution, but the manifest names nobody"
        findings.append(("warning", text))
    return findings
