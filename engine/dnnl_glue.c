#include "engine/dnnl_glue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/avx2.h"
#include "engine/dnnl_private.h"

Status dnnl_check(dnnl_status_t status, const char *what, Err *err)
{
    if (status == dnnl_success) return OK;
    if (status == dnnl_out_of_memory) return err_no_memory(err, what);
    if (status == dnnl_unimplemented || status == dnnl_invalid_arguments)
        return err_set(err, ERR_UNSUPPORTED, "oneDNN has no %s for these shapes", what);
    return err_set(err, ERR_BUG, "oneDNN: %s failed with status %d", what, (int)status);
}

bool device_is_avx2(void)
{
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    return (isa == dnnl_cpu_isa_avx2 || isa == dnnl_cpu_isa_avx2_vnni) && avx2_serves();
}

Status device_new(Budget *budget, Device *owner, Device **out, Err *err)
{
    Device *d = calloc(1, sizeof *d);
    *out = d;
    if (d == NULL) return err_no_memory(err, "compute device");
    d->budget = budget;
    d->owner = owner != NULL ? owner : d;
    Status status = dnnl_check(dnnl_engine_create(&d->engine, dnnl_cpu, 0), "engine", err);
    if (status == OK) status = dnnl_check(dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags), "stream", err);
    if (status != OK) {
        device_free(d);
        *out = NULL;
    }
    return status;
}

void device_free(Device *d)
{
    if (d == NULL) return;
    for (Pack *p = d->packs; p != NULL;) {
        Pack *next = p->next;
        free(p->data);
        free(p);
        p = next;
    }
    free(d->scratch);
    free(d->library);
    if (d->stream != NULL) dnnl_stream_destroy(d->stream);
    if (d->engine != NULL) dnnl_engine_destroy(d->engine);
    free(d);
}

static Status grow(Device *d, void **memory, size_t *held, size_t bytes, const char *what, Err *err)
{
    if (bytes <= *held) return OK;
    size_t rounded = (bytes + 63) / 64 * 64;
    TRY(budget_take(d->budget, rounded, what, err)); /* both, for a moment */
    void *grown = aligned_alloc(64, rounded);
    if (grown == NULL) {
        budget_give(d->budget, rounded);
        return err_no_memory(err, what);
    }
    free(*memory);
    budget_give(d->budget, *held);
    *memory = grown;
    *held = rounded;
    return OK;
}

Status device_scratch(Device *d, size_t bytes, Err *err)
{
    return grow(d, &d->scratch, &d->scratch_bytes, bytes, "scratch memory", err);
}

size_t layout_bytes(const Layout *l)
{
    return dnnl_memory_desc_get_size(&l->md);
}

bool layout_divides(const Layout *l, size_t bytes)
{
    size_t outer = (size_t)memory_outer(&l->md) * (size_t)l->md.dims[0];
    return layout_bytes(l) == bytes && outer * dnnl_data_type_size(l->md.data_type) == bytes;
}

bool layout_eq(const Layout *a, const Layout *b)
{
    if (a == NULL || b == NULL) return a == b;
    return dnnl_memory_desc_equal(&a->md, &b->md) != 0;
}

/* --- descriptors */

static bool md_dims(int rank, const int64_t *dims, dnnl_dims_t out)
{
    if (rank < 1 || rank > DNNL_MAX_NDIMS) return false;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 1) return false;
        out[i] = dims[i];
    }
    return true;
}

bool md_plain(dnnl_memory_desc_t *md, dnnl_data_type_t type, int rank, const int64_t *dims)
{
    dnnl_dims_t d = { 0 };
    return md_dims(rank, dims, d) && dnnl_memory_desc_init_by_strides(md, rank, d, type, NULL) == dnnl_success;
}

bool md_any(dnnl_memory_desc_t *md, dnnl_data_type_t type, int rank, const int64_t *dims)
{
    dnnl_dims_t d = { 0 };
    return md_dims(rank, dims, d) && dnnl_memory_desc_init_by_tag(md, rank, d, type, dnnl_format_tag_any) == dnnl_success;
}

