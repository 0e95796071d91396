/* Rounding that hands its error on.
 *
 *   H = L L^T with the inputs in reverse order of rounding, so that for the errors e in order of rounding
 *   e H e^T = sum_k weight_k (e_k + sum_{i<k} F_ki e_i)^2,   weight_k = L_jj^2,  F_ki = L_{j(i) j} / L_jj,  j = width - 1 - k
 *
 * Each place is rounded to t_k - sum F_ki e_i, which makes its own term as small as it can be given what is rounded already. That is
 * GPTQ, whose update of the columns to come from the factor of H^-1 is the same sum written the other way round; here nothing is
 * inverted, and the sum of the terms is the loss. Columns are taken in panels, for a few rows and all their candidates at once. The order
 * is that of activation, H_jj descending; blocks follow each other whole, and the candidates of a block's scale are made when its turn
 * comes, of the weights as the errors so far want them.
 * Frantar et al., GPTQ, ICLR 2023; Babai, On Lovasz' lattice reduction and the nearest lattice point problem, 1986. */
#include "quantize/rounding_private.h"

#include "engine/blas_glue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PANEL 32

/* ---- the order and the factor ---- */

typedef struct Ranked {
    double by;
    int at;
} Ranked;

static int by_descending(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    return x->by > y->by ? -1 : x->by < y->by ? 1 : x->at - y->at;
}

static int block_length(const Problem *p, int b)
{
    int left = p->width - b * p->block;
    return left < p->block ? left : p->block;
}

/* Blocks by the mean of their diagonal, inputs within one by their own. */
static void order_by_activation(Problem *p, Ranked *blocks, Ranked *inputs)
{
    for (int b = 0; b < p->blocks; b++) {
        blocks[b] = (Ranked){ 0.0, b };
        for (int i = 0; i < block_length(p, b); i++) {
            size_t at = (size_t)(b * p->block + i);
            blocks[b].by += p->h[at * (size_t)p->width + at] / block_length(p, b);
        }
    }
    qsort(blocks, (size_t)p->blocks, sizeof *blocks, by_descending);
    int k = 0;
    for (int turn = 0; turn < p->blocks; turn++) {
        int b = blocks[turn].at, length = block_length(p, b);
        for (int i = 0; i < length; i++) {
            size_t at = (size_t)(b * p->block + i);
            inputs[i] = (Ranked){ p->h[at * (size_t)p->width + at], (int)at };
        }
        qsort(inputs, (size_t)length, sizeof *inputs, by_descending);
        p->turn[turn] = b;
        p->first[turn] = k;
        for (int i = 0; i < length; i++) p->order[k++] = inputs[i].at;
    }
    p->first[p->blocks] = k;
}

/* A factor of h in the caller's order fits rounding from the last input to the first. */
static void order_reversed(Problem *p, bool reversed)
{
    for (int k = 0; k < p->width; k++) p->order[k] = reversed ? p->width - 1 - k : k;
    int k = 0;
    for (int turn = 0; turn < p->blocks; turn++) {
        p->turn[turn] = reversed ? p->blocks - 1 - turn : turn;
        p->first[turn] = k;
        k += block_length(p, p->turn[turn]);
    }
    p->first[p->blocks] = k;
}

/* L over the reversed order becomes F and weight by place, in place: F[k][i] = L[n-1-i][n-1-k] / L[n-1-k][n-1-k]. */
static void factor_turned(Problem *p, double *l)
{
    size_t n = (size_t)p->width;
    for (size_t k = 0; k < n; k++) {
        double pivot = l[(n - 1 - k) * n + n - 1 - k];
        p->weight[k] = pivot * pivot;
    }
    /* entry (r, c) of the lower triangle goes to (n-1-c, n-1-r), which is lower too and whose own goal is (r, c) */
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c <= r; c++) {
            size_t to_r = n - 1 - c, to_c = n - 1 - r;
            if (to_r < r || (to_r == r && to_c < c)) continue;
            double moved = l[r * n + c];
            l[r * n + c] = l[to_r * n + to_c];
            l[to_r * n + to_c] = moved;
        }
    for (size_t k = 0; k < n; k++) {
        double pivot = sqrt(p->weight[k]);
        for (size_t i = 0; i <= k; i++) l[k * n + i] = pivot > 0.0 ? l[k * n + i] / pivot : 0.0; /* 0: an input that never varies */
    }
    p->feedback = l;
}

