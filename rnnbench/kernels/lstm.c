/* A layer of an LSTM over all steps, forward and backward, in one call each.
 *
 * Forward computes the four gates of some hidden units at once: a tile of a few rows by a few vectors is summed in
 * registers, as in `direct.c`, and what the gates make of the state follows while the sums are in the nearest cache.
 * For that, the weights of a vector of units lie together: panels (panels, inner, gates, lanes), packed in each call.
 * Threads share the units, each packs and reads its own panels, and they meet once in each step.
 *
 * Names of shapes: steps, batch, inputs, hidden; gates are i, f, g, o as in torch. Strides are in values.
 */
#include <omp.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX__
#include <immintrin.h>
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
#define LANES (WIDTH / (long)sizeof(float))
#define GATES 4
#define PANEL (GATES * LANES) /* values of a panel's row */
#define COLUMNS (2 * LANES) /* of a panel of backward */
#define MOST_PANELS 2 /* of a tile of few rows, which needs more sums side by side */
#define MOST_ROWS 6 /* of a tile, whose sums fill most registers */
#if MANY_REGISTERS
#define BACK_ROWS 12 /* of a tile of backward */
#else
#define BACK_ROWS 6
#endif
#define ROWS_AT_ONCE 48 /* whose sums stay in the nearest cache */
#define BLOCK 128 /* of the inner dimension: a part of a panel that stays there, too */
#define PATIENCE 4000 /* looks at the other threads before the core is offered to others */

typedef float vector __attribute__((vector_size(WIDTH), aligned(sizeof(float)), may_alias));
typedef int32_t integers __attribute__((vector_size(WIDTH), may_alias));
/* Has a value stand in a register: GCC would read it from memory again for each row of a tile. */
#if defined(__AVX512F__)
#define KEEP(value) __asm__("" : "+v"(value))
#elif defined(__x86_64__)
#define KEEP(value) __asm__("" : "+x"(value))
#elif defined(__aarch64__)
#define KEEP(value) __asm__("" : "+w"(value))
#else
#define KEEP(value)
#endif
#define INLINE static inline __attribute__((always_inline))

static long smaller(long a, long b) { return a < b ? a : b; }

INLINE vector load(const float *values, long lanes) {
    if (lanes >= LANES) return *(const vector *)values;
    float part[LANES] = {0};
    memcpy(part, values, (size_t)lanes * sizeof(float));
    return *(const vector *)part;
}

INLINE void store(float *values, vector from, long lanes) {
    if (lanes >= LANES)
        *(vector *)values = from;
    else
        memcpy(values, &from, (size_t)lanes * sizeof(float));
}

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
    const vector power = (vector)(((integers)shifted << 23) + (127 << 23));
    return power * series + (power - 1.0f);
}

INLINE vector sigmoid_of(vector x) { return 1.0f / (expm1_of(-x) + 2.0f); }

INLINE vector tanh_of(vector x) {
    const vector e = expm1_of(x + x);
    return e / (e + 2.0f);
}

/* Threads that meet in each step. */
static void meet(long *arrived, long expected) {
    __atomic_add_fetch(arrived, 1, __ATOMIC_ACQ_REL);
    for (long looks = 0; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < expected; looks++) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
        if (looks > PATIENCE) sched_yield();
    }
}

#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define HAS_SHUFFLES
#endif
#endif
#ifdef HAS_SHUFFLES
/* Lanes of two vectors after rows and columns of blocks of a size have changed places. */
#define UPPER(lane, size) ((lane) & (size) ? LANES + (lane) - (size) : (lane))
#define LOWER(lane, size) ((lane) & (size) ? LANES + (lane) : (lane) + (size))
#define FOUR(place, from, size)                                                                                        \
    place(from, size), place((from) + 1, size), place((from) + 2, size), place((from) + 3, size)
