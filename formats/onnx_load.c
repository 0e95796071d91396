/* ModelProto to Graph: model fields, values, initializers. Nodes are in onnx_load_node.c. */
#include "formats/onnx.h"

#include "base/bytes.h"
#include "graph/edit.h"
#include "graph/verify.h"

#include <stdlib.h>
#include <string.h>

const char onnx_format_name[] = "onnx";

Str onnx_domain(ProtobufCBinaryData b)
{
    Str s = str_of_bytes(b);
    return str_is(s, "ai.onnx") ? STR("") : s;
}

/* The element type and shape that a TypeProto declares; *tensor false when it is no tensor. Symbols enter the graph. */
static Status read_type(OnnxLoader *l, Graph *g, const Onnx__TypeProto *type, DType *element, Shape *shape, bool *tensor)
{
    *element = DT_NONE;
    *shape = SHAPE_UNKNOWN;
    *tensor = true;
    if (type == NULL || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) return OK;
    *tensor = type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    if (!*tensor) return OK;
    const Onnx__TypeProto__Tensor *t = type->tensor_type;
    if (t->elem_type > 0 && t->elem_type < DT_COUNT) *element = (DType)t->elem_type;
    if (t->shape == NULL || t->shape->n_dim > MAX_RANK) return OK;
    shape->rank = (int)t->shape->n_dim;
    for (int i = 0; i < shape->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        shape->dims[i] = DIM_UNKNOWN;
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0) shape->dims[i] = d->dim_value;
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM && d->dim_param.len > 0) {
            shape->dims[i] = graph_symbol(g, str_of_bytes(d->dim_param));
            if (shape->dims[i] == DIM_UNKNOWN) return err_no_memory(l->err, "a symbolic dimension");
        }
    }
    return OK;
}

static Status declare(OnnxLoader *l, Graph *g, Str name, ValueId *out)
{
    *out = graph_add_value(g, name, DT_NONE, NULL);
    return *out != 0 ? OK : err_no_memory(l->err, "the table of values");
}

/* Type and shape from the file's declaration, unless the value has contents of its own. */
static Status describe(OnnxLoader *l, Graph *g, ValueId v, const Onnx__ValueInfoProto *info)
{
    DType type;
    Shape shape;
    bool tensor;
    TRY(read_type(l, g, info->type, &type, &shape, &tensor));
    Value *value = graph_value(g, v);
    value->origin = info;
    value->flags |= VALUE_DECLARED;
    if (!tensor) value->flags &= ~(unsigned)VALUE_TENSOR;
    if (value->flags & VALUE_INITIALIZER) return OK;
    value->type = type;
    value->shape = shape;
    return OK;
}

/* The first declaration of a value counts; those of names that are gone stay in the message. */
static Status describe_all(OnnxLoader *l, Graph *g, Onnx__ValueInfoProto *const *infos, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ValueId v = graph_find_value(g, str_of_bytes(infos[i]->name));
        if (v != 0 && !(graph_value(g, v)->flags & VALUE_DECLARED)) TRY(describe(l, g, v, infos[i]));
    }
    return OK;
}

static Status load_inputs(OnnxLoader *l, Graph *g, const Onnx__GraphProto *m)
{
    g->inputs = alloc_zeroed(m->n_input, sizeof *g->inputs);
    if (g->inputs == NULL) return err_no_memory(l->err, "the graph's inputs");
    for (size_t i = 0; i < m->n_input; i++) {
        Str name = str_of_bytes(m->input[i]->name);
        if (name.len == 0) return err_set(l->err, ERR_DATA, "graph '%.*s': input %zu has no name", STR_ARG(g->name), i);
        if (graph_find_value(g, name) != 0) {
            return err_set(l->err, ERR_DATA, "graph '%.*s': two inputs are named '%.*s'", STR_ARG(g->name), STR_ARG(name));
        }
        ValueId v;
        TRY(declare(l, g, name, &v));
        TRY(describe(l, g, v, m->input[i]));
        graph_value(g, v)->flags |= VALUE_INPUT;
        g->inputs[g->input_count++] = v;
    }
    return OK;
}

