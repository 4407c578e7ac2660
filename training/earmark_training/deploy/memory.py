"""Offline placement of arena blocks: each block lives for an interval of time slots.

The problem is dynamic storage allocation (NP-hard). The sum of live bytes at the busiest slot is a
lower bound; best-fit over several orders and then seeded random orders nearly always reaches it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from earmark_training.deploy.program import Storage, aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each try costs milliseconds; most networks reach the lower bound on the first.
RANDOM_TRIES = 200
# Pairs of blocks compared over all tries: keeps a network of a thousand layers within seconds.
MAX_PAIRS = 2_000_000


def lower_bound(blocks: Sequence[Storage]) -> int:
    """Return the largest sum of live bytes over all time slots."""
    slots = {b.first for b in blocks}
    return max(
        (sum(aligned(b.block_bytes) for b in blocks if b.first <= t <= b.last) for t in slots),
        default=0,
    )


def place(blocks: Sequence[Storage]) -> int:
    """Set the offset of every block and return the size of the arena in bytes."""
    if not blocks:
        return 0
    bound = lower_bound(blocks)
    orders = [
        sorted(blocks, key=lambda b: (-b.block_bytes, b.first)),
        sorted(blocks, key=lambda b: (b.first, -b.block_bytes)),
        sorted(blocks, key=lambda b: (-(b.last - b.first + 1) * b.block_bytes, b.first)),
        sorted(blocks, key=lambda b: (-(b.last - b.first), -b.block_bytes)),
    ]
    best_offsets, best_size = _first_fit(orders[0])
    generator = random.Random(0)  # noqa: S311 - reproducible, not secret
    tries = min(RANDOM_TRIES, max(len(orders), MAX_PAIRS // len(blocks) ** 2))
    for attempt in range(1, tries):
        if best_size <= bound:
            break
        order = orders[attempt] if attempt < len(orders) else _shuffled(orders[0], generator)
        offsets, size = _first_fit(order)
        if size < best_size:
            best_offsets, best_size = offsets, size
    for block in blocks:
        block.offset = best_offsets[id(block)]
    return best_size


def _shuffled(order: list[Storage], generator: random.Random) -> list[Storage]:
    """Perturb a good order rather than start from a random one."""
    result = list(order)
    for _ in range(max(1, len(result) // 4)):
        i, j = generator.randrange(len(result)), generator.randrange(len(result))
        result[i], result[j] = result[j], result[i]
    return result


def _first_fit(order: Sequence[Storage]) -> tuple[dict[int, int], int]:
    offsets: dict[int, int] = {}
    placed: list[Storage] = []
    size = 0
    for block in order:
        n_bytes = aligned(block.block_bytes)
        occupied = sorted(
            (offsets[id(p)], offsets[id(p)] + aligned(p.block_bytes))
            for p in placed
            if p.first <= block.last and block.first <= p.last
        )
        at = 0
        for begin, end in occupied:
            if at + n_bytes <= begin:
                break
            at = max(at, end)
        offsets[id(block)] = at
        placed.append(block)
        size = max(size, at + n_bytes)
    return offsets, size
