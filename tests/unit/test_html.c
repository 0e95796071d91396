/* Pages: text of any origin, numbers, charts, and the page of a report with everything or nothing in it. */
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/html_report.h"

static const struct {
    const char *text, *written;
} text_cases[] = {
    { "conv1", "conv1" },
    { "<script>alert('x')</script> & \"y\"", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;" },
    { "a\x01\x1b[31m\xff", "a\\x01\\x1b[31m\\xff" },
    { "\xC3\xA9t\xC3\xA9", "\xC3\xA9t\xC3\xA9" },
    { "", "" },
    { NULL, "" },
};

static void test_text(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof text_cases / sizeof *text_cases; k++) {
        StrBuf b = { 0 };
        html_text(&b, text_cases[k].text);
        strbuf_add(&b, "");
        assert_string_equal(b.data != NULL ? b.data : "", text_cases[k].written);
        strbuf_release(&b);
    }
}

#define NB "\xC2\xA0"
#define MICRO "\xC2\xB5"
#define DASH "\xE2\x80\x93"
static const struct {
    double value;
    const char *unit, *written;
} quantity_cases[] = {
    { 35402, "B", "35.4" NB "kB" },   { 999, "B", "999" NB "B" },          { 999999, "B", "1" NB "MB" }, { 0, "B", "0" NB "B" },
    { 0.5, "B", "0.5" NB "B" },       { 3.6663e-4, "J", "367" NB MICRO "J" }, { 4.53e-8, "g", "45.3" NB "n" "g" },
    { 2.5e9, "MAC", "2.5" NB "GMAC" }, { 1e-20, "J", "1.00 \xC3\x97 10\xE2\x81\xBB\xE2\x81\xB5" NB "fJ" }, { NAN, "J", DASH },
    { INFINITY, "J", DASH },          { 12, "", "12" },                    { 1200, "", "1.2" NB "k" },
};

static void test_quantity(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof quantity_cases / sizeof *quantity_cases; k++) {
        char text[HTML_NUMBER];
        html_quantity(quantity_cases[k].value, quantity_cases[k].unit, text);
        if (strcmp(text, quantity_cases[k].written) != 0) print_message("%g %s\n", quantity_cases[k].value, quantity_cases[k].unit);
        assert_string_equal(text, quantity_cases[k].written);
    }
}

static const struct {
    double before, after;
    const char *written;
} change_cases[] = {
    { 100, 25, "4\xC3\x97 less" }, { 100, 90, "\xE2\x88\x92" "10.0 %" }, { 100, 103, "+3.0 %" },   { 100, 250, "2.5\xC3\x97 more" },
    { 100, 100.01, "same" },       { 0, 5, "" },                          { 100, NAN, "" },         { 100, 0, "\xE2\x88\x92" "100.0 %" },
};

static void test_change(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof change_cases / sizeof *change_cases; k++) {
        char text[HTML_NUMBER];
        html_change(change_cases[k].before, change_cases[k].after, text);
        assert_string_equal(text, change_cases[k].written);
    }
}

static void test_numbers_stay_inside(void **state)
{
    (void)state;
    static const double values[] = { 1e308, -1e308, 5e-324, -123456789012345.0, 1e15, 9.9995e3, 0.00099999, -0.0 };
    for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
        char text[HTML_NUMBER];
        html_number(values[k], 17, text);
        assert_true(strlen(text) < HTML_NUMBER && strlen(text) > 0);
        html_quantity(values[k], "g CO\xE2\x82\x82" "e", text);
        assert_true(strlen(text) < HTML_NUMBER);
    }
    char cut[16];
    html_shorten("\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", 2, cut, sizeof cut);
    assert_string_equal(cut, "\xC3\xA9\xC3\xA9\xE2\x80\xA6");
    html_shorten("a name that is longer than its place", 100, cut, sizeof cut);
    assert_true(strlen(cut) < sizeof cut);
}

