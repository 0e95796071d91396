/* Recurrent cells in float32. The products with W are taken for many steps at once, those with R step by step.
 *   RNN:  h = f(W x + R h + b)
 *   GRU:  z = f(Wz x + Rz h), r = f(Wr x + Rr h), n = g(Wh x + Rh (r h)) or, linear_before_reset, g(Wh x + r (Rh h)); h = (1 - z) n + z h
 *   LSTM: i = f(Wi x + Ri h + Pi c), f = f(.. + Pf c) or 1 - i, n = g(Wc x + Rc h); c = f c + i n; o = f(.. + Po c); h = o h(c)
 * with biases of W and R in each; `clip` bounds what goes into an activation, but not c before h(c): as ONNX Runtime has it. */
#include "engine/ops/cell.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/blas_glue.h"
#include "engine/ops/common.h"

#define SHORT_DEPTH 8
#define SHORT_COLUMNS 16
#define CHUNK_FLOATS ((int64_t)1 << 20) /* gates of so many steps are taken together */

/* --- activations */

typedef struct ActivationRow {
    const char *name;
    bool takes_alpha, takes_beta;
    float alpha, beta;
} ActivationRow;

/* alpha and beta where a node gives none: "the same as of corresponding ONNX operators", says the specification; for Affine and ScaledTanh,
 * which are operators no longer, what leaves x and tanh(x) as they are. ONNX Runtime 1.31 takes 0 for the numbers of Affine, ScaledTanh and
 * ThresholdedRelu: the first two then give 0, the third is Relu; the onnx package's reference evaluator has none of them without numbers.
 * At alpha itself ThresholdedRelu is 0, as the operator and ONNX Runtime have it, where RNN's text says x. */
static const ActivationRow activations[] = {
    [ACT_RELU] = { "Relu", false, false, 0, 0 },
    [ACT_TANH] = { "Tanh", false, false, 0, 0 },
    [ACT_SIGMOID] = { "Sigmoid", false, false, 0, 0 },
    [ACT_AFFINE] = { "Affine", true, true, 1, 0 },
    [ACT_LEAKY] = { "LeakyRelu", true, false, 0.01f, 0 },
    [ACT_THRESHOLDED] = { "ThresholdedRelu", true, false, 1, 0 },
    [ACT_SCALED_TANH] = { "ScaledTanh", true, true, 1, 1 },
    [ACT_HARD_SIGMOID] = { "HardSigmoid", true, true, 0.2f, 0.5f },
    [ACT_ELU] = { "Elu", true, false, 1, 0 },
    [ACT_SOFTSIGN] = { "Softsign", false, false, 0, 0 },
    [ACT_SOFTPLUS] = { "Softplus", false, false, 0, 0 },
};

static Status find_activation(const Graph *g, const Node *n, Str name, Activation *out, Err *err)
{
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        if (strlen(activations[i].name) != name.len || strncasecmp(activations[i].name, name.data, name.len) != 0) continue;
        *out = (Activation){ (ActivationKind)i, activations[i].alpha, activations[i].beta };
        return OK;
    }
    return op_error(g, n, err, ERR_UNSUPPORTED, "activation '%.*s' is not known", STR_ARG(name));
}

#define EACH(expression) \
    for (int64_t i = 0; i < count; i++) { \
        float x = v[i]; \
        v[i] = (expression); \
    } \
    break

static void activate(const Activation *act, float clip, float *v, int64_t count)
{
    float a = act->alpha, b = act->beta;
    for (int64_t i = 0; clip > 0 && i < count; i++) v[i] = v[i] > clip ? clip : v[i] < -clip ? -clip : v[i];
    switch (act->kind) {
    case ACT_RELU: EACH(x > 0 ? x : 0);
    case ACT_TANH: EACH(tanhf(x));
    case ACT_SIGMOID: EACH(1 / (1 + expf(-x)));
    case ACT_AFFINE: EACH(a * x + b);
    case ACT_LEAKY: EACH(x >= 0 ? x : a * x);
    case ACT_THRESHOLDED: EACH(x > a ? x : 0);
    case ACT_SCALED_TANH: EACH(a * tanhf(b * x));
    case ACT_HARD_SIGMOID: EACH(fmaxf(0, fminf(1, a * x + b)));
    case ACT_ELU: EACH(x >= 0 ? x : a * (expf(x) - 1));
    case ACT_SOFTSIGN: EACH(x / (1 + fabsf(x)));
    default: EACH(x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x)));
    }
}

