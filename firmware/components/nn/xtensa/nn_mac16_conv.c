/* Convolution and fully connected layers: blocks of widened pixels times one output channel each.
 *
 * A block of pixels is gathered (im2col) and widened to int16 in scratch. Then each channel's
 * weights are widened once and multiplied with all pixels of the block.
 */
#include "nn_mac16.h"

#include <string.h>

typedef struct {
    int16_t *weights; /* one channel */
    int16_t *pixels;
} scratch_t;

static scratch_t split(void *scratch, uint32_t taps) {
    /* Eight bytes more than the taps: dot9 reads whole words. */
    int16_t *weights = scratch;
    return (scratch_t){weights, weights + EM_PAD4(taps) + 4};
}

/* All channels of a block; `out` is the first pixel's first channel. */
static void multiply(const scratch_t *s, uint32_t n, uint32_t taps, const em_weight_t *weights,
                     const em_channel_t *channels, uint32_t out_c, int32_t out_zero_point,
                     bool relu, int8_t *out) {
    const uint32_t row = EM_PAD4(taps);
    em_mac16_dot_t *const dot = em_mac16_select_dot(taps, relu);
    for (uint32_t c = 0; c < out_c; c++) {
        em_mac16_channel_t channel = em_mac16_channel(&channels[c], out_zero_point);
        channel.out_stride = out_c;
        channel.n = n;
        channel.groups = row / 4 - 1;
        em_mac16_widen_any(weights + c * row, s->weights, row, EM_MAC16_WIDEN_WEIGHTS);
        dot(s->pixels, s->weights, out + c, &channel);
    }
}

/* The window of output pixel (y, x), row by row of the kernel; zeros outside of the map. */
static void gather(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows, uint32_t y,
                   uint32_t x, int16_t *to) {
    const uint32_t depth = l->in_c, row_bytes = (uint32_t)l->in_w * depth;
    const int32_t addend = em_mac16_activation_addend(l->in_zero_point);
    const int32_t x0 = (int32_t)(x * l->stride_w) - l->pad_left;
    int32_t in_y = (int32_t)(y * l->stride_h) - l->pad_top;
    const bool inside = l->dilation_w == 1 && x0 >= 0 && x0 + l->kernel_w <= l->in_w;
    for (uint32_t ky = 0; ky < l->kernel_h; ky++, in_y += l->dilation_h) {
        if (in_y < 0 || in_y >= l->in_h) {
            memset(to, 0, sizeof *to * l->kernel_w * depth);
            to += l->kernel_w * depth;
            continue;
        }
        const int8_t *row = in + ((uint32_t)in_y % in_ring_rows) * row_bytes;
        if (inside) {
            em_mac16_widen_any(row + (uint32_t)x0 * depth, to, l->kernel_w * depth, addend);
            to += l->kernel_w * depth;
            continue;
        }
        int32_t in_x = x0;
        for (uint32_t kx = 0; kx < l->kernel_w; kx++, in_x += l->dilation_w, to += depth) {
            if (in_x < 0 || in_x >= l->in_w) {
                memset(to, 0, sizeof *to * depth);
            } else {
                em_mac16_widen_any(row + (uint32_t)in_x * depth, to, depth, addend);
            }
        }
    }
}

/* n pixels from (y, x) on. A pointwise layer takes runs of neighbouring pixels at once. */
static void gather_block(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows, uint32_t y,
                         uint32_t x, uint32_t n, int16_t *to) {
    const uint32_t taps = (uint32_t)l->kernel_h * l->kernel_w * l->in_c;
    const uint32_t stride = em_mac16_pixel_stride(taps);
    const bool pointwise = taps == l->in_c && stride == taps && l->stride_h == 1 &&
                           l->stride_w == 1 && l->pad_left == 0 && l->pad_top == 0;
    while (n > 0) {
        uint32_t run = 1;
        if (pointwise) {
            run = n < l->out_w - x ? n : l->out_w - x;
            em_mac16_widen_any(in + ((y % in_ring_rows) * l->in_w + x) * taps, to, run * taps,
                               em_mac16_activation_addend(l->in_zero_point));
        } else {
            gather(l, in, in_ring_rows, y, x, to);
        }
        to += run * stride;
        n -= run;
        x += run;
        if (x == l->out_w) {
            x = 0;
            y++;
        }
    }
}

void em_conv2d(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
               uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end, void *scratch) {
    const uint32_t taps = (uint32_t)l->kernel_h * l->kernel_w * l->in_c;
    if (l->groups != 1 || !em_mac16_covers(l->channels, l->out_c, taps)) {
        em_conv2d_portable(l, in, in_ring_rows, out, out_ring_rows, y_begin, y_end);
        return;
    }
    if (l->in_c == 1 && em_mac16_fits_planes(l, in)) {
        em_mac16_planes_conv(l, in, in_ring_rows, out, out_ring_rows, y_begin, y_end, scratch);
        return;
    }
    const scratch_t s = split(scratch, taps);
    const uint32_t most = em_mac16_block_pixels(taps, (uint32_t)l->out_h * l->out_w);
    uint32_t y = y_begin, x = 0;
    while (y < y_end) {
        /* Rows lie one behind the other up to the end of the ring. */
        const uint32_t ring_row = y % out_ring_rows;
        uint32_t rows = out_ring_rows - ring_row;
        rows = rows < y_end - y ? rows : y_end - y;
        const uint32_t left = rows * l->out_w - x;
        const uint32_t n = left < most ? left : most;
        int8_t *to = out + (ring_row * l->out_w + x) * l->out_c;
        gather_block(l, in, in_ring_rows, y, x, n, s.pixels);
        multiply(&s, n, taps, l->weights, l->channels, l->out_c, l->out_zero_point,
                 l->act_min >= l->out_zero_point, to);
        em_mac16_clamp(to, n * l->out_c, l->act_min, l->act_max);
        x += n;
        y += x / l->out_w;
        x %= l->out_w;
    }
}

void em_fully_connected(const em_fully_connected_t *l, const int8_t *in, int8_t *out,
                        void *scratch) {
    if (!em_mac16_covers(l->channels, l->out_n, l->in_n)) {
        em_fully_connected_portable(l, in, out);
        return;
    }
    const scratch_t s = split(scratch, l->in_n);
    const uint32_t most = em_mac16_block_pixels(l->in_n, l->rows);
    const uint32_t stride = em_mac16_pixel_stride(l->in_n);
    const int32_t addend = em_mac16_activation_addend(l->in_zero_point);
    for (uint32_t row = 0; row < l->rows;) {
        const uint32_t n = l->rows - row < most ? l->rows - row : most;
        for (uint32_t i = 0; i < n; i++) {
            em_mac16_widen_any(in + (row + i) * l->in_n, s.pixels + i * stride, l->in_n, addend);
        }
        int8_t *to = out + row * l->out_n;
        multiply(&s, n, l->in_n, l->weights, l->channels, l->out_n, l->out_zero_point,
                 l->act_min >= l->out_zero_point, to);
        em_mac16_clamp(to, n * l->out_n, l->act_min, l->act_max);
        row += n;
    }
}
