/* Fixed-point arithmetic of TFLite's reference kernels (gemmlowp), without undefined behaviour. */
#ifndef EARMARK_NN_REQUANTIZE_H
#define EARMARK_NN_REQUANTIZE_H

#include <stdint.h>

/* round(a * b / 2^31), SaturatingRoundingDoublingHighMul. gemmlowp nudges by the sign and truncates
 * toward zero, which equals one floor of product + 2^30; its saturation needs a = b = INT32_MIN,
 * and no multiplier is INT32_MIN. */
static inline int32_t em_high_mul(int32_t a, int32_t b) {
    const int64_t product = (int64_t)a * b;
    return (int32_t)((product + ((int64_t)1 << 30)) >> 31);
}

/* value / 2^exponent, ties away from zero: RoundingDivideByPOT. */
static inline int32_t em_rounding_shift(int32_t value, int32_t exponent) {
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t remainder = value & mask;
    const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> exponent) + (remainder > threshold ? 1 : 0);
}

/* MultiplyByQuantizedMultiplier with TFLM's default double rounding; the left shift wraps as there.
 */
static inline int32_t em_requantize(int32_t value, int32_t multiplier, int32_t shift) {
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return em_rounding_shift(em_high_mul((int32_t)((uint32_t)value << left), multiplier), right);
}

static inline int8_t em_clamp_int8(int32_t value, int32_t low, int32_t high) {
    return (int8_t)(value < low ? low : value > high ? high : value);
}

#endif
