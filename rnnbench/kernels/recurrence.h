/* A layer of a recurrent cell over all steps, forward and backward, in one call each.
 *
 * Forward computes all gates of some hidden units at once: a tile of a few rows by a few vectors is summed in
 * registers, as in `direct.c`, and what the gates make of the state follows while the sums are in the nearest cache.
 * For that, the weights of neighbouring units lie together, packed in each call: a panel has all gates of UNITS vectors
 * of units, as groups (groups, inner, GROUP vectors). Threads share the units, each packs and reads its own panels, and
 * they meet once in each step.
 *
 * Names of shapes: steps, batch, inputs, hidden. Strides are in values.
 *
 * The cell's own file defines, before it includes this one:
 *   GATES      of a weight: it is (GATES * hidden, inner)
 *   SUMS       of a unit: GATES, and one more if the two products of a gate are not simply added
 *   INPUT_SUM  for each gate, the sum to which the product of input and weight is added
 *   STATE_SUM  the same for the first gate of the state's product; those of the others follow it
 *   SAVED      values of a unit that backward needs of a step
 *   HAS_CELL   1 if there is a second state c
 *   UNITS      vectors of units in a panel: GATES * UNITS is even
 *   step_of    the new h from the sums and the states, with the new c, and what is saved unless `saved` is null
 *   back_of    the gradients of the sums, and what of the gradient of h goes to the step before by itself; `earlier`
 *              and `later` are the step's record, c if the cell has it and else h, before and after it
 */
#include <omp.h>
#include <sched.h>

#define GROUP 2 /* vectors that lie together: as many as fit the registers of each processor with 6 rows */
#define PANEL_VECTORS (GATES * UNITS)
#define PANEL_GROUPS (PANEL_VECTORS / GROUP)
#define PANEL_SUMS (SUMS * UNITS)
#define PANEL_UNITS (UNITS * LANES)
#define COLUMNS (GROUP * LANES)
#define MOST_GROUPS 4 /* of a tile: of few rows, which needs more sums side by side to keep the multipliers busy */
#define MOST_ROWS 6 /* of a tile, whose sums fill most registers */
#define REGISTERS (MANY_REGISTERS ? 32 : 16)
#define ROWS_AT_ONCE 48 /* whose sums stay in the nearest cache */
#define BLOCK 512 /* of the inner dimension: its part of the widest tile stays in the second cache, 128 KiB at most */
#define PATIENCE 4000 /* looks at the other threads before the core is offered to others */

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

static long quotient_above(long number, long divisor) { return (number + divisor - 1) / divisor; }

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

/* The place of a vector of a panel, whose groups are `inner` rows long, in a row. */
static long packed_place(long vector_number, long inner, long row) {
    return (vector_number / GROUP * inner + row) * COLUMNS + vector_number % GROUP * LANES;
}

/* A panel of a weight (GATES * hidden, inner) that begins at a unit; lanes behind the last unit are zero.
 * `gate_places`: where each gate's vectors stand among those of the panel, in units of UNITS.
 */
static void pack(float *panel, const float *weight, const int *gate_places, long hidden, long inner, long first) {
    for (long number = 0; number < PANEL_VECTORS; number++) {
        const long gate = number / UNITS, unit = first + number % UNITS * LANES;
        const long lanes = unit < hidden ? smaller(LANES, hidden - unit) : 0;
        const long place = gate_places[gate] * UNITS + number % UNITS;
        const float *rows = weight + (gate * hidden + unit) * inner;
        long k = 0;
        for (; lanes == LANES && k + LANES <= inner; k += LANES)
            turn(panel + packed_place(place, inner, k), COLUMNS, rows + k, inner);
        for (; k < inner; k++)
            for (long lane = 0; lane < LANES; lane++)
                panel[packed_place(place, inner, k) + lane] = lane < lanes ? rows[lane * inner + k] : 0.0f;
    }
}

/* Add to sums of some rows (rows at a distance, vectors): left (rows, inner) times groups at a distance. */
INLINE void add_tile(int rows, int vectors, vector *all, long apart, const float *left, long stride, const float *right,
                     long distance, long inner) {
    vector sums[MOST_ROWS][MOST_GROUPS * GROUP], factors[MOST_GROUPS * GROUP];
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++) sums[row][v] = all[row * apart + v];
    long k = 0;
    do {
        for (int v = 0; v < vectors; v++) {
            factors[v] = *(const vector *)(right + v / GROUP * distance + k * COLUMNS + v % GROUP * LANES);
            if (rows > 1) KEEP(factors[v]);
        }
        for (int row = 0; row < rows; row++)
            for (int v = 0; v < vectors; v++) sums[row][v] += left[row * stride + k] * factors[v];
    } while (++k < inner);
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++) all[row * apart + v] = sums[row][v];
}

