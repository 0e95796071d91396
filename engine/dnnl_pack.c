/* Constants in the order that primitives want: packed once for each order and shared by plans. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"

/* By the library; `bytes` of the result. */
static Status pack_by_reorder(Device *d, const void *data, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, void *out,
                              size_t bytes, Err *err)
{
    Primitive *reorder = NULL;
    int threads = omp_get_max_threads();
    if (bytes < PACK_SHARED) omp_set_num_threads(1); /* a team's start and its barriers would take longer */
    Status status = reorder_make(d, from, to, &reorder, err);
    if (status == OK) status = primitive_run(reorder, (const void *[]){ data }, (void *[]){ out }, err);
    primitive_release(reorder);
    omp_set_num_threads(threads);
    return status;
}

static const Pack *find_pack(const Device *d, ValueId v, uint64_t variant, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to)
{
    const Pack *p = d->packs;
    while (p != NULL && !(p->value == v && p->variant == variant && dnnl_memory_desc_equal(&p->to, to) &&
                          dnnl_memory_desc_equal(&p->from, from)))
        p = p->next;
    return p;
}

static void drop_pack(Device *d, Pack *pack, size_t rounded)
{
    budget_give(d->budget, rounded);
    free(pack->data);
    free(pack);
}

/* Room for one, not among the others yet. */
static Status new_pack(Device *d, const Pack *like, size_t *rounded, Pack **out, Err *err)
{
    Pack *pack = calloc(1, sizeof *pack);
    if (pack == NULL) return err_no_memory(err, "packed weights");
    *pack = *like;
    *rounded = pack->bytes > 0 ? (pack->bytes + 63) / 64 * 64 : 64;
    Status status = budget_take(d->budget, *rounded, "packed weights", err);
    if (status != OK) {
        free(pack);
        return status;
    }
    pack->data = aligned_alloc(64, *rounded);
    if (pack->data == NULL) {
        drop_pack(d, pack, *rounded);
        return err_no_memory(err, "packed weights");
    }
    *out = pack;
    return OK;
}

static const void *keep_pack(Device *d, Pack *pack)
{
    pack->next = d->packs;
    d->packs = pack;
    return pack->data;
}

static Status pack_into(Device *d, const void *data, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, void *out, size_t bytes,
                        Err *err)
{
    if (pack_floats(from, to, data, out, bytes)) return OK;
    void *copy = NULL;
    if ((uintptr_t)data % dnnl_data_type_size(from->data_type) != 0) { /* as it may lie in a file */
        size_t size = dnnl_memory_desc_get_size(from);
        copy = malloc(size);
        if (copy == NULL) return err_no_memory(err, "packed weights");
        data = memcpy(copy, data, size);
    }
    Status status = pack_by_reorder(d, data, from, to, out, bytes, err);
    free(copy);
    return status;
}

Status device_pack(Device *d, ValueId v, uint64_t variant, const void *data, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                   const void **out, Err *err)
{
    d = d->owner;
    const Pack *there = find_pack(d, v, variant, from, to);
    if (there != NULL) {
        *out = there->data;
        return OK;
    }
    Pack *pack;
    size_t rounded;
    TRY(new_pack(d, &(Pack){ .value = v, .from = *from, .to = *to, .variant = variant, .bytes = dnnl_memory_desc_get_size(to) }, &rounded,
                 &pack, err));
    Status status = pack_into(d, data, from, to, pack->data, pack->bytes, err);
    if (status == OK) *out = keep_pack(d, pack);
    else drop_pack(d, pack, rounded);
    return status;
}

Status device_pack_by(Device *d, ValueId v, uint64_t variant, size_t bytes, void (*fill)(const void *user, void *out), const void *user,
                      const void **out, Err *err)
{
    dnnl_memory_desc_t order;
    int64_t size = (int64_t)bytes;
    d = d->owner;
    if (!md_plain(&order, dnnl_u8, 1, &size)) return err_set(err, ERR_UNSUPPORTED, "empty weights");
    const Pack *there = find_pack(d, v, variant, &order, &order);
    if (there == NULL) {
        Pack *pack;
        size_t rounded;
        TRY(new_pack(d, &(Pack){ .value = v, .from = order, .to = order, .variant = variant, .bytes = bytes }, &rounded, &pack, err));
        fill(user, pack->data);
        keep_pack(d, pack);
        there = pack;
    }
    *out = there->data;
    return OK;
}

Status primitive_weighted(Primitive *p, const_dnnl_primitive_desc_t desc, ValueId v, uint64_t variant, const void *data,
                          const dnnl_memory_desc_t *plain, Err *err)
{
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    const void *packed;
    TRY(device_pack(p->device, v, variant, data, plain, weights, &packed, err));
    TRY(primitive_arg(p, DNNL_ARG_SRC, dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0), ARG_IN, 0, NULL, err));
    TRY(primitive_arg(p, DNNL_ARG_WEIGHTS, weights, ARG_FIXED, 0, packed, err));
    TRY(primitive_arg(p, DNNL_ARG_DST, dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0), ARG_OUT, 0, NULL, err));
    return primitive_create(p, desc, err);
}
