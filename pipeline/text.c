#include "pipeline/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void text_count(int64_t n, char text[32])
{
    char digits[24];
    if (n < 0) {
        snprintf(text, 32, "n/a");
        return;
    }
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
}

static void scaled(double n, const char *const *units, int count, char text[32])
{
    int unit = 0;
    while (unit + 1 < count && fabs(n) >= 999.95) {
        n /= 1000;
        unit++;
    }
    if (unit == 0) snprintf(text, 32, "%.0f%s", n, units[0]);
    else snprintf(text, 32, fabs(n) < 9.995 ? "%.2f%s" : "%.1f%s", n, units[unit]);
}

void text_guess(int64_t guess, char text[96])
{
    snprintf(text, 96, "unknown dimensions other than the batch taken as %lld", (long long)guess);
}

void text_undecided(int64_t count, StrBuf *b)
{
    strbuf_printf(b, "%lld If node%s whose branch depends on the data: the larger branch is counted", (long long)count,
                  count == 1 ? "" : "s");
}

void text_bytes(double n, char text[32])
{
    static const char *const units[] = { " B", " kB", " MB", " GB", " TB" };
    scaled(n, units, 5, text);
}

double text_unit(double n, const char *unit, char text[TEXT_UNIT])
{
    static const struct { double factor; const char *prefix; } prefixes[] = {
        { 1e-6, "M" }, { 1e-3, "k" }, { 1, "" }, { 1e3, "m" }, { 1e6, "u" }, { 1e9, "n" }, { 1e12, "p" },
    };
    const size_t most = sizeof prefixes / sizeof *prefixes - 1, plain = 2;
    size_t i = isfinite(n) && n != 0 ? 0 : plain;
    while (i < most && n != 0 && isfinite(n) && fabs(n) * prefixes[i].factor < 1) i++;
    snprintf(text, TEXT_UNIT, "%s%s", prefixes[i].prefix, unit);
    return prefixes[i].factor;
}

void text_quantity(double n, const char *unit, char text[32])
{
    char scaled[TEXT_UNIT];
    double factor = text_unit(n, unit, scaled);
    snprintf(text, 32, "%.3g %.15s", n * factor, scaled);
}

/* Bytes of the UTF-8 character at `s` (RFC 3629: shortest form, no surrogates); 0 when it is none. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool outside = (s[0] == 0xED && s[1] >= 0xA0) || (s[0] == 0xF4 && s[1] >= 0x90);
    return overlong || outside ? 0 : n;
}

void text_safe(Str s, StrBuf *b)
{
    for (size_t i = 0; i < s.len;) {
        const unsigned char *c = (const unsigned char *)&s.data[i];
        size_t n = utf8_length(c, s.len - i);
        bool control = *c < 32 || *c == 127 || (n == 2 && c[0] == 0xC2 && c[1] < 0xA0);
        if (n == 0 || control) strbuf_printf(b, "\\x%02x", *c), i++;
        else strbuf_add_n(b, &s.data[i], n), i += n;
    }
}

void table_init(TextTable *t, int columns, const char *align)
{
    *t = (TextTable){ .columns = columns, .align = align };
}

void table_cell(TextTable *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0 || !array_grow((void **)&t->cells, &t->capacity, t->count + 1, sizeof *t->cells)) {
        if (len >= 0) free(text);
        t->failed = true;
        return;
    }
    t->cells[t->count++] = text;
}

/* Columns on the screen: code points, good enough for the names people give to layers. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void rule_line(const int *widths, int columns, int indent, StrBuf *b)
{
    strbuf_printf(b, "%*s", indent, "");
    for (int c = 0; c < columns; c++) {
        for (int i = 0; i < widths[c] + (c + 1 < columns ? 2 : 0); i++) strbuf_add(b, i < widths[c] ? "-" : " ");
    }
    strbuf_add(b, "\n");
}

void table_print(const TextTable *t, int indent, bool rule, StrBuf *b)
{
    int *widths = calloc((size_t)t->columns, sizeof *widths);
    if (widths == NULL || t->failed) b->failed = true;
    for (size_t i = 0; !b->failed && i < t->count; i++) {
        int w = width_of(t->cells[i]);
        if (w > widths[i % (size_t)t->columns]) widths[i % (size_t)t->columns] = w;
    }
    for (size_t i = 0; !b->failed && i < t->count; i++) {
        int c = (int)(i % (size_t)t->columns), pad = widths[c] - width_of(t->cells[i]);
        if (c == 0) strbuf_printf(b, "%*s", indent, "");
        if (t->align[c] == 'r') strbuf_printf(b, "%*s", pad, "");
        strbuf_add(b, t->cells[i]);
        bool last = c + 1 == t->columns;
        if (last) {
            while (b->len > 0 && b->data[b->len - 1] == ' ') b->data[--b->len] = '\0';
            strbuf_add(b, "\n");
            if (rule && i + 1 == (size_t)t->columns) rule_line(widths, t->columns, indent, b);
        } else {
            strbuf_printf(b, "%*s", (t->align[c] == 'l' ? pad : 0) + 2, "");
        }
    }
    free(widths);
}

void table_print_markdown(const TextTable *t, StrBuf *b)
{
    if (t->failed) b->failed = true;
    for (size_t i = 0; !b->failed && i < t->count; i++) {
        size_t c = i % (size_t)t->columns;
        strbuf_add(b, c == 0 ? "| " : " | ");
        for (const char *at = t->cells[i]; *at != '\0'; at++) {
            if (*at == '|') strbuf_add(b, "\\");
            strbuf_add_n(b, at, 1);
        }
        if (c + 1 < (size_t)t->columns) continue;
        strbuf_add(b, " |\n");
        for (int k = 0; i + 1 == (size_t)t->columns && k < t->columns; k++) {
            strbuf_printf(b, "|%s%s", t->align[k] == 'r' ? "--:" : "---", k + 1 == t->columns ? "|\n" : "");
        }
    }
}

void table_release(TextTable *t)
{
    for (size_t i = 0; i < t->count; i++) free(t->cells[i]);
    free(t->cells);
    *t = (TextTable){ 0 };
}
