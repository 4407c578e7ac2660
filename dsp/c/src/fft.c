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

static EM_INLINE complex_t add(complex_t a, complex_t b) {
    return (complex_t){a.re + b.re, a.im + b.im};
}

static EM_INLINE complex_t subtract(complex_t a, complex_t b) {
    return (complex_t){a.re - b.re, a.im - b.im};
}

/* z * (cos - i sin) / 2 */
static EM_INLINE complex_t rotate_half(complex_t z, int32_t cosine, int32_t sine) {
    return (complex_t){em_mulsh(z.re, cosine) + em_mulsh(z.im, sine),
                       em_mulsh(z.im, cosine) - em_mulsh(z.re, sine)};
}

/* Copies of the table's values: a load from the table would be repeated after each EM_SETTLE. */
typedef struct {
    int32_t gain;
    int32_t preemphasis_q14;
    uint32_t preemphasis_shift;
} scaling_t;

/* A pair of samples from pcm as one complex number, times its two window values. */
static EM_INLINE complex_t windowed(scaling_t s, const int16_t *pcm, const int32_t *window) {
    return (complex_t){em_mulsh(pcm[0] * s.gain, window[0]), em_mulsh(pcm[1] * s.gain, window[1])};
}

static EM_INLINE complex_t windowed_preemphasis(scaling_t s, const int16_t *pcm,
                                                const int32_t *window) {
    const int32_t re = pcm[0] * 16384 - s.preemphasis_q14 * pcm[-1];
    const int32_t im = pcm[1] * 16384 - s.preemphasis_q14 * pcm[0];
    return (complex_t){em_mulsh(re >> s.preemphasis_shift, window[0]),
                       em_mulsh(im >> s.preemphasis_shift, window[1])};
}

typedef complex_t load_t(scaling_t s, const int16_t *pcm, const int32_t *window);

static EM_INLINE void first_stage(const em_frontend_tables_t *t, const int16_t *pcm, int32_t *re,
                                  int32_t *im, load_t *load) {
    const size_t step = t->fft_length / 4U; /* samples between the operands of a butterfly */
    const int32_t *w = t->window_q31;
    const uint16_t *position = t->fft_position;
    const scaling_t scaling = {t->pcm_gain, t->preemphasis_q14, t->preemphasis_shift};
    for (const uint16_t *end = position + step / 2; position != end; position++, pcm += 2, w += 8) {
        const int16_t *p = pcm + step;
        const complex_t b = load(scaling, p, w + 2);
        p += 2 * step;
        const complex_t d = load(scaling, p, w + 6);
        complex_t bd = add(b, d);
        complex_t b_d = subtract(b, d);
        EM_SETTLE(bd.re);
        EM_SETTLE(bd.im);
        EM_SETTLE(b_d.re);
        EM_SETTLE(b_d.im);
        const complex_t a = load(scaling, pcm, w);
        p -= step;
        const complex_t c = load(scaling, p, w + 4);
        const complex_t ac = add(a, c);
        const complex_t a_c = subtract(a, c);
        int32_t *out = re + *position;
        out[0] = ac.re + bd.re;
        out[1] = a_c.re + b_d.im;
        out[2] = ac.re - bd.re;
        out[3] = a_c.re - b_d.im;
        out = im + *position;
        out[0] = ac.im + bd.im;
        out[1] = a_c.im - b_d.re;
        out[2] = ac.im - bd.im;
        out[3] = a_c.im + b_d.re;
    }
}

EM_HOST_VECTORS void em_window_first_stage(const em_frontend_tables_t *tables, const int16_t *pcm,
                                           int32_t *re, int32_t *im) {
    if (tables->preemphasis_q14 == 0) {
        first_stage(tables, pcm, re, im, windowed);
    } else {
        first_stage(tables, pcm, re, im, windowed_preemphasis);
    }
}

