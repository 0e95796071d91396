/* Einsum: one letter an axis; y[output letters] = sum over the other letters of the product of the operands. "..." stands for leading
 * axes that broadcast. Walks the whole index space: plain, not fast. */
#include "engine/ops/einsum.h"

#include <ctype.h>

#include "engine/ops/common.h"
#include "engine/ops/window.h"

#define EINSUM_OPERANDS 8
#define LETTERS 52
#define LABELS (LETTERS + MAX_RANK) /* then the axes of the ellipsis, counted from the right */

typedef struct Einsum {
    int operands, rank, summed; /* rank: of the output; summed: labels that are not in it */
    int order[LABELS];          /* the output's labels, then the summed ones */
    int64_t dims[LABELS];       /* size of each label; DIM_UNKNOWN while unknown */
    int axes[EINSUM_OPERANDS][MAX_RANK]; /* label of each axis of each operand */
} Einsum;

static int label_of(char c)
{
    return islower((unsigned char)c) ? c - 'a' : isupper((unsigned char)c) ? c - 'A' + 26 : -1;
}

/* Reads one term up to ',' or '-' or the end into labels; `ellipsis` axes stand for "...". -1: malformed. */
static int read_term(Str text, size_t *at, int ellipsis, int *labels)
{
    int count = 0;
    for (; *at < text.len && text.data[*at] != ',' && text.data[*at] != '-'; (*at)++) {
        char c = text.data[*at];
        if (c == ' ') continue;
        if (c == '.') {
            if (*at + 2 >= text.len || text.data[*at + 1] != '.' || text.data[*at + 2] != '.') return -1;
            *at += 2;
            for (int i = ellipsis; i > 0; i--) {
                if (count == MAX_RANK) return -1;
                labels[count++] = LETTERS + i - 1;
            }
            continue;
        }
        if (label_of(c) < 0 || count == MAX_RANK) return -1;
        labels[count++] = label_of(c);
    }
    return count;
}

/* Letters of the term at `at`, the ellipsis not counted; *dots: it has one. */
static int count_letters(Str text, size_t at, bool *dots)
{
    int count = 0;
    *dots = false;
    for (; at < text.len && text.data[at] != ',' && text.data[at] != '-'; at++) {
        count += label_of(text.data[at]) >= 0;
        *dots = *dots || text.data[at] == '.';
    }
    return count;
}

static bool join_size(int64_t *size, int64_t found)
{
    if (*size == DIM_UNKNOWN || *size == 1 || (*size < 0 && found > 1)) *size = found;
    else if (*size >= 0 && found > 1 && found != *size) return false;
    return true;
}

/* The output's labels when the equation has no arrow: the ellipsis, then the letters that occur once, in alphabetical order. */
static void implicit_output(Einsum *e, const int *seen, int ellipsis)
{
    for (int i = ellipsis; i > 0; i--) e->order[e->rank++] = LETTERS + i - 1;
    for (int upper = 1; upper >= 0; upper--)
        for (int i = 0; i < 26; i++)
            if (seen[upper * 26 + i] == 1) e->order[e->rank++] = upper * 26 + i;
}

static Status einsum_parse(const Graph *g, const Node *n, const Shape *const *shapes, int operands, Einsum *e, Err *err)
{
    Str text = node_string(n, "equation", "");
    int seen[LABELS] = { 0 }, ellipsis = 0;
    size_t at = 0;
    *e = (Einsum){ .operands = operands };
    if (operands > EINSUM_OPERANDS) return op_error(g, n, err, ERR_UNSUPPORTED, "%d operands", operands);
    for (int i = 0; i < LABELS; i++) e->dims[i] = DIM_UNKNOWN;
    for (int i = 0; i < operands; i++) {
        bool dots;
        int letters = count_letters(text, at, &dots), own = shapes[i]->rank - letters;
        if (own < 0 || (own > 0 && !dots))
            return op_error(g, n, err, ERR_DATA, "operand %d has rank %d, '%.*s' does not fit", i, shapes[i]->rank, STR_ARG(text));
        int count = read_term(text, &at, own, e->axes[i]);
        if (count != shapes[i]->rank) return op_error(g, n, err, ERR_DATA, "equation '%.*s' is malformed", STR_ARG(text));
        if (own > ellipsis) ellipsis = own;
        for (int k = 0; k < count; k++) {
            seen[e->axes[i][k]]++;
            if (!join_size(&e->dims[e->axes[i][k]], shapes[i]->dims[k]))
                return op_error(g, n, err, ERR_DATA, "axis %d of operand %d has another size than the same letter elsewhere", k, i);
        }
        bool last = i == operands - 1, comma = at < text.len && text.data[at] == ',';
        if (comma == last) return op_error(g, n, err, ERR_DATA, "equation '%.*s' is not for %d operands", STR_ARG(text), operands);
        at += comma;
    }
    if (at + 1 < text.len && text.data[at] == '-' && text.data[at + 1] == '>') {
        at += 2;
        e->rank = read_term(text, &at, ellipsis, e->order);
    } else {
        implicit_output(e, seen, ellipsis);
    }
    bool made[LABELS] = { false };
    for (int i = 0; i < e->rank; i++) {
        if (seen[e->order[i]] == 0 || made[e->order[i]]) e->rank = -1;
        else made[e->order[i]] = true;
    }
    if (e->rank < 0 || e->rank > MAX_RANK || at < text.len) return op_error(g, n, err, ERR_DATA, "equation '%.*s' is malformed",
                                                                            STR_ARG(text));
    for (int i = 0; i < LABELS; i++)
        if (seen[i] > 0 && !made[i]) e->order[e->rank + e->summed++] = i;
    return OK;
}

