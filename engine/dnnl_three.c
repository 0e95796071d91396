#include "engine/dnnl_three.h"

#if DNNL_VERSION_MAJOR >= 3

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* --- the engine and the handles it keeps */

dnnl_status_t three_engine_create(ThreeEngine **out, dnnl_engine_kind_t kind, size_t index)
{
    ThreeEngine *e = calloc(1, sizeof *e);
    *out = NULL;
    if (e == NULL) return dnnl_out_of_memory;
    dnnl_status_t status = dnnl_engine_create(&e->engine, kind, index);
    if (status == dnnl_success) *out = e;
    else free(e);
    return status;
}

dnnl_status_t three_engine_destroy(ThreeEngine *e)
{
    for (size_t i = 0; i < e->count; i++) dnnl_memory_desc_destroy(e->known[i]);
    free(e->known);
    dnnl_status_t status = dnnl_engine_destroy(e->engine);
    free(e);
    return status;
}

dnnl_status_t three_stream_create(dnnl_stream_t *out, ThreeEngine *e, unsigned flags)
{
    return dnnl_stream_create(out, e->engine, flags);
}

/* The engine's own handle that equals this one; NULL: out of memory. */
static const_dnnl_memory_desc_t keep(ThreeEngine *e, const_dnnl_memory_desc_t handle)
{
    dnnl_memory_desc_t copy;
    for (size_t i = 0; i < e->count; i++)
        if (dnnl_memory_desc_equal(e->known[i], handle)) return e->known[i];
    if (!array_grow((void **)&e->known, &e->capacity, e->count + 1, sizeof *e->known)) return NULL;
    if (dnnl_memory_desc_clone(&copy, handle) != dnnl_success) return NULL;
    return e->known[e->count++] = copy;
}

/* --- memory descriptors */

/* A handle of the caller's. */
static dnnl_status_t handle_new(const ThreeMemory *m, dnnl_memory_desc_t *out)
{
    *out = NULL;
    switch (m->made) {
    case THREE_STRIDES: return dnnl_memory_desc_create_with_strides(out, m->ndims, m->dims, m->data_type, m->strides);
    case THREE_TAG: return dnnl_memory_desc_create_with_tag(out, m->ndims, m->dims, m->data_type, m->tag);
    case THREE_HANDLE: return dnnl_memory_desc_clone(out, m->handle);
    default: return dnnl_invalid_arguments;
    }
}

static void handle_free(dnnl_memory_desc_t handle)
{
    if (handle != NULL) dnnl_memory_desc_destroy(handle);
}

/* Whether the library takes it. */
static dnnl_status_t check(const ThreeMemory *m)
{
    dnnl_memory_desc_t handle;
    dnnl_status_t status = handle_new(m, &handle);
    handle_free(handle);
    return status;
}

dnnl_status_t three_by_strides(ThreeMemory *m, int ndims, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides)
{
    if (ndims < 1 || ndims > DNNL_MAX_NDIMS) return dnnl_invalid_arguments;
    *m = (ThreeMemory){ .ndims = ndims, .data_type = type, .format_kind = dnnl_blocked, .made = THREE_STRIDES };
    dnnl_dim_t dense = 1;
    for (int i = ndims - 1; i >= 0; i--) {
        m->dims[i] = dims[i];
        m->strides[i] = strides != NULL ? strides[i] : dense;
        dense *= dims[i];
    }
    return check(m);
}

/* Strides alone tell the order: blocked without inner blocks, nothing padded. */
static bool is_strided(const_dnnl_memory_desc_t handle, const ThreeMemory *m)
{
    const dnnl_dims_t *padded = NULL;
    int blocks = 0;
    return m->format_kind == dnnl_blocked && dnnl_memory_desc_query(handle, dnnl_query_inner_nblks_s32, &blocks) == dnnl_success &&
           blocks == 0 && dnnl_memory_desc_query(handle, dnnl_query_padded_dims, &padded) == dnnl_success &&
           memcmp(*padded, m->dims, (size_t)m->ndims * sizeof *m->dims) == 0;
}

/* Fills in strides where they are all there is to a handle of these dimensions. */
static bool take_strides(const_dnnl_memory_desc_t handle, ThreeMemory *m)
{
    const dnnl_dims_t *strides = NULL;
    if (!is_strided(handle, m) || dnnl_memory_desc_query(handle, dnnl_query_strides, &strides) != dnnl_success) return false;
    ThreeMemory told = *m;
    dnnl_memory_desc_t again;
    told.made = THREE_STRIDES;
    memcpy(told.strides, *strides, (size_t)m->ndims * sizeof **strides);
    bool same = handle_new(&told, &again) == dnnl_success && dnnl_memory_desc_equal(again, handle);
    handle_free(again);
    if (same) *m = told; /* else there is more to it, as the sums that some int8 weights carry along */
    return same;
}

