/* The linear algebra wrappers: products of what they return give back what went in. */
#include "test.h"

#include "engine/blas_glue.h"
#include "engine/blas_library.h"
#include "engine/engine.h"

#define MAX 40

static void fill(double *a, int count, unsigned seed)
{
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        a[i] = (double)(seed >> 8) / (double)(1u << 24) - 0.5;
    }
}

static void test_svd(void **state)
{
    (void)state;
    static const struct { int rows, cols; } table[] = { { 5, 3 }, { 3, 5 }, { 7, 7 }, { 1, 6 }, { 6, 1 }, { 40, 33 } };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        int m = table[t].rows, n = table[t].cols, k = m < n ? m : n;
        double a[MAX * MAX], u[MAX * MAX], s[MAX], vt[MAX * MAX], b[MAX * MAX];
        fill(a, m * n, (unsigned)t + 1);
        Err err = { 0 };
        assert_ok(blas_svd(m, n, a, u, s, vt, &err), &err);
        for (int i = 0; i < k; i++) {
            if (i > 0) assert_true(s[i] <= s[i - 1]);
            for (int r = 0; r < m; r++) u[r * k + i] *= s[i];
        }
        blas_dgemm(false, false, m, n, k, 1, u, k, vt, n, 0, b, n);
        for (int i = 0; i < m * n; i++) assert_near(b[i], a[i], 1e-12);
    }
    double bad[4] = { 1, 2, NAN, 4 }, u[4], s[2], vt[4];
    Err err = { 0 };
    assert_status(blas_svd(2, 2, bad, u, s, vt, &err), ERR_DATA, &err);
}

static void test_cholesky(void **state)
{
    (void)state;
    enum { N = 9, K = 20, C = 4 };
    double a[K * N], h[N * N], l[N * N], b[N * C], x[N * C], back[N * C];
    fill(a, K * N, 7);
    fill(b, N * C, 8);
    blas_dgemm(true, false, N, N, K, 1, a, N, a, N, 0, h, N);
    for (int i = 1; i < N; i++)
        for (int j = 0; j < i; j++) h[i * N + j] = NAN;
    blas_mirror(N, h, N);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int r = 0; r < K; r++) sum += a[r * N + i] * a[r * N + j];
            assert_near(h[i * N + j], sum, 1e-12);
        }
    memcpy(l, h, sizeof h);
    int failed;
    Err err = { 0 };
    assert_ok(blas_cholesky(N, l, &failed, &err), &err);
    assert_int_equal(failed, 0);
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++) assert_near(l[i * N + j], 0, 0);
    memcpy(x, b, sizeof b);
    assert_ok(blas_cholesky_solve(N, C, l, x, &err), &err);
    blas_dgemm(false, false, N, C, N, 1, h, N, x, C, 0, back, C);
    for (int i = 0; i < N * C; i++) assert_near(back[i], b[i], 1e-8);
    assert_ok(blas_cholesky_inverse(N, l, &err), &err);
    double one[N * N];
    blas_dgemm(false, false, N, N, N, 1, h, N, l, N, 0, one, N);
    for (int i = 0; i < N * N; i++) assert_near(one[i], i / N == i % N, 1e-8);
    double indefinite[4] = { 1, 2, 2, 1 };
    assert_ok(blas_cholesky(2, indefinite, &failed, &err), &err);
    assert_int_equal(failed, 2);
}

static void test_triangular(void **state)
{
    (void)state;
    enum { N = 5, C = 3 };
    double t[N * N], b[N * C], x[N * C], y[N * C];
    for (int shape = 0; shape < 4; shape++) {
        bool lower = shape & 1, transposed = (shape & 2) != 0;
        fill(t, N * N, 3);
        fill(b, N * C, 4);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) t[i * N + j] = i == j ? 2 + t[i * N + j] : (lower ? j < i : j > i) ? t[i * N + j] : 0;
        memcpy(x, b, sizeof b);
        blas_triangular_solve(lower, transposed, N, C, t, x);
        blas_dgemm(transposed, false, N, C, N, 1, t, N, x, C, 0, y, C);
        for (int i = 0; i < N * C; i++) assert_near(y[i], b[i], 1e-12);
    }
}

