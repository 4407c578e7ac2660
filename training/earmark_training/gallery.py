"""`earmark gallery`: what each stage of the augmentation does, to see and to hear."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from earmark_dsp.spec import FrontEndSpec

app = typer.Typer(
    add_completion=False, help="Show what each augmentation stage does, as one HTML page."
)
_DRAWS = 3
_STAGES: dict[str, str] = {
    "original": "The recording as it is.",
    "speed": "Played up to 15 % faster or slower; the pitch moves with it.",
    "shift": "Cut or padded to five seconds at a random place.",
    "mix": "Over a recording of another class; the label is the share in which each is heard.",
    "room and equaliser": "Through a simulated room and another microphone.",
    "background": "Over the noise of a home, 5 to 30 dB below.",
    "gain": "The loudest 100 ms set to a level between -30 and -1 dBFS.",
    "noise floor": "Noise between -100 and -50 dBFS under everything.",
    "SpecAugment": "One stripe of time and one of frequency hidden in the features of a window.",
}
_STYLE = """
.draws{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(18rem,100%),1fr));gap:1rem}
figure{margin:0}img{width:100%;height:9rem;display:block;border-radius:4px}audio{width:100%}
"""


@dataclass(frozen=True)
class _Draw:
    """One result of a stage: PCM to hear, rows to see."""

    pcm: np.ndarray
    rows: np.ndarray


def _stages(
    samples: np.ndarray, other: np.ndarray, spec: FrontEndSpec, rng: np.random.Generator
) -> dict[str, Callable[[], np.ndarray]]:
    """Return functions that apply each stage alone, at full probability."""
    from earmark_training import augment

    rate_hz = spec.sample_rate_hz
    options = augment.Augmentation(room_probability=1.0, background_probability=1.0)
    length = 5 * rate_hz

    def mixed() -> np.ndarray:
        share = rng.uniform(0.5, 1)
        a, b = augment.fit(samples, length, rng), augment.fit(other, length, rng)
        levels = augment.peak_level(a, rate_hz), augment.peak_level(b, rate_hz)
        weight = augment.mix_ratio(*levels, share)
        both: np.ndarray = (weight * a + (1 - weight) * b) / np.hypot(weight, 1 - weight)
        return both

    stages: dict[str, Callable[[], np.ndarray]] = {
        "original": lambda: samples,
        "speed": lambda: augment.change_speed(samples, rng, options.speed),
        "shift": lambda: augment.fit(
            np.pad(samples, rate_hz) if len(samples) <= length else samples, length, rng
        ),
        "mix": mixed,
        "room and equaliser": lambda: augment.place(samples, rng, options, rate_hz),
        "background": lambda: augment.add_background(samples, rng, options, rate_hz),
        "gain": lambda: augment.set_level(samples, rng, options, rate_hz),
        "noise floor": lambda: augment.add_floor(samples, rng, options, rate_hz),
    }
    assert set(augment.STAGES) <= set(stages)  # noqa: S101 - a stage nobody sees is a mistake
    return stages


def _draws(
    samples: np.ndarray, other: np.ndarray, spec: FrontEndSpec, seed: int
) -> Iterator[tuple[str, list[_Draw]]]:
    from earmark_datasets.audio import to_int16
    from earmark_dsp.native import extract

    from earmark_training import pipeline

    rng = np.random.default_rng(seed)
    for name, stage in _stages(samples, other, spec, rng).items():
        pcms = [to_int16(stage()) for _ in range(1 if name == "original" else _DRAWS)]
        yield name, [_Draw(pcm, extract(spec, pcm)) for pcm in pcms]
    pcm = to_int16(samples)
    rows = extract(spec, pcm)
    # Around the loudest moment, where stripes hide something.
    start = int(np.clip(rows.sum(1, dtype=int).argmax() - spec.context_frames // 2, 0,
                        max(0, len(rows) - spec.context_frames)))  # fmt: skip
    cut = np.stack([rows[start : start + spec.context_frames]] * _DRAWS).astype(np.float32)
    hidden = np.asarray(pipeline.spec_augment(cut, np.array([seed, 0], np.int32)))
    begin = start * spec.hop_length
    heard = pcm[begin : begin + spec.context_frames * spec.hop_length]
    yield "SpecAugment", [_Draw(heard, window) for window in hidden]


def write_gallery(
    path: Path,
    samples: np.ndarray,
    other: np.ndarray,
    *,
    spec: FrontEndSpec,
    title: str,
    seed: int = 1,
) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
        The HTML file; self-contained.
    samples, other : ndarray [shape=(n_samples,), dtype=float32]
        The recording to change, and one to mix it with.
    spec : FrontEndSpec
    title : str
        What the recording is.
    seed : int
    """
    from earmark_datasets.explore import data_url, spectrogram_png

    from earmark_training import report_html as page

    sections = []
    for name, draws in _draws(samples, other, spec, seed):
        figures = "".join(
            f'<figure><img alt="{name}, draw {n}" '
            f'src="{data_url("image/png", spectrogram_png(d.rows))}">'
            f"{page.player(d.pcm, spec.sample_rate_hz)}<figcaption>"
            f"{len(d.pcm) / spec.sample_rate_hz:.2f} s</figcaption></figure>"
            for n, d in enumerate(draws, start=1)
        )
        sections.append(f"<h2>{name}</h2><p>{_STAGES[name]}</p><div class=draws>{figures}</div>")
    lead = (
        f"<h1>What training hears</h1><p>{page.text(title)}: each stage alone, drawn {_DRAWS} "
        f"times. Pictures show the int8 features of {page.text(spec.name)}, brighter where louder: "
        "time from left to right, low frequencies at the bottom.</p>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        page.document("Augmentation gallery", lead + "".join(sections), style=_STYLE),
        encoding="utf-8",
    )


@app.command()
def gallery_command(
    data: Annotated[Path, typer.Argument(help="manifest.csv, its folder, or ESC-10.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file.")] = Path(
        "build/gallery.html"
    ),
    label: Annotated[str | None, typer.Option(help="Which label to show; else the first.")] = None,
    spec: Annotated[str, typer.Option(help="Front end: a name or .toml.")] = "logmel-64-20ms",
    seed: Annotated[int, typer.Option(help="Other draws.")] = 1,
) -> None:
    """Draw and play a recording after each augmentation stage.

    Example: earmark gallery ESC-10 --label dog
    """
    from earmark_datasets.audio import read_clip
    from earmark_datasets.sources import open_data
    from earmark_dsp.errors import EarmarkError
    from earmark_dsp.spec import load_spec

    from earmark_training.quiet import import_tensorflow

    manifest = open_data(data)
    shown = label or manifest.labels[0]
    if shown not in manifest.labels:
        raise EarmarkError(f"no clip is labelled {shown!r}", f"labels: {list(manifest.labels)}")
    front_end = load_spec(spec)
    import_tensorflow()
    clip = next(c for c in manifest.clips if c.label == shown)
    other = next((c for c in manifest.clips if c.label != shown), clip)
    rate_hz = front_end.sample_rate_hz
    first, second = (
        read_clip(c, sample_rate_hz=rate_hz)[: 5 * rate_hz].astype(np.float32) / 32768
        for c in (clip, other)
    )
    title = f"{shown}, mixed with {other.label}"
    write_gallery(out, first, second, spec=front_end, title=title, seed=seed)
    Console().print(f"{out}: {len(_STAGES)} stages of one recording; open it in a browser")
