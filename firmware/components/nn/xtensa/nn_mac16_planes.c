/* 3x3 convolution in planes: a few input rows of four channels are spread into int16 planes with
 * their padding, which the assembly then walks, all rows of one output channel per call.
 *
 * Depthwise layers take four channels (one word of NHWC) at a time. A convolution of one channel,
 * the first layer of an audio network, is the same with all output channels on one plane.
 */
#include "nn_mac16.h"

#include <string.h>

enum { CHANNELS = 4, KERNEL = 3, MAX_ROWS = 11 };

static bool single_channel(const em_conv2d_t *l) {
    return l->in_c == 1;
}

bool em_mac16_fits_planes(const em_conv2d_t *l, const int8_t *in) {
    const uint32_t width = single_channel(l) ? EM_MAC16_ROW : EM_MAC16_PLANE;
    const bool shape = single_channel(l) || (l->in_c == l->out_c && l->in_c % CHANNELS == 0);
    return shape && l->kernel_h == KERNEL && l->kernel_w == KERNEL && l->dilation_h == 1 &&
           l->dilation_w == 1 && l->stride_h <= 2 && l->stride_w <= 2 && ((uintptr_t)in & 3) == 0 &&
           (uint32_t)l->pad_left + l->in_w <= width &&
           (uint32_t)(l->out_w - 1) * l->stride_w + KERNEL <= width;
}

typedef struct {
    const em_conv2d_t *layer;
    const int8_t *in;
    uint32_t in_ring_rows;
    int16_t *planes;
} source_t;

/* Input rows of one block for the channels from `c` on. */
static void load_planes(const source_t *s, int32_t first_row, uint32_t n_rows, uint32_t c) {
    const em_conv2d_t *l = s->layer;
    const int32_t addend = em_mac16_activation_addend(l->in_zero_point);
    for (uint32_t i = 0; i < n_rows; i++) {
        const int32_t y = first_row + (int32_t)i;
        if (y < 0 || y >= l->in_h) {
            continue;
        }
        const int8_t *row = s->in + ((uint32_t)y % s->in_ring_rows) * l->in_w * l->in_c;
        int16_t *to = s->planes + i * EM_MAC16_ROW + l->pad_left;
        if (single_channel(l)) {
            em_mac16_widen_any(row, to, l->in_w, addend);
        } else {
            em_mac16_planes(row + c, to, l->in_w, l->in_c, addend);
        }
    }
}

static void load_weights(const em_conv2d_t *l, uint32_t c, int16_t *to) {
    const bool one = single_channel(l);
    const em_weight_t *from = l->weights + (one ? c * EM_PAD4(KERNEL * KERNEL) : c);
    const uint32_t step = one ? 1 : l->out_c;
    for (uint32_t i = 0; i < KERNEL * KERNEL; i++, from += step) {
        to[i] = (int16_t)(2 * *from);
    }
}

/* `rows` output rows of one channel that lie one behind the other; `row` is column 0 of the plane.
 */
static void output_rows(const em_conv2d_t *l, const int16_t *row, const int16_t *weights,
                        em_mac16_channel_t *channel, em_mac16_depthwise_t *kernel, uint32_t rows,
                        int8_t *out) {
    const uint32_t pairs = l->out_w / 2u;
    const uint32_t row_values = l->stride_h * EM_MAC16_ROW;
    channel->row_step = row_values * sizeof(int16_t);
    channel->out_stride = l->out_c;
    if (l->out_w % 2 == 0) {
        channel->n = pairs;
        channel->rows = rows;
        channel->out_row_step = 0;
        kernel(row, weights, out, channel);
        return;
    }
    /* Odd rows: a pair too many spills into the first pixel of the next row, which follows. */
    if (rows > 1) {
        channel->n = pairs + 1;
        channel->rows = rows - 1;
        channel->out_row_step = -(int32_t)l->out_c;
        kernel(row, weights, out, channel);
    }
    /* The last row must not spill: its last pixel is computed apart. */
    const int16_t *last = row + (rows - 1) * row_values;
    const uint32_t x = l->out_w - 1u;
    int8_t *to = out + (rows - 1) * l->out_w * l->out_c;
    int8_t pair[2];
    channel->rows = 1;
    channel->n = pairs;
    kernel(last, weights, to, channel);
    channel->n = 1;
    channel->out_stride = 1;
    kernel(last + x * l->stride_w, weights, pair, channel);
    to[x * l->out_c] = pair[0];
}

void em_mac16_planes_conv(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows,
                          int8_t *out, uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end,
                          int16_t *planes) {
    const source_t s = {l, in, in_ring_rows, planes};
    const bool relu = l->act_min >= l->out_zero_point;
    em_mac16_depthwise_t *const kernel =
        l->stride_w == 1 ? (relu ? em_mac16_depthwise_s1_relu : em_mac16_depthwise_s1)
                         : (relu ? em_mac16_depthwise_s2_relu : em_mac16_depthwise_s2);
    const uint32_t channels = single_channel(l) ? l->out_c : CHANNELS;
    const uint32_t plane_step = single_channel(l) ? 0 : EM_MAC16_PLANE;
    const uint32_t most = (MAX_ROWS - KERNEL) / l->stride_h + 1u;
    const uint32_t row_bytes = (uint32_t)l->out_w * l->out_c;
    uint32_t rows;
    for (uint32_t y = y_begin; y < y_end; y += rows) {
        const uint32_t ring_row = y % out_ring_rows;
        rows = y_end - y < most ? y_end - y : most;
        rows = rows < out_ring_rows - ring_row ? rows : out_ring_rows - ring_row;
        const int32_t first_row = (int32_t)(y * l->stride_h) - l->pad_top;
        const uint32_t n_rows = (rows - 1) * l->stride_h + KERNEL;
        memset(planes, 0, sizeof(int16_t) * EM_MAC16_ROW * n_rows); /* padding stays 0 */
        int8_t *to = out + ring_row * row_bytes;
        for (uint32_t c = 0; c < l->out_c; c++) {
            if (c % channels == 0) {
                load_planes(&s, first_row, n_rows, c);
            }
            int16_t weights[EM_MAC16_DOT9_STRIDE] __attribute__((aligned(4)));
            load_weights(l, c, weights);
            em_mac16_channel_t channel = em_mac16_channel(&l->channels[c], l->out_zero_point);
            output_rows(l, planes + c % channels * plane_step, weights, &channel, kernel, rows,
                        to + c);
        }
        em_mac16_clamp(to, rows * row_bytes, l->act_min, l->act_max);
    }
}
