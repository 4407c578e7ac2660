"""Scratch memory of the MAC16 kernels (firmware/components/nn/xtensa); mirrors nn_mac16.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark_training.deploy.ir import Layer

# nn_mac16.h
MIN_PIXELS, PIXELS = 4, 32
SMALL_BLOCK, LARGE_BLOCK = 2048, 12288
DOT9_TAPS, DOT9_STRIDE = 9, 10
# nn_mac16_depthwise.c, mac16.h
PLANE_ROWS, PLANE_CHANNELS, PLANE = 11, 4, 64
KERNEL = 3
INT16_BYTES = 2
READ_AHEAD_BYTES = 8


def scratch_bytes(layer: Layer) -> int:
    """Bytes of scratch that the kernel of a layer needs on the LX6 (0: none)."""
    if layer.struct is None:
        return 0
    values = {k: v for k, v in layer.struct.items() if isinstance(v, int)}
    if layer.kernel == "fully_connected":
        return _block_bytes(values["in_n"], values["rows"])
    if layer.kernel not in ("conv2d", "depthwise_conv2d"):
        return 0
    taps = values["kernel_h"] * values["kernel_w"]
    if layer.kernel == "conv2d":
        if values["groups"] != 1:
            return 0
        return _block_bytes(taps * values["in_c"], values["out_h"] * values["out_w"])
    gathered = _block_bytes(taps, values["out_w"])
    rows = min((values["out_h"] - 1) * values["stride_h"] + KERNEL, PLANE_ROWS)
    planes = rows * PLANE_CHANNELS * PLANE * INT16_BYTES + READ_AHEAD_BYTES
    return max(gathered, planes if _fits_planes(values) else 0)


def _fits_planes(v: dict[str, int]) -> bool:
    return (
        v["kernel_h"] == v["kernel_w"] == KERNEL
        and v["dilation_h"] == v["dilation_w"] == 1
        and v["stride_h"] <= 2
        and v["stride_w"] <= 2
        and v["in_c"] == v["out_c"]
        and v["in_c"] % PLANE_CHANNELS == 0
        and v["pad_left"] + v["in_w"] <= PLANE
        and (v["out_w"] - 1) * v["stride_w"] + KERNEL <= PLANE
    )


def _block_bytes(taps: int, n_pixels: int) -> int:
    padded = -(-taps // 4) * 4
    stride = DOT9_STRIDE if MIN_PIXELS < taps <= DOT9_TAPS else padded
    pixels = SMALL_BLOCK // stride
    if pixels < PIXELS:
        pixels = min(PIXELS, LARGE_BLOCK // stride)
    pixels = min(max(pixels, MIN_PIXELS), n_pixels)
    return (padded + 4 + pixels * stride) * INT16_BYTES + READ_AHEAD_BYTES
