/* Vectors of the processor that code is built for: how wide they are, and how many registers hold them.
 *
 * VALUE is the type of a lane, `float` unless it is defined before.
 */
#include <stdint.h>

#ifndef VALUE
#define VALUE float
#endif

#if defined(__AVX512F__)
#define WIDTH 64 /* bytes of a vector */
#define MANY_REGISTERS 1 /* 32, else 16 */
#elif defined(__AVX__)
#define WIDTH 32
#define MANY_REGISTERS 0
#else
#define WIDTH 16
#ifdef __aarch64__
#define MANY_REGISTERS 1
#else
#define MANY_REGISTERS 0
#endif
#endif
#define LANES (WIDTH / (long)sizeof(VALUE))

/* May lie anywhere that a single value may, and share its memory. */
typedef VALUE vector __attribute__((vector_size(WIDTH), aligned(sizeof(VALUE)), may_alias));

static long smaller(long a, long b) { return a < b ? a : b; }