/* What stands in for a missing library gives what the library gives. */
static void test_plain(void **state)
{
    (void)state;
    enum { M = 7, N = 5, K = 6 };
    const BlasLibrary *library = blas_library();
    BlasLibrary plain = blas_plain();
    assert_non_null(library->dgesdd);
    assert_null(plain.dgesdd);
    double a[M * K], b[K * N], c[2][M * N], t[M * M], x[2][M * N];
    float fa[M * K], fb[K * N], fc[2][M * N];
    fill(a, M * K, 1);
    fill(b, K * N, 2);
    fill(t, M * M, 3);
    for (int i = 0; i < M * K; i++) fa[i] = (float)a[i];
    for (int i = 0; i < K * N; i++) fb[i] = (float)b[i];
    for (int i = 0; i < M; i++) t[i * M + i] += 3;
    for (int way = 0; way < 4; way++) {
        CBLAS_TRANSPOSE ta = way & 1 ? CblasTrans : CblasNoTrans, tb = way & 2 ? CblasTrans : CblasNoTrans;
        int lda = way & 1 ? M : K, ldb = way & 2 ? K : N;
        for (int l = 0; l < 2; l++) {
            const BlasLibrary *by = l == 0 ? library : &plain;
            fill(c[l], M * N, 4);
            fill(x[l], M * N, 5);
            for (int i = 0; i < M * N; i++) fc[l][i] = (float)c[l][i];
            by->dgemm(CblasRowMajor, ta, tb, M, N, K, 2, a, lda, b, ldb, 0.5, c[l], N);
            by->sgemm(CblasRowMajor, ta, tb, M, N, K, 2, fa, lda, fb, ldb, 0.5F, fc[l], N);
            by->dtrsm(CblasRowMajor, CblasLeft, way & 2 ? CblasLower : CblasUpper, ta, CblasNonUnit, M, N, 1, t, M, x[l], N);
        }
        for (int i = 0; i < M * N; i++) {
            assert_near(c[1][i], c[0][i], 1e-12);
            assert_near(fc[1][i], fc[0][i], 1e-5);
            assert_near(x[1][i], x[0][i], 1e-12);
        }
    }
}

/* Products large enough to be shared out: right, and the same bytes from one thread and two. */
static void test_threads(void **state)
{
    (void)state;
    static const struct { const char *name; int m, n, k; bool ta, tb; } table[] = {
        { "one row", 1, 2000, 600, false, false },       { "few columns", 700, 5, 300, false, true },
        { "tall, a transposed", 601, 70, 37, true, false }, { "wide, b transposed", 33, 523, 300, false, true },
        { "both transposed", 260, 259, 64, true, true },  { "too small to share", 300, 30, 11, false, false },
    };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        int m = table[t].m, n = table[t].n, k = table[t].k, lda = table[t].ta ? m : k, ldb = table[t].tb ? k : n;
        double *a = malloc((size_t)m * (size_t)k * sizeof *a), *b = malloc((size_t)n * (size_t)k * sizeof *b);
        double *c[2];
        float *fa = malloc((size_t)m * (size_t)k * sizeof *fa), *fb = malloc((size_t)n * (size_t)k * sizeof *fb), *fc[2];
        fill(a, m * k, (unsigned)t + 21);
        fill(b, n * k, (unsigned)t + 41);
        for (int i = 0; i < m * k; i++) fa[i] = (float)a[i];
        for (int i = 0; i < n * k; i++) fb[i] = (float)b[i];
        for (int i = 0; i < 2; i++) {
            c[i] = malloc((size_t)m * (size_t)n * sizeof *c[i]);
            fc[i] = malloc((size_t)m * (size_t)n * sizeof *fc[i]);
            for (int j = 0; j < m * n; j++) fc[i][j] = (float)(c[i][j] = 1.0);
            engine_set_threads(i + 1);
            blas_dgemm(table[t].ta, table[t].tb, m, n, k, 2.0, a, lda, b, ldb, 0.5, c[i], n);
            blas_sgemm(table[t].ta, table[t].tb, m, n, k, 2.0f, fa, lda, fb, ldb, 0.5f, fc[i], n);
        }
        assert_memory_equal(c[0], c[1], (size_t)m * (size_t)n * sizeof *c[0]);
        assert_memory_equal(fc[0], fc[1], (size_t)m * (size_t)n * sizeof *fc[0]);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0.5;
                for (int r = 0; r < k; r++)
                    sum += 2.0 * a[table[t].ta ? r * m + i : i * k + r] * b[table[t].tb ? j * k + r : r * n + j];
                if (fabs(c[0][i * n + j] - sum) > 1e-11 || fabs((double)fc[0][i * n + j] - sum) > 1e-4)
                    fail_msg("%s: [%d,%d] is %g and %g, expected %g", table[t].name, i, j, c[0][i * n + j], (double)fc[0][i * n + j], sum);
            }
        for (int i = 0; i < 2; i++) {
            free(c[i]);
            free(fc[i]);
        }
        free(a);
        free(b);
        free(fa);
        free(fb);
    }
    engine_set_threads(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_svd),
        cmocka_unit_test(test_cholesky),
        cmocka_unit_test(test_triangular),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
