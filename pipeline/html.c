#include "pipeline/html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/text.h"

void html_text(StrBuf *b, const char *text)
{
    if (text == NULL) return;
    StrBuf safe = { 0 };
    text_safe(str_of(text), &safe);
    if (safe.failed) b->failed = true;
    size_t from = 0;
    for (size_t i = 0; i < safe.len; i++) {
        const char *entity = NULL;
        switch (safe.data[i]) {
        case '&': entity = "&amp;"; break;
        case '<': entity = "&lt;"; break;
        case '>': entity = "&gt;"; break;
        case '"': entity = "&quot;"; break;
        case '\'': entity = "&#39;"; break;
        default: break;
        }
        if (entity == NULL) continue;
        strbuf_add_n(b, safe.data + from, i - from);
        strbuf_add(b, entity);
        from = i + 1;
    }
    if (safe.len > from) strbuf_add_n(b, safe.data + from, safe.len - from);
    strbuf_release(&safe);
}

void html_element(StrBuf *b, const char *tag, const char *name, const char *text)
{
    if (name != NULL) strbuf_printf(b, "<%s class=\"%s\">", tag, name);
    else strbuf_printf(b, "<%s>", tag);
    html_text(b, text);
    strbuf_printf(b, "</%s>", tag);
}

void html_shorten(const char *text, int most, char *out, size_t size)
{
    size_t at = 0;
    int count = 0;
    const char *ellipsis = "\xE2\x80\xA6";
    while (text[at] != '\0' && count < most && at + 8 < size) {
        at++;
        while (((unsigned char)text[at] & 0xC0) == 0x80 && at + 8 < size) at++;
        count++;
    }
    snprintf(out, size, "%.*s%s", (int)at, text, text[at] != '\0' ? ellipsis : "");
}

/* ---- numbers ---- */

#define NOT_KNOWN "\xE2\x80\x93" /* an en dash */

static void power_of_ten(double value, int digits, char text[HTML_NUMBER])
{
    static const char *const raised[] = { "\xE2\x81\xB0", "\xC2\xB9", "\xC2\xB2", "\xC2\xB3", "\xE2\x81\xB4",
                                          "\xE2\x81\xB5", "\xE2\x81\xB6", "\xE2\x81\xB7", "\xE2\x81\xB8", "\xE2\x81\xB9" };
    char plain[HTML_NUMBER];
    snprintf(plain, sizeof plain, "%.*e", digits - 1, value);
    char *e = strchr(plain, 'e');
    int exponent = e != NULL ? (int)strtol(e + 1, NULL, 10) : 0;
    if (e != NULL) *e = '\0';
    int at = snprintf(text, HTML_NUMBER, "%s \xC3\x97 10%s", plain, exponent < 0 ? "\xE2\x81\xBB" : "");
    char each[16];
    snprintf(each, sizeof each, "%d", abs(exponent));
    for (const char *d = each; *d != '\0' && at < HTML_NUMBER - 4; d++)
        at += snprintf(text + at, HTML_NUMBER - (size_t)at, "%s", raised[*d - '0']);
}

/* "1234567.8" with commas between thousands; a minus sign in place of the hyphen. */
static void part_thousands(const char *plain, char text[HTML_NUMBER])
{
    size_t at = 0;
    if (*plain == '-') {
        at = (size_t)snprintf(text, HTML_NUMBER, "\xE2\x88\x92");
        plain++;
    }
    size_t whole = strspn(plain, "0123456789");
    for (size_t i = 0; plain[i] != '\0' && at + 2 < HTML_NUMBER; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0) text[at++] = ',';
        text[at++] = plain[i];
    }
    text[at] = '\0';
}

void html_number(double value, int digits, char text[HTML_NUMBER])
{
    char plain[HTML_NUMBER];
    if (!isfinite(value)) {
        snprintf(text, HTML_NUMBER, "%s", NOT_KNOWN);
        return;
    }
    double size = fabs(value);
    if (value == 0 || (size >= 1e4 && size < 1e15)) {
        snprintf(plain, sizeof plain, "%.0f", value);
    } else if (size < 1e-3 || size >= 1e15) {
        power_of_ten(value, digits, text);
        return;
    } else {
        int decimals = digits - 1 - (int)floor(log10(size));
        snprintf(plain, sizeof plain, "%.*f", decimals > 0 ? decimals : 0, value);
        if (strchr(plain, '.') != NULL) {
            size_t n = strlen(plain);
            while (plain[n - 1] == '0') plain[--n] = '\0';
            if (plain[n - 1] == '.') plain[n - 1] = '\0';
        }
    }
    part_thousands(plain, text);
}

void html_quantity(double value, const char *unit, char text[HTML_NUMBER])
{
    static const struct {
        double factor;
        const char *prefix;
    } scales[] = { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" }, { 1, "" }, { 1e-3, "m" }, { 1e-6, "\xC2\xB5" }, { 1e-9, "n" },
                   { 1e-12, "p" }, { 1e-15, "f" } };
    size_t count = sizeof scales / sizeof *scales, at = 4;
    if (!isfinite(value)) {
        snprintf(text, HTML_NUMBER, "%s", NOT_KNOWN);
        return;
    }
    double size = fabs(value);
    if (value != 0) {
        for (at = 0; at + 1 < count && size < 0.9995 * scales[at].factor; at++) continue;
        bool whole = unit[0] == '\0' || strcmp(unit, "B") == 0;
        if (whole && scales[at].factor < 1) at = 4; /* no thousandths of a byte */
    }
    char number[HTML_NUMBER];
    html_number(value / scales[at].factor, 3, number);
    snprintf(text, HTML_NUMBER, "%.24s%s%s%.16s", number, unit[0] != '\0' || scales[at].prefix[0] != '\0' ? "\xC2\xA0" : "",
             scales[at].prefix, unit);
}

void html_change(double before, double after, char text[HTML_NUMBER])
{
    char number[HTML_NUMBER];
    if (!(before > 0) || !isfinite(after) || after < 0) {
        text[0] = '\0';
    } else if (after > 0 && (before / after >= 1.995 || after / before >= 1.995)) {
        double times = before > after ? before / after : after / before;
        html_number(times, times < 9.95 ? 2 : 3, number);
        snprintf(text, HTML_NUMBER, "%.32s\xC3\x97 %s", number, before > after ? "less" : "more");
    } else if (fabs(after - before) < 0.0005 * before) {
        snprintf(text, HTML_NUMBER, "same");
    } else {
        snprintf(number, sizeof number, "%.1f", fabs(after / before - 1) * 100);
        snprintf(text, HTML_NUMBER, "%s%.32s %%", after > before ? "+" : "\xE2\x88\x92", number);
    }
}

/* ---- the frame ---- */

void html_begin(StrBuf *b, const char *title)
{
    strbuf_add(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                  "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n");
    html_element(b, "title", NULL, title);
    strbuf_add(b, "\n<style>\n");
    strbuf_add(b, html_style);
    strbuf_add(b, "</style>\n</head>\n<body>\n<main>\n");
}

void html_end(StrBuf *b, const char *footer)
{
    strbuf_add(b, "</main>\n<footer>");
    html_text(b, footer);
    strbuf_add(b, "</footer>\n</body>\n</html>\n");
}
