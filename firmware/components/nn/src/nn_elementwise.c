/* Additions, products, means and tables. */
#include "earmark/nn.h"
#include "nn_requantize.h"

/* TFLite adds in units of 2^-20 of twice the larger input scale. */
enum { ADD_LEFT_SHIFT = 20 };

static int32_t add_scaled(int32_t value, int32_t multiplier, int32_t shift) {
    return em_rounding_shift(em_high_mul(value * (1 << ADD_LEFT_SHIFT), multiplier), -shift);
}

void em_add(const em_add_t *l, const int8_t *a, uint32_t a_step, const int8_t *b, uint32_t b_step,
            int8_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const int32_t scaled_a = add_scaled(*a - l->a_zero_point, l->a_multiplier, l->a_shift);
        const int32_t scaled_b = add_scaled(*b - l->b_zero_point, l->b_multiplier, l->b_shift);
        const int32_t sum = scaled_a + l->sign * scaled_b;
        const int32_t scaled =
            em_rounding_shift(em_high_mul(sum, l->out_multiplier), -l->out_shift);
        out[i] = em_clamp_int8(scaled + l->out_zero_point, l->act_min, l->act_max);
        a += a_step;
        b += b_step;
    }
}

void em_mul(const em_mul_t *l, const int8_t *a, uint32_t a_step, const int8_t *b, uint32_t b_step,
            int8_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const int32_t product = (*a - l->a_zero_point) * (*b - l->b_zero_point);
        const int32_t scaled = em_requantize(product, l->multiplier, l->shift);
        out[i] = em_clamp_int8(scaled + l->out_zero_point, l->act_min, l->act_max);
        a += a_step;
        b += b_step;
    }
}

static int32_t reduce(const em_mean_t *l, const int8_t *in) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < l->reduced[0]; i++) {
        for (uint32_t j = 0; j < l->reduced[1]; j++) {
            const int8_t *p = in + i * l->reduced_stride[0] + j * l->reduced_stride[1];
            for (uint32_t k = 0; k < l->reduced[2]; k++) {
                sum += p[k * l->reduced_stride[2]];
            }
        }
    }
    return sum;
}

void em_mean(const em_mean_t *l, const int8_t *in, int8_t *out) {
    for (uint32_t i = 0; i < l->kept[0]; i++) {
        for (uint32_t j = 0; j < l->kept[1]; j++) {
            const int8_t *p = in + i * l->kept_stride[0] + j * l->kept_stride[1];
            for (uint32_t k = 0; k < l->kept[2]; k++) {
                const int32_t sum =
                    reduce(l, p + k * l->kept_stride[2]) - l->in_zero_point_times_count;
                const int32_t scaled = em_requantize(sum, l->multiplier, l->shift);
                *out++ = em_clamp_int8(scaled + l->out_zero_point, INT8_MIN, INT8_MAX);
            }
        }
    }
}

void em_lookup(const int8_t table[256], const int8_t *in, int8_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        out[i] = table[in[i] + 128];
    }
}

void em_quantize(float scale, int32_t zero_point, const float *in, int8_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const float steps = in[i] / scale;
        /* Saturate before converting: beyond int32 the conversion is undefined in C. */
        if (steps >= 512.0f) {
            out[i] = INT8_MAX;
        } else if (steps <= -512.0f) {
            out[i] = INT8_MIN;
        } else if (steps >= 0.0f) {
            const int32_t floor = (int32_t)steps;
            const int32_t up = steps - (float)floor >= 0.5f ? 1 : 0;
            out[i] = em_clamp_int8(floor + up + zero_point, INT8_MIN, INT8_MAX);
        } else if (steps < 0.0f) {
            const int32_t ceiling = (int32_t)steps;
            const int32_t down = (float)ceiling - steps >= 0.5f ? 1 : 0;
            out[i] = em_clamp_int8(ceiling - down + zero_point, INT8_MIN, INT8_MAX);
        } else {
            out[i] = (int8_t)zero_point; /* not a number */
        }
    }
}

void em_dequantize(float scale, int32_t zero_point, const int8_t *in, float *out, uint32_t n) {
    /* The product of a float and a 9-bit integer rounds once, as TFLite's double product does. */
    for (uint32_t i = 0; i < n; i++) {
        out[i] = scale * (float)(in[i] - zero_point);
    }
}
