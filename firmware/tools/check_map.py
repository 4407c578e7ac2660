# ruff: noqa: INP001
"""Check a linker map: everything of the audio path that can be written lies in internal SRAM.

Usage: python firmware/tools/check_map.py build/earmark.map
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Memory map of the ESP32 (technical reference manual, section 1.3): 0x3f80_0000..0x3fbf_ffff is
# external RAM on the data bus, 0x3ffa_e000..0x3fff_ffff internal SRAM 1 and 2.
INTERNAL_SRAM = range(0x3FFA_E000, 0x4000_0000)
AUDIO_ARCHIVES = (
    "capture",
    "frontend",
    "nn",
    "engine",
    "detector",
    "pipeline",
    "listener",
    "handover",
)
_ENTRY = re.compile(
    r"^ (?P<section>\.(?:bss|data|dram\d*|ext_ram)[\w.]*)\s+0x(?P<address>[0-9a-f]+)\s+"
    r"0x(?P<size>[0-9a-f]+)\s+(?P<file>\S+)",
    re.MULTILINE,
)


def misplaced(map_text: str) -> list[str]:
    """Return the writable sections of the audio path that are not in internal SRAM."""
    # A long section name stands on a line of its own.
    joined = re.sub(r"^( \.\S+)\n\s+", r"\1 ", map_text, flags=re.MULTILINE)
    found = []
    for match in _ENTRY.finditer(joined):
        address, size = int(match["address"], 16), int(match["size"], 16)
        archive = re.search(r"lib(\w+)\.a", match["file"])
        is_audio = archive is not None and archive[1] in AUDIO_ARCHIVES
        if is_audio and size and address not in INTERNAL_SRAM:
            found.append(f"{match['section']} of {match['file']} at 0x{address:08x}")
    return found


def main(argv: list[str]) -> int:
    """Print what is misplaced; 0 if nothing is."""
    if len(argv) != 2:
        sys.stderr.write(__doc__ or "")
        return 2
    problems = misplaced(Path(argv[1]).read_text("utf-8", errors="replace"))
    for problem in problems:
        sys.stderr.write(f"error: audio outside internal SRAM: {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
