"""Row-band execution: leading layers keep a few rows in line buffers instead of whole maps.

Nothing is recomputed. The schedule pulls: to finish the next row of the last streamed layer, each
layer before it computes just the rows that are needed. Simulating that order gives the number of
rows each line buffer must hold, and the list of steps that the generated C executes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark_training.deploy.ir import Rows
from earmark_training.deploy.program import Program, Step, Storage, is_flat

if TYPE_CHECKING:
    from earmark_training.deploy.ir import Layer

# The list of steps is a table in flash, 6 bytes each.
MAX_STEPS = 4096
# Layers are numbered by one byte in that table.
MAX_LAYERS = 255


@dataclass(frozen=True)
class Band:
    """A streamed prefix: steps in order and the rows that each line buffer keeps."""

    n_layers: int
    steps: tuple[Step, ...]
    ring_rows: dict[int, int]  # by id of the storage
    rows: dict[int, int]


def streamable_prefix(program: Program) -> int:
    """Count the leading layers that can work row by row."""
    for index, layer in enumerate(program.layers):
        if layer.batch != 1 or not (layer.rows is not None or is_flat(layer)):
            return index
    return len(program.layers)


def map_rows(program: Program, n_layers: int) -> dict[int, int] | None:
    """Rows of each storage in the first `n_layers` layers, by id; None if layers disagree."""
    rows: dict[int, int] = {}

    def put(storage: Storage, n: int) -> bool:
        return rows.setdefault(id(storage), n) == n

    layers = program.layers[:n_layers]
    for layer in layers:
        if layer.rows is not None:
            source, target = program.storage[layer.inputs[0]], program.storage[layer.output]
            if not (put(source, layer.rows.in_rows) and put(target, layer.rows.out_rows)):
                return None
    for _ in layers:  # flat layers take the rows of their neighbours
        for layer in layers:
            if layer.rows is not None:
                continue
            touched = [program.storage[i] for i in (*layer.inputs, layer.output)]
            known = next((rows[id(s)] for s in touched if id(s) in rows), None)
            if known is not None and not all(put(s, known) for s in touched):
                return None
    touched_all = {id(program.storage[i]) for x in layers for i in (*x.inputs, x.output)}
    if not touched_all <= rows.keys():
        return None
    by_id = {id(s): s for s in program.storages()}
    return rows if all(by_id[key].n_bytes % n == 0 for key, n in rows.items()) else None


def schedule(program: Program, n_layers: int) -> Band | None:
    """Simulate the first `n_layers` layers row by row; None if they cannot be streamed."""
    rows = map_rows(program, n_layers)
    if rows is None:
        return None
    simulation = _Simulation(program, n_layers, rows)
    if sum(g.out_rows for g in simulation.geometry) > MAX_STEPS:
        return None
    for layer in simulation.sinks():
        for y_end in range(1, simulation.geometry[layer].out_rows + 1):
            simulation.produce(layer, y_end)
    return Band(n_layers, tuple(simulation.steps), simulation.ring_rows, rows)


class _Simulation:
    def __init__(self, program: Program, n_layers: int, rows: dict[int, int]) -> None:
        self.program = program
        self.layers = program.layers[:n_layers]
        self.done = [0] * n_layers
        self.steps: list[Step] = []
        self.ring_rows: dict[int, int] = {}
        self.geometry = [self._geometry(layer, rows) for layer in self.layers]
        self.producer = {
            id(program.storage[layer.output]): i for i, layer in enumerate(self.layers)
        }
        self.readers: dict[int, list[int]] = {}
        for i, layer in enumerate(self.layers):
            for tensor in layer.inputs:
                self.readers.setdefault(id(program.storage[tensor]), []).append(i)
        outside = program.layers[n_layers:]
        self.whole = {id(program.storage[i]) for layer in outside for i in layer.inputs}
        self.whole |= {id(s) for s in program.storages() if s.kind != "arena"}

    def _geometry(self, layer: Layer, rows: dict[int, int]) -> Rows:
        if layer.rows is not None:
            return layer.rows
        n = rows[id(self.program.storage[layer.output])]
        return Rows(n, n)

    def sinks(self) -> list[int]:
        """Layers that must be complete, the last first: it drives the others."""
        complete = [
            i
            for i, layer in enumerate(self.layers)
            if id(self.program.storage[layer.output]) in self.whole
        ]
        return sorted(complete, reverse=True)

    def produce(self, index: int, y_end: int) -> None:
        """Compute the rows of a layer below `y_end` that are not there yet."""
        y = self.done[index]
        if y >= y_end:
            return
        layer, geometry = self.layers[index], self.geometry[index]
        for tensor in layer.inputs:
            source = self.producer.get(id(self.program.storage[tensor]))
            if source is not None:
                self.produce(source, geometry.end_needed(y_end))
        self._write(layer, y_end)
        self.steps.append(Step(index, y, y_end))
        self.done[index] = y_end

    def _write(self, layer: Layer, y_end: int) -> None:
        key = id(self.program.storage[layer.output])
        if key in self.whole:
            return
        oldest = min(self.geometry[r].first_needed(self.done[r]) for r in self.readers[key])
        self.ring_rows[key] = max(self.ring_rows.get(key, 1), y_end - oldest)


def apply(program: Program, band: Band) -> None:
    """Turn the storages of a streamed prefix into line buffers."""
    for s in program.storages():
        key = id(s)
        if key not in band.rows:
            continue
        s.rows = band.rows[key]
        s.row_bytes = s.n_bytes // s.rows
        ring_rows = band.ring_rows.get(key, s.rows)
        s.ring_rows = ring_rows if ring_rows < s.rows else 0
    program.n_streamed = band.n_layers
