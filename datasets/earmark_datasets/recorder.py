"""Frames of the recorder application: bytes of a serial line in, PCM and its gaps out.

The format is docs/firmware-recorder.md; the sender is firmware/recorder/main/recorder_frame.c.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

MAGIC = b"EMR1"
MAX_SAMPLES = 320
BAUD = 921_600
_HEADER = struct.Struct("<4sIIHH")
_CRC = struct.Struct("<I")
_OVERRUN = 1
# 20 s at 16 kHz: a longer gap is another recording, and must not fill a disk with silence.
_LONGEST_GAP = 1000


@dataclass
class Losses:
    """What did not arrive.

    Attributes
    ----------
    lost_frames : int
        Numbers missing between frames that arrived.
    corrupt_frames : int
        Frames whose check sum did not match.
    overruns : int
        Frames before which the board itself lost samples.
    skipped_bytes : int
        Bytes outside of valid frames, the banner included.
    restarts : int
        Times the numbers jumped by more than a gap (board reset, cable reconnected).
    """

    lost_frames: int = 0
    corrupt_frames: int = 0
    overruns: int = 0
    skipped_bytes: int = 0
    restarts: int = 0


class FrameReader:
    """Finds frames in a stream of bytes, in pieces of any size.

    Attributes
    ----------
    losses : Losses
    sample_rate_hz : int or None
        Of the newest frame; None before the first.
    """

    def __init__(self) -> None:
        self.losses = Losses()
        self.sample_rate_hz: int | None = None
        self._bytes = bytearray()
        self._next: int | None = None
        self._n_last = 0

    def feed(self, data: bytes) -> np.ndarray:
        """Take bytes and return the PCM that they complete [shape=(n_samples,), dtype=int16].

        A gap of numbered frames is filled with silence of the same length, so that time stays
        right.
        """
        self._bytes += data
        pieces: list[np.ndarray] = []
        while self._seek():
            magic, sequence, rate_hz, n_samples, flags = _HEADER.unpack_from(self._bytes)
            n_body = _HEADER.size + 2 * n_samples
            if n_samples > MAX_SAMPLES:
                self._skip(len(magic))
                continue
            if len(self._bytes) < n_body + _CRC.size:
                break
            if _CRC.unpack_from(self._bytes, n_body)[0] != zlib.crc32(self._bytes[:n_body]):
                self.losses.corrupt_frames += 1
                self._skip(len(magic))
                continue
            pcm = np.frombuffer(bytes(self._bytes[_HEADER.size : n_body]), "<i2")
            del self._bytes[: n_body + _CRC.size]
            pieces += [self._gap(sequence), pcm.astype(np.int16)]
            self.losses.overruns += flags & _OVERRUN
            self.sample_rate_hz = rate_hz
            self._n_last = n_samples
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def _seek(self) -> bool:
        """Move the next possible frame to the front; whether its header is complete."""
        at = self._bytes.find(MAGIC)
        # Without a match the last bytes may be the beginning of one.
        self._skip(at if at >= 0 else max(0, len(self._bytes) - len(MAGIC) + 1))
        return len(self._bytes) >= _HEADER.size

    def _skip(self, n_bytes: int) -> None:
        self.losses.skipped_bytes += n_bytes
        del self._bytes[:n_bytes]

    def _gap(self, sequence: int) -> np.ndarray:
        expected, self._next = self._next, sequence + 1
        missing = 0 if expected is None else sequence - expected
        if not 0 <= missing <= _LONGEST_GAP:
            self.losses.restarts += 1
            missing = 0
        self.losses.lost_frames += missing
        return np.zeros(missing * self._n_last, np.int16)


def make_frame(sequence: int, pcm: np.ndarray, *, sample_rate_hz: int, overrun: bool) -> bytes:
    """Return one frame, as the board sends it; for tests and simulators.

    Parameters
    ----------
    sequence : int
    pcm : ndarray [shape=(n_samples,), dtype=int16]
        At most 320 samples.
    sample_rate_hz : int
    overrun : bool
        Samples were lost before this frame.
    """
    header = _HEADER.pack(MAGIC, sequence, sample_rate_hz, len(pcm), _OVERRUN * overrun)
    body = header + pcm.astype("<i2").tobytes()
    return body + _CRC.pack(zlib.crc32(body))
