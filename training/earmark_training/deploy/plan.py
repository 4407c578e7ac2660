"""The memory plan of a whole program: lifetimes, in-place results, line buffers, offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_training.deploy.memory import place
from earmark_training.deploy.program import Step, Storage, set_lifetimes, share_in_place

if TYPE_CHECKING:
    from earmark_training.deploy.program import Program


def make_plan(program: Program, ram_limit: int | None) -> Program:
    """Decide where everything lives and in which order rows are computed."""
    del ram_limit
    return plan_whole(program)


def plan_whole(program: Program) -> Program:
    """Plan with whole maps: one time slot per layer."""
    share_in_place(program, 0)
    set_lifetimes(program, list(range(len(program.layers))))
    program.steps = [
        Step(i, 0, layer.rows.out_rows if layer.rows else 1)
        for i, layer in enumerate(program.layers)
    ]
    finish(program, list(range(len(program.layers))))
    return program


def finish(program: Program, slots: list[int]) -> None:
    """Add scratch blocks and place everything."""
    program.scratch = {
        i: Storage("arena", layer.scratch_bytes, f"scratch of layer {i}", 0, slots[i], slots[i])
        for i, layer in enumerate(program.layers)
        if layer.scratch_bytes
    }
    blocks = [s for s in program.storages() if s.kind == "arena"]
    program.arena_bytes = place([*blocks, *program.scratch.values()])
