# ruff: noqa: INP001
"""Make the flash image of an emulated ESP32: everything that was built, and a sound file to hear.

Usage: python firmware/tools/emulator_image.py BUILD_DIR AUDIO.wav -o flash.bin

BUILD_DIR is the result of `idf.py build` with sdkconfig.ci.emulator. AUDIO.wav may have any rate
and number of channels (PCM, 8 to 32 bit). Needs nothing but Python's standard library.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import struct
import sys
import wave
from array import array
from pathlib import Path

RATE_HZ = 16000
MAGIC = b"PCM1"
HEADER = struct.Struct("<4sI")
# ESP-IDF's partition table: magic, type, subtype, offset, size, label, flags.
ENTRY = struct.Struct("<2sBBII16sI")
ENTRY_MAGIC = b"\xaa\x50"
LABEL = "pcm"
# Zero crossings of the windowed sinc on each side: -60 dB outside the transition band.
CROSSINGS = 16


class ImageError(Exception):
    """What was wrong, where, and what to do."""


def read_wav(path: Path) -> tuple[list[int], int]:
    """Return the mean of all channels as int16 values, and the rate in Hz."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as exc:
        message = f"{path} cannot be read as a WAV file with PCM samples: {exc}"
        raise ImageError(message) from exc
    if not raw:
        message = f"{path} holds no audio"
        raise ImageError(message)
    if width == 1:  # unsigned
        values = [(byte - 128) << 8 for byte in raw]
    elif width == 2:
        values = list(struct.unpack(f"<{len(raw) // 2}h", raw))
    else:  # the two most significant bytes
        top = range(width - 2, len(raw) - 1, width)
        values = [struct.unpack_from("<h", raw, at)[0] for at in top]
    if channels > 1:
        sums = map(sum, zip(*(values[c::channels] for c in range(channels)), strict=False))
        values = [round(total / channels) for total in sums]
    return values, rate


def resample(values: list[int], rate_hz: int, target_hz: int = RATE_HZ) -> list[int]:
    """Band-limited interpolation by a Hann-windowed sinc, one set of weights per phase."""
    if rate_hz == target_hz:
        return values
    divisor = math.gcd(rate_hz, target_hz)
    up, down = target_hz // divisor, rate_hz // divisor
    cutoff = min(1.0, up / down)
    half = math.ceil(CROSSINGS / cutoff)
    weights = []
    for phase in range(up):
        offsets = [n - phase / up for n in range(-half + 1, half + 1)]
        row = [
            (math.sin(math.pi * cutoff * t) / (math.pi * t) if t else cutoff)
            * (0.5 + 0.5 * math.cos(math.pi * t / half))
            for t in offsets
        ]
        total = sum(row)
        weights.append([w / total for w in row])
    padded = [0] * (half - 1) + values + [0] * (half + 1)
    result = []
    for k in range(len(values) * up // down):
        at, phase = divmod(k * down, up)
        y = round(sum(map(operator.mul, padded[at : at + 2 * half], weights[phase])))
        result.append(max(-32768, min(32767, y)))
    return result


def pcm_image(values: list[int], capacity_bytes: int) -> bytes:
    """Return the content of the partition: header and as many samples as it can hold."""
    kept = array("h", values[: (capacity_bytes - HEADER.size) // 2])
    if sys.byteorder == "big":
        kept.byteswap()
    return HEADER.pack(MAGIC, len(kept)) + kept.tobytes()


def find_partition(table: bytes, label: str) -> tuple[int, int]:
    """Return offset and size in bytes of the partition with that label."""
    for at in range(0, len(table) - ENTRY.size + 1, ENTRY.size):
        magic, _, _, offset, size, name, _ = ENTRY.unpack_from(table, at)
        if magic == ENTRY_MAGIC and name.rstrip(b"\0") == label.encode():
            return offset, size
    message = (
        f'the partition table has no "{label}": build with '
        '-D SDKCONFIG_DEFAULTS="sdkconfig.defaults;sdkconfig.ci.emulator"'
    )
    raise ImageError(message)


def flash_image(build: Path, audio: Path) -> tuple[bytes, int, int]:
    """Return the flash image, the samples that it holds, and the samples that found no room."""
    try:
        described = json.loads((build / "flasher_args.json").read_text("utf-8"))
        files = {int(o, 0): (build / f).read_bytes() for o, f in described["flash_files"].items()}
        table_file = build / described["partition-table"]["file"]
        table = table_file.read_bytes()
        size = int(described["flash_settings"]["flash_size"].removesuffix("MB")) << 20
    except (OSError, KeyError, ValueError) as exc:
        message = f"{build} is not a finished ESP-IDF build ({exc}): run idf.py build first"
        raise ImageError(message) from exc
    values = resample(*read_wav(audio))
    offset, capacity = find_partition(table, LABEL)
    files[offset] = pcm_image(values, capacity)
    n_samples = HEADER.unpack_from(files[offset])[1]
    image = bytearray(b"\xff" * size)
    for at, content in files.items():
        image[at : at + len(content)] = content
    if len(image) != size:
        message = f"the build does not fit into {size} bytes of flash"
        raise ImageError(message)
    return bytes(image), n_samples, len(values) - n_samples


def main(argv: list[str] | None = None) -> int:
    """Write the image; 0 if that worked."""
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=summary, epilog=details.split("-o flash.bin")[-1])
    parser.add_argument("build", type=Path, metavar="BUILD_DIR")
    parser.add_argument("audio", type=Path, metavar="AUDIO.wav")
    parser.add_argument("-o", "--output", type=Path, default=Path("flash.bin"))
    arguments = parser.parse_args(argv)
    try:
        image, n_samples, n_left = flash_image(arguments.build, arguments.audio)
        arguments.output.write_bytes(image)
    except (ImageError, OSError) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    left = f", {n_left / RATE_HZ:.1f} s found no room" if n_left else ""
    sys.stdout.write(f"{arguments.output}: {n_samples / RATE_HZ:.1f} s of audio{left}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
