"""The memory plan drawn: arena addresses upwards, layers from left to right."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark_training.deploy.program import Program, Storage

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 960, 420, 80, 46, 118
# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = {"map": "#56b4e9", "line buffer": "#009e73", "scratch": "#e69f00"}
# Streamed layers share one time slot; it is drawn wider, because it is most of the time.
STREAM_SLOTS = 3


def arena_svg(program: Program, name: str) -> str:
    """Return an SVG of the arena over time.

    Parameters
    ----------
    program : Program
        A planned program.
    name : str
        Shown in the title.
    """
    blocks = [s for s in program.storages() if s.kind == "arena"]
    scratch = list(program.scratch.values())
    slot_width = (WIDTH - LEFT - 20) / _n_slots(program)
    size = max(program.arena_bytes, 1)
    plot = HEIGHT - TOP - BOTTOM

    def x_of(slot: int) -> float:
        """Left edge of a time slot (slot 0 is wide when layers are streamed)."""
        extra = STREAM_SLOTS - 1 if program.n_streamed and slot > 0 else 0
        return LEFT + (slot + extra) * slot_width

    def y_of(offset: int) -> float:
        return TOP + plot * (1 - offset / size)

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(name)}: arena {size:,} bytes'
        + (f", layers 0..{program.n_streamed - 1} in row bands" if program.n_streamed else "")
        + "</text>",
    ]
    for i, (label, colour) in enumerate(COLOURS.items()):
        at = LEFT + 120 * i
        parts.append(f'<rect x="{at}" y="26" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 14}" y="35">{label}</text>')
    for fraction in (0, 0.25, 0.5, 0.75, 1):
        y = y_of(round(size * fraction))
        parts.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{size * fraction / 1024:.1f} KiB</text>"
        )
    for block in [*blocks, *scratch]:
        left, right = x_of(block.first), x_of(block.last + 1)
        top, bottom = y_of(block.offset + block.block_bytes), y_of(block.offset)
        parts += _rectangle(block, left, right, top, bottom)
    for label, slot in _labels(program):
        x = (x_of(slot) + x_of(slot + 1)) / 2
        y = HEIGHT - BOTTOM + 12
        parts.append(
            f'<text x="{x:.1f}" y="{y}" transform="rotate(60 {x:.1f} {y})">{escape(label)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _n_slots(program: Program) -> int:
    """Width of the picture in slots."""
    n = len(program.layers)
    return max(n - program.n_streamed + STREAM_SLOTS if program.n_streamed else n, 1)


def _labels(program: Program) -> list[tuple[str, int]]:
    n = program.n_streamed
    labels = [(f"0..{n - 1} streamed", 0)] if n else []
    for i, layer in enumerate(program.layers[n:]):
        labels.append((f"{n + i} {layer.op_name}", i + 1 if n else i))
    return labels


def _rectangle(block: Storage, left: float, right: float, top: float, bottom: float) -> list[str]:
    kind = "scratch" if block.name.startswith("scratch") else "map"
    kind = "line buffer" if block.ring_rows else kind
    rows = f", {block.ring_rows} of {block.rows} rows" if block.ring_rows else ""
    title = f"{block.name}: {block.block_bytes:,} bytes at {block.offset:,}{rows}"
    parts = [
        (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}" fill="{COLOURS[kind]}" fill-opacity="0.75" '
            f'stroke="white"><title>{escape(title)}</title></rect>'
        )
    ]
    if bottom - top > 12 and right - left > 60:
        parts.append(
            f'<text x="{left + 4:.1f}" y="{(top + bottom) / 2 + 4:.1f}">{escape(title)}</text>'
            if right - left > 330
            else f'<text x="{left + 4:.1f}" y="{(top + bottom) / 2 + 4:.1f}">'
            f"{escape(block.name)}</text>"
        )
    return parts