static void test_scales(void **state)
{
    (void)state;
    static const struct {
        double low, high;
        bool log;
    } cases[] = { { 0, 1, false }, { 99.1, 100, false }, { 1e-9, 1e9, true }, { 1, 1.0001, true }, { 5, 5, false }, { 0, 0, false } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Scale s = scale_around(cases[k].low, cases[k].high, cases[k].log);
        double ticks[9];
        s.from = 10;
        s.to = 100;
        int count = scale_ticks(&s, ticks);
        assert_in_range(count, 1, 9);
        for (int i = 0; i < count; i++) assert_true(ticks[i] >= s.low - 1e-9 && ticks[i] <= s.high * (1 + 1e-9) + 1e-9);
        assert_near(scale_at(&s, s.low), 10, 1e-9);
        assert_near(scale_at(&s, s.high), 100, 1e-9);
        assert_near(scale_at(&s, NAN), 10, 1e-9);
    }
}

/* ---- the page ---- */

/* Elements closed in order, attributes quoted, nothing that could load or run anything. */
static void check_page(const StrBuf *b)
{
    static const char *const empty[] = { "meta", "line", "rect", "polyline", "circle", NULL };
    char open[64][16];
    int depth = 0;
    assert_false(b->failed);
    assert_int_equal(strlen(b->data), b->len);
    for (const char *at = strchr(b->data, '<'); at != NULL; at = strchr(at, '<')) {
        if (strncmp(at, "<!DOCTYPE", 9) == 0) {
            at++;
            continue;
        }
        char name[16];
        size_t n = strcspn(at + 1, " >/") + (at[1] == '/' ? strcspn(at + 2, " >") + 1 : 0);
        assert_true(n > 0 && n < sizeof name);
        snprintf(name, sizeof name, "%.*s", (int)n, at + 1);
        const char *end = strchr(at, '>');
        assert_non_null(end);
        if (name[0] == '/') {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name + 1);
        } else if (end[-1] != '/') {
            for (int i = 0; empty[i] != NULL; i++) assert_true(strcmp(empty[i], name) != 0 || strcmp(name, "circle") == 0);
            assert_in_range(depth, 0, 63);
            snprintf(open[depth++], sizeof open[0], "%s", name);
        }
        at = end;
    }
    assert_int_equal(depth, 0);
    static const char *const never[] = { "<script", "src=", "@import", "url(", "http:", "https:", "<link", "<img", "<iframe", " on",
                                         "nan", "inf\"" };
    for (size_t k = 0; k < sizeof never / sizeof *never; k++) {
        const char *found = strstr(b->data, never[k]);
        bool word = strcmp(never[k], " on") == 0 || strcmp(never[k], "nan") == 0; /* stand in sentences too: only as an attribute */
        if (word) found = strcmp(never[k], "nan") == 0 ? strstr(b->data, "\"nan") : strstr(b->data, " onload=");
        if (found != NULL) print_message("found %.60s\n", found);
        assert_null(found);
    }
}

static cJSON *parse(const char *text)
{
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    return json;
}

