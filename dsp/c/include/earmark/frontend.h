/* Streaming fixed-point front end: 16-bit PCM in, int8 feature rows in the model's quantisation
 * out.
 *
 * No malloc, no globals, no floating point at run time. The tables come from `earmark dsp
 * generate`; all state lives in memory the caller owns. */
#ifndef EARMARK_FRONTEND_H
#define EARMARK_FRONTEND_H

#include "earmark/status.h"

#include <stddef.h>
#include <stdint.h>

typedef enum { EM_SPECTRUM_POWER = 0, EM_SPECTRUM_MAGNITUDE = 1 } em_spectrum_t;
typedef enum { EM_COMPRESSION_LOG = 0, EM_COMPRESSION_PCEN = 1 } em_compression_t;

/* "band units": mel energy times 2^mel_scale_log2 (PCM full scale is 1.0), as a 64-bit integer. */
typedef struct {
    const char *name;
    const char *hash_hex; /* 16 hex digits over the specification; must equal the model's */
    float output_scale;   /* for comparison with the model's input tensor; not used in arithmetic */
    int32_t output_zero_point;
    uint32_t sample_rate_hz;
    uint16_t window_length;
    uint16_t hop_length;
    uint16_t fft_length; /* power of two, 64..2048 */
    uint16_t n_mels;
    uint16_t n_features; /* values per row: n_mels, or the number of cepstral coefficients */
    uint16_t context_frames;
    uint8_t spectrum;    /* em_spectrum_t */
    uint8_t compression; /* em_compression_t */

    /* Windowing. Operands of one radix-4 butterfly lie together: values 2n and 2n + 1 of the first,
     * second, third and fourth quarter of the frame, n = 0.. fft_length / 8 - 1. */
    int32_t pcm_gain;          /* power of two, before the multiplication with window_q31 */
    uint8_t preemphasis_shift; /* right shift after pre-emphasis in Q14, to the same scale */
    int16_t preemphasis_q14;
    const int32_t *window_q31; /* [fft_length] */

    /* Complex FFT of fft_length / 2 points. */
    const uint16_t *fft_position; /* [fft_length / 8] where the first stage puts butterfly n */
    const int32_t
        *fft_twiddle_q31; /* per stage: cos, sin of 1 step, 2 steps, 3 steps, [stride] each */
    const int32_t *split_twiddle_q31; /* cos, sin: [2][fft_length / 4] */

    /* Mel bands. Between two neighbouring breakpoints one band falls as the next one rises, and the
     * two weights add up to 1: only the rising weight is stored. */
    uint16_t first_bin;
    uint16_t n_bins;                /* the sum of segment_bins */
    const uint16_t *segment_bins;   /* [n_mels + 1] FFT bins between breakpoints */
    const uint32_t *mel_rising_q32; /* [n_bins] */
    const uint16_t *sqrt_q14;       /* [193] sqrt(i / 64) for i = 64..256 in Q14; magnitude only */

    /* Compression. log2_q16: log2(1 + i / 128), i = 0..128. */
    const int32_t *log2_q16;
    const uint64_t *band_floor;  /* [n_mels] band units; log only; null: no floor */
    const uint64_t *band_offset; /* [n_mels] band units: log offset, or epsilon of PCEN */

    /* PCEN: energy / (smoothed + epsilon)^gain in the log2 domain, then one curve. */
    int32_t pcen_smoothing_q31;
    int32_t pcen_gain_q31;
    const int32_t *pcen_bias_q16;  /* [n_mels] */
    int32_t pcen_curve_start_q16;  /* log2 of the first entry */
    uint16_t pcen_curve_intervals; /* 1/16 octave each */
    const int32_t *pcen_curve;     /* [pcen_curve_intervals + 1] in 1/256 output steps */

    /* Output of log in 1/256 output steps. Without DCT: (high word of 2^8 log2_q16 * output_gain)
     * >> output_shift; with DCT: sum of log2_q16 * output_gain, >> output_shift. */
    const int32_t *output_gain; /* [1], or the DCT matrix [n_features][n_mels] */
    const int32_t *output_bias; /* [n_features] */
    uint8_t output_shift;
    uint8_t has_dct;
} em_frontend_tables_t;

typedef struct em_frontend em_frontend_t;

/* Bytes of state and scratch together; 0 if tables is null. */
size_t em_frontend_needed_bytes(const em_frontend_tables_t *tables);

/* memory: 8-byte aligned, kept by the caller as long as *fe is used; so are the tables.
 * EM_ERR_SIZE: too small or misaligned. */
em_status_t em_frontend_init(em_frontend_t **fe, const em_frontend_tables_t *tables, void *memory,
                             size_t bytes);

/* Consumes up to n_samples of pcm and stops after completing one row of n_features values.
 * *consumed <= n_samples; *row_ready is 0 or 1. Any split of a stream gives the same rows. */
em_status_t em_frontend_process(em_frontend_t *fe, const int16_t *pcm, size_t n_samples,
                                size_t *consumed, int8_t *row, int *row_ready);

/* The last completed row in 1/256 of an int8 step, saturated to int16: [n_features]. For
 * inspection; the int8 value is (x + 128) >> 8, saturated. */
const int16_t *em_frontend_last_row_q8(const em_frontend_t *fe);

/* Forgets all audio and the smoother of PCEN, as after init. */
void em_frontend_reset(em_frontend_t *fe);

#endif
