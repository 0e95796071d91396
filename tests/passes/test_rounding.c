#include "rounding_net.h"

/* ---- laws, over kinds of grids ---- */

typedef struct KindRow {
    const char *name;
    int bits;
    bool symmetric, restricted;
    int64_t block;
    int rule; /* 0: no pair rule, 1: pairs, 2: chains */
    double share; /* of nearest rounding's loss that error feedback stays below */
} KindRow;

static const KindRow kinds[] = {
    { "2 bits", 2, true, true, 0, 0, 0.3 },                 { "2 bits, full range", 2, true, false, 0, 0, 0.4 },
    { "2 bits, zero points", 2, false, true, 0, 0, 0.3 },   { "3 bits", 3, true, true, 0, 0, 0.5 },
    { "3 bits, blocks", 3, true, true, 16, 0, 0.5 },        { "4 bits", 4, true, true, 0, 0, 0.5 },
    { "4 bits, blocks, zero points", 4, false, true, 16, 0, 0.5 }, { "4 bits, blocks of 7", 4, true, false, 7, 0, 0.6 },
    { "4 bits, one scale", 4, true, true, -1, 0, 0.6 },     { "4 bits, one scale, zero point", 4, false, true, -1, 0, 0.6 },
    { "5 bits, zero points", 5, false, true, 0, 0, 0.6 },   { "6 bits", 6, true, true, 0, 0, 0.6 },
    { "7 bits, one scale", 7, true, true, -1, 0, 0.7 },     { "8 bits", 8, true, true, 0, 0, 0.7 },
    { "8 bits, zero points", 8, false, true, 0, 0, 0.7 },   { "8 bits, one scale", 8, true, true, -1, 0, 0.7 },
    { "8 bits, blocks", 8, true, true, 32, 0, 0.7 },        { "8 bits, pairs", 8, true, true, 0, 1, 3.0 },
    { "8 bits, chains of pairs", 8, true, true, 0, 2, 3.0 }, { "8 bits, full range, pairs", 8, true, false, 0, 1, 3.0 },
    { "8 bits, one scale, pairs", 8, true, true, -1, 1, 3.0 }, { "8 bits, blocks, pairs", 8, true, true, 16, 2, 9.0 },
};

static void in_range(const KindRow *k, const Rounded *r)
{
    int half = 1 << (k->bits - 1), high = k->symmetric ? half - 1 : 2 * half - 1;
    int low = !k->symmetric ? 0 : k->restricted ? 1 - half : -half;
    for (int64_t i = 0; i < r->rows * r->width; i++)
        if (r->q[i] < low || r->q[i] > high) fail_msg("%s: integer %d", k->name, r->q[i]);
    for (int64_t i = 0; i < r->rows * r->blocks; i++) {
        if (!isnormal(r->scales[i]) || r->scales[i] <= 0.0f) fail_msg("%s: scale %g", k->name, (double)r->scales[i]);
        if (k->symmetric ? r->zeros[i] != 0 : r->zeros[i] < low || r->zeros[i] > high) fail_msg("%s: zero point %d", k->name, r->zeros[i]);
        if (k->block < 0 && (r->scales[i] != r->scales[0] || r->zeros[i] != r->zeros[0])) fail_msg("%s: more than one scale", k->name);
    }
}

