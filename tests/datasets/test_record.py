"""`earmark data record`: a board at the other end of a pseudo-terminal, with faults."""

from __future__ import annotations

import json
import os
import struct
import threading
import tty
import zlib

import numpy as np
import pytest
import soundfile
from earmark_datasets import record
from earmark_datasets.cli import app
from earmark_datasets.manifest import load_manifest
from earmark_datasets.recorder import FrameReader, make_frame
from earmark_dsp.errors import EarmarkError
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

RATE_HZ = 16000
BANNER = b"\r\n*** EARMARK RECORDER: THIS BOARD SENDS AUDIO. NOT THE PRODUCT. ***\r\n"


def documented_frame(sequence, pcm, flags=0):
    """Straight from the table of docs/firmware-recorder.md."""
    body = b"EMR1" + struct.pack("<IIHH", sequence, RATE_HZ, len(pcm), flags)
    body += struct.pack(f"<{len(pcm)}h", *pcm)
    return body + struct.pack("<I", zlib.crc32(body))


def audio(n_frames):
    return np.random.default_rng(4).integers(-9000, 9000, (n_frames, 320)).astype(np.int16)


def test_frames_are_those_of_the_page():
    pcm = audio(1)[0]
    ours = make_frame(7, pcm, sample_rate_hz=RATE_HZ, overrun=True)
    assert ours == documented_frame(7, pcm.tolist(), 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.binary(max_size=50))
def test_any_split_of_the_bytes_gives_the_same_audio(sizes, noise):
    pcm = audio(5)
    data = noise.replace(b"EMR1", b"") + BANNER
    data += b"".join(documented_frame(i, row.tolist()) for i, row in enumerate(pcm))
    reader, pieces, at, turn = FrameReader(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(reader.feed(data[at : at + size]))
        at, turn = at + size, turn + 1
    assert np.array_equal(np.concatenate(pieces), pcm.reshape(-1))
    assert reader.losses.lost_frames == reader.losses.corrupt_frames == 0


def test_lost_and_corrupt_frames_are_counted_and_time_stays_right():
    pcm = audio(6)
    frames = [bytearray(documented_frame(i, row.tolist())) for i, row in enumerate(pcm)]
    frames[1][100] ^= 1  # a bit of audio
    frames[4][12] ^= 255  # the number of samples: beyond what a frame holds
    del frames[3]
    reader = FrameReader()
    heard = reader.feed(b"".join(frames)).reshape(-1, 320)
    assert len(heard) == 6
    assert np.array_equal(heard[[0, 2, 5]], pcm[[0, 2, 5]])
    assert reader.losses.lost_frames == 3
    assert reader.losses.corrupt_frames == 1


def test_a_board_that_starts_anew_is_no_gap_of_days():
    reader = FrameReader()
    row = audio(1)[0].tolist()
    heard = reader.feed(documented_frame(5000, row) + documented_frame(0, row))
    assert len(heard) == 640
    heard = reader.feed(documented_frame(2**32 - 1, row, 1))
    assert len(heard) == 320
    assert (reader.losses.restarts, reader.losses.lost_frames) == (2, 0)
    assert reader.losses.overruns == 1


@pytest.fixture
def board():
    """A pseudo-terminal; `send(bytes)` plays the board, repeating until the reader is gone."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    gone = threading.Event()
    threads = []

    def send(pieces):
        def loop():
            for piece in pieces:
                if gone.is_set():
                    return
                os.write(ours, piece)

        threads.append(threading.Thread(target=loop, daemon=True))
        threads[-1].start()

    yield os.ttyname(theirs), send
    gone.set()
    os.set_blocking(ours, False)
    os.close(theirs)
    os.close(ours)
    for thread in threads:
        thread.join(10)


def run(*arguments, **kwargs):
    return CliRunner().invoke(app, ["record", *map(str, arguments)], **kwargs)


def test_a_board_is_recorded_with_its_losses(board, tmp_path):
    port, send = board
    # Every frame holds its own number; what was sent before the port was opened is not heard.
    frames = [documented_frame(i, [i + 1] * 320) for i in range(400)]
    frames[60] = frames[60][:-1] + bytes([frames[60][-1] ^ 1])
    del frames[80]
    send([BANNER, *frames])
    folder = tmp_path / "meine Töne"
    result = run(folder, "--port", port, "--label", "cough", "--seconds", 2, "--group", "kitchen",
                 "--licence", "CC0", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["lost_frames"], told["corrupt_frames"], told["seconds"]) == (2, 1, 2.0)
    assert "RECORDING: everything" in result.stderr
    heard, rate_hz = soundfile.read(told["path"], dtype="int16")
    assert rate_hz == RATE_HZ
    numbers = heard.reshape(-1, 320)
    assert (numbers == numbers[:, :1]).all()
    first = int(numbers[0, 0])
    expected = [0 if n in (61, 81) else n for n in range(first, first + 100)]
    assert numbers[:, 0].tolist() == expected
    (clip,) = load_manifest(folder / "manifest.csv").clips
    assert (clip.label, clip.group, clip.licence) == ("cough", "kitchen", "CC0")
    assert not list(folder.rglob("*.part"))


def test_labels_are_asked_for_and_takes_are_appended(board, tmp_path):
    port, send = board
    send([BANNER, *(documented_frame(i, row.tolist()) for i, row in enumerate(audio(400)))])
    result = run(tmp_path, "--port", port, "--takes", 2, "--seconds", 0.2, input="dog\ncat\n")
    assert result.exit_code == 0, result.output
    manifest = load_manifest(tmp_path / "manifest.csv")
    assert [clip.label for clip in manifest.clips] == ["dog", "cat"]
    assert len({clip.group for clip in manifest.clips}) == 1


def test_a_silent_line_a_missing_port_and_a_bad_label_are_one_message(board, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_QUIET_LINE_S", 0.3)
    for arguments, message in (
        (("--port", board[0], "--label", "dog"), "no audio for"),
        (("--port", tmp_path / "ttyNONE", "--label", "dog"), "cannot read"),
        (("--port", board[0], "--label", "Dog Bark"), "not an identifier"),
    ):
        result = run(tmp_path / "out", *arguments)
        assert isinstance(result.exception, EarmarkError)
        assert message in str(result.exception)
    assert not list(tmp_path.rglob("*.wav*"))


def test_zeros_are_a_dead_microphone_and_an_interrupt_keeps_the_take(tmp_path):
    def interrupted():
        yield np.full(8000, 5, np.int16)
        raise KeyboardInterrupt

    def nothing(*_):
        pass

    path = tmp_path / "a.wav"
    assert record.write_take(interrupted(), path, 60, nothing) == 0.5
    assert soundfile.info(path).frames == 8000
    with pytest.raises(EarmarkError, match="nothing but zeros"):
        record.write_take([np.zeros(16000, np.int16)], tmp_path / "b.wav", 1, nothing)
    with pytest.raises(EarmarkError, match="not kept"):
        record.write_take([], tmp_path / "c.wav", 1, nothing)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert record.is_clipped(np.array([-32768], np.int16))