static dnnl_data_type_t md_type(DType t)
{
    return t == DT_FLOAT ? dnnl_f32 : t == DT_UINT8 ? dnnl_u8 : t == DT_INT8 ? dnnl_s8 : t == DT_INT32 ? dnnl_s32 : dnnl_data_type_undef;
}

bool md_typed(const TypeInfo *type, dnnl_memory_desc_t *md)
{
    return md_plain(md, md_type(type->type), type->shape.rank, type->shape.dims);
}

bool md_given(const KernelSite *s, int i, dnnl_memory_desc_t *md)
{
    if (s->given[i] != NULL) {
        *md = s->given[i]->md;
        return true;
    }
    return md_plain(md, md_type(s->in[i].type), s->in[i].shape.rank, s->in[i].shape.dims);
}

static bool is_plain(const dnnl_memory_desc_t *md)
{
    dnnl_memory_desc_t plain;
    return md_plain(&plain, md->data_type, md->ndims, md->dims) && dnnl_memory_desc_equal(&plain, md) != 0;
}

bool layout_is_plain(const Layout *l)
{
    return is_plain(&l->md);
}

/* Steps along an axis of one entry say nothing. */
static bool is_plain_but_for_ones(const dnnl_memory_desc_t *md)
{
    int64_t step = 1;
    const dnnl_dim_t *strides = memory_strides(md);
    if (strides == NULL) return false;
    for (int i = md->ndims - 1; i >= 0; i--) {
        if (md->dims[i] == 1) continue;
        if (strides[i] != step) return false;
        step *= md->dims[i];
    }
    return true;
}

Status layout_transpose(const TypeInfo *type, const Layout *from, const int64_t *perm, Layout **out, Err *err)
{
    dnnl_memory_desc_t md, turned;
    int rank = type->shape.rank, to[DNNL_MAX_NDIMS];
    *out = NULL;
    if (from != NULL) md = from->md;
    else if (md_type(type->type) == dnnl_data_type_undef || !md_plain(&md, md_type(type->type), rank, type->shape.dims))
        return err_set(err, ERR_UNSUPPORTED, "a tensor that oneDNN cannot describe");
    for (int i = 0; i < rank; i++) to[perm[i]] = i;
    TRY(dnnl_check(dnnl_memory_desc_permute_axes(&turned, &md, to), "transposed order", err));
    if (is_plain_but_for_ones(&turned)) return OK;
    *out = malloc(sizeof **out);
    if (*out == NULL) return err_no_memory(err, "an order of elements");
    (*out)->md = turned;
    return OK;
}

void site_take(KernelSite *s, Primitive *p, int i, const dnnl_memory_desc_t *md)
{
    p->take[i].md = *md;
    s->take[i] = is_plain(md) ? NULL : &p->take[i];
}

void site_make(KernelSite *s, Primitive *p, const dnnl_memory_desc_t *md)
{
    p->make[0].md = *md;
    s->make[0] = is_plain(md) ? NULL : &p->make[0];
}

/* --- primitives */

Status primitive_new(Device *d, Primitive **out, Err *err)
{
    Primitive *p = calloc(1, sizeof *p);
    *out = p;
    if (p == NULL) return err_no_memory(err, "kernel state");
    p->device = d;
    return OK;
}

void primitive_release(void *state)
{
    Primitive *p = state;
    if (p == NULL) return;
    for (int i = 0; i < p->count; i++) dnnl_memory_destroy(p->args[i].memory);
    if (p->primitive != NULL) dnnl_primitive_destroy(p->primitive);
    free(p->owned);
    free(p);
}

/* Scratchpads are ours: the library's own belong to the thread that made the primitive, which need not be the one that runs it. */
static Status attr_of(dnnl_primitive_attr_t given, dnnl_primitive_attr_t *own, dnnl_primitive_attr_t *attr, Err *err)
{
    *own = NULL;
    if (given == NULL) TRY(dnnl_check(dnnl_primitive_attr_create(own), "attributes", err));
    *attr = given != NULL ? given : *own;
    return dnnl_check(dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user), "attributes", err);
}