static const struct {
    const char *name, *json;
    const char *has, *has_not;
} page_cases[] = {
    { "nothing", "{}", "Nothing was measured", "<svg" },
    { "of another type", "{\"before\":3,\"steps\":{},\"goals\":\"x\",\"comparisons\":[1,null]}", "Nothing was measured", "<svg" },
    { "the recipe keeps its lines", "{\"before\":{\"file_bytes\":1000},\"source\":\"a.onnx\",\"recipe\":{\"passes\":[]}}",
      "<pre>{\n  &quot;passes&quot;: []\n}</pre>", "\\x0a" },
    { "one network", "{\"before\":{\"file_bytes\":1000},\"source\":\"a.onnx\"}", "a.onnx", "Accuracy against cost" },
    { "sizes alone", "{\"source\":\"a\",\"result\":\"b\",\"before\":{\"file_bytes\":1000},\"after\":{\"file_bytes\":250}}",
      "4\xC3\x97 smaller",
      "Carbon</a>" },
    { "no accuracy", "{\"before\":{\"file_bytes\":1000},\"after\":{\"file_bytes\":250}}", "no accuracy was measured", "Accuracy and file" },
    { "no time, with the reason",
      "{\"before\":{\"file_bytes\":9},\"after\":{\"file_bytes\":8,\"latency_note\":\"input <x> has no shape\"}}",
      "input &lt;x&gt; has no shape", "<x>" },
    { "noise is no gain", "{\"before\":{\"file_bytes\":9,\"latency_ms\":{\"median\":2,\"low\":1,\"high\":3}},"
      "\"after\":{\"file_bytes\":9,\"latency_ms\":{\"median\":1.5,\"low\":1,\"high\":2}}}", "inconclusive", "faster" },
    { "a clear gain", "{\"before\":{\"file_bytes\":9,\"latency_ms\":{\"median\":4,\"low\":3.9,\"high\":4.1}},"
      "\"after\":{\"file_bytes\":9,\"latency_ms\":{\"median\":2,\"low\":1.9,\"high\":2.1}}}", "2\xC3\x97 faster", "inconclusive" },
    { "the verdict of pairs goes before intervals", "{\"before\":{\"file_bytes\":9,\"latency_ms\":{\"median\":4,\"low\":3.9,\"high\":4.1}},"
      "\"after\":{\"file_bytes\":9,\"latency_ms\":{\"median\":2,\"low\":1.9,\"high\":2.1}},\"comparisons\":[{\"measure\":\"latency\","
      "\"network\":1,\"ratio\":{\"median\":0.5,\"low\":0.4,\"high\":1.1},\"ratios\":[0.5,0.4,null,1.1,-3,1e99],"
      "\"null\":{\"low\":0.9,\"high\":1.1,\"ratios\":[1,0.9,1.1]},\"verdict\":\"inconclusive\"}]}", "the original against itself",
      "2\xC3\x97 faster" },
    { "energy modelled is said and no headline", "{\"before\":{\"file_bytes\":9,\"latency_ms\":{\"median\":4,\"low\":3.9,\"high\":4.1},"
      "\"energy_j\":{\"value\":4,\"source\":\"modelled: x\"}},\"after\":{\"file_bytes\":9,\"latency_ms\":{\"median\":2,\"low\":1.9,"
      "\"high\":2.1},\"energy_j\":{\"value\":2,\"source\":\"modelled: x\"}}}", "modelled, not measured", "less energy<" },
    { "a missed goal", "{\"before\":{\"file_bytes\":9},\"after\":{\"file_bytes\":8},\"goals\":[{\"name\":\"max-size\",\"limit\":\"50%\","
      "\"found\":8,\"met\":false}]}", "badge missed", "badge met\"" },
    { "hostile names everywhere",
      "{\"source\":\"</title><script>\",\"result\":\"\\\"onload=x\",\"before\":{\"file_bytes\":9,\"macs\":{\"total\":9},"
      "\"by_layer\":[{\"name\":\"<b>\\u0001\",\"type\":\"<i>\",\"macs\":9,\"bytes\":3,\"milliseconds\":1}]},\"after\":{\"file_bytes\":8,"
      "\"macs\":{\"total\":8},\"by_layer\":[{\"name\":\"]]>&amp;\",\"macs\":1e300,\"bytes\":1e-300,\"milliseconds\":1e-300}]},"
      "\"steps\":[{\"pass\":\"</svg>\",\"seconds\":1,\"file_bytes\":8,\"macs\":{\"total\":8},\"skipped\":[{\"object\":\"<u>\",\"text\":"
      "\"</li>\"}],\"options\":{\"x\":\"</p>\"}}],\"recipe\":{\"</pre>\":1},\"warnings\":[\"<h1>\",5],\"versions\":{\"<a>\":\"<c>\"},"
      "\"seed\":1,"
      "\"peaks\":{\"mac_f32\":1e9,\"byte_dram\":1e8,\"mac_int8\":4e9,\"byte_l2\":1e9}}", "&lt;script&gt;", "<b>" },
    { "power is judged with time and energy", "{\"before\":{\"file_bytes\":9,\"power_w\":{\"value\":12,\"source\":\"measured: x\"}},"
      "\"after\":{\"file_bytes\":9,\"power_w\":{\"value\":6,\"source\":\"measured: x\"}},\"comparisons\":[{\"measure\":\"energy\","
      "\"network\":1,\"ratio\":{\"median\":0.5},\"verdict\":\"lower\"},{\"measure\":\"power\",\"network\":1,"
      "\"verdict\":\"inconclusive\"}]}", "within noise", "2\xC3\x97 less" },
    { "power that differs", "{\"before\":{\"file_bytes\":9,\"power_w\":{\"value\":12,\"source\":\"measured: x\"}},"
      "\"after\":{\"file_bytes\":9,\"power_w\":{\"value\":6,\"source\":\"measured: x\"}},\"comparisons\":[{\"measure\":\"energy\","
      "\"network\":1,\"ratio\":{\"median\":0.5},\"verdict\":\"lower\"},{\"measure\":\"power\",\"network\":1,"
      "\"verdict\":\"lower\"}]}", "2\xC3\x97 less", "within noise" },
    { "CPU time by its own pairs, SCI by those of energy",
      "{\"networks\":[{\"name\":\"a\",\"latency_ms\":{\"median\":4,\"low\":3.9,\"high\":4.1},"
      "\"carbon_g\":{\"value\":4,\"source\":\"modelled: x\"},"
      "\"call_cpu_seconds\":{\"median\":4},\"measured\":{\"sci\":{\"energy_g\":4,\"embodied_g\":0,\"total_g\":4}}},"
      "{\"name\":\"b\",\"latency_ms\":{\"median\":3,\"low\":2.9,\"high\":3.1},\"carbon_g\":{\"value\":3,\"source\":\"modelled: x\"},"
      "\"call_cpu_seconds\":{\"median\":3},\"measured\":{\"cpu\":{\"median\":0.8,\"verdict\":\"lower\"},"
      "\"sci\":{\"energy_g\":3,\"embodied_g\":0,\"total_g\":3}}}],\"comparisons\":["
      "{\"measure\":\"latency\",\"network\":1,\"ratio\":{\"median\":0.8},\"verdict\":\"lower\"},"
      "{\"measure\":\"energy\",\"network\":1,\"ratio\":{\"median\":0.8},\"verdict\":\"lower\"}]}",
      "\xE2\x88\x92" "20.0 %", "25.0 %" },
    { "bits a weight with scales, where there are some",
      "{\"before\":{\"weight_bits\":32,\"stored_bits\":32},\"after\":{\"file_bytes\":9,\"weight_bits\":4,\"stored_bits\":4.5}}",
      "<th>with scales</th><td class=\"num\">32</td><td class=\"num\">4.5</td>", "NaN" },
    { "bits a weight without scales",
      "{\"before\":{\"weight_bits\":32,\"stored_bits\":32},\"after\":{\"file_bytes\":9,\"weight_bits\":16,\"stored_bits\":16}}",
      "bits a weight", "with scales" },
    { "layers of calls of several", "{\"batch\":8,\"networks\":[{\"name\":\"a\",\"by_layer\":[{\"name\":\"l\",\"macs\":9,\"bytes\":3,"
      "\"milliseconds\":1}]}]}", "Of one inference, in calls of 8", "of batch 1" },
    { "the batch is the comparison's", "{\"batch\":8,\"networks\":[{\"name\":\"a\",\"file_bytes\":9},{\"name\":\"b\",\"file_bytes\":8}]}",
      "One inference at batch 8; operations", "at batch 1 unless" },
    { "goals of several networks say whose they are", "{\"networks\":[{\"name\":\"a\",\"file_bytes\":9},{\"name\":\"b\",\"file_bytes\":3},"
      "{\"name\":\"c\",\"file_bytes\":7}],\"goals\":[{\"network\":2,\"name\":\"max-size\",\"limit\":\"50%\",\"found\":7,\"met\":false}]}",
      ">c: goal max-size 50%: missed", ">goal" },
    { "a run's CPU time and energy above idle",
      "{\"before\":{\"latency_ms\":{\"median\":4,\"low\":3.9,\"high\":4.1},\"call_cpu_seconds\":{\"median\":0.008},"
      "\"energy_j\":{\"value\":4,\"source\":\"measured: x\"},\"net_j\":{\"median\":3}},\"after\":{\"file_bytes\":9,"
      "\"latency_ms\":{\"median\":2,\"low\":1.9,\"high\":2.1},\"call_cpu_seconds\":{\"median\":0.004},"
      "\"energy_j\":{\"value\":2,\"source\":\"measured: x\"},\"net_j\":{\"median\":1.5}}}",
      "<th>above idle</th><td class=\"num\">3\xC2\xA0J</td>"
      "<td class=\"num\">1.5\xC2\xA0J</td><td class=\"num\">2\xC3\x97 less</td>", "NaN" },
    { "accuracy on calibration data",
      "{\"before\":{\"accuracy\":0.9,\"accuracy_low\":0.8,\"accuracy_high\":0.95,\"samples\":450},\"after\":{\"file_bytes\":9,"
      "\"accuracy\":0.8,\"accuracy_low\":0.7,\"accuracy_high\":0.9,\"samples\":450},\"data\":{\"fidelity\":\"calibration data\"}}",
      "450 labelled samples of the calibration data", "was not measured: no labelled" },
    { "three networks: the headline says whose it is", "{\"networks\":[{\"name\":\"a\",\"file_bytes\":9},"
      "{\"name\":\"b\",\"file_bytes\":3},{\"name\":\"c\",\"file_bytes\":7}]}", "<h1>b: 3\xC3\x97 smaller", "<h1>3" },
    { "more than two networks", "{\"networks\":[{\"name\":\"a\",\"file_bytes\":9},{\"name\":\"b\",\"file_bytes\":8},{\"path\":\"x/c\","
      "\"file_bytes\":7}]}", "<h3>c</h3>", "before</th>" },
    { "zeros and numbers below zero",
      "{\"before\":{\"file_bytes\":0,\"macs\":{\"total\":0},\"latency_ms\":{\"median\":0,\"low\":0,\"high\":0}},"
      "\"after\":{\"file_bytes\":-1,\"macs\":{\"total\":0},\"latency_ms\":{\"median\":0,\"low\":0,\"high\":0}},\"steps\":[{\"pass\":\"p\","
      "\"macs\":{\"total\":0},\"file_bytes\":0}]}", "Six measures", "NaN" },
};