/* One radix-4 stage; twiddle: cos and sin of 1, 2 and 3 steps, each [stride]. */
static EM_INLINE void stage(int32_t *re, int32_t *im, size_t points, size_t stride,
                            const int32_t *twiddle) {
    for (const int32_t *last = re + points; re != last; re += 3 * stride, im += 3 * stride) {
        const int32_t *w = twiddle;
        EM_INDEPENDENT
        for (const int32_t *end = re + stride; re != end; re++, im++, w++) {
            complex_t b = {re[stride], im[stride]};
            b = rotate_half(b, w[0], w[stride]);
            EM_SETTLE(b.re);
            EM_SETTLE(b.im);
            complex_t d = {re[3 * stride], im[3 * stride]};
            d = rotate_half(d, w[4 * stride], w[5 * stride]);
            complex_t bd = add(b, d);
            complex_t b_d = subtract(b, d);
            EM_SETTLE(bd.re);
            EM_SETTLE(bd.im);
            EM_SETTLE(b_d.re);
            EM_SETTLE(b_d.im);
            complex_t c = {re[2 * stride], im[2 * stride]};
            c = rotate_half(c, w[2 * stride], w[3 * stride]);
            EM_SETTLE(c.re);
            EM_SETTLE(c.im);
            const complex_t a = {re[0] >> 1, im[0] >> 1};
            const complex_t ac = add(a, c);
            const complex_t a_c = subtract(a, c);
            re[0] = ac.re + bd.re;
            re[stride] = a_c.re + b_d.im;
            re[2 * stride] = ac.re - bd.re;
            re[3 * stride] = a_c.re - b_d.im;
            im[0] = ac.im + bd.im;
            im[stride] = a_c.im - b_d.re;
            im[2 * stride] = ac.im - bd.im;
            im[3 * stride] = a_c.im + b_d.re;
            EM_SETTLE(re);
            EM_SETTLE(im);
            EM_SETTLE(w);
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

static EM_INLINE void store_power(int32_t *high, int32_t *low, complex_t x) {
    const int64_t re2 = (int64_t)x.re * x.re;
    const int64_t im2 = (int64_t)x.im * x.im;
    *high = (int32_t)((uint32_t)(re2 >> 32) + (uint32_t)(im2 >> 32));
    *low = (int32_t)(((uint32_t)re2 >> EM_POWER_LOW_SHIFT) + ((uint32_t)im2 >> EM_POWER_LOW_SHIFT));
}

EM_HOST_VECTORS void em_power(const em_frontend_tables_t *tables, int32_t *re, int32_t *im) {
    const size_t points = tables->fft_length / 2U;
    const size_t middle = points / 2;
    const int32_t *w = tables->split_twiddle_q31;
    const complex_t first = {re[0], im[0]};
    store_power(&re[0], &im[0], (complex_t){first.re + first.im, 0});
    store_power(&re[points], &im[points], (complex_t){first.re - first.im, 0});
    int32_t *up_re = re + 1;
    int32_t *up_im = im + 1;
    int32_t *down_re = re + points - 1;
    int32_t *down_im = im + points - 1;
    EM_INDEPENDENT
    for (const int32_t *end = re + middle; up_re != end; up_re++, up_im++, down_re--, down_im--) {
        w++;
        /* X[k] = E + W^k O and X[n - k] = conj(E - W^k O), with E, O from Z[k], conj Z[n - k]. */
        const complex_t even = {(*up_re + *down_re) >> 1, (*up_im - *down_im) >> 1};
        complex_t odd = {*up_im + *down_im, *down_re - *up_re};
        odd = rotate_half(odd, w[0], w[middle]);
        EM_SETTLE(odd.re);
        EM_SETTLE(odd.im);
        store_power(up_re, up_im, add(even, odd));
        store_power(down_re, down_im, subtract(even, odd));
        EM_SETTLE(up_re);
        EM_SETTLE(up_im);
        EM_SETTLE(down_re);
        EM_SETTLE(down_im);
        EM_SETTLE(w);
    }
    store_power(up_re, up_im, (complex_t){*up_re, *up_im}); /* the middle is its own partner */
}
