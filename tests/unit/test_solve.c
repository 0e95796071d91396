/* Solves with a layer's moments, against closed forms and the conditions that make an optimum. */
#include "test.h"

#include "base/rng.h"
#include "stats/solve.h"

enum { N = 12, M = 5, P = 200 };

typedef struct Problem {
    double x[P * N], y[P * N], d[P * M]; /* compressed and original inputs, shortcut differences, by position */
    double h[N * N], c[N * N], s[M * N], w[M * N];
    double sum_x[N], sum_y[N], sum_d[M];
} Problem;

static Problem *problem_new(void)
{
    Problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    Rng rng;
    rng_init(&rng, 11);
    for (int i = 0; i < M * N; i++) p->w[i] = rng_normal(&rng);
    for (int q = 0; q < P; q++) {
        double *x = p->x + q * N, *y = p->y + q * N, *d = p->d + q * M;
        for (int i = 0; i < N; i++) y[i] = rng_normal(&rng) + (i > 0 ? 0.5 * y[i - 1] : 2.0);
        for (int i = 0; i < N; i++) x[i] = y[i] + 0.3 * rng_normal(&rng);
        for (int i = 0; i < M; i++) d[i] = 0.1 * rng_normal(&rng) + 0.7;
        for (int i = 0; i < N; i++) {
            p->sum_x[i] += x[i];
            p->sum_y[i] += y[i];
            for (int k = 0; k < N; k++) p->h[i * N + k] += x[i] * x[k];
            for (int k = 0; k < N; k++) p->c[i * N + k] += y[i] * x[k];
        }
        for (int i = 0; i < M; i++) {
            p->sum_d[i] += d[i];
            for (int k = 0; k < N; k++) p->s[i * N + k] += d[i] * x[k];
        }
    }
    return p;
}

static void center(Problem *p)
{
    solve_center(p->h, N, N, p->sum_x, p->sum_x, P);
    solve_center(p->c, N, N, p->sum_y, p->sum_x, P);
    solve_center(p->s, M, N, p->sum_d, p->sum_x, P);
}

/* Mean squared distance of output r from its target, with weights v and bias b: what everything here makes small. */
static double loss(const Problem *p, int r, const double *v, double b)
{
    double sum = 0.0;
    for (int q = 0; q < P; q++) {
        double e = b - p->d[q * M + r];
        for (int i = 0; i < N; i++) e += v[i] * p->x[q * N + i] - p->w[r * N + i] * p->y[q * N + i];
        sum += e * e / P;
    }
    return sum;
}

static void test_center(void **state)
{
    (void)state;
    double c[4] = { 2 * 5 + 4 * 7, 2 * 1 + 4 * 3, 6 * 5 + 8 * 7, 6 * 1 + 8 * 3 }; /* y = (2,6), (4,8); x = (5,1), (7,3) */
    solve_center(c, 2, 2, (double[]){ 6, 14 }, (double[]){ 12, 4 }, 2);
    for (int i = 0; i < 4; i++) assert_near(c[i], 1.0, 1e-12); /* each varies by 1 to both sides, together */
}

/* No step in any kept weight, or in the bias, lowers the loss. */
static void check_optimum(const Problem *p, int r, const bool *keep, double *v, double b)
{
    double least = loss(p, r, v, b);
    for (int i = 0; i < N; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            if (!keep[i]) {
                assert_true(v[i] == 0.0);
                continue;
            }
            double old = v[i];
            v[i] += sign * 1e-4;
            assert_true(loss(p, r, v, b) > least);
            v[i] = old;
        }
    assert_true(loss(p, r, v, b + 1e-4) > least && loss(p, r, v, b - 1e-4) > least);
}

static void test_optimum(void **state)
{
    (void)state;
    Err err;
    Factor f;
    Problem *p = problem_new();
    double target[M * N], out[2][M * N], b[M] = { 0 };
    bool keep[M * N], all[N];
    center(p);
    assert_ok(solve_factor(&f, STR("layer"), N, p->h, 0.0, &err), &err);
    assert_int_equal(f.raised, 0);
    assert_ok(solve_target(&f, M, p->w, p->c, p->s, target, &err), &err);
    for (int i = 0; i < N; i++) all[i] = true;
    solve_bias(b, M, N, p->w, p->sum_y, p->sum_d, target, p->sum_x, P);
    for (int r = 0; r < M; r++) check_optimum(p, r, all, target + r * N, b[r]);
    for (int i = 0; i < M * N; i++) keep[i] = i / N != 3 && (i / N == 4 || (i * 7 + i / N) % 3 != 0); /* row 3 empty, row 4 full */
    for (int k = 0; k < 2; k++) assert_ok(solve_support(&f, STR("layer"), M, target, keep, k + 1, out[k], &err), &err);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    assert_memory_equal(out[0] + 4 * N, target + 4 * N, N * sizeof(double));
    memset(b, 0, sizeof b);
    solve_bias(b, M, N, p->w, p->sum_y, p->sum_d, out[0], p->sum_x, P);
    for (int r = 0; r < M; r++) check_optimum(p, r, keep + r * N, out[0] + r * N, b[r]);
    factor_release(&f);
    free(p);
}