static void test_pages(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof page_cases / sizeof *page_cases; k++) {
        StrBuf b = { 0 };
        cJSON *json = parse(page_cases[k].json);
        html_report(json, &b);
        cJSON_Delete(json);
        check_page(&b);
        bool good = strstr(b.data, page_cases[k].has) != NULL && strstr(b.data, page_cases[k].has_not) == NULL;
        if (!good) print_message("%s\n%s\n", page_cases[k].name, strstr(b.data, "<main>"));
        assert_true(good);
        strbuf_release(&b);
    }
}

/* Hundreds of layers, networks and steps: bounded, and said. */
static void test_many(void **state)
{
    (void)state;
    StrBuf text = { 0 }, b = { 0 };
    strbuf_add(&text, "{\"networks\":[");
    for (int k = 0; k < 12; k++) {
        strbuf_printf(&text, "%s{\"name\":\"n%d\",\"file_bytes\":%d,\"by_layer\":[", k > 0 ? "," : "", k, 1000 + k);
        for (int i = 0; i < 600; i++)
            strbuf_printf(&text, "%s{\"name\":\"l%d\",\"macs\":%d,\"bytes\":9,\"milliseconds\":1}", i > 0 ? "," : "", i, i);
        strbuf_add(&text, "]}");
    }
    strbuf_add(&text, "],\"steps\":[");
    for (int k = 0; k < 60; k++) strbuf_printf(&text, "%s{\"pass\":\"p\",\"macs\":{\"total\":%d},\"file_bytes\":5}", k > 0 ? "," : "", k);
    strbuf_add(&text, "]}");
    assert_false(text.failed);
    cJSON *json = parse(text.data);
    html_report(json, &b);
    cJSON_Delete(json);
    check_page(&b);
    assert_true(b.len < 1 << 20);
    assert_non_null(strstr(b.data, "4 more networks"));
    assert_non_null(strstr(b.data, "report.json has all"));
    strbuf_release(&text);
    strbuf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_quantity), cmocka_unit_test(test_change),
        cmocka_unit_test(test_numbers_stay_inside),
        cmocka_unit_test(test_scales), cmocka_unit_test(test_pages),    cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