#if WIDTH == 64
#define PLACES(place, size) FOUR(place, 0, size), FOUR(place, 4, size), FOUR(place, 8, size), FOUR(place, 12, size)
#elif WIDTH == 32
#define PLACES(place, size) FOUR(place, 0, size), FOUR(place, 4, size)
#else
#define PLACES(place, size) FOUR(place, 0, size)
#endif
#define TURN(size)                                                                                                     \
    for (int row = 0; row < LANES; row++)                                                                              \
        if (!(row & (size))) {                                                                                         \
            const vector one = rows[row], two = rows[row + (size)];                                                    \
            rows[row] = __builtin_shufflevector(one, two, PLACES(UPPER, size));                                        \
            rows[row + (size)] = __builtin_shufflevector(one, two, PLACES(LOWER, size));                               \
        }

/* Copy a square of values turned: rows become columns. */
static void turn(float *to, long to_stride, const float *from, long from_stride) {
    vector rows[LANES];
    for (int row = 0; row < LANES; row++) rows[row] = *(const vector *)(from + row * from_stride);
    TURN(1)
    TURN(2)
#if WIDTH > 16
    TURN(4)
#endif
#if WIDTH > 32
    TURN(8)
#endif
    for (int row = 0; row < LANES; row++) *(vector *)(to + row * to_stride) = rows[row];
}
#else
static void turn(float *to, long to_stride, const float *from, long from_stride) {
    for (long row = 0; row < LANES; row++)
        for (long lane = 0; lane < LANES; lane++) to[row * to_stride + lane] = from[lane * from_stride + row];
}
#endif

/* A panel of a weight (gates * hidden, inner) that begins at a unit; lanes behind the last unit are zero. */
static void pack(float *panel, const float *weight, long stride, long hidden, long inner, long unit) {
    const long lanes = smaller(LANES, hidden - unit);
    for (long gate = 0; gate < GATES; gate++) {
        const float *rows = weight + (gate * hidden + unit) * stride;
        float *to = panel + gate * LANES;
        long k = 0;
        for (; lanes == LANES && k + LANES <= inner; k += LANES) turn(to + k * PANEL, PANEL, rows + k, stride);
        for (; k < inner; k++)
            for (long lane = 0; lane < LANES; lane++)
                to[k * PANEL + lane] = lane < lanes ? rows[lane * stride + k] : 0.0f;
    }
}

/* Add to sums of some rows (rows at a distance, vectors): left (rows, inner) times panels at a distance. */
#define TILE(ROWS, VECTORS)                                                                                            \
    static void tile_##ROWS##_##VECTORS(vector *all, long apart, const float *left, long stride, const float *right,  \
                                        long distance, long inner) {                                                   \
        vector sums[ROWS][VECTORS], factors[VECTORS];                                                                  \
        for (int row = 0; row < ROWS; row++)                                                                           \
            for (int v = 0; v < VECTORS; v++) sums[row][v] = all[row * apart + v];                                     \
        long k = 0;                                                                                                    \
        do {                                                                                                           \
            for (int v = 0; v < VECTORS; v++) {                                                                        \
                factors[v] = *(const vector *)(right + v / GATES * distance + k * PANEL + v % GATES * LANES);          \
                if (ROWS > 1) KEEP(factors[v]);                                                                        \
            }                                                                                                          \
            for (int row = 0; row < ROWS; row++)                                                                       \
                for (int v = 0; v < VECTORS; v++) sums[row][v] += left[row * stride + k] * factors[v];                 \
        } while (++k < inner);                                                                                         \
        for (int row = 0; row < ROWS; row++)                                                                           \
            for (int v = 0; v < VECTORS; v++) all[row * apart + v] = sums[row][v];                                     \
    }
typedef struct {
    void (*add)(vector *, long, const float *, long, const float *, long, long);
    int vectors; /* of one panel, or of two */
} tile;
TILE(1, 4) TILE(1, 8) TILE(2, 4)
/* For one panel and two, by rows. */
#if MANY_REGISTERS
TILE(3, 4) TILE(4, 4) TILE(5, 4) TILE(6, 4) TILE(2, 8) TILE(3, 8)
static const tile TILES[MOST_PANELS][MOST_ROWS] = {
    {{tile_1_4, 4}, {tile_2_4, 4}, {tile_3_4, 4}, {tile_4_4, 4}, {tile_5_4, 4}, {tile_6_4, 4}},
    {{tile_1_8, 8}, {tile_2_8, 8}, {tile_3_8, 8}}};