/* Whether the sums of a tile fit the registers, with the factors that several rows share. */
#define FITS(rows, vectors) ((vectors) * ((rows) + ((rows) > 1)) + !MANY_REGISTERS <= REGISTERS)
#define TILE(ROWS, GROUPS)                                                                                             \
    static void tile_##ROWS##_##GROUPS(vector *all, long apart, const float *left, long stride, const float *right,   \
                                       long distance, long inner) {                                                    \
        if (FITS(ROWS, GROUPS * GROUP))                                                                                \
            add_tile(ROWS, GROUPS * GROUP, all, apart, left, stride, right, distance, inner);                          \
    }
#define TILES_OF(ROWS) TILE(ROWS, 1) TILE(ROWS, 2) TILE(ROWS, 3) TILE(ROWS, 4)
#define NAMES_OF(ROWS) {tile_##ROWS##_1, tile_##ROWS##_2, tile_##ROWS##_3, tile_##ROWS##_4}
TILES_OF(1) TILES_OF(2) TILES_OF(3) TILES_OF(4) TILES_OF(5) TILES_OF(6)
typedef void (*tile)(vector *, long, const float *, long, const float *, long, long);
static const tile TILES[MOST_ROWS][MOST_GROUPS] = {NAMES_OF(1), NAMES_OF(2), NAMES_OF(3),
                                                   NAMES_OF(4), NAMES_OF(5), NAMES_OF(6)};

/* Groups of the widest tile of some rows. */
static long widest(long rows, long groups) {
    long width = smaller(groups, MOST_GROUPS);
    while (width > 1 && !FITS(rows, width * GROUP)) width--;
    return width;
}

/* A product of left (rows, inner) and groups of packed columns. */
typedef struct {
    const float *left;
    long stride, inner;
    const float *groups;
} product;

/* Add some groups of a product to sums, in blocks of `inner` whose part of the groups stays in the nearest cache. */
static void add_product(vector *sums, long apart, const product *of, long first, long groups, long rows) {
    const long heights = quotient_above(rows, MOST_ROWS), block = heights > 1 ? BLOCK : of->inner;
    const long distance = of->inner * COLUMNS;
    for (long k = 0; k < of->inner; k += block)
        for (long part = 0; part < heights; part++) { /* of as equal height as possible */
            const long row = part * rows / heights, height = (part + 1) * rows / heights - row;
            for (long group = 0, width; group < groups; group += width) {
                width = widest(height, groups - group);
                TILES[height - 1][width - 1](sums + row * apart + group * GROUP, apart,
                                             of->left + row * of->stride + k, of->stride,
                                             of->groups + (first + group) * distance + k * COLUMNS, distance,
                                             smaller(block, of->inner - k));
            }
        }
}

/* All that a layer's forward reads and writes. */
typedef struct {
    float *outputs; /* (steps, batch, hidden), with strides of the first two */
    long output_step, output_row;
    const float *h, *c; /* first state (batch, hidden); null for zeros */
    float *final_h, *final_c; /* (batch, hidden) */
    const float *projected; /* inputs times weight (steps, batch, GATES * hidden), or null: then it is made here */
    const float *inputs; /* (steps, batch, inputs), with strides of the first two */
    long input_step, input_row;
    const float *weight_ih, *weight_hh; /* (GATES * hidden, inputs), (GATES * hidden, hidden) */
    const float *bias_ih, *bias_hh;     /* or null */
    float *saved, *cells; /* for backward: (steps, batch, SAVED * hidden), (steps, batch, hidden); or null */
    float *scratch; /* bias, panels of the state's weight, and of the input's if there is no `projected` */
    long steps, batch, input_size, hidden, is_reverse, threads;
} layer;

/* The parts of a layer's scratch. */
static float *panels_of_state(const layer *all) {
    return all->scratch + quotient_above(all->hidden, PANEL_UNITS) * PANEL_SUMS * LANES;
}
static float *panels_of_input(const layer *all) {
    return panels_of_state(all) + quotient_above(all->hidden, PANEL_UNITS) * PANEL_VECTORS * LANES * all->hidden;
}

