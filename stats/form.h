/* A weighted layer as a matrix product: y[outputs] = W[outputs,width] x[width] + b, once per position and group.
 *
 *   Conv           position = place of the output, x = the window under it (channel, then kernel, as the weights lie)
 *   ConvTranspose  position = place of the output, x = the inputs that reach it, 0 where none does
 *   Gemm, MatMul   position = row of the input, leading dimensions flattened
 *
 * What a pass decides about W is then the same for all of them. Everything here is in double. */
#ifndef PARE_STATS_FORM_H
#define PARE_STATS_FORM_H

#include "graph/layer.h"

typedef enum FormKind { FORM_ROWS, FORM_CONV, FORM_CONV_TRANSPOSED } FormKind;

typedef struct LayerForm {
    Layer layer;
    FormKind kind;
    int64_t groups;
    int64_t width;    /* of one column: inputs per group times kernel */
    int64_t outputs;  /* per group */
    int64_t taps;     /* kernel elements per input channel; 1 for FORM_ROWS */
    bool trans_in;    /* Gemm transA: rows are columns of the input */
    bool trans_weight; /* stored [outputs,width] (Gemm transB); for FORM_ROWS only */
    double scale, bias_scale; /* Gemm alpha, beta */
    bool takes_bias;  /* the operator has a bias input, and what stands there is one number per output or nothing */
} LayerForm;

/* False when the layer is no such product (weights of more than two dimensions in a MatMul, an operator of another kind): *why is then a
 * literal that says so. */
bool layer_form(const Graph *g, const Layer *l, LayerForm *out, const char **why);
/* Whether two layers read the same input in the same way: their moments are the same numbers. */
bool layer_same_columns(const Graph *g, const LayerForm *a, const LayerForm *b);

/* Elements of the weight matrices of all groups: [groups,outputs,width]. */
static inline int64_t form_weights(const LayerForm *f) { return f->groups * f->outputs * f->width; }
static inline int64_t form_outputs(const LayerForm *f) { return f->groups * f->outputs; }

/* Where element (group, output, column) of the matrices stands in the stored weights. */
int64_t layer_place(const LayerForm *f, int64_t group, int64_t output, int64_t column);
/* w[groups,outputs,width], alpha included. */
void layer_read_weights(const Graph *g, const LayerForm *f, double *w);
/* The other way; rounds to the weights' type. Weights shared with another layer change there too. */
Status layer_write_weights(Graph *g, const LayerForm *f, const double *w, Err *err);
/* b[groups,outputs], beta included; zeros where there is none. Needs takes_bias or no bias at all. */
void layer_read_bias(const Graph *g, const LayerForm *f, double *b);
/* Puts a constant of its own in the place of the bias, made when there was none; f->layer.bias follows. ERR_UNSUPPORTED: !takes_bias. */
Status layer_write_bias(Graph *g, LayerForm *f, const double *b, Err *err);
/* The bias that the layer has in `from` put in its place in `to`, a changed clone: its own, or none where it had none. Layers without
 * takes_bias stay as they are. */
Status layer_copy_bias(const Graph *from, Graph *to, const LayerForm *f, Err *err);

#endif
