/* What was done and what was not, pass by pass; where the numbers come from; how to do it again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_sections.h"

#define ENTRIES_SHOWN 8 /* before "and N more" can be opened */

static void entry_item(const cJSON *entry, StrBuf *b)
{
    const char *object = view_text(entry, "object"), *text = view_text(entry, "text");
    strbuf_add(b, "<li>");
    if (object != NULL) {
        html_element(b, "code", NULL, object);
        strbuf_add(b, ": ");
    }
    html_text(b, text);
    strbuf_add(b, "</li>\n");
}

static void entries(const cJSON *step, const char *key, const char *title, StrBuf *b)
{
    const cJSON *list = view_list(step, key), *item;
    int count = cJSON_GetArraySize(list), at = 0;
    if (count == 0) return;
    strbuf_add(b, "<h3>");
    html_text(b, title);
    strbuf_printf(b, ": %d</h3>\n<ul>\n", count);
    cJSON_ArrayForEach(item, list) {
        if (at == ENTRIES_SHOWN && count > ENTRIES_SHOWN + 2)
            strbuf_printf(b, "</ul>\n<details><summary>%d more</summary><ul>\n", count - ENTRIES_SHOWN);
        entry_item(item, b);
        at++;
    }
    strbuf_add(b, count > ENTRIES_SHOWN + 2 ? "</ul></details>\n" : "</ul>\n");
}

/* Everything that passes left as it was, in one place. */
static void skipped_part(const cJSON *steps, StrBuf *b)
{
    const cJSON *step, *item;
    int count = 0, at = 0;
    cJSON_ArrayForEach(step, steps) {
        count += cJSON_GetArraySize(view_list(step, "skipped"));
    }
    strbuf_add(b, "<h2 id=\"skipped\">What was left as it was, and why</h2>\n");
    if (count == 0) {
        strbuf_add(b, "<p>Nothing: the passes changed all that they could.</p>\n");
        return;
    }
    strbuf_add(b, "<div class=\"scroll\"><table>\n<thead><tr><th>pass</th><th>layer</th><th>why</th></tr></thead>\n<tbody>\n");
    cJSON_ArrayForEach(step, steps) {
        cJSON_ArrayForEach(item, view_list(step, "skipped")) {
            if (at++ >= 60) continue;
            strbuf_add(b, "<tr>");
            html_element(b, "td", NULL, view_text(step, "pass"));
            html_element(b, "td", "wide", view_text(item, "object"));
            html_element(b, "td", "wide", view_text(item, "text"));
            strbuf_add(b, "</tr>\n");
        }
    }
    strbuf_add(b, "</tbody></table></div>\n");
    if (at > 60) strbuf_printf(b, "<p class=\"note\">The first 60 of %d; report.json has all.</p>\n", at);
}

void html_record(const View *v, StrBuf *b)
{
    const cJSON *steps = view_list(v->root, "steps"), *step;
    char text[HTML_NUMBER];
    int at = 0;
    if (steps == NULL) return;
    skipped_part(steps, b);
    strbuf_add(b, "<h2 id=\"record\">What each pass did</h2>\n");
    cJSON_ArrayForEach(step, steps) {
        strbuf_add(b, "<details><summary>");
        strbuf_printf(b, "%d. ", ++at);
        html_text(b, view_text(step, "pass"));
        strbuf_add(b, " <span class=\"muted\">");
        html_quantity(view_number(step, "seconds"), "s", text);
        html_text(b, text);
        strbuf_printf(b, ", %d changed, %d left, %d notes</span></summary>\n", cJSON_GetArraySize(view_list(step, "changed")),
                      cJSON_GetArraySize(view_list(step, "skipped")), cJSON_GetArraySize(view_list(step, "notes")));
        entries(step, "changed", "Changed", b);
        entries(step, "skipped", "Left as it was", b);
        entries(step, "notes", "Notes", b);
        char *options = cJSON_PrintUnformatted(view_get(step, "options"));
        if (options != NULL) {
            strbuf_add(b, "<p class=\"note\">Options: ");
            html_element(b, "code", NULL, options);
            strbuf_add(b, "</p>\n");
        }
        cJSON_free(options);
        strbuf_add(b, "</details>\n");
    }
}

/* ---- method ---- */

static void list_item(StrBuf *b, const char *what, const char *text)
{
    if (text == NULL) return;
    strbuf_add(b, "<li>");
    html_element(b, "strong", NULL, what);
    strbuf_add(b, ": ");
    html_text(b, text);
    strbuf_add(b, "</li>\n");
}

static void uncounted_item(const View *v, StrBuf *b)
{
    for (int k = 0; k < v->count; k++) {
        const char *uncounted = view_text(v->networks[k], "uncounted");
        char what[256];
        snprintf(what, sizeof what, "Not counted in %.200s", v->names[k]);
        list_item(b, what, uncounted);
    }
}

