/* From mel bands to features: logarithm (with an optional DCT) or per-channel energy normalisation.
 */
#include "em_fixed.h"
#include "stages.h"

enum {
    /* log2_q16 < 2^22 leaves this much room before the high word of a product is taken. */
    LOG_HEADROOM_SHIFT = 8,
    CURVE_FRACTION_BITS = 12
};

static EM_INLINE int16_t saturate_int16(int32_t x) {
    return (int16_t)(x > INT16_MAX ? INT16_MAX : x < INT16_MIN ? INT16_MIN : x);
}

static void dct(const em_frontend_tables_t *tables, const int32_t *log_q16, int16_t *row_q8) {
    const int32_t *gain = tables->output_gain;
    for (size_t j = 0; j < tables->n_features; j++) {
        int64_t sum = 0;
        for (size_t k = 0; k < tables->n_mels; k++) {
            sum += (int64_t)log_q16[k] * *gain++;
        }
        row_q8[j] = saturate_int16((int32_t)(sum >> tables->output_shift) + tables->output_bias[j]);
    }
}

void em_log(const em_frontend_tables_t *tables, const uint64_t *band, int32_t *log_q16,
            int16_t *row_q8) {
    const uint64_t *floor = tables->band_floor;
    for (size_t k = 0; k < tables->n_mels; k++) {
        uint64_t v = band[k];
        if (floor != NULL && v < floor[k]) {
            v = floor[k];
        }
        log_q16[k] = em_log2_q16(v + tables->band_offset[k], tables->log2_q16);
    }
    if (tables->has_dct) {
        dct(tables, log_q16, row_q8);
        return;
    }
    const int32_t gain = tables->output_gain[0];
    for (size_t k = 0; k < tables->n_mels; k++) {
        const int32_t scaled = em_mulsh(log_q16[k] * (1 << LOG_HEADROOM_SHIFT), gain);
        row_q8[k] = saturate_int16((scaled >> tables->output_shift) + tables->output_bias[k]);
    }
}

/* a * b / 2^31, at most 4 too low; b >= 0. */
static EM_INLINE int64_t multiply_q31(int64_t a, int32_t b) {
    const uint32_t low = em_muluh((uint32_t)a, (uint32_t)b);
    return ((int64_t)(int32_t)(a >> 32) * b + low) * 2;
}

void em_pcen(const em_frontend_tables_t *tables, const uint64_t *band, uint64_t *smoothed,
             int16_t *row_q8) {
    const int32_t limit_q16 = ((int32_t)tables->pcen_curve_intervals << CURVE_FRACTION_BITS) - 1;
    const int32_t *log2_table = tables->log2_q16;
    for (size_t k = 0; k < tables->n_mels; k++) {
        const uint64_t energy = band[k];
        const int64_t change = (int64_t)energy - (int64_t)smoothed[k];
        const uint64_t m = smoothed[k] + (uint64_t)multiply_q31(change, tables->pcen_smoothing_q31);
        smoothed[k] = m;
        int32_t x_q16 = 0;
        if (energy != 0) {
            const int32_t log_m = em_log2_q16(m + tables->band_offset[k], log2_table);
            const int32_t gain_log =
                em_mulsh(log_m * (1 << LOG_HEADROOM_SHIFT), tables->pcen_gain_q31) >>
                (LOG_HEADROOM_SHIFT - 1);
            x_q16 = em_log2_q16(energy, log2_table) - gain_log + tables->pcen_bias_q16[k];
        }
        x_q16 = x_q16 < 0 ? 0 : x_q16 > limit_q16 ? limit_q16 : x_q16;
        const int32_t *entry = tables->pcen_curve + (x_q16 >> CURVE_FRACTION_BITS);
        const int32_t fraction = x_q16 & ((1 << CURVE_FRACTION_BITS) - 1);
        const int32_t y = entry[0] + (((entry[1] - entry[0]) * fraction) >> CURVE_FRACTION_BITS);
        row_q8[k] = saturate_int16(y);
    }
}