static void laws(void **state)
{
    (void)state;
    Net n = net_new(13, 50, 7), plain = n;
    plain.h = plain.l = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int with = 0; with < 4; with++) { /* error feedback or nearest, with and without moments */
            const KindRow *k = &kinds[i];
            const Net *use = with & 1 ? &plain : &n;
            int32_t *partner = k->rule > 0 ? neighbours(n.width, k->rule == 2) : NULL;
            RoundSpec s = { .bits = k->bits, .symmetric = k->symmetric, .restricted = k->restricted, .block = k->block, .partner = partner,
                            .method = with & 2 ? ROUND_NEAREST : ROUND_GPTQ, .clips = 10, .sweeps = 6 };
            Rounded one, two;
            Err err;
            assert_ok(round_matrix(&s, n.rows, n.width, n.w, use->h, use->l, 1, &one, &err), &err);
            assert_ok(round_matrix(&s, n.rows, n.width, n.w, use->h, use->l, 2, &two, &err), &err);
            in_range(k, &one);
            assert_memory_equal(one.q, two.q, (size_t)(n.rows * n.width) * sizeof *one.q);
            assert_memory_equal(one.scales, two.scales, (size_t)(n.rows * one.blocks) * sizeof *one.scales);
            assert_memory_equal(one.zeros, two.zeros, (size_t)(n.rows * one.blocks) * sizeof *one.zeros);
            assert_memory_equal(&one.loss, &two.loss, sizeof one.loss);
            assert_int_equal(one.block, k->block <= 0 ? n.width : k->block);
            assert_int_equal(one.blocks, (n.width + one.block - 1) / one.block);
            if (!rounded_pairs_safe(&one, partner)) fail_msg("%s: pairs", k->name);
            double loss = loss_of(use, &one);
            if (use->h == NULL) {
                assert_true(one.loss == 0.0 && one.loss_nearest == 0.0);
            } else {
                assert_near(one.loss / loss, 1.0, 1e-9);
                double most = s.method == ROUND_GPTQ ? k->share : k->rule > 0 ? 9.0 : 1.0;
                if (!(one.loss <= most * one.loss_nearest))
                    fail_msg("%s, %s: loss %g, nearest %g", k->name, with & 2 ? "nearest" : "feedback", one.loss, one.loss_nearest);
            }
            if (k->rule == 0) assert_true(one.enlarged == 1.0);
            rounded_release(&one);
            rounded_release(&two);
            free(partner);
        }
    net_release(&n);
}

/* Each bit more takes the loss down by about four; each sweep more never takes it up. */
static void more_is_better(void **state)
{
    (void)state;
    Net n = net_new(9, 40, 3);
    Rounded r;
    Err err;
    double last = INFINITY;
    for (int bits = 2; bits <= 8; bits++) {
        RoundSpec s = { .bits = bits, .symmetric = true, .restricted = true, .method = ROUND_GPTQ, .clips = 10, .sweeps = 6 };
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 1, &r, &err), &err);
        if (!(r.loss < 0.45 * last)) fail_msg("%d bits: loss %g, %g with one bit fewer", bits, r.loss, last);
        last = r.loss;
        rounded_release(&r);
    }
    last = INFINITY;
    for (int sweeps = 0; sweeps <= 6; sweeps++) {
        RoundSpec s = { .bits = 2, .symmetric = true, .restricted = true, .block = 8, .method = ROUND_GPTQ, .clips = 10, .sweeps = sweeps };
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 1, &r, &err), &err);
        if (!(r.loss <= last * (1.0 + 1e-12))) fail_msg("%d sweeps: loss %g, %g with one sweep fewer", sweeps, r.loss, last);
        last = r.loss;
        rounded_release(&r);
    }
    net_release(&n);
}

/* Without moments, with one candidate and no sweeps, both methods are plain rounding. */
static void plain_rounding(void **state)
{
    (void)state;
    Net n = net_new(5, 12, 11);
    for (int bits = 2; bits <= 8; bits++)
        for (int method = ROUND_NEAREST; method <= ROUND_GPTQ; method++) {
            RoundSpec s = { .bits = bits, .symmetric = true, .restricted = true, .method = (RoundMethod)method, .clips = 1 };
            Rounded r;
            Err err;
            assert_ok(round_matrix(&s, n.rows, n.width, n.w, NULL, NULL, 1, &r, &err), &err);
            for (int64_t i = 0; i < n.rows; i++) {
                double peak = 0.0;
                for (int64_t k = 0; k < n.width; k++) peak = fmax(peak, fabs(n.w[i * n.width + k]));
                float scale = (float)(peak / ((1 << (bits - 1)) - 1));
                assert_true(r.scales[i] == scale);
                for (int64_t k = 0; k < n.width; k++)
                    assert_int_equal(r.q[i * n.width + k], (int)rint(n.w[i * n.width + k] / (double)scale));
            }
            rounded_release(&r);
        }
    net_release(&n);
}