static Status factor_ordered(Problem *p, const double *l, Err *err)
{
    size_t n = (size_t)p->width;
    double *f = malloc(n * n * sizeof *f);
    if (f == NULL) return err_no_memory(err, "a factor of the layer's moments");
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < n; c++)
            f[r * n + c] = p->h[(size_t)p->order[n - 1 - r] * n + (size_t)p->order[n - 1 - c]];
    int failed = 0;
    Status status = blas_cholesky(p->width, f, &failed, err);
    if (status != OK) {
        free(f);
        return status;
    }
    if (failed == 0) {
        factor_turned(p, f);
        return OK;
    }
    if (l == NULL) { /* not positive definite: nothing can be handed on */
        free(f);
        order_reversed(p, false);
        return OK;
    }
    memcpy(f, l, n * n * sizeof *f);
    order_reversed(p, true);
    factor_turned(p, f);
    return OK;
}

Status feedback_make(Problem *p, const double *l, Err *err)
{
    size_t n = (size_t)p->width, blocks = (size_t)p->blocks;
    p->order = malloc(n * sizeof *p->order);
    p->place = malloc(n * sizeof *p->place);
    p->first = malloc((blocks + 1) * sizeof *p->first);
    p->turn = malloc(blocks * sizeof *p->turn);
    p->weight = malloc(n * sizeof *p->weight);
    if (p->order == NULL || p->place == NULL || p->first == NULL || p->turn == NULL || p->weight == NULL)
        return err_no_memory(err, "the order of rounding");
    order_reversed(p, false);
    for (size_t k = 0; k < n; k++) p->weight[k] = p->h != NULL ? p->h[k * n + k] : 1.0;
    if (p->h != NULL && p->spec->method == ROUND_GPTQ) {
        Ranked *blocks_by = malloc(blocks * sizeof *blocks_by), *inputs_by = malloc(n * sizeof *inputs_by);
        Status status = OK;
        if (blocks_by == NULL || inputs_by == NULL) {
            status = err_no_memory(err, "the order of rounding");
        } else {
            order_by_activation(p, blocks_by, inputs_by);
            status = factor_ordered(p, l, err);
        }
        free(blocks_by);
        free(inputs_by);
        TRY(status);
    }
    for (int k = 0; k < p->width; k++) p->place[p->order[k]] = k;
    return OK;
}

void feedback_release(Problem *p)
{
    free(p->order);
    free(p->place);
    free(p->first);
    free(p->turn);
    free(p->weight);
    free(p->feedback);
}

/* ---- a few rows, all candidates ---- */

struct Work {
    int count, keep;   /* rows at most, roundings kept of each */
    int columns;       /* rows now, times candidates */
    double *wanted;    /* [block,count] what a block's places want before any of it is rounded */
    double *error;     /* [block,columns] of the block in hand */
    double *handed;    /* [PANEL,columns], and all of it where a loss needs H e */
    int16_t *q;        /* [block,columns] */
    double *settled;   /* [width,count] errors of the blocks done */
    Choice *choice;    /* [columns] */
    double *scale, *inverse, *zero; /* [columns] the same as numbers */
    double *steepest;  /* [count] the largest inverse of a row */
    double *loss;      /* [columns] */
};

void work_free(Work *w)
{
    if (w == NULL) return;
    free(w->wanted);
    free(w->error);
    free(w->handed);
    free(w->q);
    free(w->settled);
    free(w->choice);
    free(w->scale);
    free(w->inverse);
    free(w->steepest);
    free(w->zero);
    free(w->loss);
    free(w);
}

Work *work_new(const Problem *p, int count, int keep)
{
    Work *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    size_t rows = (size_t)count, columns = rows * (size_t)p->choices, block = (size_t)p->block, width = (size_t)p->width;
    size_t handed = p->feedback == NULL && p->h != NULL && block > PANEL ? block : PANEL;
    *w = (Work){ .count = count, .keep = keep, .wanted = malloc(block * rows * sizeof(double)),
                 .error = malloc(block * columns * sizeof(double)), .handed = malloc(handed * columns * sizeof(double)),
                 .q = malloc(block * columns * sizeof(int16_t)), .settled = malloc(width * rows * sizeof(double)),
                 .choice = malloc(columns * sizeof(Choice)), .scale = malloc(columns * sizeof(double)),
                 .inverse = malloc(columns * sizeof(double)), .steepest = malloc(rows * sizeof(double)),
                 .zero = malloc(columns * sizeof(double)), .loss = malloc(columns * sizeof(double)) };
    if (w->wanted == NULL || w->error == NULL || w->handed == NULL || w->q == NULL || w->settled == NULL || w->choice == NULL ||
        w->scale == NULL || w->inverse == NULL || w->steepest == NULL || w->zero == NULL || w->loss == NULL) {
        work_free(w);
        return NULL;
    }
    return w;
}

