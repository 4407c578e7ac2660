"""Scratch memory of the MAC16 kernels (firmware/components/nn/xtensa); mirrors nn_mac16.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark_training.deploy.ir import Layer

# nn_mac16.h
MIN_PIXELS, PIXELS = 4, 32
SMALL_BLOCK, LARGE_BLOCK = 2048, 12288
DOT9_TAPS, DOT9_STRIDE = 9, 10
# nn_mac16_planes.c, mac16.h
PLANE_ROWS, PLANE_CHANNELS, PLANE = 11, 4, 64
KERNEL, MAX_STRIDE = 3, 2
INT16_BYTES = 2
READ_AHEAD_BYTES = 8


def scratch_bytes(layer: Layer, rows_per_call: int | None = None) -> int:
    """Bytes of scratch that the kernel of a layer needs on the LX6 (0: none).

    Parameters
    ----------
    layer : Layer
    rows_per_call : int or None
        Most output rows that one call computes (row bands); None: the whole map.
    """
    if layer.struct is None:
        return 0
    values = {k: v for k, v in layer.struct.items() if isinstance(v, int)}
    if layer.kernel == "fully_connected":
        return _block_bytes(values["in_n"], values["rows"])
    if layer.kernel not in ("conv2d", "depthwise_conv2d"):
        return 0
    rows = min(values["out_h"], rows_per_call or values["out_h"])
    taps = values["kernel_h"] * values["kernel_w"]
    if layer.kernel == "conv2d":
        if values["groups"] != 1:
            return 0
        block = _block_bytes(taps * values["in_c"], rows * values["out_w"])
    else:
        block = _block_bytes(taps, values["out_w"])
    return max(block, _planes_bytes(values, layer.kernel, rows))


def _planes_bytes(v: dict[str, int], kernel: str, out_rows: int) -> int:
    """nn_mac16_planes.c, 0 for shapes that it does not take."""
    single = v["in_c"] == 1
    whole_words = v["in_c"] == v["out_c"] and v["in_c"] % PLANE_CHANNELS == 0
    if not (single or (kernel == "depthwise_conv2d" and whole_words)):
        return 0
    fits = (
        v["kernel_h"] == v["kernel_w"] == KERNEL
        and v["dilation_h"] == v["dilation_w"] == 1
        and v["stride_h"] <= MAX_STRIDE
        and v["stride_w"] <= MAX_STRIDE
    )
    rows = min((out_rows - 1) * v["stride_h"] + KERNEL, PLANE_ROWS)
    return rows * PLANE_CHANNELS * PLANE * INT16_BYTES + READ_AHEAD_BYTES if fits else 0


def _block_bytes(taps: int, n_pixels: int) -> int:
    padded = -(-taps // 4) * 4
    stride = DOT9_STRIDE if taps == DOT9_TAPS else padded
    pixels = SMALL_BLOCK // stride
    if pixels < PIXELS:
        pixels = min(PIXELS, LARGE_BLOCK // stride)
    pixels = min(max(pixels, MIN_PIXELS), n_pixels)
    return (padded + 4 + pixels * stride) * INT16_BYTES + READ_AHEAD_BYTES
