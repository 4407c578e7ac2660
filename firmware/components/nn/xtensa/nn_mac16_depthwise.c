/* Depthwise convolution, channel by channel.
 *
 * 3x3 with four channels per word: a few rows of four channels are spread into planes, which the
 * assembly walks. Every other shape: the taps of each pixel are gathered, as in a convolution.
 */
#include "nn_mac16.h"

#include <string.h>

enum { CHANNELS = 4, KERNEL = 3, MAX_ROWS = 11 };
enum { ROW_VALUES = CHANNELS * EM_MAC16_PLANE };

typedef struct {
    const em_conv2d_t *layer;
    const int8_t *in;
    uint32_t in_ring_rows;
    int16_t *planes; /* MAX_ROWS rows of CHANNELS planes */
} source_t;

static bool fits_planes(const em_conv2d_t *l, const int8_t *in) {
    return l->kernel_h == KERNEL && l->kernel_w == KERNEL && l->dilation_h == 1 &&
           l->dilation_w == 1 && l->stride_h <= 2 && (l->stride_w == 1 || l->stride_w == 2) &&
           l->in_c == l->out_c && l->in_c % CHANNELS == 0 && ((uintptr_t)in & 3) == 0 &&
           l->pad_left + l->in_w <= EM_MAC16_PLANE &&
           (uint32_t)(l->out_w - 1) * l->stride_w + KERNEL <= EM_MAC16_PLANE;
}

/* Input rows of one block for the four channels from `c` on. */
static void load_planes(const source_t *s, int32_t first_row, uint32_t n_rows, uint32_t c) {
    const em_conv2d_t *l = s->layer;
    const int32_t addend = em_mac16_activation_addend(l->in_zero_point);
    for (uint32_t i = 0; i < n_rows; i++) {
        const int32_t y = first_row + (int32_t)i;
        if (y >= 0 && y < l->in_h) {
            const int8_t *row = s->in + ((uint32_t)y % s->in_ring_rows) * l->in_w * l->in_c;
            em_mac16_planes(row + c, s->planes + i * ROW_VALUES + l->pad_left, l->in_w, l->in_c,
                            addend);
        }
    }
}

/* One output row of one channel; `row` is column 0 of the plane's first input row. */
static void output_row(const em_conv2d_t *l, const int16_t *row, const int16_t *weights,
                       em_mac16_channel_t *channel, em_mac16_depthwise_t *kernel, int8_t *out) {
    const uint32_t row_bytes = ROW_VALUES * sizeof(int16_t);
    channel->out_stride = l->out_c;
    channel->n = l->out_w / 2;
    kernel(row, weights, out, channel, row_bytes);
    if (l->out_w % 2 != 0) { /* the last pixel of an odd row: its pair goes elsewhere */
        int8_t pair[2];
        const uint32_t x = l->out_w - 1u;
        channel->out_stride = 1;
        channel->n = 1;
        kernel(row + x * l->stride_w, weights, pair, channel, row_bytes);
        out[x * l->out_c] = pair[0];
    }
}

static void depthwise_planes(const source_t *s, int8_t *out, uint32_t out_ring_rows,
                             uint32_t y_begin, uint32_t y_end) {
    const em_conv2d_t *l = s->layer;
    const bool relu = l->act_min >= l->out_zero_point;
    em_mac16_depthwise_t *const kernel =
        l->stride_w == 1 ? (relu ? em_mac16_depthwise_s1_relu : em_mac16_depthwise_s1)
                         : (relu ? em_mac16_depthwise_s2_relu : em_mac16_depthwise_s2);
    const uint32_t row_bytes = (uint32_t)l->out_w * l->out_c;
    const uint32_t most = (MAX_ROWS - KERNEL) / l->stride_h + 1u;
    for (uint32_t y = y_begin; y < y_end; y += most) {
        const uint32_t rows = y_end - y < most ? y_end - y : most;
        const int32_t first_row = (int32_t)(y * l->stride_h) - l->pad_top;
        const uint32_t n_rows = (rows - 1) * l->stride_h + KERNEL;
        memset(s->planes, 0, sizeof(int16_t) * ROW_VALUES * n_rows); /* padding stays 0 */
        for (uint32_t c = 0; c < l->out_c; c++) {
            if (c % CHANNELS == 0) {
                load_planes(s, first_row, n_rows, c);
            }
            int16_t weights[EM_MAC16_DOT9_STRIDE] __attribute__((aligned(4)));
            const em_weight_t *from = l->weights + c;
            for (uint32_t i = 0; i < KERNEL * KERNEL; i++, from += l->out_c) {
                weights[i] = (int16_t)(2 * *from);
            }
            em_mac16_channel_t channel = em_mac16_channel(&l->channels[c], l->out_zero_point);
            const int16_t *plane = s->planes + c % CHANNELS * EM_MAC16_PLANE;
            for (uint32_t i = 0; i < rows; i++, plane += l->stride_h * ROW_VALUES) {
                output_row(l, plane, weights, &channel, kernel,
                           out + (y + i) % out_ring_rows * row_bytes + c);
            }
        }
    }
}

