"""Layers bound to memory: where each tensor lives and in which order rows are computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from earmark_training.deploy.ir import Layer, Rows, Table
from earmark_training.deploy.lower_move import COPY_DIMS

if TYPE_CHECKING:
    from earmark_training.deploy.tflite import Model

ALIGNMENT = 16
FLAT_KERNELS = frozenset({"lookup", "quantize", "dequantize"})


def aligned(n_bytes: int) -> int:
    """Round up to the alignment of every block in the arena."""
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


@dataclass
class Storage:
    """A piece of memory that one or several tensors (reshapes, in-place results) share.

    Attributes
    ----------
    kind : str
        ``arena``, ``input`` or ``output`` (caller's buffer number `slot`), ``constant``.
    first, last : int
        Time slots between which the content matters (arena only).
    rows, row_bytes, ring_rows : int
        Set when the storage is a line buffer: the map has `rows` rows, `ring_rows` are kept.
    """

    kind: str
    n_bytes: int
    name: str
    slot: int = 0
    first: int = 0
    last: int = 0
    offset: int = -1
    rows: int = 0
    row_bytes: int = 0
    ring_rows: int = 0
    table: Table | None = None

    @property
    def block_bytes(self) -> int:
        """Bytes that the arena must reserve."""
        return self.ring_rows * self.row_bytes if self.ring_rows else self.n_bytes


@dataclass(frozen=True)
class Step:
    """Compute output rows `y`..`y_end` - 1 of a layer; (0, 1) for kernels without rows."""

    layer: int
    y: int
    y_end: int


@dataclass
class Program:
    """Everything the code generator needs."""

    model: Model
    layers: list[Layer]
    storage: dict[int, Storage]  # by tensor index; several tensors may share one
    steps: list[Step] = field(default_factory=list)
    arena_bytes: int = 0
    scratch: dict[int, Storage] = field(default_factory=dict)  # by layer
    n_streamed: int = 0  # leading layers executed in row bands

    def storages(self) -> list[Storage]:
        """All distinct storages."""
        unique: dict[int, Storage] = {}
        for s in self.storage.values():
            unique.setdefault(id(s), s)
        return list(unique.values())

    @property
    def io_bytes(self) -> int:
        """Bytes of the caller's input and output buffers."""
        t = self.model.tensors
        return sum(t[i].n_bytes for i in (*self.model.inputs, *self.model.outputs))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, padding included."""
        return sum(layer.macs for layer in self.layers)


def is_flat(layer: Layer) -> bool:
    """Whether output element i depends on input elements i only."""
    if layer.kernel in FLAT_KERNELS:
        return True
    loops = layer.scalars.get("loops")
    return layer.kernel in ("add", "mul") and isinstance(loops, tuple) and loops[1:] == (1, 1)


def fold_padding(model: Model, layers: list[Layer]) -> list[Layer]:
    """Turn PAD followed by a convolution with VALID padding into an explicitly padded convolution.

    A padded value equals the zero point and contributes nothing, exactly as a tap outside the map.
    """
    readers: dict[int, int] = {}
    for layer in layers:
        for i in layer.inputs:
            readers[i] = readers.get(i, 0) + 1
    for i in model.outputs:
        readers[i] = readers.get(i, 0) + 1
    pads = {layer.output: layer for layer in layers if layer.kernel == "pad"}
    folded: set[int] = set()
    for layer in layers:
        pad = pads.get(layer.inputs[0])
        if layer.kernel not in ("conv2d", "depthwise_conv2d") or pad is None:
            continue
        if readers[pad.output] == 1 and _fold(model, pad, layer):
            folded.add(pad.output)
    return [layer for layer in layers if layer.output not in folded]


def _fold(model: Model, pad: Layer, conv: Layer) -> bool:
    amounts = pad.scalars["paddings"]
    s, rows = conv.struct, conv.rows
    if not isinstance(amounts, tuple) or len(amounts) != 8 or s is None or rows is None:
        return False
    source = model.tensors[pad.inputs[0]].shape
    if any(amounts[i] for i in (0, 1, 6, 7)) or s["pad_top"] or s["pad_left"]:
        return False
    if pad.scalars["fill"] != s["in_zero_point"]:
        return False
    s["in_h"], s["in_w"] = source[1], source[2]
    s["pad_top"], s["pad_left"] = amounts[2], amounts[4]
    conv.inputs = pad.inputs
    conv.rows = Rows(source[1], rows.out_rows, rows.stride, rows.span, amounts[2])
    conv.note += ", PAD folded in"
    return True


def bind(model: Model, layers: list[Layer]) -> Program:
    """Give every tensor a storage; shape changes disappear, outputs go straight to the caller."""
    root: dict[int, int] = {}
    kept: list[Layer] = []
    for layer in layers:
        if layer.kernel == "alias":
            source = layer.inputs[0]
            root[layer.output] = root.get(source, source)
        else:
            kept.append(layer)
    for layer in kept:
        layer.inputs = tuple(root.get(i, i) for i in layer.inputs)
    storage: dict[int, Storage] = {}
    for slot, i in enumerate(model.inputs):
        storage[i] = Storage("input", model.tensors[i].n_bytes, f"input {slot}", slot)
    produced = {layer.output for layer in kept}
    for slot, i in enumerate(model.outputs):
        target = Storage("output", model.tensors[i].n_bytes, f"output {slot}", slot)
        source = root.get(i, i)
        if source in produced and source not in storage:
            storage[source] = target
        else:
            pseudo = -1 - slot
            storage[pseudo] = target
            kept.append(_copy_layer(source, pseudo, target.n_bytes))
    _store_rest(model, kept, storage)
    return Program(model, kept, storage)


def _store_rest(model: Model, layers: list[Layer], storage: dict[int, Storage]) -> None:
    """Constants go to flash, everything else into the arena."""
    for layer in layers:
        for i in layer.inputs:
            data = model.tensors[i].data if i >= 0 else None
            if i not in storage and data is not None:
                ctype = "int8_t" if data.dtype.itemsize == 1 else "float"
                table = Table(ctype, data.ravel(), "constant")
                storage[i] = Storage("constant", data.nbytes, "constant", table=table)
        if layer.output not in storage:
            tensor = model.tensors[layer.output]
            storage[layer.output] = Storage("arena", tensor.n_bytes, f"tensor {tensor.index}")


def _copy_layer(source: int, target: int, n_bytes: int) -> Layer:
    ones, zeros = (1,) * COPY_DIMS, (0,) * COPY_DIMS
    return Layer(
        position=-1,
        op_name="COPY to output",
        kernel="copy",
        inputs=(source,),
        output=target,
        struct_type="copy",
        struct={
            "dims": ones, "src_stride": zeros, "dst_stride": zeros, "src_offset": 0,
            "dst_offset": 0, "block_bytes": n_bytes,
        },
    )  # fmt: skip


def share_in_place(program: Program, first_layer: int) -> None:
    """Let element-wise layers from `first_layer` on overwrite an input that nobody reads later."""
    for index in range(first_layer, len(program.layers)):
        layer = program.layers[index]
        target = program.storage[layer.output]
        if target.kind != "arena":
            continue
        for position in layer.in_place:
            source = program.storage[layer.inputs[position]]
            later = any(
                program.storage[i] is source
                for follower in program.layers[index + 1 :]
                for i in follower.inputs
            )
            fits = source.kind == "arena" and target.n_bytes <= source.n_bytes
            if fits and not later and not source.ring_rows:
                _replace(program, target, source)
                break


def _replace(program: Program, old: Storage, new: Storage) -> None:
    for tensor, s in program.storage.items():
        if s is old:
            program.storage[tensor] = new


def set_lifetimes(program: Program, slots: list[int]) -> None:
    """Set first and last use of each arena block; `slots` maps a layer to its time slot."""
    seen: set[int] = set()
    for index, layer in enumerate(program.layers):
        slot = slots[index]
        for tensor in (layer.output, *layer.inputs):
            s = program.storage[tensor]
            if id(s) not in seen:
                seen.add(id(s))
                s.first = slot
            s.last = max(s.last, slot)
