/* Grids, SCI, and the estimates that stand beside measured rows. */
#include "test.h"

#include "greenness/carbon.h"

static void test_table(void **state)
{
    (void)state;
    int rows = 0;
    for (const GridFactor *g = carbon_grids(); g->region != NULL; g++, rows++) {
        assert_true(g->g_per_kwh > 1 && g->g_per_kwh < 1200);
        assert_true(g->year >= 2023 && g->year <= 2030);
        assert_int_equal(strlen(g->code), 3);
        assert_true(g->basis[0] != '\0' && g->source[0] != '\0');
        for (const GridFactor *h = carbon_grids(); h != g; h++) assert_false(h->year == g->year && strcmp(h->code, g->code) == 0);
    }
    assert_true(rows > 40);
    assert_near(carbon_grids()->g_per_kwh, carbon_world.g_per_kwh, 0); /* one fact */
}

static const struct {
    const char *name;
    double g_per_kwh; /* 0: not there */
    int year;
    const char *nearest;
} find_cases[] = {
    { "France", 44.2, 2024, NULL }, { "fra", 44.2, 2024, NULL },   { "CHN", 559.6, 2024, NULL }, { "united states", 383.5, 2024, NULL },
    { "world", 445, 2024, NULL },   { "Finland", 79, 2023, NULL }, { "Swedn", 0, 0, "Sweden" },  { "", 0, 0, NULL },
    { "UK", 210.9, 2024, NULL },    { "gb", 210.9, 2024, NULL },   { "US", 383.5, 2024, NULL },  { "de", 344.1, 2024, NULL },
    { "EU", 0, 0, NULL },
};

static void test_find(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof find_cases / sizeof *find_cases; k++) {
        const char *nearest = NULL;
        print_message("  %s\n", find_cases[k].name);
        const GridFactor *g = carbon_grid_find(find_cases[k].name, &nearest);
        if (find_cases[k].g_per_kwh > 0) {
            assert_non_null(g);
            assert_near(g->g_per_kwh, find_cases[k].g_per_kwh, 1e-9);
            assert_int_equal(g->year, find_cases[k].year);
        } else {
            assert_null(g);
            if (find_cases[k].nearest != NULL) assert_string_equal(nearest, find_cases[k].nearest);
        }
    }
}

/* Every country goes by its two letters, too, as by the three and by its name. */
static void test_two_letters(void **state)
{
    (void)state;
    static const char two[] = "AR AU AT BE BR BG CA CL CN CO CR HR CY CZ DK EG EE FI FR DE GR HU IN IR IE JP NO PL ZA SE GB US ";
    const char *seen[64];
    int count = 0, countries = 0;
    for (const GridFactor *g = carbon_grids(); g->region != NULL; g++)
        countries += strcmp(g->code, "WLD") != 0 && (g == carbon_grids() || strcmp(g->code, g[-1].code) != 0);
    for (const char *at = two; *at != '\0'; at += 3) {
        char name[3] = { at[0], at[1], '\0' };
        const GridFactor *g = carbon_grid_find(name, NULL);
        if (g == NULL) fail_msg("%s: not found", name);
        for (int i = 0; i < count; i++) assert_string_not_equal(seen[i], g->code);
        seen[count++] = g->code;
    }
    assert_int_equal(count, countries);
}

/* A kilowatt-hour at 445 g/kWh is 445 g, not 445 kg (codecarbon's page: 731.59 kg/kWh), no data centre is added (carbontracker: 1.58). */
static void test_units(void **state)
{
    (void)state;
    assert_near(carbon_of_grid(&(Sourced){ .value = 3.6e6, .source = "measured" }, NULL, 0).value, 445, 1e-9);
    assert_near(carbon_pue, 1, 0);
}

static void test_sci(void **state)
{
    (void)state;
    Sci s = sci_of(3.6e6, 3600, 100, 0, NULL);
    assert_near(s.total_g, 100, 1e-9);
    assert_near(s.embodied_g, 0, 0);
    assert_near(sci_of(3.6e6, 3600, 100, 1.5, NULL).total_g, 150, 1e-9);
    s = sci_of(3.6e6, 3600, 100, 0, &(Embodied){ 1000, 4, 0 }); /* 1000 kg over 4 years are 28 g an hour */
    assert_near(s.embodied_g, 28.5, 0.1);
    assert_near(s.total_g, 128.5, 0.1);
    assert_near(sci_of(0, 3600, 100, 0, &(Embodied){ 1000, 4, 0.5 }).total_g, 14.26, 0.01);
}

static void test_estimates(void **state)
{
    (void)state;
    Sourced e = estimate_green_algorithms(&(EstimateInput){ .seconds = 3600, .cores = 4, .memory_gb = 16, .pue = 1.56 });
    assert_near(e.value, 3600 * (48 + 16 * 0.3725) * 1.56, 1e-6);
    assert_non_null(strstr(e.source, "modelled: Green Algorithms"));
    assert_near(estimate_green_algorithms(&(EstimateInput){ .seconds = 1, .cores = 2, .usage = 0.5, .watts_per_core = 8 }).value, 8, 1e-12);
    e = estimate_time_tdp(10, 90, 4);
    assert_near(e.value, 450, 1e-9);
    assert_non_null(strstr(e.source, "adds nothing to time"));
    assert_near(estimate_time_tdp(10, 0, 2).value, 40, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_find), cmocka_unit_test(test_two_letters), cmocka_unit_test(test_units),
        cmocka_unit_test(test_sci),   cmocka_unit_test(test_estimates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
