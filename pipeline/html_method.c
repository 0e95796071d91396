/* Where the numbers come from, what makes them doubtful, and how to take them again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_sections.h"

static void list_item(StrBuf *b, const char *what, const char *text)
{
    if (text == NULL) return;
    strbuf_add(b, "<li>");
    html_element(b, "strong", NULL, what);
    strbuf_add(b, ": ");
    html_text(b, text);
    strbuf_add(b, "</li>\n");
}

/* What a text of each network says. */
static void network_items(const View *v, const char *what, const char *key, StrBuf *b)
{
    for (int k = 0; k < v->count; k++) {
        char title[256];
        snprintf(title, sizeof title, "%.40s %.200s", what, v->names[k]);
        list_item(b, title, view_text(v->networks[k], key));
    }
}

static bool other_inputs(const View *v)
{
    for (int k = 0; k < v->count; k++)
        if (view_text(v->networks[k], "inputs") != NULL) return true;
    return false;
}

/* The rounds, where the measuring protocol was followed. */
static void protocol_items(const View *v, StrBuf *b)
{
    const cJSON *p = view_get(v->root, "protocol"), *source = view_get(v->root, "energy_source");
    char text[512], number[HTML_NUMBER], spent[HTML_NUMBER];
    double rounds = view_number(p, "rounds"), overhead = view_number(p, "overhead"), other = view_number(p, "environment.other_load");
    if (source == NULL) source = view_get(v->root, "source");
    if (rounds > 0) {
        const char *stopped = view_text(p, "stopped");
        html_quantity(view_number(p, "window_seconds"), "s", number);
        html_quantity(view_number(p, "spent"), "s", spent);
        snprintf(text, sizeof text,
                 "%.0f rounds of one window of %s of each network, in random order, the first network twice; %s in all, %.60s",
                 rounds, number, spent, stopped != NULL ? stopped : "done");
        list_item(b, "Protocol", text);
    }
    if (rounds > 0 && isfinite(overhead)) {
        snprintf(text, sizeof text, "%.2g %% of the windows", 100 * overhead);
        list_item(b, "Measuring itself took", text);
    }
    if (rounds > 0 && isfinite(other)) {
        snprintf(text, sizeof text, "%.0f %% of all cores", 100 * other);
        list_item(b, "Other processes took", text);
    }
    double idle = view_number(p, "idle_before_w");
    if (isfinite(idle)) {
        html_quantity(idle, "W", number);
        html_quantity(view_number(p, "idle_after_w"), "W", spent);
        snprintf(text, sizeof text, "%s before, %s after", number, spent);
        if (isfinite(view_number(p, "idle_middle_w"))) {
            char middle[HTML_NUMBER];
            html_quantity(view_number(p, "idle_middle_w"), "W", middle);
            snprintf(text, sizeof text, "%s before, %s in the middle, %s after", number, middle, spent);
        }
        list_item(b, "The idle machine drew", text);
    }
    if (view_number(p, "whole_j") > 0) {
        snprintf(text, sizeof text, "%.1f %% of what the source told of all rounds",
                 100 * view_number(p, "windows_j") / view_number(p, "whole_j"));
        list_item(b, "The windows add up to", text);
    }
    const char *title = view_text(source, "title"), *boundary = view_text(source, "boundary"), *doubt = view_text(source, "uncertainty");
    if (title == NULL || !cJSON_IsObject(source)) return;
    snprintf(text, sizeof text, "%.120s%s%.120s%s%.60s", title, boundary != NULL ? "; covers " : "", boundary != NULL ? boundary : "",
             doubt != NULL ? "; uncertainty of absolute figures: " : "", doubt != NULL ? doubt : "");
    list_item(b, "Source of energies", text);
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
                 "median and 95 %% bootstrap interval%s%s%s, the networks in turns, on %s inputs, up to %.0f threads",
                 isfinite(runs) ? " of " : "", isfinite(runs) ? number : "", isfinite(runs) ? " calls" : "",
                 other_inputs(v) ? "their" : "the same",
                 view_number(v->root, "machine.threads"));
        list_item(b, "Run time", text);
    }
    network_items(v, "Inputs of", "inputs", b);
    protocol_items(v, b);
    list_item(b, "Size", "bytes of all files of the network, read back after writing; deflated: each through zlib at level 9");
    list_item(b, "Operations", view_text(v->root, "convention"));
    network_items(v, "Not counted in", "uncounted", b);
    list_item(b, "Energy", measure_source(last, MEASURE_ENERGY));
    const char *power = measure_source(last, MEASURE_POWER), *energy = measure_source(last, MEASURE_ENERGY);
    if (power != NULL && (energy == NULL || strcmp(power, energy) != 0)) list_item(b, "Power", power);
    list_item(b, "Carbon", measure_source(last, MEASURE_CARBON));
    if (isfinite(view_number(last, "accuracy"))) {
        html_number(view_number(last, "samples"), 9, number);
        snprintf(text, sizeof text, "share of %s labelled samples%s that are right, Wilson 95 %% interval", number,
                 view_on_calibration(v) ? " of the calibration data" : "");
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

static void compare_command(const View *v, StrBuf *b)
{
    const char *data = view_text(v->root, "data.evaluation");
    const cJSON *item;
    strbuf_add(b, v->count > 1 ? "<pre>pare compare" : "<pre>pare measure");
    cJSON_ArrayForEach(item, view_list(v->root, "networks")) {
        const char *path = view_text(item, "path");
        strbuf_add(b, " ");
        html_text(b, path != NULL ? path : "model.onnx");
    }
    if (data != NULL) strbuf_add(b, " --data ");
    html_text(b, data);
    if (view_number(v->root, "seed") >= 0 && view_number(v->root, "seed") < 1e15)
        strbuf_printf(b, " --seed=%.0f", view_number(v->root, "seed"));
    const char *kernels = view_text(v->root, "kernels");
    double batch = view_number(v->root, "batch");
    if (batch > 1 && batch < 1e9) strbuf_printf(b, " --batch=%.0f", batch);
    if (kernels != NULL && strcmp(kernels, "plain") == 0) strbuf_add(b, " --plain");
    if (kernels != NULL && strstr(kernels, "int8") != NULL) strbuf_add(b, " --int8=auto");
    strbuf_add(b, "</pre>\n");
}

/* Text of ours with its lines and indents: elsewhere both are escaped, as what names must not hold. */
static void preformatted(const char *text, StrBuf *b)
{
    strbuf_add(b, "<pre>");
    while (*text != '\0') {
        size_t tabs = strspn(text, "\t"), n = strcspn(text + tabs, "\n");
        char *line = strndup(text + tabs, n);
        if (line == NULL) b->failed = true;
        for (char *c = line; c != NULL && *c != '\0'; c++) *c = *c == '\t' ? ' ' : *c;
        strbuf_printf(b, "%*s", 2 * (int)tabs, "");
        html_text(b, line);
        free(line);
        text += tabs + n;
        if (*text == '\n') strbuf_add(b, "\n"), text++;
    }
    strbuf_add(b, "</pre>");
}

void html_again(const View *v, StrBuf *b)
{
    const char *command = view_text(v->root, "command"), *source = view_text(v->root, "source"), *result = view_text(v->root, "result");
    strbuf_add(b, "<h2 id=\"again\">How to do it again</h2>\n");
    if (command != NULL) {
        html_element(b, "pre", NULL, command);
    } else if (source != NULL && view_get(v->root, "recipe") != NULL) {
        strbuf_add(b, "<pre>pare run recipe.json ");
        html_text(b, source);
        strbuf_add(b, " -o ");
        html_text(b, result != NULL ? result : "result.onnx");
        if (view_number(v->root, "seed") < 1e15) strbuf_printf(b, " --seed=%.0f", view_number(v->root, "seed"));
        strbuf_add(b, "</pre>\n");
    } else if (view_list(v->root, "networks") != NULL) {
        compare_command(v, b);
    }
    char *recipe = cJSON_IsObject(view_get(v->root, "recipe")) ? cJSON_Print(view_get(v->root, "recipe")) : NULL;
    if (recipe != NULL) {
        strbuf_add(b, "<details><summary>recipe.json</summary>");
        preformatted(recipe, b);
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
