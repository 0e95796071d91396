/* What runs in integers may still overflow, be slow or be wrong: found from the weights as they stand in the file. */
#include "pipeline/lint.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "quantize/grid.h"

/* A layer's operands, in whichever form it stands in the file. */
typedef struct Operands {
    DType input;             /* of the activations' integers */
    const Tensor *weight, *weight_zeros, *weight_scales, *bias;
    const Tensor *input_scales, *bias_scales, *bias_zeros;
    bool conv, transposed;
    int64_t groups;
} Operands;

/* Where the forms that are integers in the file keep them: input, its scale, weight, its scale, its zero points, bias; -1: nowhere. */
typedef struct Slots {
    const char *op;
    bool conv, dynamic; /* dynamic: the input is quantized to uint8 inside */
    int input, input_scale, weight, weight_scale, weight_zero, bias;
} Slots;

static const Slots slot_table[] = {
    { "QLinearConv", true, false, 0, 1, 3, 4, 5, 8 },
    { "QLinearMatMul", false, false, 0, 1, 3, 4, 5, -1 },
    { "QGemm", false, false, 0, 1, 3, 4, 5, 6 },
    { "ConvInteger", true, false, 0, -1, 1, -1, 3, -1 },
    { "MatMulInteger", false, false, 0, -1, 1, -1, 3, -1 },
    { "MatMulIntegerToFloat", false, false, 0, 2, 1, 3, 5, -1 },
    { "DynamicQuantizeMatMul", false, true, 0, -1, 1, 2, 3, -1 },
    { "QAttention", false, false, 0, 3, 1, 4, 7, -1 },
};

static const Tensor *tensor_at(const Sim *s, const SimNode *n, int slot)
{
    return slot >= 0 && slot < n->input_count ? sim_tensor(s, n->inputs[slot]) : NULL;
}

static bool operands_of_group(const Sim *s, const SimNode *n, Operands *o)
{
    int dq[3] = { 0, 0, 0 };
    for (int i = 0; i < 3 && i < n->input_count; i++) dq[i] = sim_producer(s, n->inputs[i], "DequantizeLinear");
    if (dq[0] == 0 || dq[1] == 0) return false;
    SimGrid in = sim_grid(s, dq[0]), w = sim_grid(s, dq[1]);
    o->input = in.type;
    o->input_scales = in.scalar ? in.scales : NULL;
    o->weight = sim_tensor(s, s->nodes[dq[1]].inputs[0]);
    o->weight_scales = w.scales;
    o->weight_zeros = w.zeros;
    if (dq[2] == 0) return true;
    SimGrid b = sim_grid(s, dq[2]);
    o->bias = sim_tensor(s, s->nodes[dq[2]].inputs[0]);
    o->bias_scales = b.scales;
    o->bias_zeros = b.zeros;
    return true;
}

static bool find_operands(const Sim *s, int node, Operands *o)
{
    const SimNode *n = &s->nodes[node];
    const Node *origin = graph_node(s->g, n->origin);
    *o = (Operands){ .conv = str_is(n->type, "Conv"), .groups = node_int(origin, "group", 1),
                     .transposed = node_int(origin, "transB", 0) != 0 };
    for (size_t i = 0; i < sizeof slot_table / sizeof *slot_table; i++) {
        const Slots *t = &slot_table[i];
        if (!str_is(n->type, t->op) || n->input_count <= t->weight) continue;
        o->conv = t->conv;
        o->input = t->dynamic ? DT_UINT8 : s->values[n->inputs[t->input]].type;
        o->input_scales = tensor_at(s, n, t->input_scale);
        o->weight = tensor_at(s, n, t->weight);
        o->weight_scales = tensor_at(s, n, t->weight_scale);
        o->weight_zeros = tensor_at(s, n, t->weight_zero);
        o->bias = tensor_at(s, n, t->bias);
        return o->weight != NULL;
    }
    bool group = o->conv || str_is(n->type, "Gemm") || str_is(n->type, "MatMul");
    return group && operands_of_group(s, n, o) && o->weight != NULL;
}

/* ---- pairs ---- */

static bool rows_of(const Operands *o, Rows *r)
{
    const Shape *w = &o->weight->shape;
    if (o->weight->type != DT_INT8 || o->input != DT_UINT8 || (o->conv ? w->rank < 3 || o->groups < 1 : w->rank != 2)) return false;
    *r = o->conv ? rows_of_conv(w, o->groups) : rows_of_matrix(w, o->transposed ? 0 : 1);
    return r->pairs && r->rows > 0 && r->taps * r->channels > 1;
}

static int64_t pairs_in(const Rows *r, const int8_t *row)
{
    static const Rows pair = { .rows = 1, .taps = 1, .channels = 2, .pairs = true };
    int64_t length = r->taps * r->channels, count = 0;
    for (int64_t i = 0; i + 1 < length; i += 2) count += !pairs_safe(&pair, &row[i]);
    if (r->channels > 1 && r->channels % 2 == 1)
        for (int64_t t = 1; t < r->taps; t += 2) /* even taps begin at an even place: their pairs are counted */
            for (int64_t c = 0; c + 1 < r->channels; c += 2) count += !pairs_safe(&pair, &row[t * r->channels + c]);
    return count;
}

