/* Convolution and fully connected layers in portable C. */
#include "earmark/nn.h"
#include "nn_requantize.h"

static int8_t finish(int32_t sum, const em_channel_t *channel, int32_t out_zero_point, int32_t low,
                     int32_t high) {
    const int32_t scaled = em_requantize(sum + channel->bias, channel->multiplier, channel->shift);
    return em_clamp_int8(scaled + out_zero_point, low, high);
}

static int32_t dot(const int8_t *in, const em_weight_t *weights, uint32_t n, int32_t zero_point) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += (in[i] - zero_point) * weights[i];
    }
    return sum;
}

/* One output value: taps outside the map contribute nothing (their real value is 0). */
static int32_t window(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows, int32_t y0,
                      int32_t x0, const em_weight_t *weights, uint32_t depth) {
    const uint32_t row_bytes = (uint32_t)l->in_w * l->in_c;
    int32_t sum = 0;
    for (uint32_t ky = 0; ky < l->kernel_h; ky++) {
        const int32_t y = y0 + (int32_t)(ky * l->dilation_h);
        if (y < 0 || y >= l->in_h) {
            continue;
        }
        const int8_t *row = in + ((uint32_t)y % in_ring_rows) * row_bytes;
        for (uint32_t kx = 0; kx < l->kernel_w; kx++) {
            const int32_t x = x0 + (int32_t)(kx * l->dilation_w);
            if (x >= 0 && x < l->in_w) {
                sum += dot(row + (uint32_t)x * l->in_c, weights + (ky * l->kernel_w + kx) * depth,
                           depth, l->in_zero_point);
            }
        }
    }
    return sum;
}

void em_conv2d_portable(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
                        uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end) {
    const uint32_t depth = (uint32_t)l->in_c / l->groups;
    const uint32_t channels_per_group = (uint32_t)l->out_c / l->groups;
    const uint32_t weights_per_channel = EM_PAD4((uint32_t)l->kernel_h * l->kernel_w * depth);
    for (uint32_t y = y_begin; y < y_end; y++) {
        int8_t *q = out + (y % out_ring_rows) * ((uint32_t)l->out_w * l->out_c);
        const int32_t y0 = (int32_t)(y * l->stride_h) - l->pad_top;
        for (uint32_t x = 0; x < l->out_w; x++) {
            const int32_t x0 = (int32_t)(x * l->stride_w) - l->pad_left;
            for (uint32_t c = 0; c < l->out_c; c++) {
                const int8_t *group = in + (c / channels_per_group) * depth;
                const int32_t sum = window(l, group, in_ring_rows, y0, x0,
                                           l->weights + c * weights_per_channel, depth);
                *q++ = finish(sum, &l->channels[c], l->out_zero_point, l->act_min, l->act_max);
            }
        }
    }
}

void em_depthwise_conv2d_portable(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows,
                                  int8_t *out, uint32_t out_ring_rows, uint32_t y_begin,
                                  uint32_t y_end) {
    const uint32_t row_bytes = (uint32_t)l->in_w * l->in_c;
    const uint32_t multiplier = (uint32_t)l->out_c / l->in_c;
    for (uint32_t y = y_begin; y < y_end; y++) {
        int8_t *q = out + (y % out_ring_rows) * ((uint32_t)l->out_w * l->out_c);
        const int32_t y0 = (int32_t)(y * l->stride_h) - l->pad_top;
        for (uint32_t x = 0; x < l->out_w; x++) {
            const int32_t x0 = (int32_t)(x * l->stride_w) - l->pad_left;
            for (uint32_t c = 0; c < l->out_c; c++) {
                int32_t sum = 0;
                for (uint32_t ky = 0; ky < l->kernel_h; ky++) {
                    const int32_t in_y = y0 + (int32_t)(ky * l->dilation_h);
                    if (in_y < 0 || in_y >= l->in_h) {
                        continue;
                    }
                    const int8_t *row = in + ((uint32_t)in_y % in_ring_rows) * row_bytes;
                    for (uint32_t kx = 0; kx < l->kernel_w; kx++) {
                        const int32_t in_x = x0 + (int32_t)(kx * l->dilation_w);
                        if (in_x < 0 || in_x >= l->in_w) {
                            continue;
                        }
                        const int32_t value = row[(uint32_t)in_x * l->in_c + c / multiplier];
                        sum += (value - l->in_zero_point) *
                               l->weights[(ky * l->kernel_w + kx) * l->out_c + c];
                    }
                }
                *q++ = finish(sum, &l->channels[c], l->out_zero_point, l->act_min, l->act_max);
            }
        }
    }
}

void em_fully_connected_portable(const em_fully_connected_t *l, const int8_t *in, int8_t *out) {
    for (uint32_t row = 0; row < l->rows; row++) {
        for (uint32_t c = 0; c < l->out_n; c++) {
            const int32_t sum =
                dot(in, l->weights + c * EM_PAD4(l->in_n), l->in_n, l->in_zero_point);
            *out++ = finish(sum, &l->channels[c], l->out_zero_point, l->act_min, l->act_max);
        }
        in += l->in_n;
    }
}

#ifndef EM_NN_MAC16
void em_conv2d(const em_conv2d_t *layer, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
               uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end, void *scratch) {
    (void)scratch;
    em_conv2d_portable(layer, in, in_ring_rows, out, out_ring_rows, y_begin, y_end);
}

void em_depthwise_conv2d(const em_conv2d_t *layer, const int8_t *in, uint32_t in_ring_rows,
                         int8_t *out, uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end,
                         void *scratch) {
    (void)scratch;
    em_depthwise_conv2d_portable(layer, in, in_ring_rows, out, out_ring_rows, y_begin, y_end);
}

void em_fully_connected(const em_fully_connected_t *layer, const int8_t *in, int8_t *out,
                        void *scratch) {
    (void)scratch;
    em_fully_connected_portable(layer, in, out);
}
#endif
