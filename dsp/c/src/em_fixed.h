/* Integer arithmetic and compiler hints shared by the stages. */
#ifndef EM_FIXED_H
#define EM_FIXED_H

#include <stdint.h>

#define EM_INLINE inline __attribute__((always_inline))

/* Computes x here and nowhere else. Left alone, LLVM mixes the halves of a butterfly and splits
 * addresses until the 14 free registers of the LX6 spill; other targets have enough. */
#if defined(__XTENSA__)
#define EM_SETTLE(x) __asm__ volatile("" : "+r"(x)::"memory")
#else
#define EM_SETTLE(x) ((void)0)
#endif

/* For the Python build (EM_BUILD_HOST), which turns data sets into features: permission to
 * vectorise the next loop, none of whose iterations reads what another one writes, and where the C
 * library can choose at load time, a second copy for AVX2. The integers are the same. */
#if defined(EM_BUILD_HOST) && defined(__clang__)
#define EM_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(EM_BUILD_HOST) && defined(__GNUC__)
/* Unrolling comes first in GCC and would leave nothing to vectorise. */
#define EM_INDEPENDENT _Pragma("GCC ivdep") _Pragma("GCC unroll 1")
#else
#define EM_INDEPENDENT
#endif
#if defined(EM_BUILD_HOST) && defined(__x86_64__) && defined(__GLIBC__)
#define EM_HOST_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define EM_HOST_VECTORS
#endif

/* High word of a signed product: MULSH. With b in Q31 the result is a * b / 2, rounded down. */
static EM_INLINE int32_t em_mulsh(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b) >> 32);
}

/* High word of an unsigned product: MULUH. */
static EM_INLINE uint32_t em_muluh(uint32_t a, uint32_t b) {
    return (uint32_t)(((uint64_t)a * b) >> 32);
}

/* Number of leading zeros, x > 0. LLVM does not emit NSAU by itself. */
static EM_INLINE uint32_t em_clz32(uint32_t x) {
#if defined(__XTENSA__)
    uint32_t n;
    __asm__("nsau %0, %1" : "=r"(n) : "r"(x));
    return n;
#else
    return (uint32_t)__builtin_clz(x);
#endif
}

/* v > 0 becomes mantissa * 2^(*exponent - 31) with the mantissa's top bit set; lower bits are cut.
 */
static EM_INLINE uint32_t em_normalize(uint64_t v, int32_t *exponent) {
    const uint32_t high = (uint32_t)(v >> 32);
    const uint32_t low = (uint32_t)v;
    if (high != 0) {
        const uint32_t n = em_clz32(high);
        *exponent = 63 - (int32_t)n;
        /* Two shifts: a shift by 32 is undefined. */
        return (high << n) | ((low >> 1) >> (31 - n));
    }
    const uint32_t n = em_clz32(low);
    *exponent = 31 - (int32_t)n;
    return low << n;
}

/* log2(v) in Q16, v > 0; table: log2(1 + i / 128), i = 0..128. Error below 2^-15. */
static EM_INLINE int32_t em_log2_q16(uint64_t v, const int32_t *table) {
    int32_t exponent;
    const uint32_t mantissa = em_normalize(v, &exponent);
    const int32_t *entry = table + ((mantissa >> 24) & 127U);
    const int32_t fraction_q16 = (int32_t)((mantissa >> 8) & 0xFFFFU);
    return exponent * 65536 + entry[0] + (((entry[1] - entry[0]) * fraction_q16) >> 16);
}

#endif
