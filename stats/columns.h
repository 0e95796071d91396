/* The columns of a weighted layer: from its input tensor to rows of numbers, position by position, some positions drawn by lot. */
#ifndef PARE_STATS_COLUMNS_H
#define PARE_STATS_COLUMNS_H

#include "engine/ops/window.h"
#include "stats/form.h"

/* The positions of one call. Borrows form and tensors. */
typedef struct Columns {
    const LayerForm *form;
    const float *x;      /* float32, row-major */
    float *converted;    /* owned: x where the input has another type */
    Window window;       /* convolutions */
    int64_t batch, channels, places; /* convolutions: images, input channels in all, output places per image */
    int64_t rows;        /* FORM_ROWS */
    int64_t positions;   /* in all */
    float *row;          /* owned scratch: one column */
    int64_t *from;       /* owned scratch: [taps] where each tap lies in its plane, -1: padding */
} Columns;

/* ERR_DATA: the input does not fit the layer. Release in every case. */
Status columns_open(Columns *c, const Graph *g, const LayerForm *f, const Tensor *input, Err *err);
void columns_release(Columns *c);
/* out[count,width] = the columns of a group at these positions. One thread at a time. */
void columns_read(const Columns *c, int64_t group, const int64_t *at, int64_t count, double *out);
void columns_read_floats(const Columns *c, int64_t group, const int64_t *at, int64_t count, float *out);
/* out[count,outputs] = a tensor of the layer's output shape at these positions, channels of the group: the other side of the product. */
void columns_read_output(const Columns *c, const float *y, int64_t group, const int64_t *at, int64_t count, double *out);
void columns_read_output_floats(const Columns *c, const float *y, int64_t group, const int64_t *at, int64_t count, float *out);
/* Elements that the layer's output has for this input. */
int64_t columns_output_count(const Columns *c);

/* Which positions of one sample are used: at most `most` (0: all), drawn by lot without replacement, in rising order; the same for the
 * same seed, layer and sample, however samples are batched. `at` has room for `positions`. Returns how many. */
int64_t columns_draw(int64_t positions, int64_t most, uint64_t seed, int64_t layer, int64_t sample, int64_t *at);
/* The same over a call of `samples` samples, the first of which has this number: each one's share of the positions in turn, or all
 * together where they cannot be told apart. `at` has room for c->positions. */
int64_t columns_pick(const Columns *c, int64_t first, int64_t samples, int64_t most, uint64_t seed, int64_t layer, int64_t *at);

#endif
