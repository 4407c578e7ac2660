/* Inner loops for the LX6's MAC16 unit (mac16_*.S) and the arithmetic around them.
 *
 * Operands are int16 and twice their value, x' = 2 (x - zero_point), w' = 2 w, so that the
 * accumulator holds 4 sum. With it TFLite's requantisation needs one high multiplication:
 *
 *   SaturatingRoundingDoublingHighMul(sum, m) = (t + 1) >> 1,  t = (4 sum * m) >> 32
 *   RoundingDivideByPOT(., e), e >= 1:  (t + 2 [t < 0 ? -1 : 0] + 1 + 2^e) >> (e + 1)
 *
 * and the output zero point joins the addend. The correction for negative t (ties away from zero)
 * cannot change a value that is clamped at the zero point anyway: layers with a fused ReLU skip it.
 */
#ifndef EARMARK_NN_MAC16_H
#define EARMARK_NN_MAC16_H

#include <stdint.h>

/* One output channel; the offsets are known to the assembly. */
typedef struct {
    int32_t bias_times_4;
    int32_t multiplier;
    int32_t addend;      /* 1 + 2^e + (out_zero_point << (e + 1)) */
    int32_t right_shift; /* e + 1 */
    uint32_t out_stride; /* bytes from one pixel to the next */
    uint32_t n;          /* pixels; pairs of pixels for em_mac16_depthwise_* */
    uint32_t groups;     /* em_mac16_dot: taps / 4 - 1 */
    /* em_mac16_depthwise_*: */
    uint32_t rows;        /* output rows */
    uint32_t row_step;    /* bytes from one output row's first input row to the next one's */
    int32_t out_row_step; /* bytes from behind one row's last output to the next row's first */
} em_mac16_channel_t;

/* Twice the value of 4 n int8 plus an addend, as int16; src and dst 4-byte aligned. */
void em_mac16_widen(const int8_t *src, int16_t *dst, uint32_t n, int32_t addend);

/* Four channels of n neighbouring pixels into four planes, each EM_MAC16_PLANE int16 apart. */
enum { EM_MAC16_PLANE = 64 };
void em_mac16_planes(const int8_t *src, int16_t *dst, uint32_t n, uint32_t channels,
                     int32_t addend);

typedef void em_mac16_dot_t(const int16_t *x, const int16_t *weights, int8_t *out,
                            const em_mac16_channel_t *channel);

/* out[i * out_stride] = requantised dot product of pixel i with one channel's weights; pixels lie
 * one behind the other, taps each (reads 8 bytes beyond the last). Relu: act_min >= zero point. */
em_mac16_dot_t em_mac16_dot;
em_mac16_dot_t em_mac16_dot_relu;

/* The same for nine taps (stride of a pixel: ten int16) with the weights in registers. */
em_mac16_dot_t em_mac16_dot9;
em_mac16_dot_t em_mac16_dot9_relu;

/* 16, 24, 32, 48 and 64 taps without an inner loop. */
em_mac16_dot_t em_mac16_dot16;
em_mac16_dot_t em_mac16_dot24;
em_mac16_dot_t em_mac16_dot32;
em_mac16_dot_t em_mac16_dot48;
em_mac16_dot_t em_mac16_dot64;

/* 3x3 on one plane, rows EM_MAC16_ROW int16 apart, from column 0 on; two outputs per step, nine
 * weights. s1, s2: horizontal stride. */
enum { EM_MAC16_ROW = 4 * EM_MAC16_PLANE };
typedef void em_mac16_depthwise_t(const int16_t *rows, const int16_t *weights, int8_t *out,
                                  const em_mac16_channel_t *channel);
em_mac16_depthwise_t em_mac16_depthwise_s1, em_mac16_depthwise_s1_relu;
em_mac16_depthwise_t em_mac16_depthwise_s2, em_mac16_depthwise_s2_relu;

#endif
