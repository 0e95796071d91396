#include "pipeline/junit.h"

#include <math.h>

#include "base/file.h"
#include "pipeline/text.h"

/* Text of an attribute. Control characters, which XML cannot hold, and broken UTF-8 are escaped first. */
static void add_text(const char *text, StrBuf *b)
{
    StrBuf safe = { 0 };
    text_safe(str_of(text), &safe);
    if (safe.failed) b->failed = true;
    for (const char *at = safe.data != NULL ? safe.data : ""; *at != '\0'; at++) {
        if (*at == '&') strbuf_add(b, "&amp;");
        else if (*at == '<') strbuf_add(b, "&lt;");
        else if (*at == '>') strbuf_add(b, "&gt;");
        else if (*at == '"') strbuf_add(b, "&quot;");
        else strbuf_add_n(b, at, 1);
    }
    strbuf_release(&safe);
}

static void print_case(const JunitSuite *s, const GoalResult *g, StrBuf *b)
{
    strbuf_add(b, "    <testcase classname=\"pare.");
    add_text(s->name, b);
    strbuf_add(b, "\" name=\"");
    if (g == NULL) {
        strbuf_add(b, "done\"/>\n");
        return;
    }
    add_text(g->name, b);
    strbuf_add(b, " ");
    add_text(g->limit, b);
    if (g->met) {
        strbuf_add(b, "\"/>\n");
        return;
    }
    char found[GOAL_FOUND], allowed[64];
    goal_found(g, found);
    goal_number(g, g->allowed, allowed);
    bool open = g->outcome == GOAL_INCONCLUSIVE;
    strbuf_add(b, open ? "\">\n      <skipped message=\"inconclusive: " : "\">\n      <failure type=\"goal\" message=\"");
    add_text(found, b);
    strbuf_add(b, ", allowed ");
    add_text(allowed, b);
    strbuf_add(b, "\"/>\n    </testcase>\n");
}

static int number_of(const JunitSuite *s, GoalOutcome outcome)
{
    int n = 0;
    for (int k = 0; k < s->goal_count; k++) n += s->goals[k]->outcome == outcome;
    return n;
}

void junit_print(const JunitSuite *suites, int count, StrBuf *b)
{
    int tests = 0, failures = 0;
    for (int i = 0; i < count; i++) {
        tests += 1 + suites[i].goal_count;
        failures += number_of(&suites[i], GOAL_MISSED);
    }
    strbuf_printf(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"pare\" tests=\"%d\" failures=\"%d\">\n", tests,
                  failures);
    for (int i = 0; i < count; i++) {
        const JunitSuite *s = &suites[i];
        strbuf_add(b, "  <testsuite name=\"");
        add_text(s->name, b);
        strbuf_printf(b, "\" tests=\"%d\" failures=\"%d\" errors=\"0\" skipped=\"%d\"", 1 + s->goal_count,
                      number_of(s, GOAL_MISSED), number_of(s, GOAL_INCONCLUSIVE));
        if (isfinite(s->seconds)) strbuf_printf(b, " time=\"%.3f\"", s->seconds);
        strbuf_add(b, ">\n");
        print_case(s, NULL, b);
        for (int k = 0; k < s->goal_count; k++) print_case(s, s->goals[k], b);
        strbuf_add(b, "  </testsuite>\n");
    }
    strbuf_add(b, "</testsuites>\n");
}

Status junit_write(const JunitSuite *suites, int count, const char *path, Err *err)
{
    StrBuf b = { 0 };
    junit_print(suites, count, &b);
    Status status = b.failed ? err_no_memory(err, "the JUnit text") : outfile_put(path, b.data, b.len, err);
    strbuf_release(&b);
    return status;
}