void html_method(const View *v, StrBuf *b)
{
    if (v->count == 0) return;
    const cJSON *last = v->networks[v->count - 1], *item;
    char text[512], number[HTML_NUMBER];
    strbuf_add(b, "<h2 id=\"method\">How the numbers were taken</h2>\n<ul>\n");
    double runs = view_number(last, "latency_runs");
    const char *cpu = view_text(v->root, "machine.cpu"), *isa = view_text(v->root, "machine.isa"), *os = view_text(v->root, "machine.os");
    if (isfinite(measure_of(last, MEASURE_TIME).value)) {
        html_number(runs, 6, number);
        snprintf(text, sizeof text,
                 "median and 95 %% bootstrap interval%s%s%s, the networks in turns, on the same inputs, up to %.0f threads",
                 isfinite(runs) ? " of " : "", isfinite(runs) ? number : "", isfinite(runs) ? " windows" : "",
                 view_number(v->root, "machine.threads"));
        list_item(b, "Run time", text);
    }
    list_item(b, "Size", "bytes of all files of the network, read back after writing; deflated: each through zlib at level 9");
    list_item(b, "Operations", view_text(v->root, "convention"));
    uncounted_item(v, b);
    list_item(b, "Energy", measure_source(last, MEASURE_ENERGY));
    const char *power = measure_source(last, MEASURE_POWER), *energy = measure_source(last, MEASURE_ENERGY);
    if (power != NULL && (energy == NULL || strcmp(power, energy) != 0)) list_item(b, "Power", power);
    list_item(b, "Carbon", measure_source(last, MEASURE_CARBON));
    if (isfinite(view_number(last, "accuracy"))) {
        html_number(view_number(last, "samples"), 9, number);
        snprintf(text, sizeof text, "share of %s labelled samples that are right, Wilson 95 %% interval", number);
        list_item(b, "Accuracy", text);
    }
    list_item(b, "Compared with the original on", view_text(v->root, "data.fidelity"));
    snprintf(text, sizeof text, "%.120s (%.60s), %.120s", cpu != NULL ? cpu : "not known", isa != NULL ? isa : "?", os != NULL ? os : "?");
    list_item(b, "Machine", text);
    strbuf_add(b, "</ul>\n");
    if (view_list(v->root, "warnings") == NULL) return;
    strbuf_add(b, "<h3>To be borne in mind</h3>\n<ul class=\"warn\">\n");
    cJSON_ArrayForEach(item, view_list(v->root, "warnings")) {
        if (!cJSON_IsString(item)) continue;
        html_element(b, "li", NULL, item->valuestring);
    }
    strbuf_add(b, "</ul>\n");
}

/* ---- again ---- */

static void hash_row(StrBuf *b, const char *what, const char *hash)
{
    if (hash == NULL) return;
    strbuf_add(b, "<tr>");
    html_element(b, "th", NULL, what);
    strbuf_add(b, "<td class=\"wide\">");
    html_element(b, "code", NULL, hash);
    strbuf_add(b, "</td></tr>\n");
}

void html_again(const View *v, StrBuf *b)
{
    const char *command = view_text(v->root, "command"), *source = view_text(v->root, "source"), *result = view_text(v->root, "result");
    char text[HTML_NUMBER];
    strbuf_add(b, "<h2 id=\"again\">How to do it again</h2>\n");
    if (command != NULL) {
        html_element(b, "pre", NULL, command);
    } else if (source != NULL && view_get(v->root, "recipe") != NULL) {
        strbuf_add(b, "<pre>pare run recipe.json ");
        html_text(b, source);
        strbuf_add(b, " -o ");
        html_text(b, result != NULL ? result : "result.onnx");
        html_number(view_number(v->root, "seed"), 17, text);
        if (view_number(v->root, "seed") < 1e4) {
            strbuf_add(b, " --seed=");
            html_text(b, text);
        }
        strbuf_add(b, "</pre>\n");
    }
    char *recipe = cJSON_IsObject(view_get(v->root, "recipe")) ? cJSON_Print(view_get(v->root, "recipe")) : NULL;
    if (recipe != NULL) {
        strbuf_add(b, "<details><summary>recipe.json</summary>");
        html_element(b, "pre", NULL, recipe);
        strbuf_add(b, "</details>\n");
    }
    cJSON_free(recipe);
    strbuf_add(b, "<div class=\"scroll\"><table><tbody>\n");
    for (int k = 0; k < v->count; k++) {
        char what[300];
        snprintf(what, sizeof what, "%.240s, SHA-256", v->names[k]);
        hash_row(b, what, view_text(v->networks[k], "sha256"));
    }
    hash_row(b, "recipe, SHA-256", view_text(v->root, "recipe_sha256"));
    hash_row(b, "calibration data, SHA-256", view_text(v->root, "data.calibration_sha256"));
    hash_row(b, "evaluation data, SHA-256", view_text(v->root, "data.evaluation_sha256"));
    const cJSON *item;
    StrBuf versions = { 0 };
    cJSON_ArrayForEach(item, view_get(v->root, "versions")) {
        if (cJSON_IsString(item)) strbuf_printf(&versions, "%s%s %s", versions.len > 0 ? ", " : "", item->string, item->valuestring);
    }
    if (versions.failed) b->failed = true;
    hash_row(b, "versions", versions.data);
    strbuf_release(&versions);
    strbuf_add(b, "</tbody></table></div>\n");
}
