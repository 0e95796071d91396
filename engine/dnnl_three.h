/* What oneDNN 3.x has instead of 2.x's structures, in 2.x's words: engine/dnnl_version.h lets the glue, which is written against 2.x, take
 * these where the library is a 3.x. Gone there are operation descriptors (a primitive descriptor is made of them at once) and memory
 * descriptors as plain structures (they are handles, and only some can be described and made anew).
 *
 * A memory descriptor stays a value here: strides or a tag from which a handle is made whenever the library wants one, or, where the
 * library chose an order of its own, a handle that belongs to the engine, which keeps one of each and releases them when it goes. */
#ifndef PARE_ENGINE_DNNL_THREE_H
#define PARE_ENGINE_DNNL_THREE_H

#include <dnnl.h>
#include <stdbool.h>
#include <stddef.h>

#if DNNL_VERSION_MAJOR >= 3

typedef struct ThreeEngine {
    dnnl_engine_t engine;
    dnnl_memory_desc_t *known;
    size_t count, capacity;
} ThreeEngine;

typedef enum ThreeMade { THREE_NONE, THREE_STRIDES, THREE_TAG, THREE_HANDLE } ThreeMade;

typedef struct ThreeMemory {
    int ndims;
    dnnl_dims_t dims;
    dnnl_data_type_t data_type;
    dnnl_format_kind_t format_kind;
    ThreeMade made;
    dnnl_dims_t strides;
    dnnl_format_tag_t tag;
    const_dnnl_memory_desc_t handle;
    ThreeEngine *owner; /* of the handle */
} ThreeMemory;

typedef enum ThreeKind {
    THREE_CONVOLUTION, THREE_DECONVOLUTION, THREE_POOLING, THREE_ELTWISE, THREE_NORM, THREE_BINARY, THREE_SOFTMAX,
} ThreeKind;

#define THREE_MEMORIES 4

/* An operation described, of any kind. */
typedef struct ThreeOp {
    ThreeKind kind;
    dnnl_prop_kind_t prop;
    dnnl_alg_kind_t alg;
    ThreeMemory memory[THREE_MEMORIES];
    bool has[THREE_MEMORIES];
    dnnl_dims_t strides, kernel, dilations, begin, end;
    float alpha, beta;
    unsigned flags;
    int axis;
} ThreeOp;

#define THREE_QUERIED 9

typedef struct ThreePrimitive {
    dnnl_primitive_desc_t desc;
    ThreeEngine *engine;
    ThreeMemory *queried; /* [THREE_QUERIED] */
} ThreePrimitive;

dnnl_status_t three_engine_create(ThreeEngine **out, dnnl_engine_kind_t kind, size_t index);
dnnl_status_t three_engine_destroy(ThreeEngine *e);
dnnl_status_t three_stream_create(dnnl_stream_t *out, ThreeEngine *e, unsigned flags);

dnnl_status_t three_by_strides(ThreeMemory *m, int ndims, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides);
dnnl_status_t three_by_tag(ThreeMemory *m, int ndims, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag);
dnnl_status_t three_permute(ThreeMemory *out, const ThreeMemory *in, const int *to);
const dnnl_dim_t *three_strides(const ThreeMemory *m); /* NULL: they are not all of it */
/* The stride of axis 0, or of its blocks; 0: unknown. */
dnnl_dim_t three_outer(const ThreeMemory *m);
size_t three_size(const ThreeMemory *m);
int three_equal(const ThreeMemory *a, const ThreeMemory *b);
dnnl_status_t three_memory(dnnl_memory_t *out, const ThreeMemory *m, ThreeEngine *e, void *data);

dnnl_status_t three_convolution(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *w,
                                const ThreeMemory *b, const ThreeMemory *y, const dnnl_dims_t strides, const dnnl_dims_t dilations,
                                const dnnl_dims_t begin, const dnnl_dims_t end);
dnnl_status_t three_plain_convolution(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *w,
                                      const ThreeMemory *b, const ThreeMemory *y, const dnnl_dims_t strides, const dnnl_dims_t begin,
                                      const dnnl_dims_t end);
dnnl_status_t three_deconvolution(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *w,
                                  const ThreeMemory *b, const ThreeMemory *y, const dnnl_dims_t strides, const dnnl_dims_t dilations,
                                  const dnnl_dims_t begin, const dnnl_dims_t end);
dnnl_status_t three_pooling(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *y,
                            const dnnl_dims_t strides, const dnnl_dims_t kernel, const dnnl_dims_t dilations, const dnnl_dims_t begin,
                            const dnnl_dims_t end);
dnnl_status_t three_eltwise(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, float alpha, float beta);
dnnl_status_t three_norm(ThreeOp *op, dnnl_prop_kind_t prop, const ThreeMemory *x, float epsilon, unsigned flags);
dnnl_status_t three_binary(ThreeOp *op, dnnl_alg_kind_t alg, const ThreeMemory *a, const ThreeMemory *b, const ThreeMemory *y);
dnnl_status_t three_softmax(ThreeOp *op, dnnl_prop_kind_t prop, const ThreeMemory *x, int axis);
dnnl_status_t three_logsoftmax(ThreeOp *op, dnnl_prop_kind_t prop, const ThreeMemory *x, int axis);

/* `op`: a ThreeOp; `hint` is NULL, as 2.x takes it. */
dnnl_status_t three_describe(ThreePrimitive **out, const void *op, const_dnnl_primitive_attr_t attr, ThreeEngine *e, const void *hint);
dnnl_status_t three_reorder(ThreePrimitive **out, const ThreeMemory *from, ThreeEngine *from_engine, const ThreeMemory *to,
                            ThreeEngine *to_engine, const_dnnl_primitive_attr_t attr);
dnnl_status_t three_undescribe(ThreePrimitive *p);
const ThreeMemory *three_query_memory(const ThreePrimitive *p, dnnl_query_t what, int index); /* NULL or without axes: it has none */
dnnl_status_t three_query(const ThreePrimitive *p, dnnl_query_t what, int index, void *out);
dnnl_status_t three_create(dnnl_primitive_t *out, const ThreePrimitive *p);
dnnl_status_t three_append_eltwise(dnnl_post_ops_t ops, float scale, dnnl_alg_kind_t alg, float alpha, float beta);
dnnl_status_t three_append_binary(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, const ThreeMemory *other);

#endif
#endif
