/* What was done and what was not, pass by pass. */
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
        strbuf_printf(b, ", %d changed, %d left, notes: %d</span></summary>\n", cJSON_GetArraySize(view_list(step, "changed")),
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