/* The value that an initializer of this name gives contents to: an input of the same name (IR 3), else a new one. */
static Status initializer_value(OnnxLoader *l, Graph *g, Str name, ValueId *out)
{
    if (name.len == 0) return err_set(l->err, ERR_DATA, "graph '%.*s': an initializer has no name", STR_ARG(g->name));
    *out = graph_find_value(g, name);
    if (*out == 0) TRY(declare(l, g, name, out));
    if (graph_value(g, *out)->flags & VALUE_INITIALIZER) {
        return err_set(l->err, ERR_DATA, "graph '%.*s': two initializers are named '%.*s'", STR_ARG(g->name), STR_ARG(name));
    }
    graph_value(g, *out)->flags |= VALUE_INITIALIZER | VALUE_TENSOR;
    return OK;
}

static Status load_initializer(OnnxLoader *l, Graph *g, const Onnx__TensorProto *t)
{
    ValueId v;
    TRY(initializer_value(l, g, str_of_bytes(t->name), &v));
    Value *value = graph_value(g, v);
    Tensor tensor;
    TRY(onnx_tensor_load(l->file, t, "initializer", &tensor, l->err));
    value->type = tensor.type;
    value->shape = tensor.shape;
    value->tensor_origin = t;
    if (tensor.type == DT_NONE || tensor.type == DT_STRING) return OK; /* the contents stay in the message */
    value->tensor = arena_copy(g->arena, &tensor, sizeof tensor);
    if (value->tensor != NULL) return OK;
    tensor_release(&tensor);
    return err_no_memory(l->err, "an initializer");
}

static Status load_sparse(OnnxLoader *l, Graph *g, const Onnx__SparseTensorProto *t)
{
    if (t->values == NULL) return err_set(l->err, ERR_DATA, "graph '%.*s': a sparse initializer has no values", STR_ARG(g->name));
    Tensor values;
    TRY(onnx_tensor_shape(t->values, "sparse initializer", &values, l->err));
    ValueId v;
    TRY(initializer_value(l, g, str_of_bytes(t->values->name), &v));
    Value *value = graph_value(g, v);
    value->type = values.type;
    value->shape = t->n_dims <= MAX_RANK ? shape_of((int)t->n_dims, t->dims) : SHAPE_UNKNOWN;
    for (int i = 0; i < value->shape.rank; i++) {
        if (value->shape.dims[i] < 0) {
            return err_set(l->err, ERR_DATA, "sparse initializer '%.*s': dimension %d is %lld, expected 0 or more", STR_ARG(value->name), i,
                           (long long)t->dims[i]);
        }
    }
    return OK;
}

/* Declares what nodes make, before any node is read: subgraphs may refer to values of later nodes, and names must be told apart. */
static Status declare_outputs(OnnxLoader *l, Graph *g, const Onnx__GraphProto *m)
{
    for (size_t n = 0; n < m->n_node; n++) {
        const Onnx__NodeProto *node = m->node[n];
        for (size_t i = 0; i < node->n_output; i++) {
            Str name = str_of_bytes(node->output[i]);
            if (name.len == 0) continue;
            ValueId v = graph_find_value(g, name);
            if (v != 0) {
                unsigned flags = graph_value(g, v)->flags;
                const char *other = flags & VALUE_INPUT ? "is also a graph input" : flags & VALUE_INITIALIZER ? "is also an initializer"
                    : "is made twice";
                return err_set(l->err, ERR_DATA, "%.*s '%.*s' (node %zu): output '%.*s' %s", STR_ARG(str_of_bytes(node->op_type)),
                               STR_ARG(str_of_bytes(node->name)), n, STR_ARG(name), other);
            }
            TRY(declare(l, g, name, &v));
        }
    }
    return OK;
}

static Status load_outputs(OnnxLoader *l, Graph *g, const Onnx__GraphProto *m)
{
    g->outputs = alloc_zeroed(m->n_output, sizeof *g->outputs);
    if (g->outputs == NULL) return err_no_memory(l->err, "the graph's outputs");
    for (size_t i = 0; i < m->n_output; i++) {
        Str name = str_of_bytes(m->output[i]->name);
        bool no_memory = false;
        ValueId v = onnx_resolve(g, name, &no_memory);
        if (no_memory) return err_no_memory(l->err, "the graph's outputs");
        if (v == 0) {
            return err_set(l->err, ERR_DATA, "graph '%.*s': output '%.*s' is made by no node, initializer or input", STR_ARG(g->name),
                           STR_ARG(name));
        }
        graph_value(g, v)->flags |= VALUE_OUTPUT;
        g->outputs[g->output_count++] = v;
    }
    return OK;
}