/* What the places [from, to) want after the blocks settled so far. */
static void want(const Problem *p, Work *w, const int64_t *rows, int count, int from, int to)
{
    if (p->feedback != NULL && from > 0)
        blas_dgemm(false, false, to - from, count, from, -1.0, p->feedback + (size_t)from * (size_t)p->width, p->width, w->settled, count,
                   0.0, w->wanted, count);
    else
        memset(w->wanted, 0, (size_t)(to - from) * (size_t)count * sizeof *w->wanted);
    for (int k = from; k < to; k++)
        for (int b = 0; b < count; b++)
            w->wanted[(size_t)(k - from) * (size_t)count + (size_t)b] += p->target[rows[b] * p->width + p->order[k]];
}

/* The largest sum of partners of one sign that row b wants in the block at places [from, to). */
static double wanted_together(const Problem *p, const Work *w, int b, int count, int from, int to)
{
    double together = 0.0;
    for (int k = from; k < to && p->partner != NULL; k++)
        for (int side = 0; side < 2; side++) {
            int32_t other = p->partner[side * p->width + p->order[k]];
            int at = other >= 0 ? p->place[other] : -1;
            double v = w->wanted[(size_t)(k - from) * (size_t)count + (size_t)b];
            if (at >= from && at < to) together = pair_together(together, v, w->wanted[(size_t)(at - from) * (size_t)count + (size_t)b]);
            else if (other >= 0) together = pair_together(together, v, v); /* in another block: half the limit */
        }
    return together;
}

static void choose_candidates(const Problem *p, Work *w, const int64_t *rows, int count, int from, int to)
{
    for (int b = 0; b < count; b++) {
        Choice *out = w->choice + (size_t)b * (size_t)p->choices;
        if (p->shared != NULL) {
            memcpy(out, p->shared, (size_t)p->choices * sizeof *out);
            continue;
        }
        double low = 0.0, high = 0.0;
        for (int k = 0; k < to - from; k++) {
            double v = w->wanted[(size_t)k * (size_t)count + (size_t)b];
            low = fmin(low, v);
            high = fmax(high, v);
        }
        scales_fill(p, low, high, wanted_together(p, w, b, count, from, to), row_least(p, rows[b]), out);
    }
    for (int c = 0; c < count * p->choices; c++) {
        w->scale[c] = (double)w->choice[c].scale;
        w->inverse[c] = 1.0 / w->scale[c];
        w->zero[c] = w->choice[c].zero;
        double *steepest = &w->steepest[c / p->choices];
        *steepest = c % p->choices == 0 ? w->inverse[c] : fmax(*steepest, w->inverse[c]);
    }
}

/* What the partner of place k of row b leaves it; [from, to): the block's places. */
static PlacePartner partner_of(const Problem *p, const Work *w, int from, int to, int k, int side, int b, int count)
{
    int32_t other = p->partner != NULL ? p->partner[side * p->width + p->order[k]] : -1;
    if (other < 0) return (PlacePartner){ .kind = PARTNER_NONE };
    int at = p->place[other];
    if (at < from || at >= to) return (PlacePartner){ .kind = PARTNER_APART };
    if (at > k)
        return (PlacePartner){ .kind = PARTNER_TO_COME, .wanted = w->wanted[(size_t)(at - from) * (size_t)count + (size_t)b],
                               .share = pair_share(p->weight[k], p->weight[at]) };
    return (PlacePartner){ .kind = PARTNER_ROUNDED,
                           .q = w->q + (size_t)(at - from) * (size_t)w->columns + (size_t)b * (size_t)p->choices };
}

/* Place k of all columns; handed[columns] by the places of the block before it. */
static void round_place(const Problem *p, Work *w, const int64_t *rows, int count, int from, int to, int k,
                        const double *handed)
{
    size_t line = (size_t)(k - from) * (size_t)w->columns;
    for (int b = 0; b < count; b++) {
        size_t first = (size_t)b * (size_t)p->choices;
        place_round(&(PlaceRound){
            .choices = p->choices, .low = p->low, .high = p->high, .target = p->target[rows[b] * p->width + p->order[k]],
            .want = w->wanted[(size_t)(k - from) * (size_t)count + (size_t)b], .weight = p->weight[k], .handed = handed + first,
            .scale = w->scale + first, .inverse = w->inverse + first, .zero = w->zero + first, .steepest = w->steepest[b],
            .partner = { partner_of(p, w, from, to, k, 0, b, count), partner_of(p, w, from, to, k, 1, b, count) },
            .q = w->q + line + first, .error = w->error + line + first, .loss = w->loss + first });
    }
}

