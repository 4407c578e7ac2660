"""`earmark data record`: takes from a microphone or a development board, with their manifest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_datasets.audio import SAMPLE_RATE_HZ
from earmark_datasets.manifest import Clip, Manifest, check_label, load_manifest, save_manifest
from earmark_datasets.recorder import BAUD, FrameReader

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

_QUIET_LINE_S = 5.0
_READ_BYTES = 4096
_CLIPPED = 32_700
SHORTEST_S = 0.1


@dataclass(frozen=True)
class Take:
    """What one take is labelled with.

    Attributes
    ----------
    label : str
    group : str
        What is recorded together (room, person, device): never on both sides of a split.
    source, licence, attribution : str
    """

    label: str
    group: str
    source: str
    licence: str = ""
    attribution: str = ""


def board_chunks(
    port: str, reader: FrameReader, *, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> Generator[np.ndarray]:
    """Yield PCM (int16) from a board that runs `firmware/recorder`, until closed.

    Raises
    ------
    EarmarkError
        If the port cannot be opened, stays silent, or the board's rate is another one.
    """
    serial = _serial_module()
    try:
        with serial.Serial(port, BAUD, timeout=0.1) as line:
            heard_at = time.monotonic()
            while True:
                pcm = reader.feed(line.read(min(_READ_BYTES, max(1, line.in_waiting))))
                if len(pcm):
                    if reader.sample_rate_hz != sample_rate_hz:
                        raise EarmarkError(
                            f"the board sends {reader.sample_rate_hz} Hz, not {sample_rate_hz} Hz",
                            "flash the recorder of this version of Earmark",
                        )
                    heard_at = time.monotonic()
                    yield pcm
                elif time.monotonic() - heard_at > _QUIET_LINE_S:
                    raise EarmarkError(
                        f"{port}: no audio for {_QUIET_LINE_S:.0f} s",
                        "is the board flashed with firmware/recorder, and nothing else reading it?",
                    )
    except serial.SerialException as exc:
        raise EarmarkError(
            f"cannot read {port}: {exc}", "is the board plugged in, and may you use the port?"
        ) from exc


def _serial_module() -> Any:
    try:
        import serial
    except ImportError as exc:
        raise EarmarkError(
            "boards need the package pyserial", "pip install 'earmark[live]'"
        ) from exc
    return serial


def write_take(
    chunks: Iterable[np.ndarray],
    path: Path,
    seconds: float,
    progress: Callable[[float, np.ndarray], None],
) -> float:
    """Write a WAV until `seconds` are full or the user interrupts; returns its seconds.

    Parameters
    ----------
    chunks : iterable of ndarray [shape=(n_samples,), dtype=int16]
    path : Path
        Written under another name first: what stands under this name is complete.
    seconds : float
    progress : callable
        Told the seconds so far and the newest chunk.

    Raises
    ------
    EarmarkError
        If less than 0.1 s was heard, or nothing but zeros (a dead microphone).
    """
    import soundfile

    n_wanted = round(seconds * SAMPLE_RATE_HZ)
    n_written, loudest = 0, 0
    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with soundfile.SoundFile(
            temporary, "w", SAMPLE_RATE_HZ, 1, subtype="PCM_16", format="WAV"
        ) as wav:
            try:
                for chunk in chunks:
                    kept = chunk[: n_wanted - n_written]
                    wav.write(kept)
                    n_written += len(kept)
                    loudest = max(loudest, int(np.abs(kept.astype(np.int32)).max(initial=0)))
                    progress(n_written / SAMPLE_RATE_HZ, kept)
                    if n_written >= n_wanted:
                        break
            except KeyboardInterrupt:
                pass  # the way to end a take early; what was heard is kept
        if n_written < SHORTEST_S * SAMPLE_RATE_HZ:
            raise EarmarkError(f"only {n_written / SAMPLE_RATE_HZ:.2f} s were heard: not kept")
        if loudest == 0:
            raise EarmarkError(
                "the microphone gave nothing but zeros: not kept", "is it muted, or wired wrongly?"
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return n_written / SAMPLE_RATE_HZ


def is_clipped(chunk: np.ndarray) -> bool:
    """Whether a chunk reaches full scale."""
    return bool(len(chunk)) and int(np.abs(chunk.astype(np.int32)).max()) >= _CLIPPED


def next_path(folder: Path, label: str, now: dt.datetime) -> Path:
    """Return a name that is free: label, date and time, number."""
    check_label(label, "--label")
    stem = f"{label}-{now:%Y%m%d-%H%M%S}"
    number = 1
    while (path := folder / "audio" / label / f"{stem}-{number}.wav").exists():
        number += 1
    return path


def add_to_manifest(folder: Path, path: Path, take: Take) -> Path:
    """Append a take to the folder's ``manifest.csv``, which is made if need be; returns its path.

    The manifest is written after every take, so that an interrupted session loses none.
    """
    table = folder / "manifest.csv"
    clips = load_manifest(table).clips if table.is_file() else ()
    clip = Clip(
        path=path,
        label=take.label,
        group=take.group,
        source=take.source,
        licence=take.licence,
        attribution=take.attribution,
    )
    save_manifest(Manifest((*clips, clip)), table)
    return table
