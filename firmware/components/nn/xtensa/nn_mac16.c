/* Blocks, channel constants and widening for the MAC16 kernels. */
#include "nn_mac16.h"

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

uint32_t em_mac16_block_pixels(uint32_t taps, uint32_t n_pixels) {
    const uint32_t stride = em_mac16_pixel_stride(taps);
    uint32_t pixels = EM_MAC16_SMALL_BLOCK / stride;
    if (pixels < EM_MAC16_PIXELS) {
        pixels = smaller(EM_MAC16_PIXELS, EM_MAC16_LARGE_BLOCK / stride);
    }
    if (pixels < EM_MAC16_MIN_PIXELS) {
        pixels = EM_MAC16_MIN_PIXELS;
    }
    return smaller(pixels, n_pixels);
}

bool em_mac16_covers(const em_channel_t *channels, uint32_t n, uint32_t taps) {
    if (taps > EM_MAC16_MAX_TAPS) {
        return false;
    }
    for (uint32_t c = 0; c < n; c++) {
        const int32_t bias = channels[c].bias;
        if (bias >= EM_MAC16_MAX_BIAS || bias <= -EM_MAC16_MAX_BIAS || channels[c].shift > -1 ||
            channels[c].shift < -EM_MAC16_MAX_EXPONENT) {
            return false;
        }
    }
    return true;
}

em_mac16_channel_t em_mac16_channel(const em_channel_t *channel, int32_t out_zero_point) {
    const int32_t exponent = -channel->shift;
    return (em_mac16_channel_t){
        .bias_times_4 = channel->bias * 4,
        .multiplier = channel->multiplier,
        .addend = 1 + (1 + 2 * out_zero_point) * (1 << exponent),
        .right_shift = exponent + 1,
    };
}

void em_mac16_widen_any(const int8_t *src, int16_t *dst, uint32_t n, int32_t addend) {
    if ((((uintptr_t)src | (uintptr_t)dst | n) & 3) == 0) {
        em_mac16_widen(src, dst, n / 4, addend);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        dst[i] = (int16_t)(2 * src[i] + addend);
    }
}

em_mac16_dot_t *em_mac16_select_dot(uint32_t taps, bool relu) {
    if (em_mac16_pixel_stride(taps) == EM_MAC16_DOT9_STRIDE) {
        return relu ? em_mac16_dot9_relu : em_mac16_dot9;
    }
    if (relu) {
        switch (EM_PAD4(taps)) {
        case 16:
            return em_mac16_dot16;
        case 24:
            return em_mac16_dot24;
        case 32:
            return em_mac16_dot32;
        case 48:
            return em_mac16_dot48;
        case 64:
            return em_mac16_dot64;
        default:
            return em_mac16_dot_relu;
        }
    }
    return em_mac16_dot;
}

void em_mac16_clamp(int8_t *values, uint32_t n, int32_t low, int32_t high) {
    if (low <= INT8_MIN && high >= INT8_MAX) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const int32_t v = values[i];
        values[i] = (int8_t)(v < low ? low : v > high ? high : v);
    }
}
