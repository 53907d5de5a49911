/* Products `left right`, or sums of two of them, added to a bias and to a matrix: those of a step of a recurrent cell.
 *
 * A tile of the result, some rows and a few vectors wide, is summed in registers, so each value of `right` is read once
 * for all rows of the tile (Goto and van de Geijn 2008, doi:10.1145/1356052.1356053). Tiles are wide for few rows, which
 * need several sums side by side to keep the multipliers busy, and tall for more. `right` is read where it lies if it is
 * stored row by row. Otherwise it is packed into panels: the columns of a tall tile, row after row.
 *
 * VALUE is the type of a number, `float` or `double`. Matrices are stored row by row, except where both strides are
 * given. OpenMP's threads share the columns.
 */
#include "vectors.h"

/* Tiles whose sums fill most registers: at most 6 rows of 4 vectors, or 14 rows of 2. */
#define WIDE_ROWS 6
#define TALL_ROWS 14
#if MANY_REGISTERS
#define WIDE_VECTORS 4
#define TALL_VECTORS 2
#else
#define WIDE_VECTORS 2
#define TALL_VECTORS 1
#endif
#define PANEL (TALL_VECTORS * LANES) /* columns of a tall tile; a wide one covers two panels */
#define AHEAD 8 /* rows of `right` that are prefetched: processors do not do it themselves over long strides */
#define BLOCK 16 /* columns that are packed together: streams of memory that a processor can follow */
#define MIN_SHARED 131072 /* multiply-adds or packed values; for fewer, starting threads takes longer than it saves */

/* A matrix and the distance of its rows, in values. */
typedef struct {
    VALUE *values;
    long stride;
} matrix;

/* What a product is added to: a row of `bias`, a matrix, both or none; the missing ones are null pointers. */
typedef struct {
    const VALUE *bias;
    matrix rows;
} summand;

/* A product of left (rows, inner) and right (inner, columns), which is packed or lies by row. */
typedef struct {
    matrix left, right;
    long panel_stride, inner; /* the distance of two panels, in values */
} product;

#define MOST 2 /* products in a sum */

/* out = to + the sum of the products: of their first rows and columns. */
#define TILE(height, width, vectors)                                                                                   \
    static void tile_##height##_##width(matrix out, const product *products, int count, summand to) {                  \
        vector sums[height][vectors], factors[vectors];                                                                \
        for (int row = 0; row < height; row++)                                                                         \
            for (int v = 0; v < vectors; v++) {                                                                        \
                sums[row][v] = (vector){0};                                                                            \
                if (to.rows.values)                                                                                    \
                    sums[row][v] = *(const vector *)(to.rows.values + row * to.rows.stride + v * LANES);               \
                if (to.bias) sums[row][v] += *(const vector *)(to.bias + v * LANES);                                   \
            }                                                                                                          \
        for (const product *each = products; each < products + count; each++) {                                        \
            const matrix left = each->left, right = each->right;                                                       \
            for (long k = 0; k < each->inner; k++) {                                                                   \
                for (int v = 0; v < vectors; v++) {                                                                    \
                    const VALUE *values = right.values + v / TALL_VECTORS * each->panel_stride + k * right.stride;     \
                    factors[v] = *(const vector *)(values + v % TALL_VECTORS * LANES);                                 \
                    __builtin_prefetch(values + AHEAD * right.stride + v % TALL_VECTORS * LANES);                      \
                }                                                                                                      \
                for (int row = 0; row < height; row++)                                                                 \
                    for (int v = 0; v < vectors; v++) sums[row][v] += left.values[row * left.stride + k] * factors[v]; \
            }                                                                                                          \
        }                                                                                                              \
        for (int row = 0; row < height; row++)                                                                         \
            for (int v = 0; v < vectors; v++) *(vector *)(out.values + row * out.stride + v * LANES) = sums[row][v];   \
    }
#define UP_TO_6(width, vectors)                                                                                        \
    TILE(1, width, vectors) TILE(2, width, vectors) TILE(3, width, vectors)                                            \
    TILE(4, width, vectors) TILE(5, width, vectors) TILE(6, width, vectors)
