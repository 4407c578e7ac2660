/* From mel bands to features: logarithm (with an optional DCT) or per-channel energy normalisation.
 */
#include "em_fixed.h"
#include "stages.h"

static inline int16_t saturate_int16(int32_t x) {
    return (int16_t)(x > INT16_MAX ? INT16_MAX : x < INT16_MIN ? INT16_MIN : x);
}

void em_log(const em_frontend_tables_t *tables, const uint64_t *band, int32_t *log_q16,
            int16_t *row_q8) {
    const size_t n_mels = tables->n_mels;
    for (size_t k = 0; k < n_mels; k++) {
        const uint64_t floor = tables->band_floor[k];
        const uint64_t v = band[k] > floor ? band[k] : floor;
        log_q16[k] = em_log2_q16(v + tables->band_offset[k], tables->log2_q16);
    }
    const int32_t *gain = tables->output_gain;
    for (size_t j = 0; j < tables->n_features; j++) {
        int64_t sum = 0;
        if (tables->has_dct) {
            for (size_t k = 0; k < n_mels; k++) {
                sum += (int64_t)log_q16[k] * *gain++;
            }
        } else {
            sum = (int64_t)log_q16[j] * *gain;
        }
        row_q8[j] = saturate_int16((int32_t)(sum >> tables->output_shift) + tables->output_bias[j]);
    }
}

/* a * b / 2^31, rounded down by at most 2; b >= 0. */
static inline int64_t multiply_q31(int64_t a, int32_t b) {
    const uint32_t low = em_muluh((uint32_t)a, (uint32_t)b);
    return ((int64_t)(int32_t)(a >> 32) * b + low) * 2;
}

void em_pcen(const em_frontend_tables_t *tables, const uint64_t *band, uint64_t *smoothed,
             int16_t *row_q8) {
    const int32_t limit_q16 = (int32_t)tables->pcen_curve_intervals * 4096;
    for (size_t k = 0; k < tables->n_mels; k++) {
        const uint64_t energy = band[k];
        const int64_t step =
            multiply_q31((int64_t)energy - (int64_t)smoothed[k], tables->pcen_smoothing_q31);
        smoothed[k] = (uint64_t)((int64_t)smoothed[k] + step);
        int32_t x_q16 = 0;
        if (energy != 0) {
            const int32_t log_smoothed =
                em_log2_q16(smoothed[k] + tables->band_offset[k], tables->log2_q16);
            const int32_t gain_log =
                (int32_t)(((int64_t)log_smoothed * tables->pcen_gain_q15) >> 15);
            x_q16 = em_log2_q16(energy, tables->log2_q16) - gain_log + tables->pcen_bias_q16[k] -
                    tables->pcen_curve_start_q16;
        }
        x_q16 = x_q16 < 0 ? 0 : x_q16 >= limit_q16 ? limit_q16 - 1 : x_q16;
        const int32_t *entry = tables->pcen_curve + (x_q16 >> 12);
        const int32_t y = entry[0] + (((entry[1] - entry[0]) * (x_q16 & 4095)) >> 12);
        row_q8[k] = saturate_int16(y);
    }
}