dnnl_status_t three_by_tag(ThreeMemory *m, int ndims, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t handle;
    if (ndims < 1 || ndims > DNNL_MAX_NDIMS) return dnnl_invalid_arguments;
    *m = (ThreeMemory){ .ndims = ndims, .data_type = type, .made = THREE_TAG, .tag = tag };
    m->format_kind = tag == dnnl_format_tag_any ? dnnl_format_kind_any : dnnl_blocked;
    memcpy(m->dims, dims, (size_t)ndims * sizeof *dims);
    dnnl_status_t status = handle_new(m, &handle);
    if (status == dnnl_success && tag != dnnl_format_tag_any) take_strides(handle, m);
    handle_free(handle);
    return status;
}

/* The value that stands for a handle, which stays the caller's. */
static dnnl_status_t read_handle(ThreeEngine *e, const_dnnl_memory_desc_t handle, ThreeMemory *m)
{
    const dnnl_dims_t *dims = NULL;
    *m = (ThreeMemory){ .ndims = 0 };
    if (handle == NULL || dnnl_memory_desc_query(handle, dnnl_query_ndims_s32, &m->ndims) != dnnl_success || m->ndims == 0)
        return dnnl_success; /* there is none */
    if (dnnl_memory_desc_query(handle, dnnl_query_dims, &dims) != dnnl_success ||
        dnnl_memory_desc_query(handle, dnnl_query_data_type, &m->data_type) != dnnl_success ||
        dnnl_memory_desc_query(handle, dnnl_query_format_kind, &m->format_kind) != dnnl_success)
        return dnnl_runtime_error;
    memcpy(m->dims, *dims, (size_t)m->ndims * sizeof **dims);
    if (take_strides(handle, m)) return dnnl_success;
    m->made = THREE_HANDLE;
    m->owner = e;
    m->handle = keep(e, handle);
    return m->handle != NULL ? dnnl_success : dnnl_out_of_memory;
}

dnnl_status_t three_permute(ThreeMemory *out, const ThreeMemory *in, const int *to)
{
    if (in->made == THREE_STRIDES) {
        *out = *in;
        for (int i = 0; i < in->ndims; i++) {
            out->dims[to[i]] = in->dims[i];
            out->strides[to[i]] = in->strides[i];
        }
        return check(out);
    }
    if (in->made != THREE_HANDLE) return dnnl_unimplemented; /* blocks by a tag: the glue asks for none */
    dnnl_memory_desc_t turned;
    dnnl_status_t status = dnnl_memory_desc_permute_axes(&turned, in->handle, to);
    if (status != dnnl_success) return status;
    status = read_handle(in->owner, turned, out);
    handle_free(turned);
    return status;
}

const dnnl_dim_t *three_strides(const ThreeMemory *m)
{
    return m->made == THREE_STRIDES ? m->strides : NULL;
}

dnnl_dim_t three_outer(const ThreeMemory *m)
{
    dnnl_memory_desc_t handle;
    const dnnl_dims_t *strides = NULL;
    bool known = handle_new(m, &handle) == dnnl_success && dnnl_memory_desc_query(handle, dnnl_query_strides, &strides) == dnnl_success;
    dnnl_dim_t outer = known ? (*strides)[0] : 0;
    handle_free(handle);
    return outer;
}

size_t three_size(const ThreeMemory *m)
{
    dnnl_memory_desc_t handle;
    size_t size = handle_new(m, &handle) == dnnl_success ? dnnl_memory_desc_get_size(handle) : 0;
    handle_free(handle);
    return size;
}

int three_equal(const ThreeMemory *a, const ThreeMemory *b)
{
    dnnl_memory_desc_t x = NULL, y = NULL;
    int equal = handle_new(a, &x) == dnnl_success && handle_new(b, &y) == dnnl_success && dnnl_memory_desc_equal(x, y);
    handle_free(x);
    handle_free(y);
    return equal;
}

dnnl_status_t three_memory(dnnl_memory_t *out, const ThreeMemory *m, ThreeEngine *e, void *data)
{
    dnnl_memory_desc_t handle;
    dnnl_status_t status = handle_new(m, &handle);
    if (status == dnnl_success) status = dnnl_memory_create(out, handle, e->engine, data);
    handle_free(handle);
    return status;
}

/* --- primitive descriptors and primitives */

static dnnl_status_t wrap(dnnl_primitive_desc_t desc, ThreeEngine *e, ThreePrimitive **out)
{
    ThreePrimitive *p = calloc(1, sizeof *p);
    if (p != NULL) p->queried = calloc(THREE_QUERIED, sizeof *p->queried);
    if (p == NULL || p->queried == NULL) {
        free(p);
        dnnl_primitive_desc_destroy(desc);
        return dnnl_out_of_memory;
    }
    p->desc = desc;
    p->engine = e;
    *out = p;
    return dnnl_success;
}

dnnl_status_t three_undescribe(ThreePrimitive *p)
{
    dnnl_status_t status = dnnl_primitive_desc_destroy(p->desc);
    free(p->queried);
    free(p);
    return status;
}

