/* Which oneDNN the engine is built against: 2.6 and later, or 3.x. This file decides; the glue is written in the words of 2.x, and with a
 * 3.x they mean what engine/dnnl_three.h makes of them. */
#ifndef PARE_ENGINE_DNNL_VERSION_H
#define PARE_ENGINE_DNNL_VERSION_H

#include <dnnl.h>
#include <stdbool.h>

#if DNNL_VERSION_MAJOR >= 3
#include "engine/dnnl_three.h"

#define dnnl_engine_t ThreeEngine *
#define dnnl_memory_desc_t ThreeMemory
#define dnnl_primitive_desc_t ThreePrimitive *
#define const_dnnl_primitive_desc_t const ThreePrimitive *
#define dnnl_convolution_desc_t ThreeOp
#define dnnl_deconvolution_desc_t ThreeOp
#define dnnl_pooling_v2_desc_t ThreeOp
#define dnnl_eltwise_desc_t ThreeOp
#define dnnl_batch_normalization_desc_t ThreeOp
#define dnnl_binary_desc_t ThreeOp
#define dnnl_softmax_desc_t ThreeOp
#define dnnl_logsoftmax_desc_t ThreeOp

#define dnnl_engine_create three_engine_create
#define dnnl_engine_destroy three_engine_destroy
#define dnnl_stream_create three_stream_create
#define dnnl_memory_desc_init_by_strides three_by_strides
#define dnnl_memory_desc_init_by_tag three_by_tag
#define dnnl_memory_desc_permute_axes three_permute
#define dnnl_memory_desc_get_size three_size
#define dnnl_memory_desc_equal three_equal
#define dnnl_memory_create three_memory
#define dnnl_dilated_convolution_forward_desc_init three_convolution
#define dnnl_convolution_forward_desc_init three_plain_convolution
#define dnnl_dilated_deconvolution_forward_desc_init three_deconvolution
#define dnnl_pooling_v2_forward_desc_init three_pooling
#define dnnl_eltwise_forward_desc_init three_eltwise
#define dnnl_batch_normalization_forward_desc_init three_norm
#define dnnl_binary_desc_init three_binary
#define dnnl_softmax_forward_desc_init three_softmax
#define dnnl_logsoftmax_forward_desc_init three_logsoftmax
#define dnnl_primitive_desc_create three_describe
#define dnnl_reorder_primitive_desc_create three_reorder
#define dnnl_primitive_desc_destroy three_undescribe
#define dnnl_primitive_desc_query_md three_query_memory
#define dnnl_primitive_desc_query three_query
#define dnnl_primitive_create three_create
#define dnnl_post_ops_append_eltwise three_append_eltwise
#define dnnl_post_ops_append_binary three_append_binary

#define memory_strides three_strides
#define memory_outer three_outer
#define memory_blocks(m, size, axis) ((void)(m), (void)(size), *(axis) = 0, (const dnnl_dim_t *)NULL)
#define memory_places(m, axis, places) ((void)(m), (void)(axis), (void)(places), false) /* a description is the library's secret */
#else
/* The strides where they alone tell the order of elements; NULL where it has blocks, padding or an offset. */
static inline const dnnl_dim_t *memory_strides(const dnnl_memory_desc_t *m)
{
    if (m->format_kind != dnnl_blocked || m->format_desc.blocking.inner_nblks != 0 || m->offset0 != 0) return NULL;
    for (int i = 0; i < m->ndims; i++)
        if (m->padded_dims[i] != m->dims[i]) return NULL;
    return m->format_desc.blocking.strides;
}

/* The stride of axis 0, or of its blocks; 0: unknown. */
static inline dnnl_dim_t memory_outer(const dnnl_memory_desc_t *m)
{
    return m->format_kind == dnnl_blocked ? m->format_desc.blocking.strides[0] : 0;
}

/* The strides, of blocks along *axis, where `size` of that axis lie innermost, filled up at its end, and nothing else is special; NULL. */
static inline const dnnl_dim_t *memory_blocks(const dnnl_memory_desc_t *m, int size, int *axis)
{
    const dnnl_blocking_desc_t *b = &m->format_desc.blocking;
    if (m->format_kind != dnnl_blocked || b->inner_nblks != 1 || b->inner_blks[0] != size || m->offset0 != 0) return NULL;
    *axis = (int)b->inner_idxs[0];
    for (int i = 0; i < m->ndims; i++)
        if (m->padded_dims[i] != (i == *axis ? (m->dims[i] + size - 1) / size * size : m->dims[i])) return NULL;
    return b->strides;
}

/* Where entries along an axis lie: entry i adds places[i] elements to what the other axes add. False: the order is another, or something
 * else than entries belongs to it (sums of weights). */
static inline bool memory_places(const dnnl_memory_desc_t *m, int axis, int64_t *places)
{
    const dnnl_blocking_desc_t *b = &m->format_desc.blocking;
    if (m->format_kind != dnnl_blocked || m->offset0 != 0 || m->extra.flags != dnnl_memory_extra_flag_none) return false;
    for (int64_t i = 0; i < m->dims[axis]; i++) {
        int64_t rest = i, inner = 1, place = 0;
        for (int k = b->inner_nblks - 1; k >= 0; k--) { /* the last block is the innermost */
            if (b->inner_idxs[k] == axis) {
                place += rest % b->inner_blks[k] * inner;
                rest /= b->inner_blks[k];
            }
            inner *= b->inner_blks[k];
        }
        places[i] = place + rest * b->strides[axis];
    }
    return true;
}
#endif

#endif
