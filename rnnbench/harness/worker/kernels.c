/* The two things that no matrix product can do faster: multiply-adds on registers, and reading memory into registers.
 *
 * VALUE is the type of a number, `float` or `double`. With BFLOAT16_PAIRS, products of two pairs of bfloat16 are added
 * to each float in one instruction (AVX512_BF16). Vectors are as wide as the processor's, and there are enough
 * independent chains of them to hide the latency of an instruction, but not more than it has registers.
 */
#if defined(BFLOAT16_PAIRS) && defined(__AVX512BF16__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define WIDTH 64
#define CHAINS 24
#define REGISTER "v"
#elif defined(__AVX__)
#define WIDTH 32
#define CHAINS 12
#define REGISTER "x"
#elif defined(__aarch64__)
#define WIDTH 16
#define CHAINS 24
#define REGISTER "w"
#else
#define WIDTH 16
#define CHAINS 12
#define REGISTER "x"
#endif

typedef VALUE vector __attribute__((vector_size(WIDTH)));

#if !defined(BFLOAT16_PAIRS)
#define FACTORS 1 /* of each sum in one instruction */
#define MULTIPLY_ADD(sum, factor, summand) ((sum) * (factor) + (summand))
#elif defined(__AVX512BF16__)
#define FACTORS 2
#define MULTIPLY_ADD(sum, factor, summand) \
    ((vector)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(factor), (__m512bh)(summand)))
#else
#define FACTORS 0 /* the compiler does not know the instruction */
#define MULTIPLY_ADD(sum, factor, summand) (sum)
#endif

/* Multiply-adds of one call with this many rounds; 0 if this compiler can't build them. */
double multiply_adds(long rounds) { return (double)rounds * CHAINS * (WIDTH / sizeof(VALUE)) * FACTORS; }

/* Values that the compiler can't know, so that it can't compute the loop beforehand. */
static vector unknown(VALUE value) {
    vector result = {0};
    result += value;
    __asm__ volatile("" : "+m"(result));
    return result;
}

void arithmetic(long rounds) {
    vector chains[CHAINS], factor = unknown((VALUE)0.999), summand = unknown((VALUE)0.001);
#pragma GCC unroll 32
    for (int chain = 0; chain < CHAINS; chain++) chains[chain] = unknown((VALUE)chain);
    for (long round = 0; round < rounds; round++) {
#pragma GCC unroll 32
        for (int chain = 0; chain < CHAINS; chain++) chains[chain] = MULTIPLY_ADD(chains[chain], factor, summand);
    }
#pragma GCC unroll 32
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : : "m"(chains[chain])); /* the result is used */
}

/* Read `bytes` at `from`, a multiple of 16 vectors, this many times. */
void reading(const vector *from, long bytes, long rounds) {
    for (long round = 0; round < rounds; round++) {
        const vector *end = from + bytes / WIDTH;
        for (const vector *at = from; at < end; at += 16) {
#pragma GCC unroll 16
            for (int index = 0; index < 16; index++) {
                vector value = at[index];
                __asm__ volatile("" : : REGISTER(value)); /* in a register */
            }
        }
    }
}