static dnnl_status_t create_desc(const ThreeOp *o, const dnnl_memory_desc_t m[THREE_MEMORIES], dnnl_engine_t e,
                                 const_dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *out)
{
    switch (o->kind) {
    case THREE_CONVOLUTION:
        return dnnl_convolution_forward_primitive_desc_create(out, e, o->prop, o->alg, m[0], m[1], m[2], m[3], o->strides, o->dilations,
                                                              o->begin, o->end, attr);
    case THREE_DECONVOLUTION:
        return dnnl_deconvolution_forward_primitive_desc_create(out, e, o->prop, o->alg, m[0], m[1], m[2], m[3], o->strides, o->dilations,
                                                                o->begin, o->end, attr);
    case THREE_POOLING:
        return dnnl_pooling_forward_primitive_desc_create(out, e, o->prop, o->alg, m[0], m[1], o->strides, o->kernel, o->dilations,
                                                          o->begin, o->end, attr);
    case THREE_ELTWISE:
        return dnnl_eltwise_forward_primitive_desc_create(out, e, o->prop, o->alg, m[0], m[0], o->alpha, o->beta, attr);
    case THREE_NORM:
        return dnnl_batch_normalization_forward_primitive_desc_create(out, e, o->prop, m[0], m[0], o->alpha, o->flags, attr);
    case THREE_BINARY: return dnnl_binary_primitive_desc_create(out, e, o->alg, m[0], m[1], m[2], attr);
    case THREE_SOFTMAX: return dnnl_softmax_forward_primitive_desc_create(out, e, o->prop, o->alg, m[0], m[0], o->axis, attr);
    }
    return dnnl_invalid_arguments;
}

dnnl_status_t three_describe(ThreePrimitive **out, const void *op, const_dnnl_primitive_attr_t attr, ThreeEngine *e, const void *hint)
{
    const ThreeOp *o = op;
    dnnl_memory_desc_t m[THREE_MEMORIES] = { NULL };
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_success;
    (void)hint;
    *out = NULL;
    for (int i = 0; i < THREE_MEMORIES && status == dnnl_success; i++)
        if (o->has[i]) status = handle_new(&o->memory[i], &m[i]);
    if (status == dnnl_success) status = create_desc(o, m, e->engine, attr, &desc);
    for (int i = 0; i < THREE_MEMORIES; i++) handle_free(m[i]);
    return status == dnnl_success ? wrap(desc, e, out) : status;
}

dnnl_status_t three_reorder(ThreePrimitive **out, const ThreeMemory *from, ThreeEngine *from_engine, const ThreeMemory *to,
                            ThreeEngine *to_engine, const_dnnl_primitive_attr_t attr)
{
    dnnl_memory_desc_t a = NULL, b = NULL;
    dnnl_primitive_desc_t desc = NULL;
    *out = NULL;
    dnnl_status_t status = handle_new(from, &a);
    if (status == dnnl_success) status = handle_new(to, &b);
    if (status == dnnl_success) status = dnnl_reorder_primitive_desc_create(&desc, a, from_engine->engine, b, to_engine->engine, attr);
    handle_free(a);
    handle_free(b);
    return status == dnnl_success ? wrap(desc, to_engine, out) : status;
}

const ThreeMemory *three_query_memory(const ThreePrimitive *p, dnnl_query_t what, int index)
{
    static const struct {
        dnnl_query_t what;
        int first, count;
    } places[] = {
        { dnnl_query_src_md, 0, 2 }, { dnnl_query_dst_md, 2, 2 }, { dnnl_query_weights_md, 4, 4 }, { dnnl_query_scratchpad_md, 8, 1 },
    };
    size_t at = 0;
    while (at < sizeof places / sizeof *places && places[at].what != what) at++;
    if (at == sizeof places / sizeof *places || index < 0 || index >= places[at].count) return NULL;
    ThreeMemory *m = &p->queried[places[at].first + index];
    return read_handle(p->engine, dnnl_primitive_desc_query_md(p->desc, what, index), m) == dnnl_success ? m : NULL;
}

dnnl_status_t three_query(const ThreePrimitive *p, dnnl_query_t what, int index, void *out)
{
    return dnnl_primitive_desc_query(p->desc, what, index, out);
}

dnnl_status_t three_create(dnnl_primitive_t *out, const ThreePrimitive *p)
{
    return dnnl_primitive_create(out, p->desc);
}

dnnl_status_t three_append_eltwise(dnnl_post_ops_t ops, float scale, dnnl_alg_kind_t alg, float alpha, float beta)
{
    return scale == 1 ? dnnl_post_ops_append_eltwise(ops, alg, alpha, beta) : dnnl_unimplemented;
}

dnnl_status_t three_append_binary(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, const ThreeMemory *other)
{
    dnnl_memory_desc_t handle;
    dnnl_status_t status = handle_new(other, &handle);
    if (status == dnnl_success) status = dnnl_post_ops_append_binary(ops, alg, handle);
    handle_free(handle);
    return status;
}

#endif
