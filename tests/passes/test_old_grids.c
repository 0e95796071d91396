/* Weights that lie on an integer grid already keep it. */
#include "rounding_net.h"

static void old_grids(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t block;
        bool symmetric, same_scale;
        int peak;   /* largest multiple */
        double off; /* one weight, in steps */
        bool kept;
    } rows[] = {
        { "per channel, full", 0, true, false, 127, 0.0, true },  { "per channel, part", 0, true, false, 60, 0.0, true },
        { "per tensor, part", -1, true, true, 90, 0.0, true },    { "one scale asked, many there", -1, true, false, 90, 0.0, false },
        { "blocks", 8, true, false, 100, 0.0, true },             { "zero points", 0, false, false, 100, 0.0, true },
        { "one weight off", 0, true, false, 100, 0.01, false },   { "too fine", 0, true, false, 128, 0.0, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Net n = net_new(6, 40, 5);
        uint64_t seed = 99;
        int grid[240];
        for (int64_t k = 0; k < 240; k++) {
            float scale = rows[i].same_scale ? 0.01f : 0.01f * (float)(1 + k / 40);
            grid[k] = k % 40 == 3 ? rows[i].peak : k % 40 == 4 ? 1 : (int)(uniform(&seed) * (rows[i].peak - 1));
            n.w[k] = (double)(scale * (float)grid[k]) + (k == 47 ? rows[i].off * (double)scale : 0.0);
        }
        RoundSpec s = { .bits = 8, .symmetric = rows[i].symmetric, .restricted = true, .block = rows[i].block, .method = ROUND_GPTQ,
                        .clips = 6, .sweeps = 3, .keep_grid = true };
        Rounded r, again;
        Err err;
        assert_ok(round_matrix(&s, 6, 40, n.w, n.h, n.l, 2, &r, &err), &err);
        if (r.kept_grid != rows[i].kept) fail_msg("%s: kept %d", rows[i].name, r.kept_grid);
        if (r.kept_grid)
            for (int64_t k = 0; k < 240; k++) assert_int_equal(r.q[k] - r.zeros[k / 40 * r.blocks], grid[k]);
        /* what is rounded already stays as it is */
        double *made = malloc(240 * sizeof *made);
        rounded_values(&r, made);
        s.bits = 8;
        assert_ok(round_matrix(&s, 6, 40, made, n.h, n.l, 1, &again, &err), &err);
        if (rows[i].symmetric && rows[i].block <= 0) {
            assert_true(again.kept_grid);
            assert_memory_equal(again.q, r.q, 240 * sizeof *r.q);
        }
        free(made);
        rounded_release(&r);
        rounded_release(&again);
        net_release(&n);
    }
}

static void grids_found(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double row[10];
        int limit;
        double step;
    } rows[] = {
        { "ten multiples", { 1, 2, 3, 4, 5, -6, 7, 8, 9, 11 }, 127, 1.0 },
        { "no one: the largest step", { 2, 4, 6, 8, 10, -12, 14, 16, 18, 22 }, 127, 2.0 },
        { "eight different", { 1, 2, 3, 4, 5, 6, 7, 8, 8, 8 }, 127, 1.0 },
        { "seven different", { 1, 2, 3, 4, 5, 6, 8, 8, 8, 8 }, 127, 0.0 },
        { "beyond the limit", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 17 }, 16, 0.0 },
        { "at the limit", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 17 }, 17, 1.0 },
        { "no grid", { 1, 2.003, 3, 4, 5, 6, 7, 8, 9, 125.5 }, 127, 0.0 },
        { "within a thousandth", { 1, 2.0005, 3, 4, 5, 6, 7, 8, 9, 11 }, 127, 1.0 },
        { "zeros", { 0 }, 127, 0.0 },
        { "small", { 1e-30, 2e-30, 3e-30, 4e-30, 5e-30, 6e-30, 7e-30, 8e-30, 9e-30, 11e-30 }, 127, 1e-30 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double found = grid_find(rows[i].row, 10, rows[i].limit);
        if (!(fabs(found - rows[i].step) <= 1e-4 * rows[i].step)) fail_msg("%s: %g, expected %g", rows[i].name, found, rows[i].step);
    }
}

static void grids_that_break_pairs(void **state)
{
    (void)state;
    Net n = net_new(1, 10, 1);
    static const int grid[10] = { 127, 100, 3, 4, 5, 6, 7, 8, 9, 11 };
    for (int64_t k = 0; k < 10; k++) n.w[k] = grid[k] * 0.25;
    int32_t *partner = neighbours(10, false);
    RoundSpec s = { .bits = 8, .symmetric = true, .restricted = true, .partner = partner, .method = ROUND_GPTQ, .clips = 12, .sweeps = 6,
                    .keep_grid = true };
    Rounded r;
    Err err;
    assert_ok(round_matrix(&s, 1, 10, n.w, n.h, n.l, 1, &r, &err), &err);
    assert_false(r.kept_grid);
    assert_true(rounded_pairs_safe(&r, partner));
    assert_true(r.enlarged > 1.2 && r.enlarged <= 2.01);
    rounded_release(&r);
    n.w[1] = 0.25;
    assert_ok(round_matrix(&s, 1, 10, n.w, n.h, n.l, 1, &r, &err), &err);
    assert_true(r.kept_grid && r.scales[0] == 0.25f);
    rounded_release(&r);
    free(partner);
    net_release(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_grids),
        cmocka_unit_test(grids_found),
        cmocka_unit_test(grids_that_break_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
