#include "engine/ops/stack.h"

#include <stdlib.h>

#include "engine/ops/common.h"

Status call_body(const OpCall *c, const char *attr, const Graph **body)
{
    const Attr *a = node_attr(c->node, attr);
    if (c->bodies == NULL) return op_fail(c, ERR_UNSUPPORTED, "subgraphs run in a session only");
    if (a == NULL || a->type != ATTR_GRAPH || a->graph == NULL) return op_fail(c, ERR_DATA, "attribute '%s' is missing", attr);
    *body = a->graph;
    return OK;
}

Status stack_add(Stack *s, const Tensor *t, uint64_t limit, const OpCall *c)
{
    if (s->count == 0) {
        if (dtype_size(t->type) == 0) return op_bad_type(c, t->type);
        s->type = t->type;
        s->shape = t->shape;
        s->entry_bytes = t->bytes;
    } else if (t->type != s->type || !shape_eq(&t->shape, &s->shape)) {
        char first[128], now[128];
        shape_print(&s->shape, first, sizeof first);
        shape_print(&t->shape, now, sizeof now);
        return op_fail(c, ERR_DATA, "step %lld gives %s %s to be stacked on %s %s", (long long)s->count, dtype_name(t->type), now,
                       dtype_name(s->type), first);
    }
    size_t used, need;
    if (s->shape.rank >= MAX_RANK || !mul_size((size_t)s->count, s->entry_bytes, &used) || !add_size(used, s->entry_bytes, &need) ||
        need > limit)
        return op_fail(c, ERR_MEMORY, "what its %lld steps stacked up passes %llu bytes: see --max-mem", (long long)s->count,
                       (unsigned long long)limit);
    void *data = s->data;
    if (need > 0 && !array_grow(&data, &s->capacity, need, 1)) return err_no_memory(c->err, "stacked results");
    if (need > 0) s->data = data;
    if (s->entry_bytes > 0) memcpy(s->data + used, t->data, s->entry_bytes);
    s->count++;
    return OK;
}

Status stack_join(const Stack *s, int64_t axis, bool backwards, const TypeInfo *none, Tensor *out, const OpCall *c)
{
    if (s->count == 0 && out->data != NULL) return OK; /* of the planned shape, without elements */
    Shape entry = s->count > 0 ? s->shape : none->shape, shape = { .rank = entry.rank + 1 };
    DType type = s->count > 0 ? s->type : none->type;
    if (type == DT_NONE || entry.rank < 0) return op_fail(c, ERR_UNSUPPORTED, "no steps, and the shape of a stacked result is unknown");
    int at;
    if (entry.rank >= MAX_RANK || !axis_fix(axis, shape.rank, &at))
        return op_fail(c, ERR_DATA, "axis %lld is outside a tensor of rank %d", (long long)axis, shape.rank);
    for (int d = 0; d < shape.rank; d++) {
        int64_t dim = d == at ? s->count : entry.dims[d < at ? d : d - 1];
        shape.dims[d] = dim < 0 ? 0 : dim;
    }
    tensor_release(out);
    TRY(tensor_new(out, type, &shape, c->err));
    if (s->count == 0 || s->entry_bytes == 0) return OK;
    int64_t dims[MAX_RANK + 1], from[MAX_RANK + 1], to[MAX_RANK + 1], own[MAX_RANK], full[MAX_RANK];
    strides_of(&entry, own);
    strides_of(&shape, full);
    int64_t size = (int64_t)(s->entry_bytes / dtype_size(type));
    dims[0] = s->count;
    from[0] = backwards ? -size : size;
    to[0] = full[at];
    for (int d = 0; d < entry.rank; d++) {
        dims[d + 1] = entry.dims[d];
        from[d + 1] = own[d];
        to[d + 1] = full[d < at ? d : d + 1];
    }
    const uint8_t *first = s->data + (backwards ? (size_t)(s->count - 1) * s->entry_bytes : 0);
    copy_strided(dtype_size(type), entry.rank + 1, dims, out->data, to, first, from);
    return OK;
}

void stack_release(Stack *s)
{
    free(s->data);
    *s = (Stack){ 0 };
}
