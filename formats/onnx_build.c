/* The model, its graphs and tensors as messages. Nodes and attributes are in onnx_build_node.c, declared types in onnx_build_type.c. */
#include "formats/onnx_build.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

void *build_alloc(OnnxBuilder *b, size_t count, size_t size)
{
    void *p = arena_array(b->arena, count, size);
    if (p == NULL) err_no_memory(b->err, "saving");
    return p;
}

void build_text(protobuf_c_boolean *has, ProtobufCBinaryData *field, Str text)
{
    if (str_eq(str_of_bytes(*field), text)) return;
    *has = 1;
    *field = (ProtobufCBinaryData){ .len = text.len, .data = (uint8_t *)(uintptr_t)text.data };
}

static bool is_external(const OnnxBuilder *b, const Onnx__TensorProto *t)
{
    return b->file != NULL && t != NULL && t->has_payload && t->payload < b->file->payload_count
        && b->file->payloads[t->payload].external != NULL;
}

Status build_tensor(OnnxBuilder *b, Str name, const Tensor *t, const Onnx__TensorProto *origin, bool attribute, Onnx__TensorProto **out)
{
    Onnx__TensorProto *m = build_alloc(b, 1, sizeof *m);
    if (m == NULL) return ERR_MEMORY;
    if (origin != NULL) *m = *origin;
    else onnx__tensor_proto__init(m);
    build_text(&m->has_name, &m->name, name);
    *out = m;
    bool opaque = t == NULL || t->type == DT_STRING || t->type == DT_NONE;
    if (opaque && origin != NULL) return OK; /* the contents stayed in the message */
    if (opaque) return err_set(b->err, ERR_UNSUPPORTED, "tensor '%.*s' of type string cannot be written", STR_ARG(name));
    m->has_data_type = 1;
    m->data_type = (int32_t)t->type;
    m->n_dims = (size_t)t->shape.rank;
    m->dims = build_alloc(b, m->n_dims, sizeof *m->dims);
    if (m->dims == NULL) return ERR_MEMORY;
    memcpy(m->dims, t->shape.dims, m->n_dims * sizeof *m->dims);
    m->has_payload = 0;
    m->n_string_data = 0;
    if (t->bytes == 0) return OK;
    if (!array_grow((void **)&b->payloads, &b->capacity, b->count + 1, sizeof *b->payloads)) return err_no_memory(b->err, "saving");
    m->has_payload = 1;
    m->payload = (b->file != NULL ? b->file->payload_count : 0) + b->count;
    bool external = is_external(b, origin) || (!attribute && t->bytes >= EXTERNAL_MIN_BYTES);
    b->payloads[b->count++] = (SavePayload){ .tensor = t, .message = m, .external = external };
    return OK;
}

/* Which value an initializer message became: sorted by address, as messages are looked up in file order. */
typedef struct Kept {
    const void *message;
    ValueId value;
} Kept;

static int compare_kept(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Kept *)a)->message, y = (uintptr_t)((const Kept *)b)->message;
    return (x > y) - (x < y);
}

static Status build_initializer(OnnxBuilder *b, const Graph *g, ValueId v, Onnx__GraphProto *m)
{
    const Value *value = graph_value(g, v);
    return build_tensor(b, value->name, value->tensor, value->tensor_origin, false, &m->initializer[m->n_initializer++]);
}

static bool is_sparse(const Value *value)
{
    return (value->flags & VALUE_INITIALIZER) != 0 && value->tensor == NULL && value->tensor_origin == NULL;
}

/* Initializers in the order of the file, then the new ones. */
static Status build_initializers(OnnxBuilder *b, const Graph *g, const Onnx__GraphProto *origin, Onnx__GraphProto *m)
{
    size_t count = 0, old = 0;
    for (ValueId v = 1; v <= g->value_count; v++) count += (graph_value(g, v)->flags & VALUE_INITIALIZER) != 0;
    m->initializer = build_alloc(b, count, sizeof *m->initializer);
    Kept *kept = build_alloc(b, count, sizeof *kept);
    bool *done = build_alloc(b, (size_t)g->value_count + 1, sizeof *done);
    if (m->initializer == NULL || kept == NULL || done == NULL) return ERR_MEMORY;
    m->n_initializer = 0;
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        if (!(value->flags & VALUE_INITIALIZER)) continue;
        if (is_sparse(value)) done[v] = true;
        else if (value->tensor_origin != NULL) kept[old++] = (Kept){ value->tensor_origin, v };
    }
    qsort(kept, old, sizeof *kept, compare_kept);
    for (size_t i = 0; origin != NULL && i < origin->n_initializer; i++) {
        Kept key = { origin->initializer[i], 0 };
        const Kept *found = bsearch(&key, kept, old, sizeof *kept, compare_kept);
        if (found == NULL || done[found->value]) continue;
        done[found->value] = true;
        TRY(build_initializer(b, g, found->value, m));
    }
    for (ValueId v = 1; v <= g->value_count; v++) {
        if ((graph_value(g, v)->flags & VALUE_INITIALIZER) && !done[v]) TRY(build_initializer(b, g, v, m));
    }
    return OK;
}

