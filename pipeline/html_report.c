#include "pipeline/html_report.h"

#include <stdio.h>

#include "pipeline/html.h"
#include "pipeline/html_sections.h"

typedef struct Section {
    const char *anchor, *title; /* in the list of contents */
    void (*write)(const View *v, StrBuf *b);
} Section;

static const Section sections[] = {
    { "measures", "Measures", html_measures },
    { "pairs", "Pairs", html_pairs },
    { "steps", "Passes", html_steps },
    { "tradeoff", "Accuracy against cost", html_tradeoff },
    { "layers", "Layers", html_layers },
    { "carbon", "Carbon", html_carbon },
    { "cost", "What it cost", html_cost },
    { "skipped", "Left as it was", html_record },
    { "method", "Method", html_method },
    { "again", "Do it again", html_again },
};
#define SECTIONS (sizeof sections / sizeof *sections)

void html_report(const cJSON *report, StrBuf *out)
{
    View v;
    char title[300], footer[160];
    StrBuf parts[SECTIONS] = { { 0 } };
    view_open(report, &v);
    snprintf(title, sizeof title, "%.120s%s%.120s", v.count > 0 ? v.names[0] : "nothing", v.count > 1 ? " \xE2\x86\x92 " : "",
             v.count > 1 ? v.names[v.count - 1] : "");
    html_begin(out, title);
    html_verdict(&v, out);
    for (size_t i = 0; i < SECTIONS; i++) sections[i].write(&v, &parts[i]);
    strbuf_add(out, "<nav>");
    for (size_t i = 0; i < SECTIONS; i++) {
        if (parts[i].len == 0) continue;
        strbuf_printf(out, "<a href=\"#%s\">", sections[i].anchor);
        html_text(out, sections[i].title);
        strbuf_add(out, "</a> ");
    }
    strbuf_add(out, "</nav>\n");
    for (size_t i = 0; i < SECTIONS; i++) {
        if (parts[i].len > 0) strbuf_add_n(out, parts[i].data, parts[i].len);
        if (parts[i].failed) out->failed = true;
        strbuf_release(&parts[i]);
    }
    const char *version = view_text(report, "versions.pare"), *created = view_text(report, "created");
    snprintf(footer, sizeof footer, "pare %.40s%s%.40s. Nothing on this page is loaded from elsewhere.", version != NULL ? version : "",
             created != NULL ? ", " : "", created != NULL ? created : "");
    html_end(out, footer);
}
