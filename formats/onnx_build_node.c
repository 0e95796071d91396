/* Nodes and attributes as messages. */
#include "formats/onnx_build.h"

#include <string.h>

static Status build_names(OnnxBuilder *b, const Graph *g, const ValueId *ids, int count, ProtobufCBinaryData **out, size_t *out_count)
{
    *out_count = (size_t)count;
    *out = build_alloc(b, *out_count, sizeof **out);
    if (*out == NULL) return ERR_MEMORY;
    for (int i = 0; i < count; i++) {
        Str name = ids[i] != 0 ? graph_value(g, ids[i])->name : STR("");
        (*out)[i] = (ProtobufCBinaryData){ .len = name.len, .data = (uint8_t *)(uintptr_t)name.data };
    }
    return OK;
}

static Status build_attr_graphs(OnnxBuilder *b, const Attr *a, Onnx__AttributeProto *m)
{
    if (a->type == ATTR_GRAPH) return build_graph(b, a->graph, &m->g);
    m->n_graphs = (size_t)a->count;
    m->graphs = build_alloc(b, m->n_graphs, sizeof *m->graphs);
    if (m->graphs == NULL) return ERR_MEMORY;
    for (int64_t i = 0; i < a->count; i++) TRY(build_graph(b, a->graphs[i], &m->graphs[i]));
    return OK;
}

static Status build_attr_tensors(OnnxBuilder *b, const Attr *a, const Onnx__AttributeProto *origin, Onnx__AttributeProto *m)
{
    if (a->type == ATTR_TENSOR) {
        const Onnx__TensorProto *old = origin != NULL ? origin->t : NULL;
        return build_tensor(b, old != NULL ? str_of_bytes(old->name) : STR(""), a->tensor, old, true, &m->t);
    }
    m->n_tensors = (size_t)a->count;
    m->tensors = build_alloc(b, m->n_tensors, sizeof *m->tensors);
    if (m->tensors == NULL) return ERR_MEMORY;
    for (int64_t i = 0; i < a->count; i++) {
        const Onnx__TensorProto *old = origin != NULL && (size_t)i < origin->n_tensors ? origin->tensors[i] : NULL;
        TRY(build_tensor(b, old != NULL ? str_of_bytes(old->name) : STR(""), &a->tensors[i], old, true, &m->tensors[i]));
    }
    return OK;
}

/* Values of an attribute that no file spelled. */
static Status build_new_attr(OnnxBuilder *b, const Attr *a, Onnx__AttributeProto *m)
{
    m->has_type = 1;
    m->type = (Onnx__AttributeProto__AttributeType)a->type;
    switch (a->type) {
    case ATTR_FLOAT: m->has_f = 1, m->f = a->f; break;
    case ATTR_INT: m->has_i = 1, m->i = a->i; break;
    case ATTR_STRING: m->has_s = 1, m->s = (ProtobufCBinaryData){ a->s.len, (uint8_t *)(uintptr_t)a->s.data }; break;
    case ATTR_FLOATS: m->n_floats = (size_t)a->count, m->floats = (float *)(uintptr_t)a->floats; break;
    case ATTR_INTS: m->n_ints = (size_t)a->count, m->ints = (int64_t *)(uintptr_t)a->ints; break;
    case ATTR_STRINGS:
        m->n_strings = (size_t)a->count;
        m->strings = build_alloc(b, m->n_strings, sizeof *m->strings);
        if (m->strings == NULL) return ERR_MEMORY;
        for (int64_t i = 0; i < a->count; i++) m->strings[i] = (ProtobufCBinaryData){ a->strings[i].len,
                                                                                      (uint8_t *)(uintptr_t)a->strings[i].data };
        break;
    case ATTR_TENSOR: case ATTR_TENSORS: case ATTR_GRAPH: case ATTR_GRAPHS: break;
    default: return err_set(b->err, ERR_BUG, "attribute '%.*s' has no contents to write", STR_ARG(a->name));
    }
    return OK;
}

static Status build_attr(OnnxBuilder *b, const Attr *a, Onnx__AttributeProto **out)
{
    const Onnx__AttributeProto *origin = b->file != NULL ? a->origin : NULL;
    Onnx__AttributeProto *m = build_alloc(b, 1, sizeof *m);
    if (m == NULL) return ERR_MEMORY;
    *out = m;
    if (origin != NULL) {
        *m = *origin;
    } else {
        onnx__attribute_proto__init(m);
        build_text(&m->has_name, &m->name, a->name);
        TRY(build_new_attr(b, a, m));
    }
    if (a->type == ATTR_GRAPH || a->type == ATTR_GRAPHS) return build_attr_graphs(b, a, m);
    if (a->type == ATTR_TENSOR || a->type == ATTR_TENSORS) return build_attr_tensors(b, a, origin, m);
    return OK;
}

Status build_node(OnnxBuilder *b, const Graph *g, const Node *n, Onnx__NodeProto **out)
{
    const Onnx__NodeProto *origin = b->file != NULL ? n->origin : NULL;
    Onnx__NodeProto *m = build_alloc(b, 1, sizeof *m);
    if (m == NULL) return ERR_MEMORY;
    *out = m;
    if (origin != NULL) *m = *origin;
    else onnx__node_proto__init(m);
    TRY(build_names(b, g, n->inputs, n->input_count, &m->input, &m->n_input));
    TRY(build_names(b, g, n->outputs, n->output_count, &m->output, &m->n_output));
    build_text(&m->has_name, &m->name, n->name);
    build_text(&m->has_op_type, &m->op_type, n->type);
    if (!str_eq(onnx_domain(m->domain), n->domain)) build_text(&m->has_domain, &m->domain, n->domain);
    m->n_attribute = (size_t)n->attr_count;
    m->attribute = build_alloc(b, m->n_attribute, sizeof *m->attribute);
    if (m->attribute == NULL) return ERR_MEMORY;
    for (int i = 0; i < n->attr_count; i++) TRY(build_attr(b, &n->attrs[i], &m->attribute[i]));
    return OK;
}
