"""Properties of the offline memory planner and of the row-band geometry."""

from __future__ import annotations

import itertools

from earmark_training.deploy.ir import Rows
from earmark_training.deploy.memory import lower_bound, place
from earmark_training.deploy.program import ALIGNMENT, Storage, aligned
from hypothesis import given
from hypothesis import strategies as st

blocks = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=25
).map(
    lambda rows: [
        Storage("arena", n_bytes, f"b{i}", 0, first, first + length)
        for i, (n_bytes, first, length) in enumerate(rows)
    ]
)


@given(blocks)
def test_blocks_alive_together_never_overlap(storages: list[Storage]) -> None:
    size = place(storages)
    for i, a in enumerate(storages):
        assert a.offset % ALIGNMENT == 0
        assert 0 <= a.offset <= a.offset + a.n_bytes <= size
        for b in storages[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.offset + a.n_bytes <= b.offset or b.offset + b.n_bytes <= a.offset
            assert not together or apart


@given(blocks)
def test_arena_is_near_the_lower_bound(storages: list[Storage]) -> None:
    bound = lower_bound(storages)
    size = place(storages)
    assert bound <= size
    # First fit over a few orders; 1.25 leaves room for instances whose optimum is above the bound.
    assert size <= 1.25 * bound + ALIGNMENT


def test_chain_of_layers_is_optimal() -> None:
    sizes = [1000, 4000, 2000, 2000, 500, 3000]
    chain = [Storage("arena", n, str(i), 0, i, i + 1) for i, n in enumerate(sizes)]
    assert place(chain) == max(aligned(a) + aligned(b) for a, b in itertools.pairwise(sizes))


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(1, 2), st.booleans())
def test_row_geometry_equals_a_count_of_taps(
    height: int, kernel: int, stride: int, dilation: int, same: bool
) -> None:
    span = (kernel - 1) * dilation + 1
    out = -(-height // stride) if same else (height + stride - span) // stride
    if out < 1:
        return
    pad = max((out - 1) * stride + span - height, 0) // 2
    rows = Rows(height, out, stride, span, pad)
    for y in range(out):
        taps = [y * stride - pad + k * dilation for k in range(kernel)]
        inside = [t for t in taps if 0 <= t < height]
        for t in inside:
            assert rows.first_needed(y) <= t < rows.end_needed(y + 1)
