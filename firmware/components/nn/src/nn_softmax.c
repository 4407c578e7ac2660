/* Softmax in fixed point; the 256 possible exponentials are a table. */
#include "earmark/nn.h"
#include "nn_requantize.h"

enum { ACCUMULATOR_INTEGER_BITS = 12 };

static int32_t leading_zeros(uint32_t value) {
    int32_t count = 0;
    for (uint32_t bit = (uint32_t)1 << 31; bit != 0 && (value & bit) == 0; bit >>= 1) {
        count++;
    }
    return count;
}

/* 1 / (1 + a), a in [0, 1) and result in Q0.31: Newton-Raphson as in gemmlowp. */
static int32_t reciprocal_of_one_plus(int32_t a) {
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    /* Q2.29: 48/17 - 32/17 * d is the best linear start for d in [1/2, 1]. */
    int32_t x = 1515870810 + em_high_mul(half_denominator, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - em_high_mul(half_denominator, x);
        x += em_high_mul(x, error) * 4;
    }
    return x > (INT32_MAX >> 1) ? INT32_MAX : x * 2;
}

void em_softmax(const int32_t exp_q31[256], const int8_t *in, int8_t *out, uint32_t rows,
                uint32_t n) {
    for (uint32_t row = 0; row < rows; row++) {
        int32_t largest = INT8_MIN;
        for (uint32_t i = 0; i < n; i++) {
            largest = in[i] > largest ? in[i] : largest;
        }
        uint32_t sum = 0; /* Q12.19 */
        for (uint32_t i = 0; i < n; i++) {
            sum += (uint32_t)em_rounding_shift(exp_q31[largest - in[i]], ACCUMULATOR_INTEGER_BITS);
        }
        const int32_t headroom = leading_zeros(sum);
        const int32_t fraction = (int32_t)((sum << headroom) - ((uint32_t)1 << 31));
        const int32_t scale = reciprocal_of_one_plus(fraction);
        const int32_t exponent = ACCUMULATOR_INTEGER_BITS - headroom + 31 - 8;
        for (uint32_t i = 0; i < n; i++) {
            const int32_t probability = em_high_mul(scale, exp_q31[largest - in[i]]);
            /* More than 511 equal classes: each is below half a step (TFLM aborts there). */
            const int32_t q = exponent < 32 ? em_rounding_shift(probability, exponent) : 0;
            out[i] = em_clamp_int8(q + INT8_MIN, INT8_MIN, INT8_MAX);
        }
        in += n;
        out += n;
    }
}
