/* What sliding-window operators (convolution, pooling) share: geometry from attributes, with auto_pad and ceil_mode; and the running of
 * float32 forwards on the other float types. */
#ifndef PARE_ENGINE_OPS_WINDOW_H
#define PARE_ENGINE_OPS_WINDOW_H

#include "graph/op.h"

#define WINDOW_DIMS 3

/* Up to three spatial dimensions, aligned right ([D,H,W]; a 1-D window has D = H = 1). `in` and `out` may be negative (unknown or a
 * symbol) during inference; everything else is concrete. */
typedef struct Window {
    int dims; /* spatial dimensions of the operator, 1..3 */
    int64_t in[WINDOW_DIMS], out[WINDOW_DIMS], kernel[WINDOW_DIMS], stride[WINDOW_DIMS], dilation[WINDOW_DIMS];
    int64_t begin[WINDOW_DIMS], end[WINDOW_DIMS]; /* padding before and after */
} Window;

/* Geometry of Conv and the poolings. `input` is [N,C,spatial...]; `weight` [K,C/G,kernel...] gives the kernel where the attribute
 * kernel_shape is left out (NULL: the attribute must be there). ERR_DATA: attributes that do not fit; ERR_UNSUPPORTED: over 3-D. */
Status window_init(Window *w, const Graph *g, const Node *n, const Shape *input, const Shape *weight, Err *err);
/* The same for ConvTranspose (output_padding, output_shape): `out` grows from `in`; begin and end crop the output. */
Status window_init_transposed(Window *w, const Graph *g, const Node *n, const Shape *input, const Shape *weight, Err *err);
/* [N, channels, out...] */
Shape window_shape(const Window *w, int64_t batch, int64_t channels);
/* Products of a fully known window. */
int64_t window_kernel_count(const Window *w);

/* Runs `forward`, which knows float32 alone, on operands of every float type, float64 included: converted on the way in and out.
 * ERR_UNSUPPORTED: input 0 is no float. */
Status opcall_in_float(OpCall *c, Status (*forward)(OpCall *c));

static inline float *tensor_floats(const Tensor *t) { return (float *)(void *)t->data; }
#endif