static Status build_sparse(OnnxBuilder *b, const Graph *g, const Onnx__GraphProto *origin, Onnx__GraphProto *m)
{
    if (origin == NULL || origin->n_sparse_initializer == 0) return OK;
    m->n_sparse_initializer = 0;
    m->sparse_initializer = build_alloc(b, origin->n_sparse_initializer, sizeof *m->sparse_initializer);
    if (m->sparse_initializer == NULL) return ERR_MEMORY;
    for (size_t i = 0; i < origin->n_sparse_initializer; i++) {
        Onnx__SparseTensorProto *sparse = origin->sparse_initializer[i];
        ValueId v = sparse->values != NULL ? graph_find_value(g, str_of_bytes(sparse->values->name)) : 0;
        if (v != 0 && is_sparse(graph_value(g, v))) m->sparse_initializer[m->n_sparse_initializer++] = sparse;
    }
    return OK;
}

static bool is_live(const Value *value)
{
    return value->producer != 0 || (value->flags & (VALUE_INPUT | VALUE_INITIALIZER | VALUE_OUTER)) != 0;
}

/* The declaration of a graph input or output: the message at the same place of the file when it has the name, else the value's own. */
static Status build_declared(OnnxBuilder *b, const Graph *g, const ValueId *ids, int count, Onnx__ValueInfoProto *const *old,
                             size_t old_count,
                             Onnx__ValueInfoProto ***out, size_t *out_count)
{
    *out = build_alloc(b, (size_t)count, sizeof **out);
    if (*out == NULL) return ERR_MEMORY;
    *out_count = (size_t)count;
    for (int i = 0; i < count; i++) {
        const Value *value = graph_value(g, ids[i]);
        bool same = (size_t)i < old_count && str_eq(str_of_bytes(old[i]->name), value->name);
        TRY(build_value_info(b, g, value, same ? old[i] : value->origin, &(*out)[i]));
    }
    return OK;
}

/* Declarations and annotations of inner values go by name; those of values that a pass removed are dropped. */
static Status build_inner(OnnxBuilder *b, const Graph *g, const Onnx__GraphProto *origin, Onnx__GraphProto *m)
{
    if (origin == NULL) return OK;
    m->value_info = build_alloc(b, origin->n_value_info, sizeof *m->value_info);
    m->quantization_annotation = build_alloc(b, origin->n_quantization_annotation, sizeof *m->quantization_annotation);
    if (m->value_info == NULL || m->quantization_annotation == NULL) return ERR_MEMORY;
    m->n_value_info = m->n_quantization_annotation = 0;
    for (size_t i = 0; i < origin->n_value_info; i++) {
        Onnx__ValueInfoProto *info = origin->value_info[i];
        ValueId v = graph_find_value(g, str_of_bytes(info->name));
        if (v != 0 && !is_live(graph_value(g, v))) continue;
        if (v != 0) TRY(build_value_info(b, g, graph_value(g, v), info, &info));
        m->value_info[m->n_value_info++] = info;
    }
    for (size_t i = 0; i < origin->n_quantization_annotation; i++) {
        ValueId v = graph_find_value(g, str_of_bytes(origin->quantization_annotation[i]->tensor_name));
        if (v != 0 && !is_live(graph_value(g, v))) continue;
        m->quantization_annotation[m->n_quantization_annotation++] = origin->quantization_annotation[i];
    }
    return OK;
}