#define TWO_PANELS 3 /* rows up to which two panels fit the registers */
#else
TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
static const tile TILES[MOST_PANELS][MOST_ROWS] = {
    {{tile_1_4, 4}, {tile_2_4, 4}, {tile_3_2, 2}, {tile_4_2, 2}, {tile_5_2, 2}, {tile_6_2, 2}}, {{tile_1_8, 8}}};
#define TWO_PANELS 1
#endif

/* All that a layer's forward reads and writes. */
typedef struct {
    float *outputs; /* (steps, batch, hidden), with strides of the first two */
    long output_step, output_row;
    const float *h, *c; /* first state (batch, hidden); null for zeros */
    float *final_h, *final_c; /* (batch, hidden) */
    const float *projected; /* inputs times weight (steps, batch, gates * hidden), or null: then it is made here */
    const float *inputs; /* (steps, batch, inputs), with strides of the first two */
    long input_step, input_row;
    const float *weight_ih, *weight_hh; /* (gates * hidden, inputs), (gates * hidden, hidden) */
    const float *bias_ih, *bias_hh;     /* or null */
    float *gates, *cells; /* for backward: (steps, batch, gates * hidden), (steps, batch, hidden); or null */
    float *scratch; /* bias, panels of the state's weight, and of the input's if there is no `projected` */
    long steps, batch, input_size, hidden, is_reverse, threads;
} layer;

/* The new state of some units of one row, from the sums of their gates. */
INLINE void advance(const layer *all, const vector *sums, const float *before, float *after, float *h, float *gates,
                    long lanes) {
    const vector c = before ? load(before, lanes) : (vector){0};
    if (!gates) {
        const vector g = expm1_of(sums[2] + sums[2]), in = expm1_of(-sums[0]) + 2.0f;
        const vector forget = expm1_of(-sums[1]) + 2.0f, both = in * (g + 2.0f);
        const vector next = (c * both + g * forget) / (forget * both);
        const vector e = expm1_of(next + next), out = expm1_of(-sums[3]) + 2.0f;
        store(after, next, lanes);
        store(h, e / (out * (e + 2.0f)), lanes);
        return;
    }
    const vector i = sigmoid_of(sums[0]), f = sigmoid_of(sums[1]), g = tanh_of(sums[2]), o = sigmoid_of(sums[3]);
    const vector next = f * c + i * g;
    store(after, next, lanes);
    store(h, o * tanh_of(next), lanes);
    store(gates, i, lanes);
    store(gates + all->hidden, f, lanes);
    store(gates + 2 * all->hidden, g, lanes);
    store(gates + 3 * all->hidden, o, lanes);
}

/* A product of left (rows, inner) and panels, in blocks of `inner` whose part of a panel stays in the nearest cache. */
typedef struct {
    const float *left;
    long stride, inner;
    const float *panels;
} product;

static void add_product(vector *sums, const product *of, long panel, int panels, long rows) {
    const long heights = (rows + MOST_ROWS - 1) / MOST_ROWS, block = heights > 1 ? BLOCK : of->inner;
    const long distance = of->inner * PANEL, vectors = panels * GATES;
    for (long k = 0; k < of->inner; k += block)
        for (long part = 0; part < heights; part++) { /* of as equal height as possible */
            const long row = part * rows / heights, height = (part + 1) * rows / heights - row;
            const tile shape = TILES[panels - 1][height - 1];
            for (long v = 0; v < vectors; v += shape.vectors)
                shape.add(sums + row * vectors + v, vectors, of->left + row * of->stride + k, of->stride,
                          of->panels + (panel + v / GATES) * distance + k * PANEL + v % GATES * LANES, distance,
                          smaller(block, of->inner - k));
        }
}