/* alpha and beta are handed out in order to the activations that take one. */
static Status read_activations(Cell *cell, const Graph *g, const Node *n, Err *err)
{
    static const Str fallback[] = { { "Sigmoid", 7 }, { "Tanh", 4 }, { "Tanh", 4 } };
    int each = cell->kind == CELL_RNN ? 1 : cell->kind == CELL_GRU ? 2 : 3;
    const Attr *names = node_attr(n, "activations"), *alphas = node_attr(n, "activation_alpha"), *betas = node_attr(n, "activation_beta");
    int64_t alpha = 0, beta = 0, given = names != NULL && names->type == ATTR_STRINGS ? names->count : 0;
    if (given != 0 && given != each * cell->directions)
        return op_error(g, n, err, ERR_DATA, "%lld activations, expected %d", (long long)given, each * cell->directions);
    for (int d = 0; d < cell->directions; d++)
        for (int i = 0; i < each; i++) {
            Activation *act = &cell->activation[d][i];
            Str name = given != 0 ? names->strings[d * each + i] : fallback[cell->kind == CELL_RNN ? 1 : i];
            TRY(find_activation(g, n, name, act, err));
            const ActivationRow *row = &activations[act->kind];
            if (row->takes_alpha && alphas != NULL && alphas->type == ATTR_FLOATS && alpha < alphas->count)
                act->alpha = alphas->floats[alpha++];
            if (row->takes_beta && betas != NULL && betas->type == ATTR_FLOATS && beta < betas->count) act->beta = betas->floats[beta++];
        }
    return OK;
}

CellKind cell_kind(const Node *n)
{
    return str_is(n->type, "LSTM") ? CELL_LSTM : str_is(n->type, "GRU") ? CELL_GRU : CELL_RNN;
}

int cell_gates(CellKind kind)
{
    return kind == CELL_LSTM ? 4 : kind == CELL_GRU ? 3 : 1;
}

Status cell_directions(const Graph *g, const Node *n, int *count, bool *backwards, Err *err)
{
    Str direction = node_string(n, "direction", "forward");
    *backwards = str_is(direction, "reverse");
    *count = str_is(direction, "bidirectional") ? 2 : 1;
    if (*count == 1 && !*backwards && !str_is(direction, "forward"))
        return op_error(g, n, err, ERR_DATA, "direction '%.*s' is not known", STR_ARG(direction));
    return OK;
}

Status cell_read(Cell *cell, const Graph *g, const Node *n, Err *err)
{
    cell->clip = node_float(n, "clip", 0);
    cell->input_forget = node_int(n, "input_forget", 0) != 0;
    cell->linear_before_reset = node_int(n, "linear_before_reset", 0) != 0;
    return read_activations(cell, g, n, err);
}

/* --- steps */

typedef struct CellWork {
    float *fixed;   /* [chunk,B,G*H]: W x + biases */
    float *product; /* [B,G*H]: R h */
    float *reset;   /* [B,H]: r h of a GRU */
    float *row;     /* [H] */
} CellWork;

/* Sums so short that the library's call would take longer, and its loading longer than many runs of such a network. */
static void short_product(float *out, const float *a, const float *weight, int64_t rows, int64_t columns, int64_t depth, float beta)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < columns; k++, out++) {
            float sum = beta != 0 ? beta * *out : 0;
            for (int64_t j = 0; j < depth; j++) sum += a[i * depth + j] * weight[k * depth + j];
            *out = sum;
        }
}

static void product(float *out, const float *a, const float *weight, int64_t rows, int64_t columns, int64_t depth, float beta)
{
    if (depth <= SHORT_DEPTH && columns <= SHORT_COLUMNS) short_product(out, a, weight, rows, columns, depth, beta);
    else if (rows > 0 && columns > 0 && depth > 0)
        blas_sgemm(false, true, (int)rows, (int)columns, (int)depth, 1, a, (int)depth, weight, (int)depth, beta, out, (int)columns);
}

/* Biases that are added before the activations; that of R for a GRU's candidate stays inside the reset product. */
static void fill_bias(const Cell *cell, const float *bias, float *out, int64_t rows)
{
    int64_t width = cell->gates * cell->hidden;
    int64_t inner = cell->kind == CELL_GRU && cell->linear_before_reset ? 2 * cell->hidden : width;
    for (int64_t k = 0; k < rows; k++)
        for (int64_t j = 0; j < width; j++) out[k * width + j] = bias == NULL ? 0 : bias[j] + (j < inner ? bias[width + j] : 0);
}

static void rnn_row(const Cell *cell, int d, const float *fixed, const float *rec, float *h)
{
    for (int64_t j = 0; j < cell->hidden; j++) h[j] = fixed[j] + rec[j];
    activate(&cell->activation[d][0], cell->clip, h, cell->hidden);
}

/* Gates z and r in place of fixed[0..2H). */
static void gru_gates(const Cell *cell, int d, float *fixed, const float *rec)
{
    for (int64_t j = 0; j < 2 * cell->hidden; j++) fixed[j] += rec[j];
    activate(&cell->activation[d][0], cell->clip, fixed, 2 * cell->hidden);
}

/* `rec`: R h (with its bias to be added and reset here), or R (r h). */
static void gru_row(const Cell *cell, int d, const float *bias, float *fixed, const float *rec, float *h)
{
    int64_t hidden = cell->hidden;
    float *candidate = fixed + 2 * hidden;
    const float *z = fixed, *r = fixed + hidden, *inner = bias != NULL ? bias + 5 * hidden : NULL;
    for (int64_t j = 0; j < hidden; j++)
        candidate[j] += cell->linear_before_reset ? r[j] * (rec[j] + (inner != NULL ? inner[j] : 0)) : rec[j];
    activate(&cell->activation[d][1], cell->clip, candidate, hidden);
    for (int64_t j = 0; j < hidden; j++) h[j] = (1 - z[j]) * candidate[j] + z[j] * h[j];
}

