"""What the compiler passes from one stage to the next: layers bound to kernels of nn.h."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Table:
    """A constant table of the generated C.

    Parameters
    ----------
    ctype : str
        C element type: ``em_weight_t``, ``em_channel_t``, ``int8_t``, ``int32_t``, ``float``.
    values : ndarray
        Shape (n,), or (n, 3) for ``em_channel_t`` (bias, multiplier, shift).
    role : str
        First part of its C name, e.g. ``weights``.
    """

    ctype: str
    values: np.ndarray
    role: str


# A field of a parameter struct: number, list of numbers, or a table by reference.
FieldValue = int | float | tuple[int, ...] | Table


@dataclass(frozen=True)
class Rows:
    """How output rows depend on input rows: row y needs [y * stride - pad, ... + span)."""

    in_rows: int
    out_rows: int
    stride: int = 1
    span: int = 1
    pad: int = 0

    def first_needed(self, y: int) -> int:
        """Return the lowest input row that output row `y` and all later ones read."""
        return min(max(y * self.stride - self.pad, 0), self.in_rows)

    def end_needed(self, y_end: int) -> int:
        """One past the highest input row that output rows below `y_end` read."""
        return min(max((y_end - 1) * self.stride - self.pad + self.span, 0), self.in_rows)


@dataclass
class Layer:
    """One kernel call of the generated program.

    Attributes
    ----------
    position, op_name
        The operator of the source model, for messages and comments.
    kernel : str
        C function of nn.h without the prefix ``em_``; ``alias`` for a change of shape only.
    inputs : tuple of int
        Activation tensors, in kernel order.
    output : int
        Tensor written.
    struct : dict or None
        Fields of the kernel's parameter struct, type ``em_<struct_type>_t``.
    scalars : dict
        Further values that the call needs (counts, steps, scales).
    rows : Rows or None
        Geometry when the kernel can work on a range of rows.
    batch : int
        Number of maps; the kernel is called once for each.
    """

    position: int
    op_name: str
    kernel: str
    inputs: tuple[int, ...]
    output: int
    struct_type: str = ""
    struct: dict[str, FieldValue] | None = None
    scalars: dict[str, FieldValue] = field(default_factory=dict)
    rows: Rows | None = None
    batch: int = 1
    macs: int = 0
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()  # positions in `inputs` whose memory the output may take over
    note: str = ""

    @property
    def table_bytes(self) -> int:
        """Bytes of the constant tables of this layer."""
        values = [*(self.struct or {}).values(), *self.scalars.values()]
        return sum(v.values.nbytes for v in values if isinstance(v, Table))