/* One candidate and no sweeps are GPTQ as its paper has it: the factor of H^-1 in order of activation, column by column. */
static void textbook_gptq(void **state)
{
    (void)state;
    enum { ROWS = 8, WIDTH = 45 };
    for (uint64_t seed = 1; seed <= 5; seed++) {
        Net n = net_new(ROWS, WIDTH, seed);
        double a[WIDTH * WIDTH], w[WIDTH];
        int order[WIDTH], failed;
        Err err;
        for (int i = 0; i < WIDTH; i++) order[i] = i;
        for (int i = 1; i < WIDTH; i++)
            for (int k = i; k > 0 && n.h[order[k] * (WIDTH + 1)] > n.h[order[k - 1] * (WIDTH + 1)]; k--) {
                int t = order[k];
                order[k] = order[k - 1];
                order[k - 1] = t;
            }
        for (int i = 0; i < WIDTH * WIDTH; i++) a[i] = n.h[order[i / WIDTH] * WIDTH + order[i % WIDTH]];
        assert_ok(blas_cholesky(WIDTH, a, &failed, &err), &err);
        assert_ok(blas_cholesky_inverse(WIDTH, a, &err), &err);
        assert_ok(blas_cholesky(WIDTH, a, &failed, &err), &err); /* U = transposed */
        RoundSpec s = { .bits = 4, .symmetric = true, .restricted = true, .method = ROUND_GPTQ, .clips = 1 };
        Rounded r;
        assert_ok(round_matrix(&s, ROWS, WIDTH, n.w, n.h, n.l, 1, &r, &err), &err);
        for (int b = 0; b < ROWS; b++) {
            for (int i = 0; i < WIDTH; i++) w[i] = n.w[b * WIDTH + order[i]];
            for (int i = 0; i < WIDTH; i++) {
                double q = fmax(-7.0, fmin(7.0, rint(w[i] / (double)r.scales[b]))), e = (w[i] - q * (double)r.scales[b]) / a[i * WIDTH + i];
                assert_int_equal(r.q[b * WIDTH + order[i]], (int)q);
                for (int k = i; k < WIDTH; k++) w[k] -= e * a[k * WIDTH + i];
            }
        }
        rounded_release(&r);
        net_release(&n);
    }
}

/* Every integer row there is, each with the scale that fits it best. At most 8 inputs. */
static double exhaustive(const Net *n, int64_t row, int low, int high)
{
    int q[8];
    double best = INFINITY, ht[8] = { 0 }, all = 0.0;
    const double *t = n->w + row * n->width;
    for (int64_t i = 0; i < n->width; i++) {
        q[i] = low;
        for (int64_t k = 0; k < n->width; k++) ht[i] += n->h[i * n->width + k] * t[k];
        all += t[i] * ht[i];
    }
    for (;;) {
        double top = 0.0, bottom = 0.0;
        for (int64_t i = 0; i < n->width; i++) {
            double through = 0.0;
            for (int64_t k = 0; k < n->width; k++) through += n->h[i * n->width + k] * q[k];
            top += q[i] * ht[i];
            bottom += q[i] * through;
        }
        if (bottom > 0.0 && top > 0.0) best = fmin(best, all - top * top / bottom);
        int i = 0;
        while (i < n->width && q[i] == high) q[i++] = low;
        if (i == n->width) return best;
        q[i]++;
    }
}

static void near_the_optimum(void **state)
{
    (void)state;
    static const struct {
        int bits;
        double sum_share; /* summed losses over the optima's */
    } rows[] = { { 2, 1.15 }, { 3, 1.3 } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        double made = 0.0, best = 0.0;
        for (uint64_t seed = 1; seed <= 20; seed++) {
            Net n = net_new(5, 4, seed);
            RoundSpec s = { .bits = rows[k].bits, .symmetric = true, .restricted = true, .method = ROUND_GPTQ, .clips = 20, .sweeps = 9 };
            Rounded r;
            Err err;
            assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 1, &r, &err), &err);
            made += r.loss;
            double optimum = 0.0;
            int half = 1 << (rows[k].bits - 1);
            for (int64_t i = 0; i < n.rows; i++) optimum += exhaustive(&n, i, 1 - half, half - 1);
            assert_true(r.loss >= optimum * (1.0 - 1e-6));
            best += optimum;
            rounded_release(&r);
            net_release(&n);
        }
        if (!(made <= rows[k].sum_share * best)) fail_msg("%d bits: %g of the optimum", rows[k].bits, made / best);
    }
}

