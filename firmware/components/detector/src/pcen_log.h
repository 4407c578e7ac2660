/* Takes PCEN rows back to logarithmic rows, for the cadence check.
 *
 * PCEN divides each band by its own running mean, so a long pulse fades, and noise is as loud as a
 * tone. But that mean can be followed from the rows alone: with E the energy, P its mean and
 * r = (y + 2^0.5)^2 - 2 = E / P^0.9, the next mean is 0.96 P + 0.04 r P^0.9. The unknown first
 * value fades within seconds, because a larger P leaves less of the next r unexplained.
 * Assumes the usual parameters: smoothing 0.04 per row, gain 0.9, bias 2, root 0.5. */
#ifndef EARMARK_PCEN_LOG_H
#define EARMARK_PCEN_LOG_H

#include <stdint.h>

typedef struct {
    int16_t ratio[256];   /* log2(r) of a row value + 128, Q8 */
    int32_t steps_per_db; /* of the result, Q8 */
} em_pcen_log_t;

/* steps_per_unit: row steps per 1.0 of PCEN's result. steps_per_5_db: of the logarithmic rows. */
void em_pcen_log_init(em_pcen_log_t *table, uint32_t steps_per_unit, uint32_t steps_per_5_db);

/* The mean before the first row, for every band: log2(P), Q12. */
int32_t em_pcen_log_start(void);

/* One value; *mean is the band's state. */
int8_t em_pcen_log_value(const em_pcen_log_t *table, int8_t value, int32_t *mean);

#endif
