"""The flash image for an emulated ESP32: what the tool writes is what the firmware reads."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest
from firmware_kit import ROOT, evening, write_wav
from tools import require_tool

FIRMWARE = ROOT / "firmware"
TOOL = FIRMWARE / "tools" / "emulator_image.py"
COMPONENT = FIRMWARE / "components" / "pcm_partition"
FLASH_BYTES = 4 << 20


def partitions() -> dict[str, tuple[int, int]]:
    """Offset and size by label, from the table of the emulated device."""
    text = re.sub(r"#.*", "", (FIRMWARE / "partitions_emulator.csv").read_text("utf-8"))
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if "," in line]
    return {row[0]: (int(row[3], 0), int(row[4], 0)) for row in rows}


@pytest.fixture
def build(tmp_path):
    """What `idf.py build` leaves behind, with a few bytes in place of each binary."""
    folder = tmp_path / "build"
    folder.mkdir()
    table = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", 1, 0x42, offset, size, label.encode(), 0)
        for label, (offset, size) in partitions().items()
    )
    contents = {"boot.bin": b"boot", "table.bin": table, "earmark.bin": b"application"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "flasher_args.json").write_text(
        json.dumps(
            {
                "flash_settings": {"flash_size": "4MB"},
                "flash_files": {
                    "0x1000": "boot.bin",
                    "0x8000": "table.bin",
                    "0x10000": "earmark.bin",
                },
                "partition-table": {"file": "table.bin"},
            }
        )
    )
    return folder


@pytest.fixture(scope="session")
def reader(tmp_path_factory):
    target = tmp_path_factory.mktemp("reader") / "reader"
    sources = [FIRMWARE.parent / "tests/firmware/pcm_image_reader.c", COMPONENT / "src/pcm_image.c"]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=undefined"]
    command = [require_tool("cc", "gcc"), *flags, f"-I{COMPONENT / 'include'}", *sources]
    subprocess.run([*command, "-o", target], check=True)
    return target


def make(build, wav, target):
    return subprocess.run(
        [sys.executable, "-I", TOOL, build, wav, "-o", target],
        capture_output=True,
        text=True,
        check=False,
    )


def heard(reader, image) -> np.ndarray:
    offset, size = partitions()["pcm"]
    run = subprocess.run([reader, image, str(offset), str(size)], capture_output=True, check=True)
    return np.frombuffer(run.stdout, "<i2")


def test_the_firmware_hears_the_samples_of_the_file(build, reader, tmp_path):
    pcm = evening(1)
    run = make(build, write_wav(tmp_path / "a.wav", pcm), tmp_path / "flash.bin")
    assert run.returncode == 0, run.stderr
    assert "20.0 s of audio\n" in run.stdout
    np.testing.assert_array_equal(heard(reader, tmp_path / "flash.bin"), pcm)
    image = (tmp_path / "flash.bin").read_bytes()
    assert len(image) == FLASH_BYTES
    assert image[0x1000:0x1004] == b"boot"
    assert image[0x10000:0x1000B] == b"application"
    events, size = partitions()["events"]
    assert set(image[events : events + size]) == {0xFF}, "the event log starts erased"


@pytest.mark.parametrize("form", [(44100, 2, 2), (8000, 1, 4), (48000, 3, 1)])
def test_any_rate_width_and_number_of_channels(build, reader, tmp_path, form):
    """A 1 kHz tone keeps its pitch, length and level."""
    rate_hz, channels, width = form
    t = np.arange(rate_hz) / rate_hz
    tone = 0.5 * np.sin(2 * np.pi * 1000 * t)
    full = 2.0 ** (8 * width - 1)
    raw = np.round(tone * full).astype(np.int64)
    raw = raw + 128 if width == 1 else raw
    frames = np.repeat(raw, channels).astype(f"<{'u' if width == 1 else 'i'}{width}")
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate_hz, 0, "NONE", ""))
        file.writeframes(frames.tobytes())
    assert make(build, path, tmp_path / "flash.bin").returncode == 0
    pcm = heard(reader, tmp_path / "flash.bin").astype(float)
    assert len(pcm) == 16000
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(16000)))
    assert np.argmax(spectrum) == 1000
    assert np.abs(pcm[500:-500]).max() == pytest.approx(0.5 * 32768, rel=0.02)
    others = np.delete(spectrum, np.s_[990:1010])
    assert others.max() < spectrum.max() * 10 ** ((-35 if width == 1 else -55) / 20)


def test_what_cannot_be_heard_is_filtered_out_and_not_folded_back(build, reader, tmp_path):
    t = np.arange(48000) / 48000
    pcm = np.round(16000 * np.sin(2 * np.pi * 11000 * t)).astype("<i2")
    assert make(build, write_wav(tmp_path / "a.wav", pcm, 48000), tmp_path / "f").returncode == 0
    assert np.abs(heard(reader, tmp_path / "f")[500:-500]).max() < 16000 * 10 ** (-50 / 20)


def test_what_does_not_fit_is_said(build, reader, tmp_path):
    _, size = partitions()["pcm"]
    n = (size - 8) // 2
    pcm = np.arange(n + 32000, dtype=np.int64).astype("<i2")
    run = make(build, write_wav(tmp_path / "long.wav", pcm), tmp_path / "flash.bin")
    assert run.returncode == 0
    assert "2.0 s found no room" in run.stdout
    np.testing.assert_array_equal(heard(reader, tmp_path / "flash.bin"), pcm[:n])


@pytest.mark.parametrize("fault", ["no build", "no audio", "no wav", "no partition", "too large"])
def test_faults_are_one_message(build, tmp_path, fault):
    wav = write_wav(tmp_path / "a.wav", evening(1)[:1600])
    if fault == "no build":
        (build / "flasher_args.json").unlink()
    elif fault == "no audio":
        write_wav(wav, np.zeros(0, "<i2"))
    elif fault == "no wav":
        wav.write_bytes(b"RIFFnonsense")
    elif fault == "no partition":
        (build / "table.bin").write_bytes(b"\xff" * 3072)
    else:
        (build / "earmark.bin").write_bytes(bytes(FLASH_BYTES))
    run = make(build, wav, tmp_path / "flash.bin")
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "flash.bin").exists()


@pytest.mark.parametrize(
    "header",
    [b"\xff" * 8, b"PCM2\0\0\0\0", b"PCM1\xff\xff\xff\xff", b"PCM1" + struct.pack("<I", 5)],
)
def test_the_firmware_refuses_what_is_no_image(reader, tmp_path, header):
    path = tmp_path / "partition"
    path.write_bytes(header + bytes(100))
    assert subprocess.run([reader, path, "0", "16"], check=False).returncode == 1
