#include "earmark/golden_features.h"

enum { LEVEL_SAMPLES = 512, CHUNK_SAMPLES = 160, LEVEL_STEP = 5, LEVELS = 16 };

int16_t em_golden_sample(uint32_t *state, uint32_t index) {
    /* Numerical Recipes' LCG; its upper half is noise enough. */
    *state = *state * 1664525u + 1013904223u;
    const int32_t noise = (int32_t)(*state >> 16) - 32768;
    const uint32_t level = index / LEVEL_SAMPLES * LEVEL_STEP % LEVELS;
    return (int16_t)(noise / (1 << level));
}

static uint32_t fnv1a(uint32_t hash, const int8_t *values, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ (uint8_t)values[i]) * 16777619u;
    }
    return hash;
}

em_status_t em_golden_features_check(const em_golden_features_t *golden,
                                     const em_frontend_tables_t *tables, void *memory,
                                     size_t bytes) {
    const size_t needed = em_frontend_needed_bytes(tables);
    em_frontend_t *frontend;
    uint32_t state = 1, n_rows = 0, hash = 2166136261u;
    if (needed == 0 || bytes < needed + tables->n_features) {
        return EM_ERR_SIZE;
    }
    int8_t *row = (int8_t *)memory + needed;
    em_status_t status = em_frontend_init(&frontend, tables, memory, needed);
    for (uint32_t at = 0; at < golden->n_samples && status == EM_OK;) {
        int16_t pcm[CHUNK_SAMPLES];
        uint32_t n = 0;
        for (; n < CHUNK_SAMPLES && at < golden->n_samples; n++, at++) {
            pcm[n] = em_golden_sample(&state, at);
        }
        for (size_t done = 0, consumed; done < n && status == EM_OK; done += consumed) {
            int row_ready = 0;
            status =
                em_frontend_process(frontend, pcm + done, n - done, &consumed, row, &row_ready);
            if (status == EM_OK && row_ready != 0) {
                hash = fnv1a(hash, row, tables->n_features);
                n_rows++;
            }
        }
    }
    if (status != EM_OK) {
        return status;
    }
    return n_rows == golden->n_rows && hash == golden->fnv1a ? EM_OK : EM_ERR_SELF_TEST;
}
