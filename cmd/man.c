/* The manual page, from the same tables as the help texts. */
#include "cmd/cmd.h"

#include <string.h>

#include "base/version.h"

/* Text for roff: backslashes, leading dots and quotes, and hyphens that must stay hyphens. */
static void roff_text(const char *text, StrBuf *b)
{
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\'')) strbuf_add(b, "\\&");
        if (*text == '\\') strbuf_add(b, "\\e");
        else if (*text == '-') strbuf_add(b, "\\-");
        else strbuf_add_n(b, text, 1);
        line_start = *text == '\n';
    }
}

static void preformatted(const char *text, StrBuf *b)
{
    strbuf_add(b, ".PP\n.nf\n");
    roff_text(text, b);
    if (b->len > 0 && b->data[b->len - 1] != '\n') strbuf_add(b, "\n");
    strbuf_add(b, ".fi\n");
}

static void option_list(const Opt *options, StrBuf *b)
{
    for (const Opt *o = options; o->name != NULL; o++) {
        strbuf_add(b, ".TP\n.B ");
        StrBuf name = { 0 };
        strbuf_printf(&name, "--%s", o->name);
        if (o->type == OPT_CHOICE) strbuf_printf(&name, "=%s", o->choices);
        else if (o->type != OPT_FLAG) strbuf_add(&name, o->type == OPT_INT ? "=N" : o->type == OPT_FLOAT ? "=X" : "=TEXT");
        roff_text(name.data != NULL ? name.data : "", b);
        strbuf_release(&name);
        strbuf_add(b, "\n");
        roff_text(o->help, b);
        if (o->fallback != NULL && o->fallback[0] != '\0') {
            strbuf_add(b, " (default ");
            roff_text(o->fallback, b);
            strbuf_add(b, ")");
        }
        strbuf_add(b, "\n");
    }
}

void man_page(StrBuf *b)
{
    strbuf_printf(b, ".TH PARE 1 \"\" \"pare %s\" \"User Commands\"\n", PARE_VERSION);
    strbuf_add(b, ".SH NAME\npare \\- make trained networks smaller and say what was gained\n");
    strbuf_add(b, ".SH SYNOPSIS\n");
    for (const Command *const *c = commands_all(); *c != NULL; c++) {
        if ((*c)->hidden) continue;
        strbuf_printf(b, "%s.B pare %s\n[options] ", c == commands_all() ? "" : ".br\n", (*c)->name);
        roff_text((*c)->args, b);
        strbuf_add(b, "\n");
    }
    strbuf_add(b, ".SH DESCRIPTION\n.B pare\ntakes a trained network (ONNX) and a recipe of compression passes, writes a smaller network\n"
                  "that stock runtimes load, and reports size, operations, latency, energy and accuracy before and after.\n.SH COMMANDS\n");
    for (const Command *const *c = commands_all(); *c != NULL; c++) {
        if ((*c)->hidden) continue;
        strbuf_printf(b, ".SS %s\n", (*c)->name);
        roff_text((*c)->summary, b);
        strbuf_add(b, "\n");
        preformatted((*c)->details, b);
        option_list((*c)->options, b);
    }
    strbuf_add(b, ".SH PASSES\n");
    for (const Pass *const *p = passes_all(); *p != NULL; p++) {
        strbuf_printf(b, ".SS %s\n", (*p)->name);
        roff_text((*p)->summary, b);
        strbuf_add(b, "\n");
        preformatted((*p)->details, b);
        option_list((*p)->options, b);
    }
    strbuf_add(b, ".SH RECIPES\n");
    StrBuf text = { 0 };
    help_recipe(&text);
    preformatted(text.data != NULL ? text.data : "", b);
    strbuf_release(&text);
    strbuf_add(b, ".SH EXIT STATUS\n");
    help_exit_codes(&text);
    preformatted(text.data != NULL ? text.data : "", b);
    strbuf_release(&text);
    strbuf_add(b, ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nno color in messages\n.TP\n.B TMPDIR\nwhere temporary files go\n");
}