static Status count_pairs(const Operands *o, int64_t *count, Err *err)
{
    Rows r;
    *count = 0;
    if (!rows_of(o, &r)) return OK;
    int64_t length = r.taps * r.channels;
    int8_t *row = alloc_array((size_t)length, 1);
    if (row == NULL) return err_no_memory(err, "a row of weights");
    for (int64_t k = 0; k < r.rows; k++) {
        for (int64_t i = 0; i < length; i++) row[i] = (int8_t)o->weight->data[rows_at(&r, k, i)];
        *count += pairs_in(&r, row);
    }
    free(row);
    return OK;
}

/* ---- zero points and biases ---- */

static bool zeros_differ(const Tensor *zeros)
{
    for (int64_t i = 1; zeros != NULL && i < tensor_count(zeros); i++)
        if (tensor_get_int(zeros, i) != tensor_get_int(zeros, 0)) return true;
    return false;
}

static bool zero_elsewhere(const Operands *o)
{
    int64_t zero = o->weight_zeros != NULL && tensor_count(o->weight_zeros) > 0 ? tensor_get_int(o->weight_zeros, 0) : 0;
    return zero != 0 && !(o->weight->type == DT_UINT8 && zero == 128);
}

static int64_t biases_cut(const Operands *o)
{
    int64_t count = 0;
    if (o->bias == NULL || o->bias->type != DT_INT32) return 0;
    for (int64_t i = 0; i < tensor_count(o->bias); i++) {
        int64_t b = tensor_get_int(o->bias, i);
        count += b >= INT32_MAX || b <= -INT32_MAX;
    }
    return count;
}

/* Channels whose bias is on another grid than input scale times weight scale, or whose zero point is not 0. */
static int64_t biases_elsewhere(const Operands *o)
{
    if (o->bias == NULL || o->bias_scales == NULL || o->input_scales == NULL || o->weight_scales == NULL) return 0;
    int64_t count = 0, scales = tensor_count(o->bias_scales), weights = tensor_count(o->weight_scales);
    int64_t zeros = o->bias_zeros != NULL ? tensor_count(o->bias_zeros) : 0;
    if (weights == 0 || tensor_count(o->input_scales) == 0) return 0;
    for (int64_t i = 0; i < scales; i++) {
        double want = tensor_get(o->input_scales, 0) * tensor_get(o->weight_scales, i < weights ? i : 0);
        double is = tensor_get(o->bias_scales, i);
        bool zero = zeros == 0 || tensor_get_int(o->bias_zeros, i < zeros ? i : 0) == 0;
        count += !zero || !(fabs(is - want) <= 1e-5 * want + (double)FLT_MIN);
    }
    return count;
}

static bool is_depthwise(const Operands *o)
{
    const Shape *w = &o->weight->shape;
    return o->conv && w->rank >= 3 && o->groups > 1 && w->dims[1] == 1;
}

static Status add(Lint *l, AdviceKind kind, int item, int64_t count, Err *err)
{
    if (count <= 0) return OK;
    if (!array_grow((void **)&l->advice, &l->advice_capacity, (size_t)l->advice_count + 1, sizeof *l->advice))
        return err_no_memory(err, "the list of advice");
    l->advice[l->advice_count++] = (Advice){ .kind = kind, .item = item, .count = count };
    return OK;
}

Status lint_advise(Lint *l, const Sim *s, int node, int item, Err *err)
{
    Operands o;
    if (l->items[item].ruling.fate != FATE_INTEGER || !l->items[item].layer || !find_operands(s, node, &o)) return OK;
    bool avx2 = l->target == LINT_X86_AVX2 || l->target == LINT_PORTABLE, x86 = avx2 || l->target == LINT_X86_VNNI;
    int64_t pairs = 0;
    if (avx2) TRY(count_pairs(&o, &pairs, err));
    TRY(add(l, ADVICE_CHANNELS, item, o.conv && zeros_differ(o.weight_zeros), err));
    TRY(add(l, ADVICE_BIAS_RANGE, item, biases_cut(&o), err));
    TRY(add(l, ADVICE_BIAS_GRID, item, biases_elsewhere(&o), err));
    TRY(add(l, ADVICE_SATURATION, item, pairs, err));
    TRY(add(l, ADVICE_SLOW_INT8, item, x86 && o.input == DT_INT8 && o.weight->type == DT_INT8, err));
    TRY(add(l, ADVICE_SLOW_UINT8, item, avx2 && o.weight->type == DT_UINT8, err));
    TRY(add(l, ADVICE_ASYMMETRIC, item, l->target == LINT_ARM_DOTPROD && zero_elsewhere(&o), err));
    return add(l, ADVICE_DEPTHWISE, item, is_depthwise(&o), err);
}
