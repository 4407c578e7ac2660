"""The memory plan of a whole program: lifetimes, in-place results, line buffers, offsets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_training.deploy import rowband
from earmark_training.deploy.lx6_scratch import scratch_bytes
from earmark_training.deploy.memory import place
from earmark_training.deploy.program import (
    Program,
    Step,
    Storage,
    set_lifetimes,
    share_in_place,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_plan(program: Program, ram_limit: int | None) -> Program:
    """Decide where everything lives and in which order rows are computed.

    Parameters
    ----------
    program : Program
        From `bind`.
    ram_limit : int or None
        Bytes for arena, input and output together. The plan with the fewest streamed layers that
        fits is taken; 0 takes the smallest of all; None keeps whole maps.

    Raises
    ------
    EarmarkError
        If no plan fits.
    """
    whole = _plan(program, None)
    if ram_limit is None or 0 < whole.arena_bytes + whole.io_bytes <= ram_limit:
        return whole
    best = whole
    for band in _bands(program):
        candidate = _plan(program, band)
        if candidate.arena_bytes < best.arena_bytes:
            best = candidate
        if 0 < candidate.arena_bytes + candidate.io_bytes <= ram_limit:
            return candidate
    needed = best.arena_bytes + best.io_bytes
    if ram_limit and needed > ram_limit:
        raise EarmarkError(
            f"the model needs at least {needed:,} bytes of RAM, {ram_limit:,} are allowed "
            f"({best.io_bytes:,} of them for input and output)",
            "raise --ram-limit or make the first layers smaller",
        )
    return best


def _bands(program: Program) -> Iterator[rowband.Band]:
    longest = min(rowband.streamable_prefix(program), rowband.MAX_LAYERS)
    for n_layers in range(2, longest + 1):
        band = rowband.schedule(program, n_layers)
        if band is not None:
            yield band


def _plan(program: Program, band: rowband.Band | None) -> Program:
    """Plan a copy, so that candidates do not disturb each other."""
    copies = {id(s): replace(s) for s in program.storages()}
    planned = replace(
        program, storage={i: copies[id(s)] for i, s in program.storage.items()}, steps=[]
    )
    n_streamed = 0
    if band is not None:
        n_streamed = band.n_layers
        renamed = {id(copies[key]): n for key, n in band.rows.items()}
        rings = {id(copies[key]): n for key, n in band.ring_rows.items()}
        rowband.apply(planned, replace(band, rows=renamed, ring_rows=rings))
        planned.steps = list(band.steps)
    share_in_place(planned, n_streamed)
    n_layers = len(planned.layers)
    # All streamed layers are active at once: they share time slot 0.
    slots = [max(0, i - n_streamed + 1) for i in range(n_layers)] if band else [*range(n_layers)]
    set_lifetimes(planned, slots)
    for i in range(n_streamed, n_layers):
        rows = planned.layers[i].rows
        planned.steps.append(Step(i, 0, rows.out_rows if rows else 1))
    planned.scratch = _scratch(planned, slots, n_streamed)
    scratch = {id(s): s for s in planned.scratch.values()}
    blocks = [s for s in planned.storages() if s.kind == "arena"]
    planned.arena_bytes = place([*blocks, *scratch.values()])
    return planned


def _scratch(program: Program, slots: list[int], n_streamed: int) -> dict[int, Storage]:
    """Scratch by layer; streamed layers take turns, so they share one block."""
    rows = {step.layer: 0 for step in program.steps}
    for step in program.steps:
        rows[step.layer] = max(rows[step.layer], step.y_end - step.y)
    sizes = {i: scratch_bytes(layer, rows.get(i)) for i, layer in enumerate(program.layers)}
    shared_bytes = max((n for i, n in sizes.items() if i < n_streamed), default=0)
    shared = Storage("arena", shared_bytes, "scratch of the streamed layers")
    return {
        i: shared
        if i < n_streamed
        else Storage("arena", n, f"scratch of layer {i}", 0, slots[i], slots[i])
        for i, n in sizes.items()
        if n
    }