/* The new state of a vector of units of one row, from their sums. `row` counts all rows of a step. */
INLINE void advance(const layer *all, const vector *sums, long step, long previous, long row, long unit) {
    const long lanes = all->hidden - unit, at = row * all->hidden + unit, plane = all->batch * all->hidden;
    const long output = row * all->output_row + unit;
    const float *h = previous < 0 ? all->h : all->outputs + previous * all->output_step;
    vector before = {0}, c = {0}, saved[SAVED + 1];
    if (h) before = load(previous < 0 ? h + at : h + output, lanes);
    if (HAS_CELL) {
        const float *cells = previous < 0 ? all->c : all->cells ? all->cells + previous * plane : all->final_c;
        if (cells) c = load(cells + at, lanes);
    }
    const vector after = all->saved ? step_of(sums, before, &c, saved) : step_of(sums, before, &c, 0);
    if (HAS_CELL) store((all->cells ? all->cells + step * plane : all->final_c) + at, c, lanes);
    store(all->outputs + step * all->output_step + output, after, lanes);
    if (all->saved)
        for (long number = 0; number < SAVED; number++)
            store(all->saved + ((step * all->batch + row) * SAVED + number) * all->hidden + unit, saved[number], lanes);
}

/* Begin the sums of the units of a panel in one row: the bias, and the input's product if it is made already. */
static void begin_sums(const layer *all, vector *sums, long step, long panel, long row) {
    const vector *bias = (const vector *)all->scratch + panel * PANEL_SUMS;
    for (int number = 0; number < PANEL_SUMS; number++) sums[number] = bias[number];
    if (!all->projected) return;
    for (int number = 0; number < PANEL_VECTORS; number++) {
        const long gate = number / UNITS, unit = panel * PANEL_UNITS + number % UNITS * LANES;
        const float *from = all->projected + ((step * all->batch + row) * GATES + gate) * all->hidden + unit;
        if (unit < all->hidden) sums[INPUT_SUM[gate] * UNITS + number % UNITS] += load(from, all->hidden - unit);
    }
}

/* One step of the units of some panels, for some rows. */
static void step_rows(const layer *all, long step, long previous, long panel, long panels, long row, long rows) {
    const long apart = panels * PANEL_SUMS, first = panel * PANEL_GROUPS, groups = panels * PANEL_GROUPS;
    vector sums[ROWS_AT_ONCE * PANEL_SUMS];
    for (long r = 0; r < rows; r++)
        for (long p = 0; p < panels; p++)
            begin_sums(all, sums + r * apart + p * PANEL_SUMS, step, panel + p, row + r);
    const float *h = all->h ? all->h + row * all->hidden : 0;
    if (previous >= 0) h = all->outputs + previous * all->output_step + row * all->output_row;
    if (h) {
        const product of_state = {h, previous < 0 ? all->hidden : all->output_row, all->hidden, panels_of_state(all)};
        add_product(sums + STATE_SUM * UNITS, apart, &of_state, first, groups, rows);
    }
    if (!all->projected) {
        const float *inputs = all->inputs + step * all->input_step + row * all->input_row;
        const product of_input = {inputs, all->input_row, all->input_size, panels_of_input(all)};
        add_product(sums, apart, &of_input, first, groups, rows);
    }
    for (long r = 0; r < rows; r++)
        for (long number = 0; number < panels * UNITS; number++) {
            const long unit = panel * PANEL_UNITS + number * LANES;
            const vector *from = sums + r * apart + number / UNITS * PANEL_SUMS + number % UNITS;
            vector of_unit[SUMS];
            for (int sum = 0; sum < SUMS; sum++) of_unit[sum] = from[sum * UNITS];
            if (unit < all->hidden) advance(all, of_unit, step, previous, row + r, unit);
        }
}

static void pack_all(const layer *all, long from, long to) {
    const long hidden = all->hidden, panel_values = PANEL_VECTORS * LANES;
    int in_order[GATES];
    for (int gate = 0; gate < GATES; gate++) in_order[gate] = gate;
    for (long panel = from; panel < to; panel++) {
        float *bias = all->scratch + panel * PANEL_SUMS * LANES;
        memset(bias, 0, PANEL_SUMS * LANES * sizeof(float));
        for (long gate = 0; gate < GATES; gate++)
            for (long number = 0; number < PANEL_UNITS; number++) {
                const long unit = panel * PANEL_UNITS + number, at = gate * hidden + unit;
                if (unit >= hidden) break;
                if (all->bias_ih) bias[INPUT_SUM[gate] * PANEL_UNITS + number] += all->bias_ih[at];
                if (all->bias_hh) bias[(STATE_SUM + gate) * PANEL_UNITS + number] += all->bias_hh[at];
            }
        pack(panels_of_state(all) + panel * panel_values * hidden, all->weight_hh, in_order, hidden, hidden,
             panel * PANEL_UNITS);
        if (!all->projected)
            pack(panels_of_input(all) + panel * panel_values * all->input_size, all->weight_ih, INPUT_SUM, hidden,
                 all->input_size, panel * PANEL_UNITS);
    }
}