/* Equal inputs: the target is W whatever the damping. Scaled inputs x = a y: W / a for no damping, between for some. */
static void test_target(void **state)
{
    (void)state;
    static const double dampings[] = { 0.0, 0.01, 1.0 };
    Err err;
    Problem *p = problem_new();
    double target[M * N];
    for (size_t k = 0; k < 3; k++) {
        Factor f;
        assert_ok(solve_factor(&f, STR("layer"), N, p->h, dampings[k], &err), &err);
        assert_ok(solve_target(&f, M, p->w, p->h, NULL, target, &err), &err);
        for (int i = 0; i < M * N; i++) assert_near(target[i], p->w[i], 1e-9);
        factor_release(&f);
    }
    double h = 4.0 * 3.0, c = 2.0 * 3.0, w = 5.0; /* sum y y = 3, x = 2 y */
    Factor f;
    assert_ok(solve_factor(&f, STR("layer"), 1, &h, 0.5, &err), &err);
    assert_near(f.damping, 6.0, 1e-12);
    assert_ok(solve_target(&f, 1, &w, &c, NULL, target, &err), &err);
    assert_near(target[0], (5.0 * 6.0 + 6.0 * 5.0) / 18.0, 1e-12);
    factor_release(&f);
    free(p);
}

static void test_ladder(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double h[4], damping;
        int raised; /* -1: at least once */
        Status status;
    } rows[] = {
        { "regular", { 2, 1, 1, 2 }, 0.01, 0, OK },
        { "singular, damped", { 1, 1, 1, 1 }, 0.01, 0, OK },
        { "singular", { 1, 1, 1, 1 }, 0.0, -1, OK },
        { "zero", { 0, 0, 0, 0 }, 0.01, 0, OK },
        { "indefinite", { 1, 30, 30, 1 }, 0.01, 4, OK }, /* 0.01, 0.1, 1, 10, 100 */
        { "not finite", { NAN, 0, 0, 1 }, 0.01, 0, ERR_DATA },
        { "hopeless", { 1, 1e9, 1e9, 1 }, 0.01, 0, ERR_DATA },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err = { 0 };
        Factor f;
        PassRecord record = { 0 };
        Status status = solve_factor(&f, STR("the layer"), 2, rows[i].h, rows[i].damping, &err);
        if (status != rows[i].status) fail_msg("%s: status %d: %s", rows[i].name, (int)status, err.text);
        if (status != OK) assert_non_null(strstr(err.text, "the layer"));
        if (status == OK && (rows[i].raised < 0 ? f.raised < 1 : f.raised != rows[i].raised))
            fail_msg("%s: damping raised %d times", rows[i].name, f.raised);
        solve_note(&record, STR("the layer"), &f);
        if (status == OK) assert_int_equal(record.count, f.raised > 0);
        if (record.count > 0) assert_string_equal(record.entries[0].object, "the layer");
        record_release(&record);
        factor_release(&f);
    }
}

/* An input that is always 0 keeps its weight. */
static void test_dead_input(void **state)
{
    (void)state;
    Err err;
    Factor f;
    double h[9] = { 4, 1, 0, 1, 3, 0, 0, 0, 0 }, w[3] = { 1, -2, 7 }, target[3];
    assert_ok(solve_factor(&f, STR("layer"), 3, h, 0.01, &err), &err);
    assert_ok(solve_target(&f, 1, w, h, NULL, target, &err), &err);
    for (int i = 0; i < 3; i++) assert_near(target[i], w[i], 1e-12);
    factor_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_center), cmocka_unit_test(test_optimum),    cmocka_unit_test(test_target),
        cmocka_unit_test(test_ladder), cmocka_unit_test(test_dead_input),
    };
    return cmocka_run_group_tests_name("solve", tests, NULL, NULL);
}
