"""What a candidate costs on the chip, without running it: instructions per second, RAM and flash.

The instructions of a layer are a sum of its counts (multiply-accumulates, values written and read,
calls of the kernel), weighted per kind of kernel. The weights come from layers that were executed
on the emulated LX6: ``python -m earmark_training.tune_measure`` writes ``tune_costs.json``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from earmark_training.deploy.compile import load, plan_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.deploy.ir import Layer
    from earmark_training.deploy.program import Program

COSTS_FILE = "tune_costs.json"
# Lines: rows of one output channel, whose loop is set up each time. Called weights: what every call
# of a row band widens to 16 bits again.
LAYER_TERMS = ("macs", "outputs", "inputs", "lines", "calls", "called_weights")
FRAME_TERMS = ("n_log2_n", "window_length", "n_mels")
# A kernel that was never measured: as dear as plain C per multiply-accumulate, and per value moved.
UNKNOWN = {"macs": 12.0, "outputs": 20.0, "inputs": 10.0}


@dataclass(frozen=True)
class Cost:
    """Cost of a front end with a network on the chip.

    Attributes
    ----------
    instructions_per_s : float
        Front end and network together, at the candidate's hop between inferences.
    network_instructions : float
        One inference, RAM-optimised as on the device.
    ram_bytes : int
        Arena, input and output of the network.
    flash_bytes : int
        Constant tables of the network.
    macs : int
        Of one inference.
    """

    instructions_per_s: float
    network_instructions: float
    ram_bytes: int
    flash_bytes: int
    macs: int


@dataclass(frozen=True)
class Budget:
    """What the device has left for listening."""

    instructions_per_s: float
    ram_bytes: int
    flash_bytes: int

    def exceeded_by(self, cost: Cost) -> str:
        """Say what does not fit; empty if everything does."""
        for name, need, limit in (
            ("instructions/s", cost.instructions_per_s, self.instructions_per_s),
            ("bytes of RAM", cost.ram_bytes, self.ram_bytes),
            ("bytes of flash", cost.flash_bytes, self.flash_bytes),
        ):
            if need > limit:
                return f"{need:,.0f} {name}, {limit:,.0f} allowed"
        return ""


@cache
def coefficients() -> dict[str, Any]:
    """Return the measured weights of this installation."""
    found: dict[str, Any] = json.loads((files("earmark_training") / COSTS_FILE).read_text("utf-8"))
    return found


def kind_of(layer: Layer) -> str:
    """Return the kind of a kernel: layers of one kind cost alike per count."""
    shape = layer.struct or {}
    if layer.kernel == "conv2d":
        if shape["kernel_h"] == shape["kernel_w"] == 1:
            return "pointwise"
        first = "first_" if shape["in_c"] == 1 else ""
        return f"{first}conv_stride{shape['stride_w']}"
    if layer.kernel == "depthwise_conv2d":
        return f"depthwise_stride{shape['stride_w']}"
    return layer.kernel


def layer_counts(program: Program) -> list[tuple[str, dict[str, float]]]:
    """Return kind and counts of every layer that does something."""
    tensors = program.model.tensors
    calls = Counter(step.layer for step in program.steps)

    def elements(index: int) -> int:
        return tensors[program.model.outputs[-1 - index] if index < 0 else index].elements

    rows = []
    for number, layer in enumerate(program.layers):
        shape = layer.struct or {}
        outputs = elements(layer.output)
        weights = getattr(shape.get("weights"), "values", None)
        counts = {
            "macs": layer.macs,
            "outputs": outputs,
            "inputs": sum(elements(i) for i in layer.inputs),
            "lines": outputs / _number(shape.get("out_w"), outputs),
            "calls": calls[number],
            "called_weights": calls[number] * (0 if weights is None else weights.size),
        }
        rows.append((kind_of(layer), counts))
    return rows


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def weigh(weights: Mapping[str, float], counts: Mapping[str, float]) -> float:
    """Return the weighted sum."""
    return sum(weight * counts[name] for name, weight in weights.items())


def network_instructions(program: Program) -> float:
    """Predict the executed instructions of one inference."""
    known = coefficients()["layers"]
    return sum(weigh(known.get(kind, UNKNOWN), counts) for kind, counts in layer_counts(program))


def frame_counts(spec: FrontEndSpec) -> dict[str, float]:
    """Return the counts that decide what one frame of a front end costs."""
    return {
        "n_log2_n": spec.fft_length * math.log2(spec.fft_length),
        "window_length": spec.window_length,
        "n_mels": spec.n_mels,
    }


def frame_instructions(spec: FrontEndSpec) -> float:
    """Predict the executed instructions of one frame of the front end."""
    kind = type(spec.compression).__name__
    return weigh(coefficients()["frontend"][kind], frame_counts(spec))


def cost_of(tflite: bytes, spec: FrontEndSpec, inferences_per_s: float) -> Cost:
    """Return the cost of an int8 network behind a front end.

    Parameters
    ----------
    tflite : bytes
        int8 TFLite; its weights may be random.
    spec : FrontEndSpec
    inferences_per_s : float
    """
    program = plan_model(load(tflite), ram_limit=0)
    network = network_instructions(program)
    frames_per_s = spec.sample_rate_hz / spec.hop_length
    return Cost(
        instructions_per_s=frames_per_s * frame_instructions(spec) + inferences_per_s * network,
        network_instructions=network,
        ram_bytes=program.arena_bytes + program.io_bytes,
        flash_bytes=sum(layer.table_bytes for layer in program.layers),
        macs=program.macs,
    )
