"""The integer arithmetic of TFLite's reference kernels, in Python, for tables and parameters.

Sources: tensorflow/lite/kernels/internal/{quantization_util,common}.cc and gemmlowp's
fixedpoint.h as used by tensorflow/tflite-micro (double rounding). All functions are exact on
Python integers, so that int32 overflow never goes unnoticed.
"""

from __future__ import annotations

import math

import numpy as np

INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)


def round_half_away(value: float) -> int:
    """C's round(): ties away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Split `real` into (multiplier, shift): real ~ multiplier * 2^(shift - 31)."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    fixed = round_half_away(fraction * (1 << 31))
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return fixed, shift


def wrap32(value: int) -> int:
    """Two's complement wrap to int32."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def high_mul(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul: round(a * b / 2^31), quotient truncated toward zero."""
    if a == b == INT32_MIN:
        return INT32_MAX
    product = a * b
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    return nudged >> 31 if nudged >= 0 else -((-nudged) >> 31)


def rounding_shift(value: int, exponent: int) -> int:
    """RoundingDivideByPOT: value / 2^exponent, ties away from zero."""
    mask = (1 << exponent) - 1
    remainder = value & mask
    threshold = (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if remainder > threshold else 0)


def multiply_by_quantized_multiplier(value: int, multiplier: int, shift: int) -> int:
    """Requantise as TFLM does by default: two roundings, left shift wraps."""
    left, right = max(shift, 0), max(-shift, 0)
    return rounding_shift(high_mul(wrap32(value << left), multiplier), right)


def saturating_rounding_multiply_by_pot(value: int, exponent: int) -> int:
    """Value * 2^exponent with saturation (gemmlowp)."""
    return min(max(value << exponent, INT32_MIN), INT32_MAX)


def exp_on_interval(a: int) -> int:
    """exp(a) for a in [-1/4, 0), Q0.31 in and out (gemmlowp)."""
    constant_term = 1895147668  # exp(-1/8)
    third = 715827883  # 1/3
    x = wrap32(a + (1 << 28))  # a + 1/8
    x2 = high_mul(x, x)
    x3 = high_mul(x2, x)
    x4 = high_mul(x2, x2)
    x4_over_4 = rounding_shift(x4, 2)
    inner = rounding_shift(high_mul(x4_over_4 + x3, third) + x2, 1)
    return constant_term + high_mul(constant_term, x + inner)


# exp(-2^k), k = -2..4, in Q0.31 (gemmlowp::exp_on_negative_values).
_EXP_BARREL = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def exp_on_negative_values(a: int, integer_bits: int) -> int:
    """exp(a) for a <= 0 in Q(integer_bits), result Q0.31."""
    if a == 0:
        return INT32_MAX
    fractional_bits = 31 - integer_bits
    one_quarter = 1 << (fractional_bits - 2)
    mask = one_quarter - 1
    a_mod_quarter_minus_one_quarter = (a & mask) - one_quarter
    result = exp_on_interval(
        saturating_rounding_multiply_by_pot(a_mod_quarter_minus_one_quarter, integer_bits)
    )
    remainder = a_mod_quarter_minus_one_quarter - a
    for exponent, factor in zip(range(-2, 5), _EXP_BARREL, strict=True):
        if integer_bits > exponent and remainder & (1 << (fractional_bits + exponent)):
            result = high_mul(result, factor)
    if integer_bits > 5 and a < -(1 << (fractional_bits + 5)):
        result = 0
    return result


def one_over_one_plus_x(a: int) -> int:
    """1 / (1 + a) for a in [0, 1], Q0.31 (gemmlowp: Newton-Raphson, three steps)."""
    half_denominator = _rounding_half_sum(a, INT32_MAX)
    x = 1515870810 + high_mul(half_denominator, -1010580540)  # Q2.29: 48/17 - 32/17 * d
    for _ in range(3):
        product = high_mul(half_denominator, x)  # Q2.29
        one_minus = (1 << 29) - product
        x = wrap32(x + saturating_rounding_multiply_by_pot(high_mul(x, one_minus), 2))
    return saturating_rounding_multiply_by_pot(x, 1)


def _rounding_half_sum(a: int, b: int) -> int:
    total = a + b
    sign = 1 if total >= 0 else -1
    value = total + sign
    return value // 2 if value >= 0 else -((-value) // 2)


def logistic(a: int, integer_bits: int) -> int:
    """1 / (1 + exp(-a)), input Q(integer_bits), output Q0.31 (gemmlowp)."""
    if a == 0:
        return 1 << 30
    if a > 0:
        return one_over_one_plus_x(exp_on_negative_values(-a, integer_bits))
    return INT32_MAX - one_over_one_plus_x(exp_on_negative_values(a, integer_bits))


def input_radius(integer_bits: int, left_shift: int, total_signed_bits: int = 31) -> int:
    """CalculateInputRadius: beyond it the function is saturated."""
    scaled = ((1 << integer_bits) - 1) * (1 << (total_signed_bits - integer_bits))
    return math.floor(1.0 * scaled / (1 << left_shift)) if left_shift >= 0 else INT32_MAX


def activation_range(name: str, scale: np.float32, zero_point: int) -> tuple[int, int]:
    """Clamp limits of a fused activation in the output's int8 units."""

    def quantise(value: float) -> int:
        return zero_point + round_half_away(float(np.float32(value) / scale))

    if name == "RELU":
        return max(-128, quantise(0.0)), 127
    if name == "RELU6":
        return max(-128, quantise(0.0)), min(127, quantise(6.0))
    if name == "RELU_N1_TO_1":
        return max(-128, quantise(-1.0)), min(127, quantise(1.0))
    return -128, 127
