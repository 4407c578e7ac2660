/* The boot-time proof that this chip's front end computes what the workstation's did: a sound made
 * of integers, and a hash of the rows that it must give. Comes before the network's golden vector,
 * which begins where the front end ends. */
#ifndef EARMARK_GOLDEN_FEATURES_H
#define EARMARK_GOLDEN_FEATURES_H

#include "earmark/frontend.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t n_samples; /* of the sound */
    uint32_t n_rows;    /* that come out of it, from silence */
    uint32_t fnv1a;     /* FNV-1a, 32 bits, over all values in order */
} em_golden_features_t;

/* Noise over all bands; every 512 samples another level between full scale and one bit. */
int16_t em_golden_sample(uint32_t *state, uint32_t index);

/* memory: 16-byte aligned, em_frontend_needed_bytes and one row; overwritten.
 * EM_ERR_SELF_TEST: at least one value differs. */
em_status_t em_golden_features_check(const em_golden_features_t *golden,
                                     const em_frontend_tables_t *tables, void *memory,
                                     size_t bytes);

#endif
