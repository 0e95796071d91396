#include "quantize/table.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* auto is none: a line tells which one was chosen. */
static const char *method_name(Calibration c)
{
    return c > CALIBRATE_AUTO && c < CALIBRATE_METHODS ? calibration_names[c] : "manual";
}

#define REWRITTEN "# The network was rewritten first by: "

/* --- reading */

typedef struct Reader {
    const char *path;
    int line;
    const char *at, *end; /* what is left of the line */
    StrBuf name;          /* the line's, unescaped */
} Reader;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(Reader *r)
{
    while (r->at < r->end && is_blank(*r->at)) r->at++;
}

/* Up to the next blank. */
static Str word(Reader *r)
{
    skip_blanks(r);
    const char *start = r->at;
    while (r->at < r->end && !is_blank(*r->at)) r->at++;
    return (Str){ start, (size_t)(r->at - start) };
}

__attribute__((format(printf, 3, 4))) static Status wrong(const Reader *r, Err *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(err, ERR_DATA, "%s, line %d: %s", r->path, r->line, text);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static Status read_escape(Reader *r, Err *err)
{
    char c = r->at < r->end ? *r->at++ : '\0';
    if (c == '"' || c == '\\') {
        strbuf_add_n(&r->name, &c, 1);
        return OK;
    }
    int high = c == 'x' && r->end - r->at >= 2 ? hex_digit(r->at[0]) : -1, low = high >= 0 ? hex_digit(r->at[1]) : -1;
    if (low < 0) return wrong(r, err, "a backslash in a name takes \" or \\ or x and two hexadecimal digits behind it");
    char byte = (char)(high * 16 + low);
    strbuf_add_n(&r->name, &byte, 1);
    r->at += 2;
    return OK;
}

static Status read_quoted(Reader *r, Err *err)
{
    for (r->at++; r->at < r->end && *r->at != '"';) {
        char c = *r->at++;
        if (c == '\\') TRY(read_escape(r, err));
        else strbuf_add_n(&r->name, &c, 1);
    }
    if (r->at == r->end) return wrong(r, err, "the name's closing quote is missing");
    r->at++;
    if (r->at < r->end && !is_blank(*r->at)) return wrong(r, err, "a blank is missing behind the name");
    return OK;
}

static Status read_name(Reader *r, Err *err)
{
    r->name.len = 0;
    skip_blanks(r);
    if (r->at < r->end && *r->at == '"') return read_quoted(r, err);
    Str bare = word(r);
    strbuf_add_n(&r->name, bare.data, bare.len);
    if (memchr(bare.data, '"', bare.len) != NULL) return wrong(r, err, "a name with a quote in it stands in quotes: \"a\\\"b\"");
    return OK;
}

static Status read_end(Reader *r, const char *which, double *out, Err *err)
{
    char text[64], *end;
    Str w = word(r);
    if (w.len == 0) return wrong(r, err, "the %s end is missing; expected: name, low, high, method", which);
    size_t n = w.len < sizeof text - 1 ? w.len : sizeof text - 1;
    memcpy(text, w.data, n);
    text[n] = '\0';
    double v = strtod(text, &end);
    if (end != text + w.len) return wrong(r, err, "the %s end is '%.40s', expected a number", which, text);
    if (!(fabs(v) <= (double)FLT_MAX)) return wrong(r, err, "the %s end is %.40s, expected a finite float32 number", which, text);
    *out = v;
    return OK;
}

static Status read_method(Reader *r, Calibration *out, Err *err)
{
    Str w = word(r);
    for (int i = CALIBRATE_AUTO + 1; i <= CALIBRATE_METHODS; i++) {
        if (!str_is(w, method_name((Calibration)i))) continue;
        *out = (Calibration)i;
        skip_blanks(r);
        if (r->at < r->end)
            return wrong(r, err, "'%.*s' behind the method; expected: name, low, high, method", (int)(r->end - r->at), r->at);
        return OK;
    }
    if (w.len == 0) return wrong(r, err, "the method is missing; expected: name, low, high, method");
    return wrong(r, err, "method '%.*s', expected one of minmax, moving, mean, percentile, mse, entropy, manual",
                 w.len < 40 ? (int)w.len : 40, w.data);
}

/* One line that is no comment, from the reader's place. */
static Status read_entry(Reader *r, TableEntry *e, Err *err)
{
    TRY(read_name(r, err));
    TRY(read_end(r, "low", &e->ends.low, err));
    TRY(read_end(r, "high", &e->ends.high, err));
    TRY(read_method(r, &e->method, err));
    if (e->ends.low > e->ends.high) return wrong(r, err, "low %g is above high %g", e->ends.low, e->ends.high);
    return r->name.failed ? err_no_memory(err, "a calibration table") : OK;
}

static Status nearest(const Reader *r, const Graph *g, Str name, Err *err)
{
    char typed[128], best_name[128] = "", text[128];
    int best = 1 << 20;
    snprintf(typed, sizeof typed, "%.*s", STR_ARG(name));
    for (ValueId v = 1; v <= g->value_count; v++) {
        if (graph_value(g, v)->tensor != NULL) continue;
        snprintf(text, sizeof text, "%.*s", STR_ARG(graph_value(g, v)->name));
        int unlike = str_unlike(text, typed);
        if (unlike >= best || !str_resembles(text, typed)) continue;
        best = unlike;
        memcpy(best_name, text, sizeof best_name);
    }
    if (best_name[0] == '\0') return wrong(r, err, "the network has no tensor '%s'", typed);
    return wrong(r, err, "the network has no tensor '%s'; did you mean '%s'?", typed, best_name);
}

static Status keep(const Reader *r, const Graph *g, const TableEntry *e, CalibrationTable *t, Err *err)
{
    Str name = { r->name.data != NULL ? r->name.data : "", r->name.len };
    ValueId v = name.len > 0 ? graph_find_value(g, name) : 0;
    if (name.len == 0) return wrong(r, err, "the name is empty");
    if (v == 0) return nearest(r, g, name, err);
    if (graph_value(g, v)->tensor != NULL) return wrong(r, err, "tensor '%.*s' is a constant: it has no grid here", STR_ARG(name));
    if (t->entries[v].state != TABLE_ABSENT)
        return wrong(r, err, "tensor '%.*s' stands on line %d already", STR_ARG(name), t->entries[v].line);
    t->entries[v] = *e;
    t->entries[v].line = r->line;
    t->count++;
    return OK;
}

static Status read_line(Reader *r, const Graph *g, CalibrationTable *t, Err *err)
{
    TableEntry e = { .state = TABLE_ENDS };
    skip_blanks(r);
    if (r->at == r->end) return OK;
    if (memchr(r->at, '\0', (size_t)(r->end - r->at)) != NULL) return wrong(r, err, "a zero byte: this is no text file");
    if (*r->at == '#') {
        Err why;
        size_t length = (size_t)(r->end - r->at), prefix = strlen(REWRITTEN);
        if (length >= prefix && memcmp(r->at, REWRITTEN, prefix) == 0) {
            snprintf(t->rewritten, sizeof t->rewritten, "%.*s", (int)(length - prefix), r->at + prefix);
            return OK;
        }
        r->at++;
        skip_blanks(r);
        bool quoted = r->at < r->end && *r->at == '"';
        Status status = read_entry(r, &e, quoted ? err : &why);
        if (status != OK) return quoted || status == ERR_MEMORY ? status : OK; /* words */
        e.state = TABLE_FLOAT;
    } else {
        TRY(read_entry(r, &e, err));
    }
    return keep(r, g, &e, t, err);
}

Status calibration_table_read(Str text, const char *path, const Graph *g, CalibrationTable *out, Err *err)
{
    Reader r = { .path = path };
    Status status = OK;
    *out = (CalibrationTable){ .value_count = g->value_count };
    out->entries = alloc_zeroed((size_t)g->value_count + 1, sizeof *out->entries);
    if (out->entries == NULL) return err_no_memory(err, "a calibration table");
    const char *at = text.data, *end = at + text.len;
    if (text.len >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) at += 3; /* some editors put it before UTF-8 */
    while (status == OK && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        r.line++;
        r.at = at;
        r.end = stop > at && stop[-1] == '\r' ? stop - 1 : stop;
        status = read_line(&r, g, out, err);
        at = stop + (stop < end);
    }
    strbuf_release(&r.name);
    return status;
}

void calibration_table_release(CalibrationTable *t)
{
    free(t->entries);
    *t = (CalibrationTable){ 0 };
}

TableEntry calibration_table_find(const CalibrationTable *t, ValueId v)
{
    return t->entries != NULL && v > 0 && v <= t->value_count ? t->entries[v] : (TableEntry){ 0 };
}

/* --- writing */

static void add_name(StrBuf *b, Str name)
{
    strbuf_add(b, "\"");
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (c == '"' || c == '\\') strbuf_printf(b, "\\%c", c);
        else if (c < ' ' || c > '~') strbuf_printf(b, "\\x%02x", (unsigned)(unsigned char)c);
        else strbuf_add_n(b, &c, 1);
    }
    strbuf_add(b, "\"");
}

/* The fewest digits that read back as the same number. */
static void add_number(StrBuf *b, double v)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v == 0.0 ? 0.0 : v);
        if (strtod(text, NULL) == v) break;
    }
    strbuf_printf(b, " %s", text);
}

void calibration_table_write(const Graph *g, const char *rewritten, const TableLine *lines, int count, StrBuf *b)
{
    strbuf_add(b, "# Calibration table of pare. One line for each tensor: name, low, high, method.\n"
                  "# Low and high are the ends of its grid: change them as you like (and write manual for the method).\n"
                  "# A line with # before it keeps its tensor in float; a tensor without a line is calibrated from the data.\n");
    strbuf_printf(b, REWRITTEN "%s\n", rewritten);
    for (int i = 0; i < count; i++) {
        const TableLine *l = &lines[i];
        if (l->is_float) strbuf_add(b, "#");
        add_name(b, graph_value(g, l->value)->name);
        add_number(b, l->ends.low);
        add_number(b, l->ends.high);
        strbuf_printf(b, " %s\n", method_name(l->method));
    }
}