#define UP_TO_14(width, vectors)                                                                                       \
    UP_TO_6(width, vectors)                                                                                            \
    TILE(7, width, vectors) TILE(8, width, vectors) TILE(9, width, vectors) TILE(10, width, vectors)                   \
    TILE(11, width, vectors) TILE(12, width, vectors) TILE(13, width, vectors) TILE(14, width, vectors)
UP_TO_6(wide, WIDE_VECTORS)
UP_TO_14(tall, TALL_VECTORS)
UP_TO_14(narrow, 1)

typedef void (*tile)(matrix, const product *, int, summand);
#define FIRST_6(width) tile_1_##width, tile_2_##width, tile_3_##width, tile_4_##width, tile_5_##width, tile_6_##width
#define FIRST_14(width)                                                                                                \
    FIRST_6(width), tile_7_##width, tile_8_##width, tile_9_##width, tile_10_##width, tile_11_##width, tile_12_##width, \
        tile_13_##width, tile_14_##width

/* Tiles of one width by their height, one row first. */
typedef struct {
    const tile *by_height;
    int rows; /* at most */
    long columns;
} tile_kind;
static const tile WIDE_TILES[] = {FIRST_6(wide)}, TALL_TILES[] = {FIRST_14(tall)}, NARROW_TILES[] = {FIRST_14(narrow)};
static const tile_kind WIDE = {WIDE_TILES, WIDE_ROWS, WIDE_VECTORS * LANES},
                       TALL = {TALL_TILES, TALL_ROWS, TALL_VECTORS * LANES},
                       NARROW = {NARROW_TILES, TALL_ROWS, LANES};

static matrix at(matrix whole, long row, long column) {
    const matrix part = {whole.values ? whole.values + row * whole.stride + column : 0, whole.stride};
    return part;
}

/* The columns that one tile covers, for all rows. */
static void tiles(tile_kind kind, matrix out, const product *products, int count, summand to, long rows) {
    const long heights = (rows + kind.rows - 1) / kind.rows;
    for (long t = 0; t < heights; t++) { /* of as equal height as possible */
        const long row = t * rows / heights, height = (t + 1) * rows / heights - row;
        product parts[MOST];
        for (int index = 0; index < count; index++) {
            parts[index] = products[index];
            parts[index].left = at(products[index].left, row, 0);
        }
        kind.by_height[height - 1](at(out, row, 0), parts, count, (summand){to.bias, at(to.rows, row, 0)});
    }
}

/* Fewer columns than a vector has. */
static void few_columns(matrix out, const product *products, int count, summand to, long rows, long columns) {
    for (long row = 0; row < rows; row++)
        for (long column = 0; column < columns; column++) {
            VALUE sum = to.bias ? to.bias[column] : 0;
            if (to.rows.values) sum += *at(to.rows, row, column).values;
            for (const product *each = products; each < products + count; each++)
                for (long k = 0; k < each->inner; k++)
                    sum += *at(each->left, row, k).values * *at(each->right, k, column).values;
            *at(out, row, column).values = sum;
        }
}

/* out (rows, columns) = to + the sum of the products; bias (columns), the rows of `to` as `out`. */
static void multiply(matrix out, const product *products, int count, summand to, long rows, long columns) {
    const tile_kind kind = rows > WIDE_ROWS ? TALL : WIDE;
    long inner = 0;
    for (int index = 0; index < count; index++) inner += products[index].inner;
#pragma omp parallel for if (rows * inner * columns > MIN_SHARED)
    for (long from = 0; from < columns; from += kind.columns) {
        const long end = smaller(columns, from + kind.columns);
        for (long column = from, width; column < end; column += width) {
            const matrix part = at(out, 0, column);
            const summand first = {to.bias ? to.bias + column : 0, at(to.rows, 0, column)};
            product parts[MOST];
            for (int index = 0; index < count; index++) {
                parts[index] = products[index];
                parts[index].right.values += column / PANEL * products[index].panel_stride + column % PANEL;
            }
            width = end - column < kind.columns ? smaller(LANES, end - column) : kind.columns;
            if (width < LANES)
                few_columns(part, parts, count, first, rows, width);
            else
                tiles(width == kind.columns ? kind : NARROW, part, parts, count, first, rows);
        }
    }
}