/* One step of the units of some panels, for some rows. */
static void step_rows(const layer *all, long step, long previous, long panel, int panels, long row, long rows) {
    const long hidden = all->hidden, first = panel * LANES, places = (hidden + LANES - 1) / LANES;
    const float *bias = all->scratch, *panels_hh = bias + places * PANEL;
    vector sums[ROWS_AT_ONCE * GATES];
    for (long r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++)
            for (int gate = 0; gate < GATES; gate++) {
                const long unit = first + p * LANES;
                vector sum = *(const vector *)(bias + (panel + p) * PANEL + gate * LANES);
                if (all->projected) {
                    const long at = ((step * all->batch + row + r) * GATES + gate) * hidden + unit;
                    sum += load(all->projected + at, hidden - unit);
                }
                sums[(r * panels + p) * GATES + gate] = sum;
            }
    if (previous >= 0) {
        const float *left = all->outputs + previous * all->output_step + row * all->output_row;
        const product of_state = {left, all->output_row, hidden, panels_hh};
        add_product(sums, &of_state, panel, panels, rows);
    } else if (all->h) {
        const product of_state = {all->h + row * hidden, hidden, hidden, panels_hh};
        add_product(sums, &of_state, panel, panels, rows);
    }
    if (!all->projected) {
        const product of_input = {all->inputs + step * all->input_step + row * all->input_row, all->input_row,
                                  all->input_size, panels_hh + places * PANEL * hidden};
        add_product(sums, &of_input, panel, panels, rows);
    }
    const long plane = all->batch * hidden;
    const float *before = previous < 0 ? all->c : all->cells ? all->cells + previous * plane : all->final_c;
    float *after = all->cells ? all->cells + step * plane : all->final_c;
    for (long r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) {
            const long unit = first + p * LANES, at = (row + r) * hidden + unit;
            float *gates = all->gates ? all->gates + (step * all->batch + row + r) * GATES * hidden + unit : 0;
            advance(all, sums + (r * panels + p) * GATES, before ? before + at : 0, after + at,
                    all->outputs + step * all->output_step + (row + r) * all->output_row + unit, gates, hidden - unit);
        }
}

static void pack_all(const layer *all, long from, long to) {
    const long hidden = all->hidden, places = (hidden + LANES - 1) / LANES;
    float *bias = all->scratch, *panels_hh = bias + places * PANEL, *panels_ih = panels_hh + places * PANEL * hidden;
    for (long panel = from; panel < to; panel++) {
        const long unit = panel * LANES;
        for (long gate = 0; gate < GATES; gate++)
            for (long lane = 0; lane < LANES; lane++) {
                const long at = gate * hidden + unit + lane;
                float sum = 0.0f;
                if (unit + lane < hidden && all->bias_ih) sum += all->bias_ih[at];
                if (unit + lane < hidden && all->bias_hh) sum += all->bias_hh[at];
                bias[panel * PANEL + gate * LANES + lane] = sum;
            }
        pack(panels_hh + panel * PANEL * hidden, all->weight_hh, hidden, hidden, hidden, unit);
        if (!all->projected)
            pack(panels_ih + panel * PANEL * all->input_size, all->weight_ih, all->input_size, hidden, all->input_size,
                 unit);
    }
}

