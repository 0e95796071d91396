#include "quantize/form_nbits.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "quantize/form_build.h"

static const int64_t block_sizes[] = { 256, 128, 64, 32, 16 }; /* ONNX Runtime's */
enum { BLOCK_SIZES = sizeof block_sizes / sizeof *block_sizes };

static int stored_bits(int bits)
{
    return bits <= 2 ? 2 : bits <= 4 ? 4 : 8;
}

bool form_nbits_fits(const Graph *g, const LayerForm *f, const WeightSpec *spec, const char **why)
{
    const Node *n = graph_node(g, f->layer.node);
    *why = NULL;
    if (f->kind != FORM_ROWS) *why = "MatMulNBits is a product of matrices";
    else if (f->trans_in) *why = "its input is transposed (transA)";
    else if (node_is(n, "Gather") && f->width * stored_bits(spec->bits) % 8 != 0) *why = "its rows do not end on whole bytes";
    else if (node_is(n, "MatMul") && graph_value(g, f->layer.input)->shape.rank == 1) *why = "its input is a vector";
    else if (spec->block > 0 && spec->block < f->width && spec->block % 16 != 0) *why = "its blocks are no multiple of 16";
    return *why == NULL;
}

/* The block as it is stored: one that lies inside the blocks of the scales, with the fewest bytes. */
static int64_t choose_block(int64_t width, int64_t block, int bits)
{
    int64_t best = 16, least = INT64_MAX;
    for (int i = 0; i < BLOCK_SIZES; i++) {
        int64_t b = block_sizes[i], count = (width + b - 1) / b, bytes = count * (b * bits / 8 + (int64_t)sizeof(float) + 1);
        if ((block > 0 && block % b != 0) || bytes >= least) continue;
        best = b;
        least = bytes;
    }
    return best;
}

static void put_bits(uint8_t *bytes, int bits, int64_t at, int value)
{
    int64_t bit = at * bits;
    bytes[bit / 8] = (uint8_t)(bytes[bit / 8] | value << bit % 8);
}

typedef struct Packing {
    const Rounded *r;
    int bits, middle;       /* as stored; what is added to symmetric integers */
    int64_t rows, block, blocks, per; /* blocks of a row as stored; stored blocks to one of the scales */
} Packing;

static int zero_at(const Packing *p, int64_t row, int64_t b)
{
    return p->r->zeros[row * p->r->blocks + (p->r->blocks > 1 ? b / p->per : 0)] + p->middle;
}

static Status pack_values(const Packing *p, bool flat, Tensor *out, Err *err)
{
    int64_t blob = p->block * p->bits / 8, dims[3] = { p->rows, p->blocks, blob };
    Shape shape = shape_of(3, dims);
    if (flat) shape = shape_of(2, (int64_t[]){ p->rows, p->blocks * blob });
    TRY(tensor_new(out, DT_UINT8, &shape, err));
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t k = 0; k < p->blocks * p->block; k++) {
            int v = k < p->r->width ? p->r->q[i * p->r->width + k] + p->middle : zero_at(p, i, k / p->block);
            put_bits(out->data + i * p->blocks * blob, p->bits, k, v);
        }
    return OK;
}

static Status pack_zeros(const Packing *p, Tensor *out, Err *err)
{
    int64_t bytes = (p->blocks * p->bits + 7) / 8;
    Shape shape = shape_of(2, (int64_t[]){ p->rows, bytes });
    TRY(tensor_new(out, DT_UINT8, &shape, err));
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t b = 0; b < p->blocks; b++) put_bits(out->data + i * bytes, p->bits, b, zero_at(p, i, b));
    return OK;
}

static Status pack_scales(const Packing *p, Tensor *out, Err *err)
{
    Shape shape = shape_of(2, (int64_t[]){ p->rows, p->blocks });
    TRY(tensor_new(out, DT_FLOAT, &shape, err));
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t b = 0; b < p->blocks; b++)
            tensor_set(out, i * p->blocks + b, (double)p->r->scales[i * p->r->blocks + (p->r->blocks > 1 ? b / p->per : 0)]);
    return OK;
}

Status form_nbits_store(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, StoredWeight *out, Err *err)
{
    bool blocked = r->blocks > 1;
    int bits = stored_bits(spec->bits);
    Packing p = { .r = r, .bits = bits, .middle = spec->symmetric ? 1 << (bits - 1) : 0, .rows = r->rows,
                  .block = choose_block(r->width, blocked ? spec->block : 0, bits) };
    p.blocks = (r->width + p.block - 1) / p.block;
    p.per = blocked ? spec->block / p.block : 1;
    Str base = graph_value(g, f->layer.weight)->name;
    *out = (StoredWeight){ .spec = *spec, .form = *f, .type = DT_UINT8, .rows = p.rows, .width = r->width, .block = p.block,
                           .blocks = p.blocks };
    Tensor t = { 0 };
    TRY(pack_values(&p, node_is(graph_node(g, f->layer.node), "Gather"), &t, err));
    TRY(form_constant(g, base, bits == 2 ? "2bit" : bits == 4 ? "4bit" : "8bit", &t, &out->q, err));
    TRY(pack_scales(&p, &t, err));
    TRY(form_constant(g, base, "scale", &t, &out->scale, err));
    bool middle = true;
    for (int64_t i = 0; i < p.rows; i++)
        for (int64_t b = 0; b < p.blocks; b++) middle &= zero_at(&p, i, b) == 1 << (bits - 1);
    if (middle) return OK;
    TRY(pack_zeros(&p, &t, err));
    return form_constant(g, base, "zero", &t, &out->zero, err);
}

