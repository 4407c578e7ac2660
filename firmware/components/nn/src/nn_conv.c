/* Convolution and fully connected layers in portable C. */
#include "earmark/nn.h"
#include "nn_requantize.h"

static int8_t finish(int32_t sum, const em_channel_t *channel, int32_t out_zero_point, int32_t low,
                     int32_t high) {
    const int32_t scaled = em_requantize(sum + channel->bias, channel->multiplier, channel->shift);
    return em_clamp_int8(scaled + out_zero_point, low, high);
}

/* The narrow casts let compilers use 16-bit multiply-add instructions. */
static int32_t dot(const int8_t *in, const em_weight_t *weights, uint32_t n, int32_t zero_point) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += (int16_t)(in[i] - zero_point) * (int16_t)weights[i];
    }
    return sum;
}

/* Taps first..end-1 of a kernel axis lie inside the map; those outside contribute nothing. */
typedef struct {
    int32_t origin; /* input coordinate of tap 0 */
    uint32_t first, end;
} taps_t;

static taps_t taps_inside(uint32_t out, uint32_t stride, uint32_t pad, uint32_t dilation,
                          uint32_t kernel, uint32_t size) {
    taps_t taps = {(int32_t)(out * stride) - (int32_t)pad, 0, kernel};
    while (taps.first < kernel && taps.origin + (int32_t)(taps.first * dilation) < 0) {
        taps.first++;
    }
    while (taps.end > taps.first &&
           taps.origin + (int32_t)((taps.end - 1) * dilation) >= (int32_t)size) {
        taps.end--;
    }
    return taps;
}

/* Input row under tap ky. */
static const int8_t *row_of(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows,
                            const taps_t *rows, uint32_t ky) {
    const uint32_t y = (uint32_t)(rows->origin + (int32_t)(ky * l->dilation_h));
    return in + (y % in_ring_rows) * ((uint32_t)l->in_w * l->in_c);
}

/* One output value before requantisation. */
static int32_t window(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows,
                      const taps_t *rows, const taps_t *columns, const em_weight_t *weights) {
    const uint32_t depth = (uint32_t)l->in_c / l->groups;
    const int contiguous = l->dilation_w == 1 && l->groups == 1;
    const uint32_t run = contiguous ? columns->end - columns->first : 1;
    int32_t sum = 0;
    for (uint32_t ky = rows->first; ky < rows->end; ky++) {
        const int8_t *row = row_of(l, in, in_ring_rows, rows, ky);
        for (uint32_t kx = columns->first; kx < columns->end; kx += run) {
            const uint32_t x = (uint32_t)(columns->origin + (int32_t)(kx * l->dilation_w));
            sum += dot(row + x * l->in_c, weights + (ky * l->kernel_w + kx) * depth, run * depth,
                       l->in_zero_point);
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
        const taps_t rows =
            taps_inside(y, l->stride_h, l->pad_top, l->dilation_h, l->kernel_h, l->in_h);
        for (uint32_t x = 0; x < l->out_w; x++) {
            const taps_t columns =
                taps_inside(x, l->stride_w, l->pad_left, l->dilation_w, l->kernel_w, l->in_w);
            for (uint32_t c = 0; c < l->out_c; c++) {
                const int8_t *group = in + (c / channels_per_group) * depth;
                const int32_t sum = window(l, group, in_ring_rows, &rows, &columns,
                                           l->weights + c * weights_per_channel);
                *q++ = finish(sum, &l->channels[c], l->out_zero_point, l->act_min, l->act_max);
            }
        }
    }
}

enum { CHANNEL_BLOCK = 32 };

/* Sums of channels first..first + n - 1 at one output position: channels are the inner loop. */
static void depthwise_sums(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows,
                           const taps_t *rows, const taps_t *columns, uint32_t first, uint32_t n,
                           int32_t sums[CHANNEL_BLOCK]) {
    const uint32_t multiplier = (uint32_t)l->out_c / l->in_c;
    for (uint32_t i = 0; i < n; i++) {
        sums[i] = 0;
    }
    for (uint32_t ky = rows->first; ky < rows->end; ky++) {
        const int8_t *row = row_of(l, in, in_ring_rows, rows, ky);
        for (uint32_t kx = columns->first; kx < columns->end; kx++) {
            const uint32_t x = (uint32_t)(columns->origin + (int32_t)(kx * l->dilation_w));
            const int8_t *pixel = row + x * l->in_c;
            const em_weight_t *weights = l->weights + (ky * l->kernel_w + kx) * l->out_c + first;
            if (multiplier == 1) {
                for (uint32_t i = 0; i < n; i++) {
                    sums[i] += (int16_t)(pixel[first + i] - l->in_zero_point) * (int16_t)weights[i];
                }
                continue;
            }
            for (uint32_t i = 0; i < n; i++) {
                sums[i] += (pixel[(first + i) / multiplier] - l->in_zero_point) * weights[i];
            }
        }
    }
}

void em_depthwise_conv2d_portable(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows,
                                  int8_t *out, uint32_t out_ring_rows, uint32_t y_begin,
                                  uint32_t y_end) {
    int32_t sums[CHANNEL_BLOCK];
    for (uint32_t y = y_begin; y < y_end; y++) {
        int8_t *q = out + (y % out_ring_rows) * ((uint32_t)l->out_w * l->out_c);
        const taps_t rows =
            taps_inside(y, l->stride_h, l->pad_top, l->dilation_h, l->kernel_h, l->in_h);
        for (uint32_t x = 0; x < l->out_w; x++) {
            const taps_t columns =
                taps_inside(x, l->stride_w, l->pad_left, l->dilation_w, l->kernel_w, l->in_w);
            for (uint32_t first = 0; first < l->out_c; first += CHANNEL_BLOCK) {
                const uint32_t left = l->out_c - first;
                const uint32_t n = left < CHANNEL_BLOCK ? left : CHANNEL_BLOCK;
                depthwise_sums(l, in, in_ring_rows, &rows, &columns, first, n, sums);
                for (uint32_t i = 0; i < n; i++) {
                    *q++ = finish(sums[i], &l->channels[first + i], l->out_zero_point, l->act_min,
                                  l->act_max);
                }
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