/* ---- learned rounding ---- */

/* Over all kinds: inside the range and the pair rule, the same for any threads, the loss never above the one without. */
static void learned_never_worse(void **state)
{
    (void)state;
    Net n = net_new(13, 50, 7), none = n;
    none.h = none.l = NULL;
    int lower = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const KindRow *k = &kinds[i];
        int32_t *partner = k->rule > 0 ? neighbours(n.width, k->rule == 2) : NULL;
        RoundSpec s = { .bits = k->bits, .symmetric = k->symmetric, .restricted = k->restricted, .block = k->block, .partner = partner,
                        .method = ROUND_GPTQ, .clips = 10, .sweeps = 6 };
        Rounded plain, one, two;
        Err err;
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 1, &plain, &err), &err);
        s.learned = 60;
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 1, &one, &err), &err);
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 2, &two, &err), &err);
        in_range(k, &one);
        if (!rounded_pairs_safe(&one, partner)) fail_msg("%s: pairs", k->name);
        if (!(one.loss <= plain.loss)) fail_msg("%s: loss %g, %g without", k->name, one.loss, plain.loss);
        if (one.loss_found != plain.loss) fail_msg("%s: started from %g, not %g", k->name, one.loss_found, plain.loss);
        assert_near(one.loss / loss_of(&n, &one), 1.0, 1e-9);
        lower += one.loss < plain.loss;
        assert_memory_equal(one.q, two.q, (size_t)(n.rows * n.width) * sizeof *one.q);
        assert_memory_equal(one.scales, two.scales, (size_t)(n.rows * one.blocks) * sizeof *one.scales);
        assert_memory_equal(&one.loss, &two.loss, sizeof one.loss);
        rounded_release(&one);
        rounded_release(&two);
        rounded_release(&plain);
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, NULL, NULL, 1, &one, &err), &err); /* nothing to learn from */
        s.learned = 0;
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, NULL, NULL, 1, &two, &err), &err);
        assert_memory_equal(one.q, two.q, (size_t)(n.rows * n.width) * sizeof *one.q);
        rounded_release(&one);
        rounded_release(&two);
        free(partner);
    }
    if (lower < (int)(sizeof kinds / sizeof *kinds) / 2) fail_msg("the loss falls for %d kinds only", lower);
    net_release(&n);
}

static void learned_optimum(void **state)
{
    (void)state;
    int found[2] = { 0, 0 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        Net n = net_new(8, 8, seed);
        Rounded r[2];
        Err err;
        for (int with = 0; with < 2; with++) {
            RoundSpec s = { .bits = 2, .symmetric = true, .restricted = true, .method = ROUND_GPTQ, .clips = 4, .sweeps = 6,
                            .learned = 200 * with };
            assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 1, &r[with], &err), &err);
        }
        for (int64_t i = 0; i < n.rows; i++) {
            double optimum = exhaustive(&n, i, -1, 1);
            Net row = { 1, n.width, n.w + i * n.width, n.h, n.l };
            for (int with = 0; with < 2; with++) {
                Rounded part = r[with];
                part.rows = 1;
                part.q += i * n.width;
                part.scales += i;
                part.zeros += i;
                double loss = loss_of(&row, &part);
                assert_true(loss >= optimum * (1.0 - 1e-6));
                found[with] += loss <= optimum * (1.0 + 1e-6);
            }
        }
        rounded_release(&r[0]);
        rounded_release(&r[1]);
        net_release(&n);
    }
    if (!(found[1] > found[0])) fail_msg("the optimum of %d rows of 160, %d without", found[1], found[0]);
}

