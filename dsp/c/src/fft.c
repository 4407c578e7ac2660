/* Real FFT in 32-bit integers: window, complex FFT of half the length, split into power.
 *
 * Scaling is fixed at code generation so that no input can overflow. Each stage with twiddles
 * halves its result, for free, because the high word of a Q31 product is half the product. Real and
 * imaginary parts are separate arrays and strides are constants: host compilers vectorise the
 * loops, and the LX6 reaches all operands from few registers. */
#include "em_fixed.h"
#include "stages.h"

typedef struct {
    int32_t re, im;
} complex_t;

static inline complex_t add(complex_t a, complex_t b) {
    return (complex_t){a.re + b.re, a.im + b.im};
}

static inline complex_t subtract(complex_t a, complex_t b) {
    return (complex_t){a.re - b.re, a.im - b.im};
}

/* z * (cos - i sin) / 2 */
static inline complex_t rotate_half(complex_t z, int32_t cosine, int32_t sine) {
    return (complex_t){em_mulsh(z.re, cosine) + em_mulsh(z.im, sine),
                       em_mulsh(z.im, cosine) - em_mulsh(z.re, sine)};
}

/* A pair of samples from pcm as one complex number, times its two window values. */
static inline complex_t windowed(const em_frontend_tables_t *t, const int16_t *pcm,
                                 const int32_t *window) {
    return (complex_t){em_mulsh(pcm[0] * t->pcm_gain, window[0]),
                       em_mulsh(pcm[1] * t->pcm_gain, window[1])};
}

static inline complex_t windowed_preemphasis(const em_frontend_tables_t *t, const int16_t *pcm,
                                             const int32_t *window) {
    const int32_t re = pcm[0] * 16384 - t->preemphasis_q14 * pcm[-1];
    const int32_t im = pcm[1] * 16384 - t->preemphasis_q14 * pcm[0];
    return (complex_t){em_mulsh(re >> t->preemphasis_shift, window[0]),
                       em_mulsh(im >> t->preemphasis_shift, window[1])};
}

static EM_INLINE void
first_stage(const em_frontend_tables_t *t, const int16_t *pcm, int32_t *re, int32_t *im,
            complex_t (*load)(const em_frontend_tables_t *, const int16_t *, const int32_t *)) {
    const size_t step = t->fft_length / 4U; /* samples between the operands of a butterfly */
    const int32_t *w = t->window_q31;
    for (size_t n = 0; n < step / 2; n++, pcm += 2, w += 8) {
        const complex_t b = load(t, pcm + step, w + 2);
        const complex_t d = load(t, pcm + 3 * step, w + 6);
        const complex_t bd = add(b, d);
        const complex_t b_d = subtract(b, d);
        EM_KEEP_ORDER();
        const complex_t a = load(t, pcm, w);
        const complex_t c = load(t, pcm + 2 * step, w + 4);
        const complex_t ac = add(a, c);
        const complex_t a_c = subtract(a, c);
        int32_t *out_re = re + t->fft_position[n];
        int32_t *out_im = im + t->fft_position[n];
        out_re[0] = ac.re + bd.re;
        out_re[1] = a_c.re + b_d.im;
        out_re[2] = ac.re - bd.re;
        out_re[3] = a_c.re - b_d.im;
        out_im[0] = ac.im + bd.im;
        out_im[1] = a_c.im - b_d.re;
        out_im[2] = ac.im - bd.im;
        out_im[3] = a_c.im + b_d.re;
    }
}

EM_HOST_VECTORS void em_window_first_stage(const em_frontend_tables_t *tables, const int16_t *pcm,
                                           int32_t *re, int32_t *im) {
    if (tables->preemphasis_q14 == 0) {
        first_stage(tables, pcm + 1, re, im, windowed);
    } else {
        first_stage(tables, pcm + 1, re, im, windowed_preemphasis);
    }
}

