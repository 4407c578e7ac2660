"""What a model costs on the device, before there is a device: instructions, RAM and flash.

Instructions are executed under QEMU; milliseconds are inferred (`CYCLES_PER_INSTRUCTION`).
The figures for TensorFlow Lite Micro with ESP-NN are RAM as its allocator reports it, and
instructions per multiply-accumulate measured once (`ESP_NN_INSTRUCTIONS_PER_MAC`).
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy.compile import compile_model, load, plan_model
from earmark_training.deploy.emulator import ModelRun, run_model
from earmark_training.deploy.golden import random_inputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_training.deploy.program import Program
    from earmark_training.deploy.tflite import Model

SEED = 7
# QEMU shows no cycles. MAC16 loops: ESP-DSP publishes 437 cycles for a 256-point int16 dot product,
# 1.7 per multiplication; together with the C around them between 1.3 and 1.6 per instruction.
CYCLES_PER_INSTRUCTION = 1.5
ESP_NN_INSTRUCTIONS_PER_MAC = {"conv2d": 9.5, "pointwise": 9.4, "depthwise_conv2d": 18.1}
ESP_NN_OTHER = 10.0


@dataclass(frozen=True)
class Target:
    """A chip and what is left of it for the network."""

    name: str
    clock_hz: float
    ram_bytes: int
    flash_bytes: int


# RAM: largest free block beside Wi-Fi and TLS. Flash: one slot of the partition `model`.
TARGETS = {
    t.name: t
    for t in (
        Target("esp32-pico", 240e6, 110 * 1024, 928 * 1024),
        Target("esp32-wrover", 240e6, 110 * 1024, 928 * 1024),
    )
}


@dataclass(frozen=True)
class LayerCost:
    """One layer; `instructions` is None when it was not run."""

    name: str
    shape: tuple[int, ...]
    macs: int
    weight_bytes: int
    instructions: int | None
    esp_nn_instructions: int


@dataclass(frozen=True)
class Estimate:
    """Cost of one model on one target."""

    name: str
    target: Target
    macs: int
    layers: tuple[LayerCost, ...]
    instructions: int | None
    instructions_optimised: int | None
    esp_nn_instructions: int
    ram_bytes: int
    ram_bytes_optimised: int
    tflm_arena_bytes: int
    weight_bytes: int
    code_bytes: int | None
    flatbuffer_bytes: int

    @property
    def instructions_per_mac(self) -> float | None:
        """Executed instructions per nominal multiply-accumulate, input to output."""
        return None if self.instructions is None else self.instructions / max(self.macs, 1)

    def milliseconds(self, instructions: int | None) -> float | None:
        """Estimated duration at the target's clock."""
        if instructions is None:
            return None
        return 1e3 * instructions * CYCLES_PER_INSTRUCTION / self.target.clock_hz

    @property
    def fits(self) -> bool:
        """Whether the RAM-optimised form and the flash image fit the target's budget."""
        flash = self.weight_bytes + (self.code_bytes or 0)
        return (
            self.ram_bytes_optimised <= self.target.ram_bytes and flash <= self.target.flash_bytes
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "instructions_per_mac": self.instructions_per_mac,
            "ms": self.milliseconds(self.instructions),
            "ms_optimised": self.milliseconds(self.instructions_optimised),
            "ms_esp_nn": self.milliseconds(self.esp_nn_instructions),
            "cycles_per_instruction": CYCLES_PER_INSTRUCTION,
            "fits": self.fits,
        }


def target(name: str) -> Target:
    """Return a target by name; `EarmarkError` names those there are."""
    try:
        return TARGETS[name]
    except KeyError as exc:
        raise EarmarkError(
            f"there is no target '{name}'", f"choose one of {', '.join(TARGETS)}"
        ) from exc