/* Against differences of the value; shares beyond the clip have no slope. */
static void learned_gradient(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double strength, beta;
    } rows[] = { { "loss alone", 0.0, 20.0 }, { "hardly pulled", 0.3, 20.0 }, { "half way", 0.3, 7.0 }, { "at the end", 0.3, 2.0 } };
    enum { ROWS = 3, WIDTH = 10, BLOCKS = 4 };
    Net n = net_new(ROWS, WIDTH, 4);
    RoundSpec spec = { .bits = 4, .block = 3 };
    Problem p = { .spec = &spec, .rows = ROWS, .width = WIDTH, .block = 3, .blocks = BLOCKS, .high = 15, .target = n.w, .h = n.h };
    int16_t q[ROWS * WIDTH], zeros[ROWS * BLOCKS];
    float scales[ROWS * BLOCKS];
    double e[ROWS * WIDTH], g[ROWS * WIDTH];
    Line lines[ROWS];
    Soft s;
    uint64_t seed = 12;
    assert_true(soft_new(ROWS, WIDTH, &s));
    for (int i = 0; i < ROWS * BLOCKS; i++) {
        zeros[i] = (int16_t)(6 + i % 4);
        scales[i] = 0.3f + 0.05f * (float)(i % 5);
    }
    for (int i = 0; i < ROWS * WIDTH; i++) q[i] = (int16_t)(i % 16);
    for (int b = 0; b < ROWS; b++)
        lines[b] = (Line){ .row = b, .q = q + b * WIDTH, .scales = scales + b * BLOCKS, .zeros = zeros + b * BLOCKS, .e = e + b * WIDTH,
                           .g = g + b * WIDTH };
    soft_start(&p, lines, ROWS, &s);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        assert_true(s.base[i] >= 0 && s.base[i] < 15 && (q[i] == s.base[i] || q[i] == s.base[i] + 1));
        s.v[i] = i % 7 == 3 ? 3.0 : i % 7 == 5 ? -3.0 : 1.8 * uniform(&seed);
    }
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        for (int i = 0; i < ROWS * WIDTH; i++) {
            double v = s.v[i], made, ends[2];
            soft_gradient(&p, lines, ROWS, rows[k].strength, rows[k].beta, &s);
            made = s.gradient[i];
            for (int side = 0; side < 2; side++) {
                s.v[i] = v + (side ? 1e-5 : -1e-5);
                soft_gradient(&p, lines, ROWS, rows[k].strength, rows[k].beta, &s);
                ends[side] = s.value[i / WIDTH];
            }
            s.v[i] = v;
            double expected = (ends[1] - ends[0]) / 2e-5;
            if (!(fabs(made - expected) <= 1e-6 * (1.0 + fabs(expected))))
                fail_msg("%s, weight %d: %.9g, expected %.9g", rows[k].name, i, made, expected);
            if (fabs(v) == 3.0) assert_true(made == 0.0);
        }
    soft_free(&s);
    net_release(&n);
}

/* ---- what is hardly a matrix ---- */

