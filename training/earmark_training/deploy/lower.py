"""From validated operators to kernel calls with integer parameters.

Each operator has one function that checks what TFLM's Prepare checks and computes the same
integers. What cannot be compiled is refused here, with the operator's position and a remedy,
before any file is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_training.deploy import lower_conv, lower_elementwise, lower_move
from earmark_training.deploy.node import MAX_DIM, Node
from earmark_training.deploy.tflite import MAX_RANK, Model, Op, Operator, TensorType

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_training.deploy.ir import Layer

# Layers may share a buffer of the file: bounds what a hostile one can make of that.
MAX_TABLE_BYTES = 128 << 20
# What a converter writes for an open batch size: shapes in the file are then wrong, and TFLM,
# which believes them, computes other numbers than the network.
OPEN_BATCH = {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SHAPE", "PACK"}
OPEN_BATCH_HINT = (
    "fix the batch size before converting (keras.Input(shape, batch_size=1)): dilated convolutions "
    "and reshapes then become single operators; TFLM computes wrong values from such a file"
)


def _registry() -> dict[Op, Callable[[Node], list[Layer]]]:
    single: dict[Op, Callable[[Node], Layer]] = {
        **lower_conv.LOWER,
        **lower_elementwise.LOWER,
        **lower_move.LOWER,
    }

    def as_list(function: Callable[[Node], Layer]) -> Callable[[Node], list[Layer]]:
        return lambda node: [function(node)]

    return {op: as_list(function) for op, function in single.items()} | lower_move.LOWER_MANY


def supported_operators() -> tuple[Op, ...]:
    """Operators that can be compiled."""
    return tuple(_registry())


def _live_operators(model: Model) -> list[Operator]:
    """Operators that an output depends on, in order.

    The shape input of RESHAPE does not count: shapes are fixed in the file, and converters leave
    SHAPE, STRIDED_SLICE and PACK behind it that only compute what is already known.
    """
    needed = set(model.outputs)
    live: list[Operator] = []
    for op in reversed(model.operators):
        if needed.intersection(op.outputs):
            read = op.inputs[:1] if op.code == Op.RESHAPE and not op.custom_name else op.inputs
            needed.update(i for i in read if i >= 0)
            live.append(op)
    return live[::-1]


def check_borders(model: Model) -> None:
    """Refuse inputs and outputs of types that em_tensor_t cannot describe."""
    for index in (*model.inputs, *model.outputs):
        tensor = model.tensors[index]
        q = tensor.quantisation
        described = q is not None and q.scale.size == 1 and -128 <= int(q.zero_point[0]) <= 127
        if len(tensor.shape) > MAX_RANK or (tensor.shape and max(tensor.shape) > MAX_DIM):
            raise EarmarkError(f"{tensor} has a dimension above {MAX_DIM}", "reshape it")
        if tensor.dtype is not TensorType.FLOAT32 and not (
            tensor.dtype is TensorType.INT8 and described
        ):
            raise EarmarkError(
                f"{tensor} is an input or output and neither int8 with one scale nor float32",
                "convert with inference_input_type and inference_output_type int8",
            )


def lower_model(model: Model) -> list[Layer]:
    """Lower every operator that contributes to an output.

    Raises
    ------
    EarmarkError
        For the first operator outside the supported list, or one whose parameters TFLM would
        refuse as well.
    """
    check_borders(model)
    registry = _registry()
    live = _live_operators(model)
    unknown = [op for op in live if op.code not in registry or op.custom_name]
    if unknown:
        names = ", ".join(str(op) for op in unknown[:5])
        known = ", ".join(sorted(op.name for op in registry))
        raise EarmarkError(
            f"{len(unknown)} of {len(model.operators)} operators cannot be compiled: {names}",
            OPEN_BATCH_HINT
            if any(op.name in OPEN_BATCH for op in unknown)
            else f"replace them by supported ones ({known}), or choose the TFLM engine",
        )
    layers: list[Layer] = []
    table_bytes = 0
    for op in live:
        lowered = registry[Op(op.code)](Node(model, op))
        table_bytes += sum(layer.table_bytes for layer in lowered)
        if table_bytes > MAX_TABLE_BYTES:
            raise EarmarkError(
                f"the layers up to {op} need more than {MAX_TABLE_BYTES:,} bytes of tables",
                "share fewer weights between layers, or make the model smaller",
            )
        layers += lowered
    return layers
