/* Real FFT in 32-bit integers: window, complex FFT of half the length, split into power.
 *
 * Scaling is fixed at code generation so that no input can overflow: each stage with twiddles
 * halves its result, for free, because the high word of a Q31 product is half the product. */
#include "em_fixed.h"
#include "stages.h"

static void window_plain(const em_frontend_tables_t *t, const int16_t *pcm, em_bin_t *bins,
                         size_t pairs) {
    const int32_t gain = (int32_t)1 << t->pcm_shift;
    const int32_t *w = t->window_q31;
    const uint16_t *position = t->fft_position;
    for (size_t n = 0; n < pairs; n++) {
        em_complex_t *z = &bins[position[n]].z;
        z->re = em_mulsh(pcm[2 * n] * gain, w[2 * n]);
        z->im = em_mulsh(pcm[2 * n + 1] * gain, w[2 * n + 1]);
    }
}

static void window_preemphasis(const em_frontend_tables_t *t, const int16_t *pcm, em_bin_t *bins,
                               size_t pairs) {
    const int32_t coefficient = t->preemphasis_q14;
    const int32_t *w = t->window_q31;
    const uint16_t *position = t->fft_position;
    int32_t previous = pcm[-1];
    for (size_t n = 0; n < pairs; n++) {
        int32_t even = pcm[2 * n];
        int32_t odd = pcm[2 * n + 1];
        em_complex_t *z = &bins[position[n]].z;
        z->re = em_mulsh((even * 16384 - coefficient * previous) >> t->preemphasis_shift, w[2 * n]);
        z->im = em_mulsh((odd * 16384 - coefficient * even) >> t->preemphasis_shift, w[2 * n + 1]);
        previous = odd;
    }
}

void em_window(const em_frontend_tables_t *tables, const int16_t *pcm, em_bin_t *bins) {
    const size_t pairs = ((size_t)tables->window_length + 1) / 2;
    const size_t points = tables->fft_length / 2U;
    if (tables->preemphasis_q14 == 0) {
        window_plain(tables, pcm + 1, bins, pairs);
    } else {
        window_preemphasis(tables, pcm + 1, bins, pairs);
    }
    for (size_t n = pairs; n < points; n++) {
        bins[tables->fft_position[n]].z = (em_complex_t){0, 0};
    }
}

/* Multiplies by cos - i sin and halves. */
static inline em_complex_t rotate_half(em_complex_t z, const int32_t *cos_sin) {
    return (em_complex_t){em_mulsh(z.re, cos_sin[0]) + em_mulsh(z.im, cos_sin[1]),
                          em_mulsh(z.im, cos_sin[0]) - em_mulsh(z.re, cos_sin[1])};
}

static inline void butterfly(em_complex_t a, em_complex_t b, em_complex_t c, em_complex_t d,
                             em_bin_t *out, size_t stride) {
    const em_complex_t ac = {a.re + c.re, a.im + c.im};
    const em_complex_t bd = {b.re + d.re, b.im + d.im};
    const em_complex_t a_c = {a.re - c.re, a.im - c.im};
    const em_complex_t b_d = {b.re - d.re, b.im - d.im};
    out[0].z = (em_complex_t){ac.re + bd.re, ac.im + bd.im};
    out[stride].z = (em_complex_t){a_c.re + b_d.im, a_c.im - b_d.re};
    out[2 * stride].z = (em_complex_t){ac.re - bd.re, ac.im - bd.im};
    out[3 * stride].z = (em_complex_t){a_c.re - b_d.im, a_c.im + b_d.re};
}

static void stage_radix2(em_bin_t *bins, size_t points) {
    for (size_t n = 0; n < points; n += 2) {
        const em_complex_t a = bins[n].z;
        const em_complex_t b = bins[n + 1].z;
        bins[n].z = (em_complex_t){a.re + b.re, a.im + b.im};
        bins[n + 1].z = (em_complex_t){a.re - b.re, a.im - b.im};
    }
}

static void stage_radix4(em_bin_t *bins, size_t points) {
    for (size_t n = 0; n < points; n += 4) {
        butterfly(bins[n].z, bins[n + 1].z, bins[n + 2].z, bins[n + 3].z, bins + n, 1);
    }
}

static void stage_twiddled(em_bin_t *bins, size_t points, size_t stride, const int32_t *twiddle) {
    for (size_t group = 0; group < points; group += 4 * stride) {
        em_bin_t *p = bins + group;
        const int32_t *w = twiddle;
        for (size_t j = 0; j < stride; j++, p++, w += 6) {
            const em_complex_t a = {p[0].z.re >> 1, p[0].z.im >> 1};
            butterfly(a, rotate_half(p[stride].z, w), rotate_half(p[2 * stride].z, w + 2),
                      rotate_half(p[3 * stride].z, w + 4), p, stride);
        }
    }
}

void em_fft(const em_frontend_tables_t *tables, em_bin_t *bins) {
    const size_t points = tables->fft_length / 2U;
    const int32_t *twiddle = tables->fft_twiddle_q31;
    size_t stride = 4;
    if ((points & 0x5555U) != 0) { /* an even power of two */
        stage_radix4(bins, points);
    } else {
        stage_radix2(bins, points);
        stride = 2;
    }
    for (; stride < points; stride *= 4) {
        stage_twiddled(bins, points, stride, twiddle);
        twiddle += 6 * stride;
    }
}

static inline em_power_t power_of(int32_t re, int32_t im) {
    const int64_t re2 = (int64_t)re * re;
    const int64_t im2 = (int64_t)im * im;
    return (em_power_t){(uint32_t)(re2 >> 32) + (uint32_t)(im2 >> 32),
                        ((uint32_t)re2 >> EM_POWER_LOW_SHIFT) +
                            ((uint32_t)im2 >> EM_POWER_LOW_SHIFT)};
}

void em_power(const em_frontend_tables_t *tables, em_bin_t *bins) {
    const size_t points = tables->fft_length / 2U;
    const em_complex_t dc = bins[0].z;
    bins[0].p = power_of(dc.re + dc.im, 0);
    bins[points].p = power_of(dc.re - dc.im, 0);
    const int32_t *w = tables->split_twiddle_q31 + 2;
    em_bin_t *up = bins + 1;
    em_bin_t *down = bins + points - 1;
    for (; up < down; up++, down--, w += 2) {
        /* X[k] = E + W^k O and X[n - k] = conj(E - W^k O), with E, O from Z[k], conj Z[n - k]. */
        const em_complex_t z = up->z;
        const em_complex_t y = down->z;
        const em_complex_t even = {(z.re + y.re) >> 1, (z.im - y.im) >> 1};
        const em_complex_t odd = rotate_half((em_complex_t){z.im + y.im, y.re - z.re}, w);
        up->p = power_of(even.re + odd.re, even.im + odd.im);
        down->p = power_of(even.re - odd.re, even.im - odd.im);
    }
    up->p = power_of(up->z.re, up->z.im); /* the middle bin is its own partner */
}
