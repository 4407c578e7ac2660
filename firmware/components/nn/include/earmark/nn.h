/* int8 neural network kernels: bit-exact with TensorFlow Lite Micro's reference kernels.
 *
 * Activations are int8, channels last (NHWC). Kernels are pure functions on caller-owned memory: no
 * malloc, no globals. Their parameters come from `earmark compile`, which has validated them.
 *
 * Maps are addressed as row rings, so that one kernel serves whole maps and the line buffers of the
 * RAM-optimised mode: row y lies at base + (y % ring_rows) * row_bytes; whole map: ring_rows =
 * height. A kernel computes output rows y_begin..y_end-1. For row y it reads input rows from y *
 * stride_h - pad_top on and writes nothing but row y: the memory plan overlaps maps on that
 * promise.
 */
#ifndef EARMARK_NN_H
#define EARMARK_NN_H

#include <stddef.h>
#include <stdint.h>

/* Weights stay int8 in flash on every target; MAC16 kernels widen them once per block of pixels. */
typedef int8_t em_weight_t;

/* Bias and requantisation of one output channel: real multiplier = multiplier * 2^(shift - 31). */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t shift; /* > 0: left */
} em_channel_t;

/* Convolution, also grouped; depthwise when used with em_depthwise_conv2d. */
typedef struct {
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t dilation_h, dilation_w;
    uint16_t pad_top, pad_left;
    uint16_t groups;
    int16_t in_zero_point, out_zero_point;
    int16_t act_min, act_max;
    /* conv: [out_c][EM_PAD4(kernel_h * kernel_w * in_c / groups)], zeros as padding;
     * depthwise: [kernel_h * kernel_w][out_c]. */
    const em_weight_t *weights;
    const em_channel_t *channels; /* out_c entries and one spare, so that a kernel may read ahead */
} em_conv2d_t;

#define EM_PAD4(n) (((n) + 3u) & ~3u)

void em_conv2d(const em_conv2d_t *layer, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
               uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end, void *scratch);
void em_depthwise_conv2d(const em_conv2d_t *layer, const int8_t *in, uint32_t in_ring_rows,
                         int8_t *out, uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end,
                         void *scratch);

typedef struct {
    uint32_t rows, in_n, out_n;
    int16_t in_zero_point, out_zero_point;
    int16_t act_min, act_max;
    const em_weight_t *weights; /* [out_n][EM_PAD4(in_n)] */
    const em_channel_t *channels;
} em_fully_connected_t;

void em_fully_connected(const em_fully_connected_t *layer, const int8_t *in, int8_t *out,
                        void *scratch);

/* The portable versions, for shapes that a target's own kernels do not cover. */
void em_conv2d_portable(const em_conv2d_t *layer, const int8_t *in, uint32_t in_ring_rows,
                        int8_t *out, uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end);
void em_depthwise_conv2d_portable(const em_conv2d_t *layer, const int8_t *in, uint32_t in_ring_rows,
                                  int8_t *out, uint32_t out_ring_rows, uint32_t y_begin,
                                  uint32_t y_end);
void em_fully_connected_portable(const em_fully_connected_t *layer, const int8_t *in, int8_t *out);

typedef struct {
    uint16_t in_h, in_w, channels;
    uint16_t out_h, out_w;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t pad_top, pad_left;
    int16_t act_min, act_max;
} em_pool2d_t;

void em_average_pool2d(const em_pool2d_t *layer, const int8_t *in, uint32_t in_ring_rows,
                       int8_t *out, uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end);
void em_max_pool2d(const em_pool2d_t *layer, const int8_t *in, uint32_t in_ring_rows, int8_t *out,
                   uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end);

#define EM_MEAN_DIMS 3

/* Mean over some axes; neighbouring axes of the same fate are merged, unused ones have size 1. */
typedef struct {
    uint32_t kept[EM_MEAN_DIMS], kept_stride[EM_MEAN_DIMS];
    uint32_t reduced[EM_MEAN_DIMS], reduced_stride[EM_MEAN_DIMS];
    int32_t in_zero_point_times_count;
    int32_t multiplier, shift; /* includes the division by the number of elements */
    int16_t out_zero_point;
} em_mean_t;

void em_mean(const em_mean_t *layer, const int8_t *in, int8_t *out);

/* out = requantise(scaled(a) + sign * scaled(b)). */
typedef struct {
    int16_t a_zero_point, b_zero_point, out_zero_point;
    int16_t act_min, act_max;
    int16_t sign; /* +1 or -1 */
    int32_t a_multiplier, b_multiplier, out_multiplier;
    int32_t a_shift, b_shift, out_shift; /* <= 0 */
} em_add_t;

typedef struct {
    int16_t a_zero_point, b_zero_point, out_zero_point;
    int16_t act_min, act_max;
    int32_t multiplier, shift;
} em_mul_t;

/* Steps of 0 repeat one element (broadcasting). out may be a or b where the step is 1. */
void em_add(const em_add_t *layer, const int8_t *a, uint32_t a_step, const int8_t *b,
            uint32_t b_step, int8_t *out, uint32_t n);
void em_mul(const em_mul_t *layer, const int8_t *a, uint32_t a_step, const int8_t *b,
            uint32_t b_step, int8_t *out, uint32_t n);

/* out[i] = table[in[i] + 128]: every function of one int8 (logistic, relu, requantisation ...). */
void em_lookup(const int8_t table[256], const int8_t *in, int8_t *out, uint32_t n);

/* exp_q31[d] = exp of the scaled difference -d, Q0.31. */
void em_softmax(const int32_t exp_q31[256], const int8_t *in, int8_t *out, uint32_t rows,
                uint32_t n);

void em_quantize(float scale, int32_t zero_point, const float *in, int8_t *out, uint32_t n);
void em_dequantize(float scale, int32_t zero_point, const int8_t *in, float *out, uint32_t n);

#define EM_COPY_DIMS 6

/* Strided copy: transpose, slice, pad and concatenation. Strides and offsets in bytes. */
typedef struct {
    uint32_t dims[EM_COPY_DIMS];
    int32_t src_stride[EM_COPY_DIMS], dst_stride[EM_COPY_DIMS];
    uint32_t src_offset, dst_offset;
    uint32_t block_bytes; /* contiguous bytes per innermost step */
} em_copy_t;

void em_copy(const em_copy_t *layer, const void *src, void *dst);

#endif