/* Pack a right factor (inner, columns), stored in any order, into panels (columns / PANEL, inner, PANEL). */
static void pack(VALUE *panels, const VALUE *right, long inner, long columns, long row_stride, long column_stride) {
#pragma omp parallel for if (inner * columns > MIN_SHARED)
    for (long panel = 0; panel < columns; panel += PANEL) {
        const long end = smaller(columns, panel + PANEL);
        for (long from = panel; from < end; from += BLOCK)
            for (long row = 0; row < inner; row++)
                for (long column = from; column < smaller(end, from + BLOCK); column++)
                    panels[panel * inner + row * PANEL + column - panel] =
                        right[row * row_stride + column * column_stride];
    }
}

#define JOINED(name, type) name##_##type
#define NAMED(name, type) JOINED(name, type)
#define EXPORTED(name) NAMED(name, VALUE)

/* Strides are in values; those without another name are the distances of rows. The second product may be missing. */
void EXPORTED(rnnbench_multiply)(VALUE *out, VALUE *left, VALUE *right, VALUE *bias, VALUE *added, VALUE *left_2,
                                 VALUE *right_2, long rows, long columns, long out_stride, long added_stride,
                                 long inner, long left_stride, long right_stride, long panel_stride, long inner_2,
                                 long left_stride_2, long right_stride_2, long panel_stride_2) {
    const product products[MOST] = {{{left, left_stride}, {right, right_stride}, panel_stride, inner},
                                {{left_2, left_stride_2}, {right_2, right_stride_2}, panel_stride_2, inner_2}};
    const matrix result = {out, out_stride};
    const summand to = {bias, {added, added_stride}};
    multiply(result, products, left_2 ? 2 : 1, to, rows, columns);
}

void EXPORTED(rnnbench_pack)(VALUE *panels, VALUE *right, long inner, long columns, long row_stride,
                             long column_stride) {
    pack(panels, right, inner, columns, row_stride, column_stride);
}

long EXPORTED(rnnbench_panel)(void) { return PANEL; }

/* The same for torch's compiled code, which passes handles of tensors and expects 0. `rnnbench_use` must have been
 * called with torch's `aoti_torch_get_data_ptr`.
 */
static int32_t (*get_data_ptr)(void *tensor, void **pointer);
void EXPORTED(rnnbench_use)(int32_t (*function)(void *, void **)) { get_data_ptr = function; }

static int32_t pointers(int count, void **tensors, void **values) {
    for (int index = 0; index < count; index++)
        if (tensors[index] && get_data_ptr(tensors[index], &values[index])) return 1;
    return 0;
}

int32_t EXPORTED(aoti_torch_cpu_rnnbench_multiply)(void *out, void *left, void *right, void *bias, void *added,
                                                   void *left_2, void *right_2, int64_t rows, int64_t columns,
                                                   int64_t out_stride, int64_t added_stride, int64_t inner,
                                                   int64_t left_stride, int64_t right_stride, int64_t panel_stride,
                                                   int64_t inner_2, int64_t left_stride_2, int64_t right_stride_2,
                                                   int64_t panel_stride_2) {
    void *tensors[] = {out, left, right, bias, added, left_2, right_2}, *values[7] = {0};
    if (pointers(7, tensors, values)) return 1;
    EXPORTED(rnnbench_multiply)(values[0], values[1], values[2], values[3], values[4], values[5], values[6], rows,
                                columns, out_stride, added_stride, inner, left_stride, right_stride, panel_stride,
                                inner_2, left_stride_2, right_stride_2, panel_stride_2);
    return 0;
}

int32_t EXPORTED(aoti_torch_cpu_rnnbench_pack)(void *panels, void *right, int64_t inner, int64_t columns,
                                               int64_t row_stride, int64_t column_stride) {
    void *tensors[] = {panels, right}, *values[2] = {0};
    if (pointers(2, tensors, values)) return 1;
    EXPORTED(rnnbench_pack)(values[0], values[1], inner, columns, row_stride, column_stride);
    return 0;
}
