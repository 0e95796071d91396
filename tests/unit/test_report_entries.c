/* The lines of a step in the terminal and in report.md: layers first, equal texts together, conclusions never cut. */
#include "test.h"

#include "pipeline/report_entries.h"

enum { LAYERS = 9, FOLDED = 30, NOTES = 20 };

typedef struct Step {
    ReportEntry changed[LAYERS + FOLDED + 1], skipped[LAYERS], notes[NOTES + 1];
    char names[32][16], texts[32][48];
    cJSON *folded, *layer;
} Step;

static ReportStep fill(Step *s)
{
    int n = 0;
    s->folded = cJSON_CreateObject();
    s->layer = cJSON_CreateObject();
    assert_non_null(cJSON_AddNumberToObject(s->folded, "prepared", 1));
    assert_non_null(cJSON_AddNumberToObject(s->layer, "weight_sqnr_db", 40));
    for (int i = 0; i < 32; i++) {
        snprintf(s->names[i], sizeof s->names[i], "n%d", i);
        snprintf(s->texts[i], sizeof s->texts[i], "sensitivity: alone it leaves %d dB", i);
    }
    for (int i = 0; i < FOLDED; i++) s->changed[n++] = (ReportEntry){ s->names[i], "folded", s->folded };
    s->changed[n++] = (ReportEntry){ "early", "balanced", NULL };
    for (int i = 0; i < LAYERS; i++) s->changed[n++] = (ReportEntry){ s->names[i], s->texts[i] + 13, s->layer };
    for (int i = 0; i < LAYERS; i++) s->skipped[i] = (ReportEntry){ s->names[i], i == 8 ? "too small" : "a rule says so", NULL };
    for (int i = 0; i < NOTES; i++) s->notes[i] = (ReportEntry){ s->names[i], s->texts[i], NULL };
    s->notes[NOTES] = (ReportEntry){ "mixed precision", "0 of 20 layers stay float", NULL };
    return (ReportStep){ .changed = s->changed, .changed_count = n, .skipped = s->skipped, .skipped_count = LAYERS, .notes = s->notes,
                         .note_count = NOTES + 1 };
}

static void lines(bool all, StrBuf *b)
{
    Step s;
    ReportStep step = fill(&s);
    entries_print(&step, all, "", b);
    cJSON_Delete(s.folded);
    cJSON_Delete(s.layer);
    assert_false(b->failed);
}

static void in_the_terminal(void **state)
{
    (void)state;
    StrBuf b = { 0 };
    lines(false, &b);
    const char *at = b.data;
    static const char *const order[] = {
        "changed 10:\n  n0: alone", "  n5: alone", "  and 4 more (--report DIR lists all)\n", "folded before: 30 rewrites",
        "skipped 9:\n  n0, n1, n2, n3, n4, n5 and 2 more: a rule says so\n  n8: too small\n", "notes 21:\n  n0: sensitivity",
        "  n11: sensitivity", "  mixed precision: 0 of 20 layers stay float\n", "  and 8 more (--report DIR lists all)\n",
    };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        at = strstr(at, order[i]);
        if (at == NULL) fail_msg("no '%s' in its place in\n%s", order[i], b.data);
    }
    assert_null(strstr(b.data, "early"));
    assert_null(strstr(b.data, "n12: "));
    strbuf_release(&b);
}

static void in_the_file(void **state)
{
    (void)state;
    StrBuf b = { 0 };
    lines(true, &b);
    assert_null(strstr(b.data, " more"));
    assert_non_null(strstr(b.data, "n6, n7: a rule says so"));
    assert_non_null(strstr(b.data, "n19: sensitivity"));
    assert_non_null(strstr(b.data, "n8: alone it leaves 8 dB\n  early: balanced\n"));
    strbuf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(in_the_terminal), cmocka_unit_test(in_the_file) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
