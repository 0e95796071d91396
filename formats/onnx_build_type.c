/* Declared types as messages. What the file declared is kept as long as the value's type does not contradict it: inference fills in
 * more than exporters write, and an untouched network must come out as it went in. */
#include "formats/onnx_build.h"

static bool dim_agrees(const Onnx__TensorShapeProto__Dimension *d, int64_t dim)
{
    if (d->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE || d->dim_value < 0) return true;
    return dim == DIM_UNKNOWN || dim == d->dim_value;
}

static bool type_agrees(const Onnx__TypeProto *type, const Value *value)
{
    if (type == NULL || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) return true;
    if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return !(value->flags & VALUE_TENSOR) || value->type == DT_NONE;
    const Onnx__TypeProto__Tensor *t = type->tensor_type;
    if (value->type != DT_NONE && t->elem_type != (int32_t)value->type) return false;
    if (t->shape == NULL || t->shape->n_dim > MAX_RANK || value->shape.rank < 0) return true;
    if ((int)t->shape->n_dim != value->shape.rank) return false;
    for (int i = 0; i < value->shape.rank; i++) {
        if (!dim_agrees(t->shape->dim[i], value->shape.dims[i])) return false;
    }
    return true;
}

static Status build_shape(OnnxBuilder *b, const Graph *g, const Shape *shape, const Onnx__TensorShapeProto *origin,
                          Onnx__TensorShapeProto **out)
{
    Onnx__TensorShapeProto *m = build_alloc(b, 1, sizeof *m);
    if (m == NULL) return ERR_MEMORY;
    *out = m;
    onnx__tensor_shape_proto__init(m);
    m->n_dim = (size_t)shape->rank;
    m->dim = build_alloc(b, m->n_dim, sizeof *m->dim);
    if (m->dim == NULL) return ERR_MEMORY;
    for (int i = 0; i < shape->rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = build_alloc(b, 1, sizeof *d);
        if (d == NULL) return ERR_MEMORY;
        m->dim[i] = d;
        onnx__tensor_shape_proto__dimension__init(d);
        if (origin != NULL && (int)origin->n_dim == shape->rank) *d = *origin->dim[i]; /* keeps its denotation */
        d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET;
        if (shape->dims[i] >= 0) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = shape->dims[i];
        } else if (shape->dims[i] != DIM_UNKNOWN) {
            Str symbol = graph_symbol_name(g, shape->dims[i]);
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = (ProtobufCBinaryData){ .len = symbol.len, .data = (uint8_t *)(uintptr_t)symbol.data };
        }
    }
    return OK;
}

static Status build_type(OnnxBuilder *b, const Graph *g, const Value *value, const Onnx__TypeProto *origin, Onnx__TypeProto **out)
{
    Onnx__TypeProto *m = build_alloc(b, 1, sizeof *m);
    Onnx__TypeProto__Tensor *t = build_alloc(b, 1, sizeof *t);
    if (m == NULL || t == NULL) return ERR_MEMORY;
    *out = m;
    bool tensor = origin != NULL && origin->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    if (origin != NULL) *m = *origin;
    else onnx__type_proto__init(m);
    if (tensor) *t = *origin->tensor_type;
    else onnx__type_proto__tensor__init(t);
    m->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    m->tensor_type = t;
    if (value->type != DT_NONE) {
        t->has_elem_type = 1;
        t->elem_type = (int32_t)value->type;
    }
    return value->shape.rank < 0 ? OK : build_shape(b, g, &value->shape, tensor ? t->shape : NULL, &t->shape);
}

Status build_value_info(OnnxBuilder *b, const Graph *g, const Value *value, const Onnx__ValueInfoProto *origin, Onnx__ValueInfoProto **out)
{
    Onnx__ValueInfoProto *m = build_alloc(b, 1, sizeof *m);
    if (m == NULL) return ERR_MEMORY;
    *out = m;
    if (b->file == NULL) origin = NULL;
    if (origin != NULL) *m = *origin;
    else onnx__value_info_proto__init(m);
    build_text(&m->has_name, &m->name, value->name);
    if (origin != NULL && type_agrees(origin->type, value)) return OK;
    return build_type(b, g, value, origin != NULL ? origin->type : NULL, &m->type);
}
