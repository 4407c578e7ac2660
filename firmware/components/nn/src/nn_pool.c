/* Average and maximum pooling over the part of the window that lies inside the map. */
#include "earmark/nn.h"
#include "nn_requantize.h"

typedef struct {
    uint32_t first, end; /* input coordinates of the window, clipped to the map */
} span_t;

static span_t clip(uint32_t out, uint32_t stride, uint32_t pad, uint32_t kernel, uint32_t size) {
    const int32_t origin = (int32_t)(out * stride) - (int32_t)pad;
    const int32_t end = origin + (int32_t)kernel;
    const span_t span = {origin<0 ? 0 : (uint32_t)origin, end>(int32_t) size ? size
                                                                             : (uint32_t)end};
    return span;
}

static int32_t rounded_mean(int32_t sum, int32_t count) {
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

void em_average_pool2d(const em_pool2d_t *l, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
                       uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end) {
    const uint32_t row_bytes = (uint32_t)l->in_w * l->channels;
    for (uint32_t y = y_begin; y < y_end; y++) {
        const span_t rows = clip(y, l->stride_h, l->pad_top, l->kernel_h, l->in_h);
        int8_t *q = out + (y % out_ring_rows) * ((uint32_t)l->out_w * l->channels);
        for (uint32_t x = 0; x < l->out_w; x++) {
            const span_t columns = clip(x, l->stride_w, l->pad_left, l->kernel_w, l->in_w);
            const uint32_t count = (rows.end - rows.first) * (columns.end - columns.first);
            for (uint32_t c = 0; c < l->channels; c++) {
                int32_t sum = 0;
                for (uint32_t iy = rows.first; iy < rows.end; iy++) {
                    const int8_t *p = in + (iy % in_ring_rows) * row_bytes + c;
                    for (uint32_t ix = columns.first; ix < columns.end; ix++) {
                        sum += p[ix * l->channels];
                    }
                }
                *q++ = em_clamp_int8(rounded_mean(sum, (int32_t)count), l->act_min, l->act_max);
            }
        }
    }
}

void em_max_pool2d(const em_pool2d_t *l, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
                   uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end) {
    const uint32_t row_bytes = (uint32_t)l->in_w * l->channels;
    for (uint32_t y = y_begin; y < y_end; y++) {
        const span_t rows = clip(y, l->stride_h, l->pad_top, l->kernel_h, l->in_h);
        int8_t *q = out + (y % out_ring_rows) * ((uint32_t)l->out_w * l->channels);
        for (uint32_t x = 0; x < l->out_w; x++) {
            const span_t columns = clip(x, l->stride_w, l->pad_left, l->kernel_w, l->in_w);
            for (uint32_t c = 0; c < l->channels; c++) {
                int32_t best = INT8_MIN;
                for (uint32_t iy = rows.first; iy < rows.end; iy++) {
                    const int8_t *p = in + (iy % in_ring_rows) * row_bytes + c;
                    for (uint32_t ix = columns.first; ix < columns.end; ix++) {
                        const int32_t value = p[ix * l->channels];
                        best = value > best ? value : best;
                    }
                }
                *q++ = em_clamp_int8(best, l->act_min, l->act_max);
            }
        }
    }
}
