/* What the compiler expects of a C library: Debian has none for the windowed ABI. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);
int strcmp(const char *a, const char *b);

typedef uint32_t __attribute__((may_alias)) word_t;

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((((uintptr_t)d | (uintptr_t)s) & 3) == 0) {
        for (; n >= 4; n -= 4, d += 4, s += 4) {
            *(word_t *)d = *(const word_t *)s;
        }
    }
    while (n-- > 0) {
        *d++ = *s++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t n) {
    uint8_t *d = to;
    const uint8_t *s = from;
    if (d <= s || d >= s + n) {
        return memcpy(to, from, n);
    }
    while (n-- > 0) {
        d[n] = s[n];
    }
    return to;
}

void *memset(void *to, int value, size_t n) {
    uint8_t *d = to;
    const uint8_t byte = (uint8_t)value;
    for (; n > 0 && ((uintptr_t)d & 3) != 0; n--) {
        *d++ = byte;
    }
    const uint32_t word = 0x01010101u * byte;
    for (; n >= 4; n -= 4, d += 4) {
        *(word_t *)d = word;
    }
    while (n-- > 0) {
        *d++ = byte;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = a, *y = b;
    for (; n > 0; n--, x++, y++) {
        if (*x != *y) {
            return *x - *y;
        }
    }
    return 0;
}

int strcmp(const char *a, const char *b) {
    for (; *a != '\0' && *a == *b; a++, b++) {
    }
    return (uint8_t)*a - (uint8_t)*b;
}

/* 64-bit division, shift and subtract. */
static uint64_t divide(uint64_t n, uint64_t d, uint64_t *remainder) {
    if ((n | d) >> 32 == 0) {
        *remainder = (uint32_t)n % (uint32_t)d;
        return (uint32_t)n / (uint32_t)d;
    }
    uint64_t quotient = 0, rest = 0;
    for (int bit = 63; bit >= 0; bit--) {
        rest = (rest << 1) | ((n >> bit) & 1);
        if (rest >= d) {
            rest -= d;
            quotient |= (uint64_t)1 << bit;
        }
    }
    *remainder = rest;
    return quotient;
}

uint64_t __udivdi3(uint64_t n, uint64_t d);
uint64_t __umoddi3(uint64_t n, uint64_t d);
int64_t __divdi3(int64_t n, int64_t d);
int64_t __moddi3(int64_t n, int64_t d);

static uint64_t magnitude(int64_t v) {
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

uint64_t __udivdi3(uint64_t n, uint64_t d) {
    uint64_t remainder;
    return divide(n, d, &remainder);
}

uint64_t __umoddi3(uint64_t n, uint64_t d) {
    uint64_t remainder;
    (void)divide(n, d, &remainder);
    return remainder;
}

int64_t __divdi3(int64_t n, int64_t d) {
    uint64_t remainder;
    const uint64_t quotient = divide(magnitude(n), magnitude(d), &remainder);
    return (int64_t)((n < 0) != (d < 0) ? 0 - quotient : quotient);
}

int64_t __moddi3(int64_t n, int64_t d) {
    uint64_t remainder;
    (void)divide(magnitude(n), magnitude(d), &remainder);
    return (int64_t)(n < 0 ? 0 - remainder : remainder);
}

/* Single-precision division, rounded to nearest even (the LX6 has no divide instruction). */
typedef union {
    float value;
    uint32_t bits;
} float_bits_t;

enum { MANTISSA_BITS = 23, EXPONENT_MAX = 255, EXPONENT_BIAS = 127 };

/* Mantissa with its leading one at bit 23; *exponent is biased and may become negative. */
static uint32_t normalise(uint32_t bits, int32_t *exponent) {
    uint32_t mantissa = bits & 0x7fffffu;
    *exponent = (int32_t)(bits >> MANTISSA_BITS & EXPONENT_MAX);
    if (*exponent > 0) {
        return mantissa | 0x800000u;
    }
    *exponent = 1;
    while (mantissa != 0 && (mantissa & 0x800000u) == 0) {
        mantissa <<= 1;
        --*exponent;
    }
    return mantissa;
}

/* Infinities, zeros and NaNs; 0 when both operands are finite and not zero. */
static int special_quotient(float_bits_t a, float_bits_t b, float_bits_t *quotient) {
    const uint32_t infinity = 0x7f800000u, sign = (a.bits ^ b.bits) & 0x80000000u;
    const uint32_t x = a.bits & 0x7fffffffu, y = b.bits & 0x7fffffffu;
    if (x > infinity || y > infinity || (x == infinity && y == infinity) || (x == 0 && y == 0)) {
        quotient->bits = 0x7fc00000u;
        return 1;
    }
    if (x == infinity || y == 0) {
        quotient->bits = sign | infinity;
        return 1;
    }
    quotient->bits = sign;
    return x == 0 || y == infinity;
}

float __divsf3(float dividend, float divisor);

float __divsf3(float dividend, float divisor) {
    float_bits_t a = {dividend}, b = {divisor}, quotient;
    if (special_quotient(a, b, &quotient)) {
        return quotient.value;
    }
    int32_t exponent_a, exponent_b;
    uint32_t rest = normalise(a.bits, &exponent_a);
    const uint32_t denominator = normalise(b.bits, &exponent_b);
    int32_t exponent = exponent_a - exponent_b + EXPONENT_BIAS;
    if (rest < denominator) {
        rest <<= 1;
        exponent--;
    }
    uint32_t q = 0; /* 24 bits, a guard bit and a sticky bit */
    for (int bit = 0; bit <= MANTISSA_BITS + 1; bit++) {
        q <<= 1;
        if (rest >= denominator) {
            rest -= denominator;
            q |= 1;
        }
        rest <<= 1;
    }
    q = q << 1 | (rest != 0);
    if (exponent <= 0) { /* subnormal */
        const int32_t shift = 1 - exponent < 31 ? 1 - exponent : 31;
        q = q >> shift | ((q & ((1u << shift) - 1)) != 0);
        exponent = 0;
    }
    const uint32_t low = q & 3;
    q >>= 2;
    q += low == 3 || (low == 2 && (q & 1));
    const uint32_t sign = quotient.bits;
    quotient.bits = exponent == 0 ? q : ((uint32_t)(exponent - 1) << MANTISSA_BITS) + q;
    if (exponent >= EXPONENT_MAX) {
        quotient.bits = 0x7f800000u;
    }
    quotient.bits |= sign;
    return quotient.value;
}
