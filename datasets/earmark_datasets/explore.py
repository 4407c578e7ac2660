"""One page to look at a data set: no server, no network, audio and pictures inside."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_datasets.audio import SAMPLE_RATE_HZ, read_clip

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from earmark_datasets.features import ClipFacts
    from earmark_datasets.manifest import Clip, Manifest

_PLAYED_S = 10.0
_N_COMPONENTS = 20
_SUSPECTS = 40


def write_page(
    manifest: Manifest, facts: Sequence[ClipFacts], out: Path, *, per_label: int = 60
) -> None:
    """Write the explorer.

    Parameters
    ----------
    manifest : Manifest
    facts : sequence of ClipFacts
        From `features.measure_all`.
    out : Path
        The HTML file, written atomically.
    per_label : int
        Clips with picture and player of each label; all are on the map, all suspects are shown.
    """
    readable = [i for i, fact in enumerate(facts) if fact.embedding is not None]
    if len(readable) < 3:
        raise EarmarkError("fewer than three clips can be read", "run `earmark data lint`")
    matrix = np.array([facts[i].embedding for i in readable])
    components = principal_components(matrix, _N_COMPONENTS)
    clips = [manifest.clips[i] for i in readable]
    doubt, sounds_like = suspicion(components, clips)
    span = np.ptp(components[:, :2], axis=0) + 1e-9
    places = (components[:, :2] - components[:, :2].min(axis=0)) / span
    suspects = {int(i) for i in np.argsort(-doubt)[:_SUSPECTS] if doubt[i] > 0.5}
    shown: Counter[str] = Counter()
    items = []
    for row, (index, clip) in enumerate(zip(readable, clips, strict=True)):
        shown[clip.label] += 1
        full = shown[clip.label] <= per_label or row in suspects
        item = _item(clip, facts[index], places[row], full=full)
        items.append(item | {"doubt": round(float(doubt[row]), 2), "like": sounds_like[row]})
    template = resources.files("earmark_datasets").joinpath("explore.html")
    # "</" would end the script element if a file name held it.
    data = json.dumps(items).replace("</", "<\\/")
    temporary = out.with_name(out.name + ".part")
    temporary.write_text(
        template.read_text(encoding="utf-8").replace("/*DATA*/[]", data), encoding="utf-8"
    )
    temporary.replace(out)


def principal_components(matrix: np.ndarray, n_components: int) -> np.ndarray:
    """Return the leading principal components [shape=(n_clips, n_components), dtype=float64]."""
    centred = (matrix - matrix.mean(axis=0)) / (matrix.std(axis=0) + 1.0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    return np.asarray((left * scale)[:, :n_components])


def suspicion(
    components: np.ndarray, clips: Sequence[Clip], *, n_neighbours: int = 10
) -> tuple[np.ndarray, list[str]]:
    """Return the share of a clip's nearest neighbours that another label unites, and that label.

    Neighbours of the clip's own group do not count: copies agree with each other's mistake.

    Returns
    -------
    doubt : ndarray [shape=(n_clips,), dtype=float64, range 0 to 1]
        Share of the most frequent other label, minus the share of the clip's own.
    sounds_like : list of str
        That other label; "" if no neighbour has another one.
    """
    doubt: np.ndarray = np.zeros(len(clips))
    sounds_like = [""] * len(clips)
    for i, clip in enumerate(clips):
        distance = ((components - components[i]) ** 2).sum(axis=1)
        near = [
            clips[j].label
            for j in np.argsort(distance)
            if j != i and not (clip.group and clips[j].group == clip.group)
        ][:n_neighbours]
        votes = Counter(near)
        own = votes.pop(clip.label, 0)
        if votes:
            sounds_like[i], n = votes.most_common(1)[0]
            doubt[i] = max(0.0, (n - own) / len(near))
    return doubt, sounds_like


def _item(clip: Clip, fact: ClipFacts, place: np.ndarray, *, full: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "name": clip.path.name,
        "label": clip.label,
        "fold": clip.fold,
        "licence": clip.licence,
        "by": clip.attribution,
        "s": round(fact.duration_s, 2),
        "x": round(float(place[0]), 4),
        "y": round(float(place[1]), 4),
    }
    if full and fact.rows is not None:
        item["png"] = data_url("image/png", spectrogram_png(fact.rows))
        item["ogg"] = data_url("audio/ogg", _ogg(read_clip(clip)))
    return item


def data_url(kind: str, content: bytes) -> str:
    """Return content as a URL that needs no request."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def spectrogram_png(rows: np.ndarray) -> bytes:
    """Draw int8 rows [shape=(n_frames, n_mels)] as a small palette PNG, low bands at the bottom."""
    from matplotlib import colormaps
    from PIL import Image

    step = max(1, len(rows) // 250)
    image = Image.fromarray((rows[::step].T[::-1].astype(np.int16) + 128).astype(np.uint8))
    image.putpalette((colormaps["magma"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _ogg(pcm: np.ndarray) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    played = pcm[: round(_PLAYED_S * SAMPLE_RATE_HZ)]
    soundfile.write(buffer, played, SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")
    return buffer.getvalue()