Status onnx_load_graph(OnnxLoader *l, const Onnx__GraphProto *m, Graph *parent, Graph **out)
{
    *out = NULL;
    Graph *g = graph_new(parent != NULL ? parent->arena : NULL);
    if (g == NULL) return err_no_memory(l->err, "a graph");
    Status status = OK;
    g->parent = parent;
    g->message = m;
    g->name = arena_str(g->arena, str_of_bytes(m->name));
    if (g->name.data == NULL) {
        status = err_no_memory(l->err, "a graph");
        goto out;
    }
    TRY_OUT(load_inputs(l, g, m));
    for (size_t i = 0; i < m->n_initializer; i++) TRY_OUT(load_initializer(l, g, m->initializer[i]));
    for (size_t i = 0; i < m->n_sparse_initializer; i++) TRY_OUT(load_sparse(l, g, m->sparse_initializer[i]));
    TRY_OUT(declare_outputs(l, g, m));
    TRY_OUT(describe_all(l, g, m->output, m->n_output));
    TRY_OUT(describe_all(l, g, m->value_info, m->n_value_info));
    TRY_OUT(onnx_load_nodes(l, g, m));
    TRY_OUT(load_outputs(l, g, m));
    *out = g;
    g = NULL;
out:
    graph_free(g);
    return status;
}

static Status load_model(OnnxLoader *l, const Onnx__ModelProto *m, Graph **out)
{
    if (m->graph == NULL) return err_set(l->err, ERR_DATA, "the model has no graph: it is cut off or no ONNX network");
    if (m->ir_version < ONNX_MIN_IR || m->ir_version > ONNX_MAX_IR) {
        return err_set(l->err, m->ir_version <= 0 ? ERR_DATA : ERR_UNSUPPORTED, "IR version %lld, expected %d to %d",
                       (long long)m->ir_version,
                       ONNX_MIN_IR, ONNX_MAX_IR);
    }
    TRY(onnx_load_graph(l, m->graph, NULL, out));
    Graph *g = *out;
    g->ir_version = m->ir_version;
    g->opsets = alloc_zeroed(m->n_opset_import, sizeof *g->opsets);
    g->metadata = alloc_zeroed(m->n_metadata_props, sizeof *g->metadata);
    if (g->opsets == NULL || g->metadata == NULL) return err_no_memory(l->err, "a model");
    for (size_t i = 0; i < m->n_opset_import; i++) {
        Str domain = arena_str(g->arena, onnx_domain(m->opset_import[i]->domain));
        if (domain.data == NULL) return err_no_memory(l->err, "a model");
        g->opsets[g->opset_count++] = (OpsetImport){ domain, m->opset_import[i]->version };
    }
    for (size_t i = 0; i < m->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *e = m->metadata_props[i];
        MetaEntry entry = { arena_str(g->arena, str_of_bytes(e->key)), arena_str(g->arena, str_of_bytes(e->value)) };
        if (entry.key.data == NULL || entry.value.data == NULL) return err_no_memory(l->err, "a model");
        g->metadata[g->metadata_count++] = entry;
    }
    return OK;
}

Status onnx_load(Mapping *file, const LoadOptions *options, Graph **out, Err *err)
{
    Graph *g = NULL;
    OnnxFile *f = NULL;
    Origin *origin = NULL;
    char *folder = options->folder != NULL ? strdup(options->folder) : path_folder(file->path);
    bool external = false;
    Status status = folder != NULL ? OK : err_no_memory(err, "a path");
    if (status != OK) return status;
    TRY_OUT(onnx_file_open(file, &onnx__model_proto__descriptor, options->max_mem, &f, err));
    TRY_OUT(onnx_external_resolve(f, folder, &external, err));
    OnnxLoader l = { .file = f, .err = err };
    TRY_OUT(load_model(&l, (const Onnx__ModelProto *)f->message, &g));
    origin = malloc(sizeof *origin);
    if (origin == NULL) {
        status = err_no_memory(err, "a model");
        goto out;
    }
    *origin = (Origin){ .refs = 1, .message = f, .format = onnx_format_name, .release = onnx_file_free };
    f = NULL;
    g->origin = origin;
    g->external_data = external;
    TRY_OUT(graph_finish(g, err));
    TRY_OUT(graph_verify(g, err));
    *out = g;
    g = NULL;
out:
    graph_free(g);
    onnx_file_free(f);
    free(folder);
    return status;
}