static void lstm_row(const Cell *cell, int d, const float *peephole, float *gate, const float *rec, float *row, float *h, float *c)
{
    int64_t hidden = cell->hidden;
    float *in = gate, *out = gate + hidden, *forget = gate + 2 * hidden, *candidate = gate + 3 * hidden;
    const Activation *act = cell->activation[d];
    for (int64_t j = 0; j < 4 * hidden; j++) gate[j] += rec[j];
    for (int64_t j = 0; peephole != NULL && j < hidden; j++) {
        in[j] += peephole[j] * c[j];
        forget[j] += peephole[2 * hidden + j] * c[j];
    }
    activate(&act[0], cell->clip, in, hidden);
    if (!cell->input_forget) activate(&act[0], cell->clip, forget, hidden);
    for (int64_t j = 0; cell->input_forget && j < hidden; j++) forget[j] = 1 - in[j];
    activate(&act[1], cell->clip, candidate, hidden);
    for (int64_t j = 0; j < hidden; j++) row[j] = c[j] = forget[j] * c[j] + in[j] * candidate[j];
    for (int64_t j = 0; peephole != NULL && j < hidden; j++) out[j] += peephole[hidden + j] * c[j];
    activate(&act[0], cell->clip, out, hidden);
    activate(&act[2], 0, row, hidden);
    for (int64_t j = 0; j < hidden; j++) h[j] = out[j] * row[j];
}

static void step(const Cell *cell, int d, const CellData *data, const CellWork *work, float *fixed, int64_t t)
{
    int64_t hidden = cell->hidden, width = cell->gates * hidden, batch = cell->batch;
    bool late = cell->kind == CELL_GRU && !cell->linear_before_reset; /* the candidate's product comes after the reset gate */
    int64_t early = late ? 2 * hidden : width;
    product(work->product, data->h, data->r, batch, early, hidden, 0);
    for (int64_t b = 0; late && b < batch; b++) {
        gru_gates(cell, d, fixed + b * width, work->product + b * early);
        for (int64_t j = 0; j < hidden; j++) work->reset[b * hidden + j] = fixed[b * width + hidden + j] * data->h[b * hidden + j];
    }
    if (late) product(work->product, work->reset, data->r + 2 * hidden * hidden, batch, hidden, hidden, 0);
    for (int64_t b = 0; b < batch; b++) {
        if (data->lengths != NULL && t >= data->lengths[b]) continue;
        float *gate = fixed + b * width, *h = data->h + b * hidden;
        const float *rec = work->product + b * (late ? hidden : width);
        if (cell->kind == CELL_RNN) {
            rnn_row(cell, d, gate, rec, h);
        } else if (cell->kind == CELL_GRU) {
            if (!late) gru_gates(cell, d, gate, rec);
            gru_row(cell, d, data->bias, gate, late ? rec : rec + 2 * hidden, h);
        } else {
            lstm_row(cell, d, data->peephole, gate, rec, work->row, h, data->c + b * hidden);
        }
        if (data->y != NULL) memcpy(data->y + (t * cell->directions * batch + b) * hidden, h, (size_t)hidden * sizeof *h);
    }
}

Status cell_run(const Cell *cell, int d, const CellData *data, Err *err)
{
    int64_t width = cell->gates * cell->hidden, batch = cell->batch;
    if (batch == 0 || width == 0 || cell->steps == 0) return OK;
    int64_t chunk = CHUNK_FLOATS / (batch * width);
    chunk = chunk < 1 ? 1 : chunk > cell->steps ? cell->steps : chunk;
    CellWork work = { alloc_array((size_t)(chunk * batch), (size_t)width * sizeof(float)),
                      alloc_zeroed((size_t)batch, (size_t)width * sizeof(float)),
                      alloc_zeroed((size_t)batch, (size_t)cell->hidden * sizeof(float)),
                      alloc_zeroed((size_t)cell->hidden, sizeof(float)) };
    bool fine = work.fixed != NULL && work.product != NULL && work.reset != NULL && work.row != NULL;
    bool backwards = d == 1 || cell->backwards;
    for (int64_t done = 0; fine && done < cell->steps; done += chunk) {
        int64_t count = cell->steps - done < chunk ? cell->steps - done : chunk;
        int64_t first = backwards ? cell->steps - done - count : done;
        fill_bias(cell, data->bias, work.fixed, count * batch);
        product(work.fixed, data->x + first * batch * cell->inputs, data->w, count * batch, width, cell->inputs, 1);
        for (int64_t k = 0; k < count; k++) {
            int64_t at = backwards ? count - 1 - k : k;
            step(cell, d, data, &work, work.fixed + at * batch * width, first + at);
        }
    }
    free(work.fixed);
    free(work.product);
    free(work.reset);
    free(work.row);
    return fine ? OK : err_no_memory(err, "a recurrent cell");
}
