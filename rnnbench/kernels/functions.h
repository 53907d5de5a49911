/* Exponentials of vectors of float, and the functions of gates that are made of them. */
#include <string.h>
#ifdef __AVX__
#include <immintrin.h>
#endif

#include "vectors.h"

#define INLINE static inline __attribute__((always_inline))

typedef int32_t integers __attribute__((vector_size(WIDTH), may_alias));

/* x, or the bound that it exceeds; NaN is kept. */
INLINE vector limited(vector x, float bound) {
    const vector most = (vector){0} + bound, least = (vector){0} - bound;
#if defined(__AVX512F__)
    return (vector)_mm512_max_ps((__m512)least, _mm512_min_ps((__m512)most, (__m512)x));
#elif defined(__AVX__)
    return (vector)_mm256_max_ps((__m256)least, _mm256_min_ps((__m256)most, (__m256)x));
#else
    const integers above = x > most, below = x < least;
    return (vector)((above & (integers)most) | (below & (integers)least) | (~(above | below) & (integers)x));
#endif
}

/* exp(x) - 1 within two units in the last place, also near zero; |x| is limited to 28, and NaN is kept.
 * x is n ln 2 + r; the Taylor series of r ends below 2e-8 of its value.
 */
#define LIMIT 28.0f /* a product of three such exponentials is still a number */
#define ROUNDING 12582912.0f /* 1.5 * 2**23: a sum with it has no fraction left, and its last bits are a whole number */
#define FRACTION_BITS 23 /* of a float, and the number that stands for a power of zero */
#define POWER_OF_ZERO 127
INLINE vector expm1_of(vector x) {
    x = limited(x, LIMIT);
    const vector shifted = x * 1.44269504f + ROUNDING, n = shifted - ROUNDING;
    const vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts: the product with n is exact */
    vector series = r * (1.0f / 5040) + 1.0f / 720;
    series = series * r + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 0.5f;
    series = series * (r * r) + r;
    const integers bits = ((integers)shifted << FRACTION_BITS) + (POWER_OF_ZERO << FRACTION_BITS);
    const vector power = (vector)bits;
    return power * series + (power - 1.0f);
}

INLINE vector sigmoid_of(vector x) { return 1.0f / (expm1_of(-x) + 2.0f); }

INLINE vector tanh_of(vector x) {
    const vector e = expm1_of(x + x);
    return e / (e + 2.0f);
}