static void forward(const layer *all, long from, long to, long threads, long *arrived) {
    const long parts = (all->batch + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
    const int two = all->batch <= TWO_PANELS;
    pack_all(all, from, to);
    for (long number = 0; number < all->steps; number++) {
        const long step = all->is_reverse ? all->steps - 1 - number : number;
        const long previous = number ? (all->is_reverse ? step + 1 : step - 1) : -1;
        for (long panel = from; panel < to;) {
            const int panels = two && panel + 1 < to ? 2 : 1;
            for (long part = 0; part < parts; part++) {
                const long row = part * all->batch / parts;
                step_rows(all, step, previous, panel, panels, row, (part + 1) * all->batch / parts - row);
            }
            panel += panels;
        }
        if (threads > 1 && number + 1 < all->steps) meet(arrived, threads * (number + 1));
    }
    const long last = all->is_reverse ? 0 : all->steps - 1, unit = from * LANES;
    const size_t bytes = (size_t)(smaller(all->hidden, to * LANES) - unit) * sizeof(float);
    for (long row = 0; row < all->batch; row++) {
        const long at = row * all->hidden + unit;
        memcpy(all->final_h + at, all->outputs + last * all->output_step + row * all->output_row + unit, bytes);
        if (all->cells) memcpy(all->final_c + at, all->cells + last * all->batch * all->hidden + at, bytes);
    }
}

void rnnbench_lstm_forward(const layer *all) {
    const long places = (all->hidden + LANES - 1) / LANES;
    long arrived = 0;
    if (all->threads < 2) {
        forward(all, 0, places, 1, &arrived);
        return;
    }
#pragma omp parallel num_threads((int)smaller(all->threads, places))
    {
        const long threads = omp_get_num_threads(), number = omp_get_thread_num();
        forward(all, number * places / threads, (number + 1) * places / threads, threads, &arrived);
    }
}

long rnnbench_lstm_scratch(long hidden, long inner) { /* values */
    return (hidden + LANES - 1) / LANES * PANEL * (inner + 1);
}

/* Backward: the gradients of the gates of all steps, from the last to the first, and those of the first state. */
typedef struct {
    const float *grad_outputs; /* (steps, batch, hidden), with strides of the first two, or null */
    long grad_step, grad_row;
    const float *grad_h, *grad_c; /* of the last state (batch, hidden), or null */
    const float *gates, *cells, *c, *weight_hh;
    float *grad_gates;        /* (steps, batch, gates * hidden), with a stride of rows */
    long gates_row;
    float *first_h, *first_c; /* (batch, hidden) */
    float *scratch;           /* the gradient of h (batch, whole panels), and panels of the weight */
    long steps, batch, hidden, is_reverse, threads;
} gradients;

#define BACK(ROWS, UNROLLED)                                                                                           \
    static void back_##ROWS(float *out, long out_row, const float *left, long stride, const float *right,             \
                            long inner) {                                                                              \
        vector sums[ROWS][2 * UNROLLED] = {{{0}}};                                                                     \
        for (long k = 0; k < inner; k += UNROLLED)                                                                     \
            for (int u = 0; u < UNROLLED; u++) {                                                                       \
                vector one = *(const vector *)(right + (k + u) * COLUMNS);                                             \
                vector two = *(const vector *)(right + (k + u) * COLUMNS + LANES);                                     \
                KEEP(one);                                                                                             \
                KEEP(two);                                                                                             \
                for (int row = 0; row < ROWS; row++) {                                                                 \
                    sums[row][2 * u] += left[row * stride + k + u] * one;                                              \
                    sums[row][2 * u + 1] += left[row * stride + k + u] * two;                                          \
                }                                                                                                      \
            }                                                                                                          \
        for (int row = 0; row < ROWS; row++) {                                                                         \
            for (int u = 1; u < UNROLLED; u++) {                                                                       \
                sums[row][0] += sums[row][2 * u];                                                                      \
                sums[row][1] += sums[row][2 * u + 1];                                                                  \
            }                                                                                                          \
            *(vector *)(out + row * out_row) = sums[row][0];                                                           \
            *(vector *)(out + row * out_row + LANES) = sums[row][1];                                                   \
        }                                                                                                              \
    }
typedef void (*back)(float *, long, const float *, long, const float *, long);
/* As many values of `inner`, which is gates * hidden, side by side as give enough sums. */
#if MANY_REGISTERS
BACK(1, 4) BACK(2, 4) BACK(3, 2) BACK(4, 2) BACK(5, 1) BACK(6, 1)
BACK(7, 1) BACK(8, 1) BACK(9, 1) BACK(10, 1) BACK(11, 1) BACK(12, 1)
static const back BACKS[BACK_ROWS] = {back_1, back_2, back_3, back_4,  back_5,  back_6,
                                      back_7, back_8, back_9, back_10, back_11, back_12};
#else
BACK(1, 4) BACK(2, 2) BACK(3, 2) BACK(4, 1) BACK(5, 1) BACK(6, 1)
static const back BACKS[BACK_ROWS] = {back_1, back_2, back_3, back_4, back_5, back_6};
#endif