static void forward(const layer *all, long from, long to, long threads, long *arrived) {
    const long parts = quotient_above(all->batch, ROWS_AT_ONCE);
    /* Several panels at once for few rows, if their sums follow each other. */
    long at_once = 1;
    if (SUMS == GATES && all->batch <= MOST_ROWS) at_once = widest(all->batch, MOST_GROUPS) / PANEL_GROUPS;
    if (at_once < 1) at_once = 1;
    const long visits = quotient_above(to - from, at_once);
    pack_all(all, from, to);
    for (long number = 0; number < all->steps; number++) {
        const long step = all->is_reverse ? all->steps - 1 - number : number;
        const long previous = number ? (all->is_reverse ? step + 1 : step - 1) : -1;
        for (long visit = 0; visit < visits; visit++) {
            /* Each second step goes through the panels backward: the last ones are still in the cache. */
            const long panel = from + at_once * (number % 2 ? visits - 1 - visit : visit);
            for (long part = 0; part < parts; part++) {
                const long row = part * all->batch / parts, end = (part + 1) * all->batch / parts;
                step_rows(all, step, previous, panel, smaller(at_once, to - panel), row, end - row);
            }
        }
        if (threads > 1 && number + 1 < all->steps) meet(arrived, threads * (number + 1));
    }
    const long last = all->is_reverse ? 0 : all->steps - 1, unit = from * PANEL_UNITS;
    const size_t bytes = (size_t)(smaller(all->hidden, to * PANEL_UNITS) - unit) * sizeof(float);
    for (long row = 0; row < all->batch; row++) {
        const long at = row * all->hidden + unit;
        memcpy(all->final_h + at, all->outputs + last * all->output_step + row * all->output_row + unit, bytes);
        if (all->cells) memcpy(all->final_c + at, all->cells + last * all->batch * all->hidden + at, bytes);
    }
}

void rnnbench_layer_forward(const layer *all) {
    const long panels = quotient_above(all->hidden, PANEL_UNITS);
    long arrived = 0;
    if (all->threads < 2) {
        forward(all, 0, panels, 1, &arrived);
        return;
    }
#pragma omp parallel num_threads((int)smaller(all->threads, panels))
    {
        const long threads = omp_get_num_threads(), number = omp_get_thread_num();
        forward(all, number * panels / threads, (number + 1) * panels / threads, threads, &arrived);
    }
}

long rnnbench_layer_scratch(long hidden, long inner) { /* values */
    return quotient_above(hidden, PANEL_UNITS) * LANES * (PANEL_SUMS + PANEL_VECTORS * inner);
}

/* Backward: the gradients of the sums of all steps, from the last to the first, and those of the first state. */
typedef struct {
    const float *grad_outputs; /* (steps, batch, hidden), with strides of the first two, or null */
    long grad_step, grad_row;
    const float *grad_h, *grad_c; /* of the last state (batch, hidden), or null */
    const float *saved; /* (steps, batch, SAVED * hidden) */
    const float *record; /* (steps, batch, hidden), with strides of the first two: c of all steps, or h */
    long record_step, record_row;
    const float *first; /* the first state (batch, hidden) of the record; null for zeros */
    const float *weight_hh;
    float *grad_sums; /* (steps, batch, SUMS * hidden), with a stride of rows */
    long sums_row;
    float *first_h, *first_c; /* gradients (batch, hidden) */
    float *scratch;           /* the gradient of h (batch, whole groups), and groups of the weight */
    long steps, batch, hidden, is_reverse, threads;
} gradients;

