/* Depthwise convolution of any shape: the taps of each pixel are gathered, as in a convolution.
 * 3x3, the common case, is faster in planes (nn_mac16_planes.c). */
#include "nn_mac16.h"

#include <string.h>

typedef struct {
    const em_conv2d_t *layer;
    const int8_t *in;
    uint32_t in_ring_rows;
    int16_t *scratch;
} source_t;

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
    em_mac16_dot_t *const dot = em_mac16_select_dot(taps, l->act_min >= l->out_zero_point);
    const uint32_t most = em_mac16_block_pixels(taps, l->out_w);
    int16_t *const weights = s->scratch, *const pixels = weights + padded + 4;
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
                dot(pixels, weights, row + x * l->out_c + c, &channel);
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
    if (em_mac16_fits_planes(l, in)) {
        em_mac16_planes_conv(l, in, in_ring_rows, out, out_ring_rows, y_begin, y_end, scratch);
        return;
    }
    depthwise_gathered(&s, out, out_ring_rows, y_begin, y_end);
    const uint32_t row_bytes = (uint32_t)l->out_w * l->out_c;
    for (uint32_t y = y_begin; y < y_end; y++) {
        em_mac16_clamp(out + y % out_ring_rows * row_bytes, row_bytes, l->act_min, l->act_max);
    }
}
