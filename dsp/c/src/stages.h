/* The stages of the front end: pure functions on caller-owned memory.
 *
 * The working memory is two arrays of fft_length / 2 + 1 words. They hold real and imaginary parts
 * first, then, converted in place, high and low parts of power:
 * power = high * 2^32 + low * 2^10, 0 <= high < 2^30, 0 <= low < 2^23. Sums of it need no carry. */
#ifndef EM_STAGES_H
#define EM_STAGES_H

#include "earmark/frontend.h"

enum { EM_POWER_LOW_SHIFT = 10 };

/* Window and the first FFT stage. pcm[-1] is the sample before the frame; pcm[0.. fft_length - 1]
 * the frame, zero beyond window_length. */
void em_window_first_stage(const em_frontend_tables_t *tables, const int16_t *pcm, int32_t *re,
                           int32_t *im);

/* The other stages: leaves the transform of fft_length / 2 complex points in natural order. */
void em_fft(const em_frontend_tables_t *tables, int32_t *re, int32_t *im);

/* Transform of the sample pairs to power of the fft_length / 2 + 1 bins of the real signal. */
void em_power(const em_frontend_tables_t *tables, int32_t *re, int32_t *im);

/* Replaces power by magnitude in the bins that have mel weights. */
void em_magnitude(const em_frontend_tables_t *tables, int32_t *high, int32_t *low);

/* band: [n_mels] in band units. */
void em_mel(const em_frontend_tables_t *tables, const int32_t *high, const int32_t *low,
            uint64_t *band);

/* row_q8: [n_features] in 1/256 output steps; log_q16: scratch [n_mels]. */
void em_log(const em_frontend_tables_t *tables, const uint64_t *band, int32_t *log_q16,
            int16_t *row_q8);
void em_pcen(const em_frontend_tables_t *tables, const uint64_t *band, uint64_t *smoothed,
             int16_t *row_q8);

#endif