/* Places [from, to), one block, all columns. */
static void round_block(const Problem *p, Work *w, const int64_t *rows, int count, int from, int to)
{
    size_t columns = (size_t)w->columns;
    memset(w->loss, 0, columns * sizeof *w->loss);
    for (int k0 = from; k0 < to; k0 += PANEL) {
        int k1 = k0 + PANEL < to ? k0 + PANEL : to;
        double *panel = w->handed;
        if (p->feedback != NULL && k0 > from)
            blas_dgemm(false, false, k1 - k0, w->columns, k0 - from, 1.0, p->feedback + (size_t)k0 * (size_t)p->width + from, p->width,
                       w->error, w->columns, 0.0, panel, w->columns);
        else
            memset(panel, 0, (size_t)(k1 - k0) * columns * sizeof *panel);
        for (int k = k0; k < k1; k++) {
            double *sum = panel + (size_t)(k - k0) * columns;
            for (int i = k0; p->feedback != NULL && i < k; i++) {
                double f = p->feedback[(size_t)k * (size_t)p->width + (size_t)i];
                place_hand(sum, w->error + (size_t)(i - from) * columns, f, w->columns);
            }
            round_place(p, w, rows, count, from, to, k, sum);
        }
    }
}

/* Without feedback the terms know the diagonal only: the block's own e H e instead. */
static void measure_block(const Problem *p, Work *w, int from, int to)
{
    if (p->feedback != NULL || p->h == NULL) return;
    size_t columns = (size_t)w->columns;
    int length = to - from; /* places are inputs here */
    memset(w->loss, 0, columns * sizeof *w->loss);
    blas_dgemm(false, false, length, w->columns, length, 1.0, p->h + (size_t)from * (size_t)p->width + from, p->width, w->error, w->columns,
               0.0, w->handed, w->columns);
    for (int k = 0; k < length; k++) {
        const double *e = w->error + (size_t)k * columns, *g = w->handed + (size_t)k * columns;
        for (size_t c = 0; c < columns; c++) w->loss[c] += e[c] * g[c];
    }
}

/* The candidates of row b by loss, the best first; ties go to the first. */
static void best_of(const Problem *p, const Work *w, int b, int keep, int *best)
{
    const double *loss = w->loss + (size_t)b * (size_t)p->choices;
    for (int i = 0; i < keep; i++) {
        best[i] = -1;
        for (int c = 0; c < p->choices; c++) {
            bool taken = false;
            for (int k = 0; k < i; k++) taken = taken || best[k] == c;
            if (!taken && (best[i] < 0 || loss[c] < loss[best[i]])) best[i] = c;
        }
    }
}

static void settle(const Problem *p, Work *w, int count, int turn, Line *lines)
{
    int from = p->first[turn], to = p->first[turn + 1], best[ROUND_KEEP_MOST];
    for (int b = 0; b < count; b++) {
        best_of(p, w, b, w->keep, best);
        for (int i = 0; i < w->keep; i++) {
            Line *line = &lines[b * w->keep + i];
            size_t column = (size_t)(b * p->choices + best[i]);
            line->scales[p->turn[turn]] = w->choice[column].scale;
            line->zeros[p->turn[turn]] = (int16_t)w->choice[column].zero;
            for (int k = from; k < to; k++) line->q[p->order[k]] = w->q[(size_t)(k - from) * (size_t)w->columns + column];
        }
        size_t column = (size_t)(b * p->choices + best[0]);
        for (int k = from; k < to; k++)
            w->settled[(size_t)k * (size_t)count + (size_t)b] = w->error[(size_t)(k - from) * (size_t)w->columns + column];
    }
}

void work_round(const Problem *p, Work *w, const int64_t *rows, int count, Line *lines, double *losses)
{
    w->columns = count * p->choices;
    for (int turn = 0; turn < p->blocks; turn++) {
        int from = p->first[turn], to = p->first[turn + 1];
        want(p, w, rows, count, from, to);
        choose_candidates(p, w, rows, count, from, to);
        round_block(p, w, rows, count, from, to);
        measure_block(p, w, from, to);
        settle(p, w, count, turn, lines);
    }
    if (losses != NULL) memcpy(losses, w->loss, (size_t)w->columns * sizeof *losses);
}
