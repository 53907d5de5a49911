/* A layer of a GRU: see `recurrence.h`. Gates are r, z, n as in torch, where r weighs the state's product of n: so
 * the sums of a unit are n of the input, r, z, and n of the state.
 */
#include "functions.h"

#define GATES 3
#define SUMS 4
#define STATE_SUM 1
#define SAVED 4
#define HAS_CELL 0
#define UNITS 2
static const int INPUT_SUM[GATES] = {1, 2, 0};

INLINE vector step_of(const vector *sums, vector h, vector *c, vector *saved) {
    (void)c;
    if (!saved) { /* with two divisions in place of three */
        const vector reset = expm1_of(-sums[1]) + 2.0f, update = expm1_of(-sums[2]) + 2.0f;
        const vector n = sums[0] + sums[3] / reset, e = expm1_of(n + n);
        return (e * (update - 1.0f) + h * (e + 2.0f)) / (update * (e + 2.0f));
    }
    const vector r = sigmoid_of(sums[1]), z = sigmoid_of(sums[2]), n = tanh_of(sums[0] + r * sums[3]);
    saved[0] = r;
    saved[1] = z;
    saved[2] = n;
    saved[3] = sums[3];
    return n + z * (h - n);
}

INLINE vector back_of(const vector *saved, vector earlier, vector later, vector grad_h, vector *grad_c, vector *grads) {
    const vector r = saved[0], z = saved[1], n = saved[2], of_n = grad_h * (1.0f - z) * (1.0f - n * n);
    (void)later;
    (void)grad_c;
    grads[0] = of_n;
    grads[1] = of_n * saved[3] * r * (1.0f - r);
    grads[2] = grad_h * (earlier - n) * z * (1.0f - z);
    grads[3] = of_n * r;
    return grad_h * z;
}

#include "recurrence.h"
