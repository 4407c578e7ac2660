/* Magnitude and mel bands, arranged so that no inner loop needs a 64-bit carry. */
#include "em_fixed.h"
#include "stages.h"

/* sqrt(v) * 16 of v = high * 2^22 + low: shifted by an even count to [1, 4) as Q30, then a table
 * with linear interpolation; the rest is half the shift. */
static EM_INLINE uint32_t sqrt_q4(uint32_t high, uint32_t low, const uint16_t *table) {
    uint32_t mantissa;
    uint32_t shift;
    high += low >> 22;
    low &= (1U << 22) - 1;
    if (high != 0) {
        shift = em_clz32(high) & ~1U; /* at least 2 */
        mantissa = (high << shift) | ((low << 9) >> (31 - shift));
        shift = shift / 2 - 1;
    } else if (low != 0) {
        shift = em_clz32(low) & ~1U;
        mantissa = low << shift;
        shift = shift / 2 + 10;
    } else {
        return 0;
    }
    const uint16_t *entry = table + (mantissa >> 24) - 64;
    const uint32_t difference = (uint32_t)entry[1] - entry[0];
    const uint32_t fraction_q16 = (mantissa >> 8) & 0xFFFFU;
    return (((uint32_t)entry[0] << 15) + ((difference * fraction_q16) >> 1)) >> shift;
}

void em_magnitude(const em_frontend_tables_t *tables, int32_t *high, int32_t *low) {
    const uint16_t *table = tables->sqrt_q14;
    high += tables->first_bin;
    low += tables->first_bin;
    for (const int32_t *end = high + tables->n_bins; high != end; high++, low++) {
        const uint32_t root = sqrt_q4((uint32_t)*high, (uint32_t)*low, table);
        *high = (int32_t)(root >> 4); /* root * 2^28 */
        *low = (int32_t)((root & 15U) << (28 - EM_POWER_LOW_SHIFT));
    }
}

typedef struct {
    uint32_t high, low;
} power_t;

typedef struct {
    const int32_t *high, *low;
    const uint32_t *w;
} cursor_t;

/* Sums the bins of one segment, all of them and weighted by the rising side; moves the cursor on.
 */
static EM_INLINE power_t sum_segment(cursor_t *at, uint32_t n_bins, power_t *rising) {
    power_t sum = {0, 0};
    *rising = sum;
    const uint32_t *w = at->w;
    const int32_t *high = at->high;
    const int32_t *low = at->low;
    for (const uint32_t *end = w + n_bins; w != end;) {
        const uint32_t weight = *w++;
        const uint32_t p_high = (uint32_t)*high++;
        const uint32_t p_low = (uint32_t)*low++;
        sum.high += p_high;
        sum.low += p_low;
        rising->high += em_muluh(p_high, weight);
        rising->low += ((p_high * weight) >> EM_POWER_LOW_SHIFT) + em_muluh(p_low, weight);
        EM_SETTLE(w);
        EM_SETTLE(high);
        EM_SETTLE(low);
    }
    *at = (cursor_t){high, low, w};
    return sum;
}

void em_mel(const em_frontend_tables_t *tables, const int32_t *high, const int32_t *low,
            uint64_t *band) {
    cursor_t at = {high + tables->first_bin, low + tables->first_bin, tables->mel_rising_q32};
    const uint16_t *count = tables->segment_bins;
    power_t before; /* the rising side of the band that the next segment completes */
    (void)sum_segment(&at, *count++, &before);
    for (const uint64_t *end = band + tables->n_mels; band != end; band++) {
        power_t rising;
        const power_t sum = sum_segment(&at, *count++, &rising);
        /* The falling weight is 1 - rising. The low sum may be negative, but not by more than the
         * high sum covers. */
        const uint64_t band_high = before.high + (sum.high - rising.high);
        const int32_t band_low = (int32_t)(before.low + (sum.low - rising.low));
        *band = (band_high << (32 - EM_POWER_LOW_SHIFT)) + (uint64_t)(int64_t)band_low;
        before = rising;
    }
}