Status build_graph(OnnxBuilder *b, const Graph *g, Onnx__GraphProto **out)
{
    const Onnx__GraphProto *origin = b->file != NULL ? g->message : NULL;
    Onnx__GraphProto *m = build_alloc(b, 1, sizeof *m);
    if (m == NULL) return ERR_MEMORY;
    if (origin != NULL) *m = *origin;
    else onnx__graph_proto__init(m);
    *out = m;
    build_text(&m->has_name, &m->name, g->name);
    TRY(build_declared(b, g, g->inputs, g->input_count, origin != NULL ? origin->input : NULL, origin != NULL ? origin->n_input : 0,
                       &m->input,
                       &m->n_input));
    TRY(build_declared(b, g, g->outputs, g->output_count, origin != NULL ? origin->output : NULL, origin != NULL ? origin->n_output : 0,
                       &m->output,
                       &m->n_output));
    TRY(build_initializers(b, g, origin, m));
    TRY(build_sparse(b, g, origin, m));
    TRY(build_inner(b, g, origin, m));
    m->node = build_alloc(b, g->order_count, sizeof *m->node);
    if (m->node == NULL) return ERR_MEMORY;
    m->n_node = g->order_count;
    for (uint32_t i = 0; i < g->order_count; i++) TRY(build_node(b, g, graph_node(g, g->order[i]), &m->node[i]));
    return OK;
}

static Status build_opsets(OnnxBuilder *b, const Graph *g, Onnx__ModelProto *m)
{
    Onnx__OperatorSetIdProto **old = m->opset_import;
    size_t old_count = m->n_opset_import;
    m->n_opset_import = (size_t)g->opset_count;
    m->opset_import = build_alloc(b, m->n_opset_import, sizeof *m->opset_import);
    if (m->opset_import == NULL) return ERR_MEMORY;
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const OpsetImport *import = &g->opsets[i];
        Onnx__OperatorSetIdProto *o = build_alloc(b, 1, sizeof *o);
        if (o == NULL) return ERR_MEMORY;
        onnx__operator_set_id_proto__init(o);
        bool same = i < old_count && str_eq(onnx_domain(old[i]->domain), import->domain);
        if (same) *o = *old[i];
        else build_text(&o->has_domain, &o->domain, import->domain);
        if (!same || o->version != import->version) o->has_version = 1;
        o->version = import->version;
        m->opset_import[i] = o;
    }
    return OK;
}

static Status build_metadata(OnnxBuilder *b, const Graph *g, Onnx__ModelProto *m)
{
    Onnx__StringStringEntryProto **old = m->metadata_props;
    size_t old_count = m->n_metadata_props;
    m->n_metadata_props = (size_t)g->metadata_count;
    m->metadata_props = build_alloc(b, m->n_metadata_props, sizeof *m->metadata_props);
    if (m->metadata_props == NULL) return ERR_MEMORY;
    for (size_t i = 0; i < m->n_metadata_props; i++) {
        Onnx__StringStringEntryProto *e = build_alloc(b, 1, sizeof *e);
        if (e == NULL) return ERR_MEMORY;
        onnx__string_string_entry_proto__init(e);
        if (i < old_count && str_eq(str_of_bytes(old[i]->key), g->metadata[i].key)) *e = *old[i];
        build_text(&e->has_key, &e->key, g->metadata[i].key);
        build_text(&e->has_value, &e->value, g->metadata[i].value);
        m->metadata_props[i] = e;
    }
    return OK;
}

Status onnx_build_model(OnnxBuilder *b, const Graph *g, Err *err)
{
    bool ours = g->origin != NULL && g->origin->format == onnx_format_name;
    *b = (OnnxBuilder){ .graph = g, .file = ours ? g->origin->message : NULL, .arena = arena_new(), .err = err };
    if (b->arena == NULL) return err_no_memory(err, "saving");
    Onnx__ModelProto *m = build_alloc(b, 1, sizeof *m);
    if (m == NULL) return ERR_MEMORY;
    if (b->file != NULL) {
        *m = *(const Onnx__ModelProto *)b->file->message;
    } else {
        onnx__model_proto__init(m);
        build_text(&m->has_producer_name, &m->producer_name, STR("pare"));
    }
    if (m->ir_version != g->ir_version || b->file == NULL) m->has_ir_version = 1;
    m->ir_version = g->ir_version;
    b->model = m;
    TRY(build_opsets(b, g, m));
    TRY(build_metadata(b, g, m));
    return build_graph(b, g, &m->graph);
}

void onnx_build_release(OnnxBuilder *b)
{
    free(b->payloads);
    arena_unref(b->arena);
    *b = (OnnxBuilder){ 0 };
}
