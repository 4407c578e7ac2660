/* What the MAC16 versions of convolution and depthwise convolution share. */
#ifndef EARMARK_NN_MAC16_GLUE_H
#define EARMARK_NN_MAC16_GLUE_H

#include "earmark/nn.h"
#include "mac16.h"

#include <stdbool.h>

/* 4 sum must fit 32 bits: taps * 255 * 128 + |bias| < 2^29. */
enum { EM_MAC16_MAX_TAPS = 8192, EM_MAC16_MAX_BIAS = 1 << 28 };
enum { EM_MAC16_MAX_EXPONENT = 20 };
/* Pixels per block: a row of weights is widened once for each block (deploy/lx6_scratch.py). */
enum { EM_MAC16_MIN_PIXELS = 4, EM_MAC16_PIXELS = 32 };
enum { EM_MAC16_SMALL_BLOCK = 2048, EM_MAC16_LARGE_BLOCK = 12288 }; /* int16 values */
enum { EM_MAC16_DOT9_TAPS = 9, EM_MAC16_DOT9_STRIDE = 10 };
enum { EM_MAC16_WIDEN_WEIGHTS = 0 };

/* Addend of em_mac16_widen for activations with this zero point. */
static inline int32_t em_mac16_activation_addend(int32_t zero_point) {
    return -2 * zero_point;
}

/* Taps of one pixel in the block: whole words, or the layout of em_mac16_dot9. */
static inline uint32_t em_mac16_pixel_stride(uint32_t taps) {
    return taps == EM_MAC16_DOT9_TAPS ? EM_MAC16_DOT9_STRIDE : EM_PAD4(taps);
}

uint32_t em_mac16_block_pixels(uint32_t taps, uint32_t n_pixels);

/* False when a channel's numbers are outside of what the kernels compute exactly. */
bool em_mac16_covers(const em_channel_t *channels, uint32_t n, uint32_t taps);

em_mac16_channel_t em_mac16_channel(const em_channel_t *channel, int32_t out_zero_point);

/* Twice the value of any number of int8 plus an addend; alignment does not matter. */
void em_mac16_widen_any(const int8_t *src, int16_t *dst, uint32_t n, int32_t addend);

em_mac16_dot_t *em_mac16_select_dot(uint32_t taps, bool relu);

/* 3x3 in planes: depthwise layers with whole words of channels, and convolutions of one channel. */
bool em_mac16_fits_planes(const em_conv2d_t *l, const int8_t *in);
void em_mac16_planes_conv(const em_conv2d_t *l, const int8_t *in, uint32_t in_ring_rows,
                          int8_t *out, uint32_t out_ring_rows, uint32_t y_begin, uint32_t y_end,
                          int16_t *planes);

/* The fused activation where int8 saturation is not enough. */
void em_mac16_clamp(int8_t *values, uint32_t n, int32_t low, int32_t high);

#endif