Status desc_create(Device *d, const void *operation, dnnl_primitive_attr_t given, const char *what, dnnl_primitive_desc_t *out, Err *err)
{
    dnnl_primitive_attr_t own, attr;
    Status status = attr_of(given, &own, &attr, err);
    if (status == OK) status = dnnl_check(dnnl_primitive_desc_create(out, operation, attr, d->engine, NULL), what, err);
    if (own != NULL) dnnl_primitive_attr_destroy(own);
    return status;
}

Status reorder_desc_create(Device *d, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, dnnl_primitive_desc_t *out, Err *err)
{
    dnnl_primitive_attr_t own, attr;
    Status status = attr_of(NULL, &own, &attr, err);
    if (status == OK) status = dnnl_check(dnnl_reorder_primitive_desc_create(out, from, d->engine, to, d->engine, attr), "reorder", err);
    if (own != NULL) dnnl_primitive_attr_destroy(own);
    return status;
}

Status primitive_create(Primitive *p, const_dnnl_primitive_desc_t desc, Err *err)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    size_t bytes = md != NULL ? dnnl_memory_desc_get_size(md) : 0;
    if (bytes > 0) {
        TRY(grow(p->device, &p->device->library, &p->device->library_bytes, bytes, "scratchpads", err));
        TRY(primitive_arg(p, DNNL_ARG_SCRATCHPAD, md, ARG_SCRATCH, 0, NULL, err));
    }
    const char *name = NULL;
    if (dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name != NULL)
        snprintf(p->name, sizeof p->name, "%s", name);
    return dnnl_check(dnnl_primitive_create(&p->primitive, desc), "primitive", err);
}

Status primitive_arg(Primitive *p, int arg, const dnnl_memory_desc_t *md, ArgSource source, int index, const void *fixed, Err *err)
{
    if (p->count == DNNL_ARGS) return err_set(err, ERR_BUG, "a primitive with more than %d arguments", DNNL_ARGS);
    dnnl_memory_t memory;
    void *handle = source == ARG_FIXED ? (void *)(uintptr_t)fixed : DNNL_MEMORY_NONE;
    TRY(dnnl_check(dnnl_memory_create(&memory, md, p->device->engine, handle), "memory", err));
    if (arg == DNNL_ARG_WEIGHTS) p->weights = *md;
    p->args[p->count] = (dnnl_exec_arg_t){ arg, memory };
    p->source[p->count] = source;
    p->index[p->count++] = index;
    return OK;
}

Status primitive_run(void *state, const void *const *in, void *const *out, Err *err)
{
    Primitive *p = state;
    for (int i = 0; i < p->count; i++) {
        if (p->source[i] == ARG_FIXED) continue;
        void *handle = p->source[i] == ARG_IN    ? (void *)(uintptr_t)in[p->index[i]]
                       : p->source[i] == ARG_OUT ? out[p->index[i]]
                                                 : p->device->library;
        TRY(dnnl_check(dnnl_memory_set_data_handle(p->args[i].memory, handle), "memory", err));
    }
    TRY(dnnl_check(dnnl_primitive_execute(p->primitive, p->device->stream, p->count, p->args), "execution", err));
    return dnnl_check(dnnl_stream_wait(p->device->stream), "execution", err);
}

const char *kernel_detail(const Kernel *kernel, const void *state)
{
    if (kernel == &kernel_reorder) return reorder_detail(state);
    return kernel->run == primitive_run ? ((const Primitive *)state)->name : choice_text(kernel, state);
}

/* --- reorders */

Status reorder_make(Device *d, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, Primitive **out, Err *err)
{
    Primitive *p;
    dnnl_primitive_desc_t desc = NULL;
    TRY(primitive_new(d, &p, err));
    Status status;
    TRY_OUT(reorder_desc_create(d, from, to, &desc, err));
    TRY_OUT(primitive_create(p, desc, err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_FROM, from, ARG_IN, 0, NULL, err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_TO, to, ARG_OUT, 0, NULL, err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) primitive_release(p);
    else *out = p;
    return status;
}
