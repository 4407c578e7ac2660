/* Magnitude and mel bands in 64-bit integers, arranged so that no inner loop needs a carry. */
#include "em_fixed.h"
#include "stages.h"

/* sqrt(v) * 8 for 0 < v < 2^54: normalised to [1, 4), table with linear interpolation. */
static uint32_t sqrt_q3(uint64_t v, const uint16_t *table) {
    int32_t exponent;
    uint32_t mantissa = em_normalize(v, &exponent);
    mantissa >>= (exponent & 1) ^ 1; /* Q30; the exponent becomes even */
    const uint16_t *entry = table + (mantissa >> 24) - 64;
    const uint32_t difference = (uint32_t)entry[1] - entry[0];
    const uint32_t fraction_q16 = (mantissa >> 8) & 0xFFFFU;
    const uint32_t root_q29 = ((uint32_t)entry[0] << 15) + ((difference * fraction_q16) >> 1);
    return root_q29 >> (26 - exponent / 2);
}

void em_magnitude(const em_frontend_tables_t *tables, em_bin_t *bins) {
    const size_t points = tables->fft_length / 2U;
    for (size_t k = 0; k <= points; k++) {
        const em_power_t p = bins[k].p;
        const uint64_t power = ((uint64_t)p.high << (32 - EM_POWER_LOW_SHIFT)) + p.low;
        const uint32_t root = power == 0 ? 0 : sqrt_q3(power, tables->sqrt_q14);
        /* root * 2^28 */
        bins[k].p = (em_power_t){root >> 4, (root & 15U) << (28 - EM_POWER_LOW_SHIFT)};
    }
}

void em_mel(const em_frontend_tables_t *tables, const em_bin_t *bins, uint64_t *band) {
    const em_bin_t *bin = bins + tables->first_bin;
    const uint32_t *w = tables->mel_rising_q32;
    const size_t n_mels = tables->n_mels;
    uint64_t rising_before = 0;
    for (size_t segment = 0; segment <= n_mels; segment++) {
        uint32_t sum_high = 0;
        uint32_t sum_low = 0;
        uint32_t rising_high = 0;
        uint32_t rising_low = 0;
        for (const em_bin_t *end = bin + tables->segment_bins[segment]; bin != end; bin++, w++) {
            const em_power_t p = bin->p;
            sum_high += p.high;
            sum_low += p.low;
            rising_high += em_muluh(p.high, *w);
            rising_low += ((p.high * *w) >> EM_POWER_LOW_SHIFT) + em_muluh(p.low, *w);
        }
        const uint64_t rising = ((uint64_t)rising_high << (32 - EM_POWER_LOW_SHIFT)) + rising_low;
        const uint64_t sum = ((uint64_t)sum_high << (32 - EM_POWER_LOW_SHIFT)) + sum_low;
        if (segment > 0) {
            band[segment - 1] = rising_before + (sum - rising);
        }
        rising_before = rising;
    }
}
