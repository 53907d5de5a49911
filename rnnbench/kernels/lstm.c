/* A layer of an LSTM: see `recurrence.h`. Gates are i, f, g, o as in torch; the record of a step is c. */
#include "functions.h"

#define GATES 4
#define SUMS 4
#define STATE_SUM 0
#define SAVED 4
#define HAS_CELL 1
#define UNITS 1
static const int INPUT_SUM[GATES] = {0, 1, 2, 3};

INLINE vector step_of(const vector *sums, vector h, vector *c, vector *saved) {
    (void)h;
    if (!saved) { /* with two divisions in place of five */
        const vector g = expm1_of(sums[2] + sums[2]), in = expm1_of(-sums[0]) + 2.0f;
        const vector forget = expm1_of(-sums[1]) + 2.0f, both = in * (g + 2.0f);
        *c = (*c * both + g * forget) / (forget * both);
        const vector e = expm1_of(*c + *c), out = expm1_of(-sums[3]) + 2.0f;
        return e / (out * (e + 2.0f));
    }
    const vector i = sigmoid_of(sums[0]), f = sigmoid_of(sums[1]), g = tanh_of(sums[2]), o = sigmoid_of(sums[3]);
    saved[0] = i;
    saved[1] = f;
    saved[2] = g;
    saved[3] = o;
    *c = f * *c + i * g;
    return o * tanh_of(*c);
}

INLINE vector back_of(const vector *saved, vector earlier, vector later, vector grad_h, vector *grad_c, vector *grads) {
    const vector i = saved[0], f = saved[1], g = saved[2], o = saved[3], c = tanh_of(later);
    const vector of_c = *grad_c + grad_h * o * (1.0f - c * c);
    grads[0] = of_c * g * i * (1.0f - i);
    grads[1] = of_c * earlier * f * (1.0f - f);
    grads[2] = of_c * i * (1.0f - g * g);
    grads[3] = grad_h * c * o * (1.0f - o);
    *grad_c = of_c * f;
    return (vector){0};
}

#include "recurrence.h"