static void degenerate(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double value;
        int64_t rows, width;
    } rows[] = {
        { "zeros", 0.0, 3, 5 },         { "one weight", 0.7, 1, 1 },      { "one column", -0.3, 4, 1 }, { "huge", 1e37, 2, 9 },
        { "beyond float", 1e60, 2, 3 }, { "tiny", 1e-37, 2, 9 },          { "below normal", 1e-42, 2, 9 },
        { "nearly nothing", 1e-300, 2, 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            for (int moments = 0; moments < 3; moments++) {
                Net n = net_new(rows[i].rows, rows[i].width, 2);
                int32_t *partner = kinds[k].rule > 0 ? neighbours(n.width, kinds[k].rule == 2) : NULL;
                for (int64_t j = 0; j < n.rows * n.width; j++) n.w[j] *= rows[i].value;
                if (moments == 2) { /* inputs that never vary */
                    memset(n.h, 0, (size_t)(n.width * n.width) * 8);
                    memset(n.l, 0, (size_t)(n.width * n.width) * 8);
                }
                RoundSpec s = { .bits = kinds[k].bits, .symmetric = kinds[k].symmetric, .restricted = kinds[k].restricted,
                                .block = kinds[k].block, .partner = partner, .method = ROUND_GPTQ, .clips = 3, .sweeps = 3,
                                .learned = 5, .keep_grid = true };
                Rounded r;
                Err err;
                assert_ok(round_matrix(&s, n.rows, n.width, n.w, moments > 0 ? n.h : NULL, moments > 0 ? n.l : NULL, 2, &r, &err), &err);
                in_range(&kinds[k], &r);
                assert_true(rounded_pairs_safe(&r, partner));
                if (rows[i].value == 0.0)
                    for (int64_t j = 0; j < n.rows * n.width; j++) assert_true(r.q[j] == 0 && r.scales[0] == 1.0f && r.zeros[0] == 0);
                rounded_release(&r);
                free(partner);
                net_release(&n);
            }
}

/* A scale is never below what the biases need, with error feedback and refits too. */
static void least_scales(void **state)
{
    (void)state;
    Net n = net_new(6, 24, 8);
    double least[6] = { 0.0, 1.0, 1e-30, 0.02, 3.0, 0.1 };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        int32_t *partner = kinds[k].rule > 0 ? neighbours(n.width, kinds[k].rule == 2) : NULL;
        RoundSpec s = { .bits = kinds[k].bits, .symmetric = kinds[k].symmetric, .restricted = kinds[k].restricted, .block = kinds[k].block,
                        .partner = partner, .method = ROUND_GPTQ, .clips = 5, .sweeps = 6, .learned = 20,
                        .least = least };
        Rounded r;
        Err err;
        assert_ok(round_matrix(&s, n.rows, n.width, n.w, n.h, n.l, 1, &r, &err), &err);
        for (int64_t i = 0; i < n.rows * r.blocks; i++)
            if (!((double)r.scales[i] >= (kinds[k].block < 0 ? 3.0 : least[i / r.blocks])))
                fail_msg("%s: scale %g", kinds[k].name, (double)r.scales[i]);
        rounded_release(&r);
        free(partner);
    }
    net_release(&n);
}

static void refused(void **state)
{
    (void)state;
    int32_t partner[4] = { 1, 0, -1, -1 };
    double w[2] = { 1.0, 2.0 }, bad[2] = { 1.0, NAN };
    const struct {
        const char *name, *says;
        RoundSpec spec;
        double *w;
        Status status;
    } rows[] = {
        { "one bit", "1 bits", { .bits = 1, .symmetric = true, .clips = 1 }, w, ERR_USAGE },
        { "nine bits", "9 bits", { .bits = 9, .symmetric = true, .clips = 1 }, w, ERR_USAGE },
        { "learning backwards", "-1 iterations", { .bits = 8, .symmetric = true, .clips = 1, .learned = -1 }, w, ERR_USAGE },
        { "no candidates", "0 candidates", { .bits = 8, .symmetric = true }, w, ERR_USAGE },
        { "blocks below one", "-2", { .bits = 8, .symmetric = true, .clips = 1, .block = -2 }, w, ERR_USAGE },
        { "pairs with zero points", "pair rule", { .bits = 8, .clips = 1, .partner = partner }, w, ERR_USAGE },
        { "not finite", "weight 1 of row 0", { .bits = 8, .symmetric = true, .clips = 1 }, bad, ERR_DATA },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Rounded r;
        Err err;
        assert_status(round_matrix(&rows[i].spec, 1, 2, rows[i].w, NULL, NULL, 1, &r, &err), rows[i].status, &err);
        if (strstr(err.text, rows[i].says) == NULL) fail_msg("%s: %s", rows[i].name, err.text);
        rounded_release(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(laws),
        cmocka_unit_test(more_is_better),
        cmocka_unit_test(plain_rounding),
        cmocka_unit_test(textbook_gptq),
        cmocka_unit_test(near_the_optimum),
        cmocka_unit_test(learned_never_worse),
        cmocka_unit_test(learned_optimum),
        cmocka_unit_test(learned_gradient),
        cmocka_unit_test(degenerate),
        cmocka_unit_test(least_scales),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