/* All taps of one pixel and input channel. */
static int16_t *gather(const source_t *s, uint32_t y, uint32_t x, uint32_t in_channel,
                       int16_t *to) {
    const em_conv2d_t *l = s->layer;
    const int32_t addend = em_mac16_activation_addend(l->in_zero_point);
    int32_t in_y = (int32_t)(y * l->stride_h) - l->pad_top;
    for (uint32_t ky = 0; ky < l->kernel_h; ky++, in_y += l->dilation_h) {
        const bool row_inside = in_y >= 0 && in_y < l->in_h;
        const uint32_t row = row_inside ? (uint32_t)in_y % s->in_ring_rows * l->in_w : 0;
        int32_t in_x = (int32_t)(x * l->stride_w) - l->pad_left;
        for (uint32_t kx = 0; kx < l->kernel_w; kx++, in_x += l->dilation_w) {
            const bool inside = row_inside && in_x >= 0 && in_x < l->in_w;
            const int8_t *from = s->in + in_channel + (row + (uint32_t)in_x) * l->in_c;
            *to++ = (int16_t)(inside ? 2 * *from + addend : 0);
        }
    }
    return to;
}

static void depthwise_gathered(const source_t *s, int8_t *out, uint32_t out_ring_rows,
                               uint32_t y_begin, uint32_t y_end) {
    const em_conv2d_t *l = s->layer;
    const uint32_t taps = (uint32_t)l->kernel_h * l->kernel_w, padded = EM_PAD4(taps);
    const uint32_t stride = em_mac16_pixel_stride(taps);
    const uint32_t multiplier = (uint32_t)l->out_c / l->in_c;
    const bool relu = l->act_min >= l->out_zero_point;
    const uint32_t most = em_mac16_block_pixels(taps, l->out_w);
    int16_t *const weights = s->planes, *const pixels = weights + padded + 4;
    memset(weights, 0, sizeof *weights * padded);
    for (uint32_t y = y_begin; y < y_end; y++) {
        int8_t *row = out + y % out_ring_rows * ((uint32_t)l->out_w * l->out_c);
        for (uint32_t x = 0; x < l->out_w; x += most) {
            const uint32_t n = l->out_w - x < most ? l->out_w - x : most;
            for (uint32_t c = 0; c < l->out_c; c++) {
                for (uint32_t i = 0; c % multiplier == 0 && i < n; i++) {
                    gather(s, y, x + i, c / multiplier, pixels + i * stride);
                }
                for (uint32_t i = 0; i < taps; i++) {
                    weights[i] = (int16_t)(2 * l->weights[i * l->out_c + c]);
                }
                em_mac16_channel_t channel = em_mac16_channel(&l->channels[c], l->out_zero_point);
                channel.out_stride = l->out_c;
                channel.n = n;
                channel.groups = padded / 4 - 1;
                em_mac16_pixels(pixels, weights, row + x * l->out_c + c, taps, &channel, relu);
            }
        }
    }
}

void em_depthwise_conv2d(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
                         uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end, void *scratch) {
    const uint32_t taps = (uint32_t)l->kernel_h * l->kernel_w;
    if (!em_mac16_covers(l->channels, l->out_c, taps)) {
        em_depthwise_conv2d_portable(l, in, in_ring_rows, out, out_ring_rows, y_begin, y_end);
        return;
    }
    const source_t s = {l, in, in_ring_rows, scratch};
    if (fits_planes(l, in)) {
        depthwise_planes(&s, out, out_ring_rows, y_begin, y_end);
    } else {
        depthwise_gathered(&s, out, out_ring_rows, y_begin, y_end);
    }
    const uint32_t row_bytes = (uint32_t)l->out_w * l->out_c;
    for (uint32_t y = y_begin; y < y_end; y++) {
        em_mac16_clamp(out + y % out_ring_rows * row_bytes, row_bytes, l->act_min, l->act_max);
    }
}
