/* The stages of the front end: pure functions on caller-owned memory. */
#ifndef EM_STAGES_H
#define EM_STAGES_H

#include "earmark/frontend.h"

/* A complex number before em_spectrum, a power value after it. */
typedef struct {
    int32_t re, im;
} em_complex_t;

/* power = high * 2^32 + low * 2^9: sums of it need no carry. low < 2^24, high < 2^30. */
typedef struct {
    uint32_t high, low;
} em_power_t;

/* Both views share memory; bins are converted in place. */
typedef union {
    em_complex_t z;
    em_power_t p;
} em_bin_t;

enum { EM_POWER_LOW_SHIFT = 9 };

/* pcm[0] is the sample before the frame, pcm[1..window_length] the frame, then one spare element.
 */
void em_window(const em_frontend_tables_t *tables, const int16_t *pcm, em_bin_t *bins);

/* bins: [fft_length / 2] in the order of fft_position, becomes the transform in natural order. */
void em_fft(const em_frontend_tables_t *tables, em_bin_t *bins);

/* bins: transform of the packed pairs, becomes the power of [fft_length / 2 + 1] real-input bins.
 */
void em_power(const em_frontend_tables_t *tables, em_bin_t *bins);

/* Replaces power by magnitude, in the same representation. */
void em_magnitude(const em_frontend_tables_t *tables, em_bin_t *bins);

/* band: [n_mels] in band units. */
void em_mel(const em_frontend_tables_t *tables, const em_bin_t *bins, uint64_t *band);

/* row_q8: [n_features] in 1/256 output steps; log_q16: scratch [n_mels]. */
void em_log(const em_frontend_tables_t *tables, const uint64_t *band, int32_t *log_q16,
            int16_t *row_q8);
void em_pcen(const em_frontend_tables_t *tables, const uint64_t *band, uint64_t *smoothed,
             int16_t *row_q8);

#endif
