#include "greenness/operands.h"

#define MICROSOFT "com.microsoft"
#define NONE 0, { { 0 } }, 0

static const Operands table[] = {
    { "QuantizeLinear", "", false, 0x6, NONE }, /* scale, zero point */
    { "DequantizeLinear", "", false, 0x6, 1, { { 0, 1, 2 } }, 0 },
    { "QuantizeLinear", MICROSOFT, false, 0x6, NONE },
    { "DequantizeLinear", MICROSOFT, false, 0x6, 1, { { 0, 1, 2 } }, 0 },
    { "QLinearConv", "", true, 0xf6, 2, { { 0, 1, 2 }, { 3, 4, 5 } }, 8 },
    { "QLinearMatMul", "", true, 0xf6, 2, { { 0, 1, 2 }, { 3, 4, 5 } }, 0 },
    { "ConvInteger", "", true, 0xc, 2, { { 0, 0, 2 }, { 1, 0, 3 } }, 0 },
    { "MatMulInteger", "", true, 0xc, 2, { { 0, 0, 2 }, { 1, 0, 3 } }, 0 },
    { "QGemm", MICROSOFT, true, 0x1b6, 2, { { 0, 1, 2 }, { 3, 4, 5 } }, 6 },
    { "MatMulIntegerToFloat", MICROSOFT, true, 0x3c, 2, { { 0, 2, 4 }, { 1, 3, 5 } }, 0 },
    { "DynamicQuantizeMatMul", MICROSOFT, true, 0xc, 1, { { 1, 2, 3 } }, 0 },
    { "DynamicQuantizeLSTM", MICROSOFT, true, 0xf10, 2, { { 1, 8, 9 }, { 2, 10, 11 } }, 0 }, /* and the lengths */
    { "QLinearAdd", MICROSOFT, false, 0xf6, 2, { { 0, 1, 2 }, { 3, 4, 5 } }, 0 },
    { "QLinearMul", MICROSOFT, false, 0xf6, 2, { { 0, 1, 2 }, { 3, 4, 5 } }, 0 },
    { "MatMulNBits", MICROSOFT, false, 0x1c, 1, { { 1, 2, 3 } }, 0 }, /* and g_idx */
    { "GatherBlockQuantized", MICROSOFT, false, 0xc, 1, { { 0, 2, 3 } }, 0 },
    { "Resize", "", false, 0xe, NONE },  /* roi, scales, sizes */
    { "Upsample", "", false, 0x2, NONE },
    { "Clip", "", false, 0x6, NONE },    /* bounds */
    { "Pad", "", false, 0xe, NONE },     /* pads, value, axes */
    { "Dropout", "", false, 0x6, NONE },
    { "OneHot", "", false, 0x6, NONE },  /* depth, values */
};

const Operands *operands_of(const Node *n)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_is(n->type, table[i].type) && str_is(n->domain, table[i].domain)) return &table[i];
    return NULL;
}

const Quantized *operands_quantized(const Node *n, int i)
{
    const Operands *o = operands_of(n);
    for (int k = 0; o != NULL && k < o->quantized_count; k++)
        if (o->quantized[k].data == i) return &o->quantized[k];
    return NULL;
}

/* Whether input i of the node is an 8-bit tensor behind a DequantizeLinear. */
static bool input_is_int8(const Graph *g, const TypeInfo *types, const Node *n, int i)
{
    ValueId v = node_input(n, i);
    if (v == 0 || g->values[v].producer == 0) return false;
    const Node *p = &g->nodes[g->values[v].producer];
    if (!str_is(p->type, "DequantizeLinear") || operands_of(p) == NULL) return false;
    DType type = types[node_input(p, 0)].type;
    return type == DT_INT8 || type == DT_UINT8;
}

bool operands_integer(const Graph *g, const TypeInfo *types, const Node *n)
{
    const Operands *o = operands_of(n);
    if (o != NULL && o->integer) return true;
    if (o != NULL && str_is(n->type, "MatMulNBits")) return node_int(n, "accuracy_level", 0) == 4; /* its input is then quantized too */
    return input_is_int8(g, types, n, 0) && input_is_int8(g, types, n, 1); /* the operands of every other op that has MACs */
}

static bool packed_product(const Node *n, size_t bytes, Packed *out)
{
    int64_t rows = node_int(n, "N", 0), width = node_int(n, "K", 0), block = node_int(n, "block_size", 0);
    if (rows < 1 || width < 1 || block < 16 || rows > INT32_MAX || width > INT32_MAX || block > INT32_MAX) return false;
    int64_t row_bytes = (width + block - 1) / block * (block * out->bits / 8);
    *out = (Packed){ out->bits, rows, width, row_bytes, block };
    return (uint64_t)bytes / (uint64_t)rows >= (uint64_t)row_bytes;
}

static bool packed_table(const Node *n, const TypeInfo *seen, size_t bytes, Packed *out)
{
    int64_t block = node_int(n, "block_size", 128);
    if (seen->type != DT_UINT8 || seen->shape.rank != 2 || !shape_known(&seen->shape) || block < 16 || block > INT32_MAX) return false;
    int64_t rows = seen->shape.dims[0], row = seen->shape.dims[1];
    if (rows < 1 || row > INT32_MAX) return false;
    int64_t row_bytes = (int64_t)(bytes / (uint64_t)rows); /* a table and a product that share them: the product's, with its padding */
    *out = (Packed){ out->bits, rows, row * (8 / out->bits), row_bytes, block };
    return row_bytes >= row;
}

bool operands_packed(const Node *n, int i, const TypeInfo *seen, size_t bytes, Packed *out)
{
    *out = (Packed){ .bits = (int)node_int(n, "bits", 4) };
    if (!str_is(n->domain, MICROSOFT) || (out->bits != 2 && out->bits != 4 && out->bits != 8)) return false;
    if (str_is(n->type, "MatMulNBits")) return i == 1 && packed_product(n, bytes, out);
    return str_is(n->type, "GatherBlockQuantized") && i == 0 && packed_table(n, seen, bytes, out);
}

int packed_entry(const uint8_t *bytes, int bits, int64_t at)
{
    int64_t bit = at * bits;
    return bytes[bit / 8] >> (bit % 8) & ((1 << bits) - 1);
}