/* The gradients of the gates of one step, for some units of all rows. */
static void through_gates(const gradients *all, long step, long before, long from, long to) {
    const long hidden = all->hidden, whole = (hidden + COLUMNS - 1) / COLUMNS * COLUMNS;
    for (long row = 0; row < all->batch; row++)
        for (long unit = from; unit < to; unit += LANES) {
            const long lanes = to - unit, place = step * all->batch + row;
            const float *gates = all->gates + place * GATES * hidden + unit;
            const float *earlier = before < 0 ? all->c : all->cells + before * all->batch * hidden; /* null for zeros */
            float *grads = all->grad_gates + place * all->gates_row + unit, *carried = all->first_c + row * hidden + unit;
            const vector i = load(gates, lanes), f = load(gates + hidden, lanes), g = load(gates + 2 * hidden, lanes);
            const vector o = load(gates + 3 * hidden, lanes), c = earlier ? load(earlier + row * hidden + unit, lanes) : (vector){0};
            const vector shown = tanh_of(load(all->cells + place * hidden + unit, lanes));
            vector of_h = *(const vector *)(all->scratch + row * whole + unit);
            if (all->grad_outputs)
                of_h += load(all->grad_outputs + step * all->grad_step + row * all->grad_row + unit, lanes);
            const vector of_c = load(carried, lanes) + of_h * o * (1.0f - shown * shown);
            store(grads, of_c * g * i * (1.0f - i), lanes);
            store(grads + hidden, of_c * c * f * (1.0f - f), lanes);
            store(grads + 2 * hidden, of_c * i * (1.0f - g * g), lanes);
            store(grads + 3 * hidden, of_h * shown * o * (1.0f - o), lanes);
            store(carried, of_c * f, lanes);
        }
}

static void backward(const gradients *all, long from, long to, long threads, long *arrived) {
    const long hidden = all->hidden, batch = all->batch, inner = GATES * hidden, last = all->steps - 1;
    const long whole = (hidden + COLUMNS - 1) / COLUMNS * COLUMNS, first = from * COLUMNS;
    const long end = smaller(hidden, to * COLUMNS), heights = (batch + BACK_ROWS - 1) / BACK_ROWS;
    float *panels = all->scratch + batch * whole;
    for (long panel = from; panel < to; panel++)
        for (long k = 0; k < inner; k++) {
            float *packed = panels + (panel * inner + k) * COLUMNS;
            const float *values = all->weight_hh + k * hidden + panel * COLUMNS;
            store(packed, load(values, hidden - panel * COLUMNS), LANES);
            const long left = hidden - panel * COLUMNS - LANES;
            store(packed + LANES, left > 0 ? load(values + LANES, left) : (vector){0}, LANES);
        }
    for (long row = 0; row < batch; row++) {
        memset(all->scratch + row * whole + first, 0, (size_t)((to - from) * COLUMNS) * sizeof(float));
        for (long unit = first; unit < end; unit++) {
            if (all->grad_h) all->scratch[row * whole + unit] = all->grad_h[row * hidden + unit];
            all->first_c[row * hidden + unit] = all->grad_c ? all->grad_c[row * hidden + unit] : 0.0f;
        }
    }
    for (long number = last; number >= 0; number--) {
        const long step = all->is_reverse ? last - number : number;
        const long before = number ? (all->is_reverse ? step + 1 : step - 1) : -1;
        through_gates(all, step, before, first, end);
        if (threads > 1) meet(arrived, threads * (all->steps - number));
        const float *grads = all->grad_gates + step * batch * all->gates_row;
        for (long panel = from; panel < to; panel++)
            for (long tile = 0; tile < heights; tile++) {
                const long row = tile * batch / heights, rows = (tile + 1) * batch / heights - row;
                BACKS[rows - 1](all->scratch + row * whole + panel * COLUMNS, whole, grads + row * all->gates_row,
                                all->gates_row, panels + panel * inner * COLUMNS, inner);
            }
    }
    for (long row = 0; row < batch; row++)
        for (long unit = first; unit < end; unit++)
            all->first_h[row * hidden + unit] = all->scratch[row * whole + unit];
}

void rnnbench_lstm_backward(const gradients *all) {
    const long places = (all->hidden + COLUMNS - 1) / COLUMNS;
    long arrived = 0;
    if (all->threads < 2) {
        backward(all, 0, places, 1, &arrived);
        return;
    }
#pragma omp parallel num_threads((int)smaller(all->threads, places))
    {
        const long threads = omp_get_num_threads(), number = omp_get_thread_num();
        backward(all, number * places / threads, (number + 1) * places / threads, threads, &arrived);
    }
}

long rnnbench_lstm_back_scratch(long hidden, long batch) { /* values */
    return (hidden + COLUMNS - 1) / COLUMNS * COLUMNS * (batch + GATES * hidden);
}