/* The gradients of the sums of one step, for some units of all rows. */
static void back_through(const gradients *all, long step, long before, long from, long to) {
    const long hidden = all->hidden, whole = quotient_above(hidden, COLUMNS) * COLUMNS;
    for (long row = 0; row < all->batch; row++)
        for (long unit = from; unit < to; unit += LANES) {
            const long lanes = to - unit, place = step * all->batch + row, at = row * all->record_row + unit;
            float *carried_h = all->scratch + row * whole + unit, *carried_c = all->first_c + row * hidden + unit;
            vector saved[SAVED + 1], grads[SUMS], earlier = {0}, grad_c = {0};
            for (long number = 0; number < SAVED; number++)
                saved[number] = load(all->saved + (place * SAVED + number) * hidden + unit, lanes);
            if (before >= 0)
                earlier = load(all->record + before * all->record_step + at, lanes);
            else if (all->first)
                earlier = load(all->first + row * hidden + unit, lanes);
            const vector later = load(all->record + step * all->record_step + at, lanes);
            vector grad_h = *(const vector *)carried_h;
            if (all->grad_outputs)
                grad_h += load(all->grad_outputs + step * all->grad_step + row * all->grad_row + unit, lanes);
            if (HAS_CELL) grad_c = load(carried_c, lanes);
            *(vector *)carried_h = back_of(saved, earlier, later, grad_h, &grad_c, grads);
            if (HAS_CELL) store(carried_c, grad_c, lanes);
            for (long sum = 0; sum < SUMS; sum++)
                store(all->grad_sums + place * all->sums_row + sum * hidden + unit, grads[sum], lanes);
        }
}

/* Pack some groups of columns of the state's weight (GATES * hidden, hidden). */
static void pack_columns(float *groups, const gradients *all, long from, long to) {
    const long hidden = all->hidden, inner = GATES * hidden;
    for (long group = from; group < to; group++)
        for (long k = 0; k < inner; k++)
            for (long number = 0; number < GROUP; number++) {
                const long column = group * COLUMNS + number * LANES;
                const float *values = all->weight_hh + k * hidden + column;
                float *place = groups + (group * inner + k) * COLUMNS + number * LANES;
                *(vector *)place = column < hidden ? load(values, hidden - column) : (vector){0};
            }
}

static void backward(const gradients *all, long from, long to, long threads, long *arrived) {
    const long hidden = all->hidden, batch = all->batch, last = all->steps - 1;
    const long whole = quotient_above(hidden, COLUMNS) * COLUMNS, first = from * COLUMNS;
    const long end = smaller(hidden, to * COLUMNS), width = widest(smaller(batch, MOST_ROWS), MOST_GROUPS);
    float *groups = all->scratch + batch * whole;
    pack_columns(groups, all, from, to);
    for (long row = 0; row < batch; row++) {
        memset(all->scratch + row * whole + first, 0, (size_t)((to - from) * COLUMNS) * sizeof(float));
        for (long unit = first; unit < end; unit++) {
            if (all->grad_h) all->scratch[row * whole + unit] = all->grad_h[row * hidden + unit];
            if (HAS_CELL) all->first_c[row * hidden + unit] = all->grad_c ? all->grad_c[row * hidden + unit] : 0.0f;
        }
    }
    for (long number = last; number >= 0; number--) {
        const long step = all->is_reverse ? last - number : number;
        const long before = number ? (all->is_reverse ? step + 1 : step - 1) : -1;
        back_through(all, step, before, first, end);
        if (threads > 1) meet(arrived, threads * (all->steps - number));
        const float *grads = all->grad_sums + step * batch * all->sums_row + STATE_SUM * hidden;
        const product of_state = {grads, all->sums_row, GATES * hidden, groups};
        for (long group = from; group < to; group += width)
            add_product((vector *)(all->scratch + group * COLUMNS), whole / LANES, &of_state, group,
                        smaller(width, to - group), batch);
    }
    for (long row = 0; row < batch; row++)
        for (long unit = first; unit < end; unit++)
            all->first_h[row * hidden + unit] = all->scratch[row * whole + unit];
}

void rnnbench_layer_backward(const gradients *all) {
    const long groups = quotient_above(all->hidden, COLUMNS);
    long arrived = 0;
    if (all->threads < 2) {
        backward(all, 0, groups, 1, &arrived);
        return;
    }
#pragma omp parallel num_threads((int)smaller(all->threads, groups))
    {
        const long threads = omp_get_num_threads(), number = omp_get_thread_num();
        backward(all, number * groups / threads, (number + 1) * groups / threads, threads, &arrived);
    }
}

long rnnbench_layer_back_scratch(long hidden, long batch) { /* values */
    return quotient_above(hidden, COLUMNS) * COLUMNS * (batch + GATES * hidden);
}
