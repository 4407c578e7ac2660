#include "pcen_log.h"

#define ONE_Q12 4096
#define LOG2_EPSILON_Q12 (-54426) /* log2(1e-4) */
#define LOG2_KEEP_Q12 (-241)      /* log2(0.96) */
#define LOG2_TAKE_Q12 (-19021)    /* log2(0.04) */
#define SHARE_MAX_Q12 3700        /* 0.9: one row cannot explain more of the new mean */
#define ROUNDS 2                  /* the share of a row in the new mean depends on that mean */
#define FLOOR_DB (-60)            /* lowest energy that is told apart */
#define DB_PER_LOG2_Q8 771        /* 10 log10(2) */

/* log2 of x / 2^12 in Q12, x > 0. The mantissa's line is lifted by a parabola: within 0.01. */
static int32_t log2_q12(uint32_t x) {
    int32_t exponent = 0;
    while (x >= 2u * ONE_Q12) {
        x >>= 1;
        ++exponent;
    }
    while (x < ONE_Q12) {
        x <<= 1;
        --exponent;
    }
    const int32_t f = (int32_t)x - ONE_Q12;
    return exponent * ONE_Q12 + f + ((f * (ONE_Q12 - f)) >> 12) * 1409 / ONE_Q12;
}

/* 2^(x / 2^12) in Q12, x < 7 * 2^12. */
static int32_t exp2_q12(int32_t x) {
    const int32_t whole = x >> 12; /* arithmetic shift: down */
    if (whole < -14) {
        return 0;
    }
    const int32_t f = x - whole * ONE_Q12;
    const int32_t mantissa = ONE_Q12 + f - ((f * (ONE_Q12 - f)) >> 12) * 1401 / ONE_Q12;
    return whole >= 0 ? mantissa << whole : mantissa >> -whole;
}

void em_pcen_log_init(em_pcen_log_t *table, uint32_t steps_per_unit, uint32_t steps_per_5_db) {
    /* r = y (y + 2 sqrt 2); everything in quarters of a step, the lowest value is a quarter. */
    const uint32_t offset = (steps_per_unit * 4u * 11585u) >> 12;
    const int32_t unit = log2_q12(steps_per_unit * 4u);
    for (uint32_t i = 0u; i < 256u; ++i) {
        const uint32_t y = i == 0u ? 1u : 4u * i;
        table->ratio[i] = (int16_t)((log2_q12(y) + log2_q12(y + offset) - 2 * unit) / 16);
    }
    table->steps_per_db = (int32_t)(steps_per_5_db * 256u / 5u);
}

int32_t em_pcen_log_start(void) {
    return LOG2_EPSILON_Q12;
}

int8_t em_pcen_log_value(const em_pcen_log_t *table, int8_t value, int32_t *mean) {
    const int32_t ratio = table->ratio[value + 128] * 16;
    const int32_t before = *mean;
    int32_t now = before;
    for (uint32_t i = 0u; i < ROUNDS; ++i) {
        const int32_t share = exp2_q12(LOG2_TAKE_Q12 + ratio - now / 10) +
                              exp2_q12(LOG2_TAKE_Q12 + LOG2_EPSILON_Q12 - now);
        const int32_t rest = ONE_Q12 - (share < SHARE_MAX_Q12 ? share : SHARE_MAX_Q12);
        now = before + LOG2_KEEP_Q12 - log2_q12((uint32_t)rest);
    }
    *mean = now;
    const int32_t db_q8 = ((ratio + now / 10 * 9) >> 4) * DB_PER_LOG2_Q8 / 256;
    const int32_t steps = ((db_q8 - FLOOR_DB * 256) * table->steps_per_db >> 16) - 128;
    return (int8_t)(steps < INT8_MIN ? INT8_MIN : steps > INT8_MAX ? INT8_MAX : steps);
}