/* The packed bytes in the shape the operator wants: a Reshape where a table and a product share them, which runtimes fold. */
static Status packed_view(Graph *g, const StoredWeight *w, bool flat, ValueId *out, Err *err)
{
    Str base = graph_value(g, w->form.layer.weight)->name;
    int64_t bits = stored_bits(w->spec.bits), blob = w->block * bits / 8, bytes = w->width * bits / 8;
    int64_t dims[3] = { w->rows, flat ? w->blocks * blob : w->blocks, blob };
    ValueId shape, inputs[4] = { w->q };
    *out = w->q;
    if ((graph_value(g, w->q)->shape.rank == 2) != flat) {
        TRY(form_ints(g, base, flat ? "rows" : "blobs", dims, flat ? 2 : 3, &shape, err));
        *out = 0;
        inputs[1] = shape;
        TRY(form_node(g, "Reshape", "", base, flat ? "as_rows" : "as_blobs", inputs, 2, DT_UINT8, out, NULL, err));
    }
    if (!flat || bytes == w->blocks * blob) return OK;
    inputs[0] = *out;
    TRY(form_ints(g, base, "from", (int64_t[]){ 0 }, 1, &inputs[1], err));
    TRY(form_ints(g, base, "to", &bytes, 1, &inputs[2], err));
    TRY(form_ints(g, base, "axis", (int64_t[]){ 1 }, 1, &inputs[3], err));
    *out = 0;
    return form_node(g, "Slice", "", base, "whole", inputs, 4, DT_UINT8, out, NULL, err);
}

static Status attach_table(Graph *g, NodeId id, const StoredWeight *w, Err *err)
{
    ValueId inputs[4] = { 0, node_input(graph_node(g, id), 1), w->scale, w->zero };
    TRY(packed_view(g, w, true, &inputs[0], err));
    form_drop_attrs(g, id, (const char *const[]){ "axis", NULL });
    TRY(graph_set_type(g, id, "GatherBlockQuantized", FORM_MICROSOFT, err));
    TRY(graph_set_inputs(g, id, inputs, w->zero != 0 ? 4 : 3, err));
    TRY(graph_set_int(g, id, "bits", stored_bits(w->spec.bits), err));
    TRY(graph_set_int(g, id, "block_size", w->block, err));
    TRY(graph_set_int(g, id, "gather_axis", 0, err));
    return graph_set_int(g, id, "quantize_axis", 1, err);
}

/* One number per output becomes the operator's bias; anything else is added behind it. */
static Status attach_bias(Graph *g, const LayerForm *f, ValueId *bias, Err *err)
{
    *bias = 0;
    if (f->layer.bias == 0) return OK;
    if (f->takes_bias) {
        Shape shape = shape_of(1, (int64_t[]){ f->outputs });
        double *values = alloc_array((size_t)f->outputs, sizeof *values);
        if (values == NULL) return err_no_memory(err, "a bias");
        Tensor t = { 0 };
        layer_read_bias(g, f, values);
        Status status = tensor_new(&t, DT_FLOAT, &shape, err);
        for (int64_t i = 0; status == OK && i < f->outputs; i++) tensor_set(&t, i, values[i]);
        free(values);
        return status == OK ? form_constant(g, f->layer.name, "bias", &t, bias, err) : status;
    }
    return form_add_bias(g, f, f->layer.bias, err);
}

Status form_nbits_attach(Graph *g, const LayerForm *f, const StoredWeight *w, Err *err)
{
    NodeId id = f->layer.node;
    TRY(form_import(g, err));
    if (node_is(graph_node(g, id), "Gather")) return attach_table(g, id, w, err);
    ValueId inputs[6] = { f->layer.input, 0, w->scale, w->zero, 0, 0 };
    TRY(packed_view(g, w, false, &inputs[1], err));
    TRY(attach_bias(g, f, &inputs[5], err));
    form_drop_attrs(g, id, (const char *const[]){ "alpha", "beta", "transA", "transB", NULL });
    TRY(graph_set_type(g, id, "MatMulNBits", FORM_MICROSOFT, err));
    TRY(graph_set_inputs(g, id, inputs, inputs[5] != 0 ? 6 : w->zero != 0 ? 4 : 3, err));
    TRY(graph_set_int(g, id, "K", w->width, err));
    TRY(graph_set_int(g, id, "N", w->rows, err));
    TRY(graph_set_int(g, id, "bits", stored_bits(w->spec.bits), err));
    if (w->spec.accuracy_level != 0) TRY(graph_set_int(g, id, "accuracy_level", w->spec.accuracy_level, err));
    return graph_set_int(g, id, "block_size", w->block, err);
}