static Shape einsum_shape(const Einsum *e)
{
    Shape s = { .rank = e->rank };
    for (int i = 0; i < e->rank; i++) s.dims[i] = e->dims[e->order[i]];
    return s;
}

Status einsum_infer(InferCall *c)
{
    const Shape *shapes[EINSUM_OPERANDS];
    Einsum e;
    c->out[0].type = c->in[0].type;
    for (int i = 0; i < c->input_count && i < EINSUM_OPERANDS; i++) {
        shapes[i] = &c->in[i].shape;
        if (shapes[i]->rank < 0) return OK;
    }
    TRY(einsum_parse(c->graph, c->node, shapes, c->input_count, &e, c->err));
    c->out[0].shape = einsum_shape(&e);
    return OK;
}

/* Walks all labels: `total` positions of the summed ones for each output element. */
static Status einsum_float(OpCall *c)
{
    const Shape *shapes[EINSUM_OPERANDS];
    int64_t steps[EINSUM_OPERANDS][LABELS] = { { 0 } }, total = 1;
    Einsum e;
    for (int i = 0; i < c->input_count && i < EINSUM_OPERANDS; i++) shapes[i] = &c->in[i]->shape;
    TRY(einsum_parse(c->graph, c->node, shapes, c->input_count, &e, c->err));
    for (int i = 0; i < e.operands; i++) {
        int64_t strides[MAX_RANK];
        strides_of(shapes[i], strides);
        for (int k = 0; k < shapes[i]->rank; k++)
            if (shapes[i]->dims[k] != 1) steps[i][e.axes[i][k]] += strides[k]; /* a repeated letter walks the diagonal */
    }
    Shape shape = einsum_shape(&e);
    TRY(opcall_output(c, 0, DT_FLOAT, &shape));
    for (int i = 0; i < e.summed; i++)
        if (!mul_i64(total, e.dims[e.order[e.rank + i]], &total)) return op_fail(c, ERR_DATA, "the sum is too long");
    int64_t outputs = tensor_count(&c->out[0]);
    for (int64_t o = 0; o < outputs; o++) {
        double sum = 0;
        for (int64_t s = 0; s < total; s++) {
            int64_t offset[EINSUM_OPERANDS] = { 0 }, left = s;
            for (int k = e.rank + e.summed - 1; k >= 0; k--) {
                if (k == e.rank - 1) left = o;
                int label = e.order[k];
                int64_t at = left % e.dims[label];
                left /= e.dims[label];
                for (int i = 0; i < e.operands; i++) offset[i] += at * steps[i][label];
            }
            double product = 1;
            for (int i = 0; i < e.operands; i++) product *= tensor_floats(c->in[i])[offset[i]];
            sum += product;
        }
        tensor_floats(&c->out[0])[o] = (float)sum;
    }
    return OK;
}

Status einsum_forward(OpCall *c)
{
    return opcall_in_float(c, einsum_float);
}

/* One product for every position of all labels when there are two operands or more. */
void einsum_cost(const CostCall *c, OpCost *out)
{
    const Shape *shapes[EINSUM_OPERANDS];
    Einsum e;
    for (int i = 0; i < c->input_count && i < EINSUM_OPERANDS; i++) {
        shapes[i] = &c->in[i].shape;
        if (!shape_known(shapes[i])) return;
    }
    if (einsum_parse(c->graph, c->node, shapes, c->input_count, &e, NULL) != OK) return;
    int64_t count = 1;
    for (int i = 0; i < e.rank + e.summed; i++)
        if (!mul_i64(count, e.dims[e.order[i]], &count)) return;
    if (c->input_count > 1) out->macs = count;
    else out->elementwise = count;
}
