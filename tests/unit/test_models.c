/* Sources that model: by processor time, by a table, by a machine profile; and machine profiles. */
#include "test.h"

#include "fake_tree.h"

#include "greenness/carbon.h"
#include "greenness/profile.h"

/* ---- models ---- */

static void test_models(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    const Work work = { .cpu_seconds = 3, .macs_float = 1e12, .macs_int8 = 2e12, .elementwise = 1e9, .bytes = 1e10 };
    Source s;
    Reading r;
    settings.watts_per_core = 10; /* of a core, not of the chip (SCI 250); memory adds nothing of its own (codecarbon 629) */
    assert_true(source_open(&source_cpu_time, &settings, &s));
    source_begin(&s);
    pass_time(2);
    source_end(&s, &work, &r);
    assert_near(r.joules, 30, 1e-12);
    assert_true(s.proportional);
    source_begin(&s);
    pass_time(2);
    source_end(&s, NULL, &r);
    assert_int_equal(r.state, READING_DROPPED);
    source_close(&s);
    assert_true(source_open(&source_table, &settings, &s));
    assert_true(s.beside);
    source_begin(&s);
    pass_time(2);
    source_end(&s, &work, &r);
    assert_near(r.joules, 4.6 + 0.6 + 0.0009 + 1.625, 1e-9);
    source_close(&s);
    assert_false(source_open(&source_roofline, &settings, &s));
    assert_int_equal(s.readiness, SOURCE_UNSET);
    Profile p = { .cpu = "Elsewhere 9000", .cores = 8, .has_energy = true, .residual = 0.04, .boundary = "packages",
                  .terms = { 10e-12, 2e-12, 20e-12, 100e-12, 5 } };
    settings.profile = &p;
    assert_true(source_open(&source_roofline, &settings, &s));
    assert_int_equal(s.provenance, PROVENANCE_ELSEWHERE);
    assert_false(s.proportional);
    source_begin(&s);
    pass_time(2);
    source_end(&s, &work, &r);
    assert_near(r.joules, 10.005 + 4 + 1 + 10, 1e-9);
    char text[SOURCE_TEXT];
    source_describe(&s, text, sizeof text);
    assert_string_equal(text, "modelled, calibrated elsewhere: energy roofline, profile of Elsewhere 9000, x/: 1.6");
    source_close(&s);
    Err err;
    profile_name_machine(&p);
    if (p.machine[0] != '\0') { /* not every machine has an id */
        assert_true(source_open(&source_roofline, &settings, &s));
        assert_int_equal(s.provenance, PROVENANCE_CALIBRATED);
        source_close(&s);
    }
    assert_ok(source_open_best(&settings, &s, &err), &err);
    assert_ptr_equal(s.kind, &source_roofline);
    source_close(&s);
    assert_ok(source_open_after(&source_roofline, &settings, &s, &err), &err);
    assert_ptr_equal(s.kind, &source_cpu_time);
    source_close(&s);
    assert_status(source_open_after(&source_cpu_time, &settings, &s, &err), ERR_UNSUPPORTED, &err);
}

/* ---- machine profiles ---- */

static void test_fit(void **state)
{
    (void)state;
    static const double truth[PROFILE_TERM_COUNT] = { 12e-12, 3e-12, 8e-12, 90e-12, 7.5 };
    static const double counts[8][PROFILE_TERM_COUNT] = {
        { 0, 0, 0, 0, 2 }, { 4e10, 0, 0, 0, 1 }, { 8e10, 0, 0, 0, 1 }, { 0, 9e10, 0, 0, 1 }, { 0, 2e11, 0, 0, 1 },
        { 0, 0, 9e10, 0, 1 }, { 0, 0, 0, 2e10, 1 }, { 3e10, 0, 0, 1e10, 1 },
    };
    Observation o[8];
    Profile p = { .cores = 1 };
    Err err;
    for (int k = 0; k < 8; k++) {
        memcpy(o[k].counts, counts[k], sizeof counts[k]);
        o[k].joules = 0;
        for (int t = 0; t < PROFILE_TERM_COUNT; t++) o[k].joules += truth[t] * counts[k][t];
    }
    assert_ok(profile_fit(o, 8, &p, &err), &err);
    for (int t = 0; t < PROFILE_TERM_COUNT; t++) assert_near(p.terms[t] / truth[t], 1, 1e-9);
    assert_near(p.residual, 0, 1e-9);
    o[3].joules *= 1.1; /* noise shows in the residual */
    assert_ok(profile_fit(o, 8, &p, &err), &err);
    assert_true(p.residual > 0.005 && p.residual < 0.1 && p.residual_most < 0.11);
    o[6].joules = 6; /* memory seems to give energy back: its term is 0, not less */
    assert_ok(profile_fit(o, 8, &p, &err), &err);
    for (int t = 0; t < PROFILE_TERM_COUNT; t++) assert_true(p.terms[t] >= 0);
    assert_status(profile_fit(o, 4, &p, &err), ERR_DATA, &err);
    for (int k = 0; k < 8; k++) o[k].counts[1] = 2 * o[k].counts[0]; /* float and int8 always together */
    assert_status(profile_fit(o, 8, &p, &err), ERR_DATA, &err);
}

static void test_profile_file(void **state)
{
    (void)state;
    Profile p = { .cpu = "A \"processor\"", .os = "Linux", .isa = "avx2", .machine = "0123456789abcdef", .cores = 4, .mac_f32_one = 5e10,
                  .has_energy = true, .terms = { 1e-12, 2e-12, 3e-12, 4e-12, 5 }, .residual = 0.03, .residual_most = 0.08,
                      .observations = 24,
                  .source = "RAPL", .boundary = "packages" }, back;
    Err err;
    for (int k = 0; k < 2; k++) {
        cJSON *json = profile_json(&p);
        char *text = cJSON_Print(json);
        cJSON_Delete(json);
        assert_ok(profile_parse(text, strlen(text), "p.json", &back, &err), &err);
        assert_memory_equal(&p, &back, sizeof p);
        cJSON_free(text);
        p = (Profile){ .cpu = "B", .cores = 1, .no_energy = "no counter" };
    }
    static const char *const bad[] = {
        "", "[]", "{}", "{\"schema\": \"pare-machine-profile/2\"}", "{\"schema\": \"pare-machine-profile/1\", \"cores\": -1}",
        "{\"schema\": \"pare-machine-profile/1\", \"cores\": 1, \"cpu\": \"a\\u001b[2J\"}",
        ("{\"schema\": \"pare-machine-profile/1\", \"cores\": 1, \"cpu\": \"a\", \"os\": \"\", \"isa\": \"\", "
         "\"machine\": \"\", \"peaks\": {}}"),
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_status(profile_parse(bad[k], strlen(bad[k]), "p.json", &back, &err), ERR_DATA, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_models, make_tree, remove_tree),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_profile_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