/* One radix-4 stage; w: cos and sin of 1, 2 and 3 steps, each [stride]. */
static EM_INLINE void stage(int32_t *re, int32_t *im, size_t points, size_t stride,
                            const int32_t *w) {
    for (size_t group = 0; group < points;
         group += 4 * stride, re += 4 * stride, im += 4 * stride) {
        EM_INDEPENDENT
        for (size_t j = 0; j < stride; j++) {
            const complex_t b =
                rotate_half((complex_t){re[j + stride], im[j + stride]}, w[j], w[j + stride]);
            const complex_t d = rotate_half((complex_t){re[j + 3 * stride], im[j + 3 * stride]},
                                            w[j + 4 * stride], w[j + 5 * stride]);
            const complex_t bd = add(b, d);
            const complex_t b_d = subtract(b, d);
            EM_KEEP_ORDER();
            const complex_t c = rotate_half((complex_t){re[j + 2 * stride], im[j + 2 * stride]},
                                            w[j + 2 * stride], w[j + 3 * stride]);
            const complex_t a = {re[j] >> 1, im[j] >> 1};
            const complex_t ac = add(a, c);
            const complex_t a_c = subtract(a, c);
            re[j] = ac.re + bd.re;
            im[j] = ac.im + bd.im;
            re[j + stride] = a_c.re + b_d.im;
            im[j + stride] = a_c.im - b_d.re;
            re[j + 2 * stride] = ac.re - bd.re;
            im[j + 2 * stride] = ac.im - bd.im;
            re[j + 3 * stride] = a_c.re - b_d.im;
            im[j + 3 * stride] = a_c.im + b_d.re;
        }
    }
}

static EM_INLINE void last_stage_radix2(int32_t *re, int32_t *im, size_t stride, const int32_t *w) {
    EM_INDEPENDENT
    for (size_t j = 0; j < stride; j++) {
        const complex_t a = {re[j] >> 1, im[j] >> 1};
        const complex_t b =
            rotate_half((complex_t){re[j + stride], im[j + stride]}, w[j], w[j + stride]);
        re[j] = a.re + b.re;
        im[j] = a.im + b.im;
        re[j + stride] = a.re - b.re;
        im[j + stride] = a.im - b.im;
    }
}

EM_HOST_VECTORS void em_fft(const em_frontend_tables_t *tables, int32_t *re, int32_t *im) {
    const size_t points = tables->fft_length / 2U;
    const int32_t *w = tables->fft_twiddle_q31;
    stage(re, im, points, 4, w);
    w += 6 * 4;
    size_t done = 16;
    if (points >= 64) {
        stage(re, im, points, 16, w);
        w += 6 * 16;
        done = 64;
    }
    if (points >= 256) {
        stage(re, im, points, 64, w);
        w += 6 * 64;
        done = 256;
    }
    if (points >= 1024) {
        stage(re, im, points, 256, w);
        done = 1024;
    }
    if (done < points) {
        last_stage_radix2(re, im, done, w);
    }
}

static EM_INLINE void store_power(int32_t *re, int32_t *im, complex_t x) {
    const int64_t re2 = (int64_t)x.re * x.re;
    const int64_t im2 = (int64_t)x.im * x.im;
    *re = (int32_t)((uint32_t)(re2 >> 32) + (uint32_t)(im2 >> 32));
    *im = (int32_t)(((uint32_t)re2 >> EM_POWER_LOW_SHIFT) + ((uint32_t)im2 >> EM_POWER_LOW_SHIFT));
}

EM_HOST_VECTORS void em_power(const em_frontend_tables_t *tables, int32_t *re, int32_t *im) {
    const size_t points = tables->fft_length / 2U;
    const size_t middle = points / 2;
    const int32_t *w = tables->split_twiddle_q31;
    const complex_t first = {re[0], im[0]};
    store_power(&re[0], &im[0], (complex_t){first.re + first.im, 0});
    store_power(&re[points], &im[points], (complex_t){first.re - first.im, 0});
    EM_INDEPENDENT
    for (size_t k = 1; k < middle; k++) {
        /* X[k] = E + W^k O and X[n - k] = conj(E - W^k O), with E, O from Z[k], conj Z[n - k]. */
        const complex_t z = {re[k], im[k]};
        const complex_t y = {re[points - k], im[points - k]};
        const complex_t even = {(z.re + y.re) >> 1, (z.im - y.im) >> 1};
        const complex_t odd =
            rotate_half((complex_t){z.im + y.im, y.re - z.re}, w[k], w[k + middle]);
        store_power(&re[k], &im[k], add(even, odd));
        store_power(&re[points - k], &im[points - k], subtract(even, odd));
    }
    store_power(&re[middle], &im[middle], (complex_t){re[middle], im[middle]});
}