def estimate(
    source: bytes | Path,
    *,
    name: str,
    chip: Target,
    execute: bool = True,
    progress: Callable[[str], object] = lambda _: None,
) -> Estimate:
    """Estimate a model in its three forms: compiled, RAM-optimised, TensorFlow Lite Micro.

    Parameters
    ----------
    source : bytes or Path
        int8 ``.tflite``.
    execute : bool
        Run it under QEMU; False: sizes and multiply-accumulates only.
    progress : callable
        Told what is going on.

    Raises
    ------
    EarmarkError
        If the model is refused, or `execute` and tools are missing.
    """
    from earmark_training.tflm import TflmModel

    model = load(source)
    whole, banded = plan_model(model), plan_model(model, ram_limit=0)
    progress("TensorFlow Lite Micro")
    arena = TflmModel(bytes(model.data)).arena_used_bytes
    run: ModelRun | None = None
    layers_run: ModelRun | None = None
    optimised: int | None = None
    code: int | None = None
    weights = _weight_bytes(whole)
    if execute:
        progress("compiled, on the emulated LX6")
        run = _execute(model, None, per_layer=False)
        progress("layer by layer")
        layers_run = _execute(model, None, per_layer=True)
        progress("RAM-optimised")
        optimised = _execute(model, 0, per_layer=False).instructions
        code = code_bytes(run, weights)
    layers = tuple(_layer(whole, i, layers_run) for i in range(len(whole.layers)))
    return Estimate(
        name=name,
        target=chip,
        macs=whole.macs,
        layers=layers,
        instructions=run.instructions if run else None,
        instructions_optimised=optimised,
        esp_nn_instructions=sum(layer.esp_nn_instructions for layer in layers),
        ram_bytes=whole.arena_bytes + whole.io_bytes,
        ram_bytes_optimised=banded.arena_bytes + banded.io_bytes,
        tflm_arena_bytes=arena,
        weight_bytes=weights,
        code_bytes=code,
        flatbuffer_bytes=len(model.data),
    )


def _execute(model: Model, ram_limit: int | None, *, per_layer: bool) -> ModelRun:
    inputs = random_inputs(model, np.random.default_rng(SEED))
    with tempfile.TemporaryDirectory(prefix="earmark-estimate-") as folder:
        c = Path(folder) / "c"
        compile_model(bytes(model.data), c, ram_limit=ram_limit, golden=False)
        return run_model(c, "model", [inputs], per_layer=per_layer)


def _weight_bytes(program: Program) -> int:
    return sum(_layer_weight_bytes(program, i) for i in range(len(program.layers)))


def _layer_weight_bytes(program: Program, index: int) -> int:
    weights = (program.layers[index].struct or {}).get("weights")
    values = getattr(weights, "values", None)
    return int(values.nbytes) if values is not None else 0


def code_bytes(run: ModelRun, weight_bytes: int) -> int:
    """Bytes of code and tables beyond the weights: generated C and kernels, as linked."""
    total = 0
    for unit, sizes in run.executable.sections.items():
        if unit.startswith(("model", "nn_", "mac16_")):
            total += sum(n for kind, n in sizes.items() if kind in ("text", "rodata", "literal"))
    return total - weight_bytes


def _layer(program: Program, index: int, run: ModelRun | None) -> LayerCost:
    layer = program.layers[index]
    tensors = program.model.tensors
    output = program.model.outputs[-1 - layer.output] if layer.output < 0 else layer.output
    region = run.layers.get(f"layer_{index:02d}_{layer.kernel}") if run else None
    pointwise = layer.kernel == "conv2d" and layer.note.startswith("kernel 1x1")
    kind = "pointwise" if pointwise else layer.kernel
    return LayerCost(
        name=f"{index} {layer.op_name}",
        shape=tuple(tensors[output].shape),
        macs=layer.macs,
        weight_bytes=_layer_weight_bytes(program, index),
        instructions=region.instructions if region else None,
        esp_nn_instructions=round(layer.macs * ESP_NN_INSTRUCTIONS_PER_MAC.get(kind, ESP_NN_OTHER)),
    )
