#include "base/str.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

Str str_of(const char *text)
{
    return text != NULL ? (Str){ text, strlen(text) } : (Str){ "", 0 };
}

bool str_eq(Str a, Str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool str_is(Str a, const char *text)
{
    return str_eq(a, str_of(text));
}

bool str_ends(Str a, const char *suffix)
{
    size_t n = strlen(suffix);
    return a.len >= n && memcmp(a.data + a.len - n, suffix, n) == 0;
}

uint32_t str_hash(Str s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.len; i++) h = (h ^ (unsigned char)s.data[i]) * 16777619u;
    return h;
}

bool str_match(Str s, const char *pattern)
{
    if (s.data == NULL) s.data = "";
    if (strlen(s.data) != s.len) return false; /* an inner NUL: no pattern names it */
    return fnmatch(pattern, s.data, 0) == 0;
}

static bool same_letter(char a, char b, bool any_case)
{
    return a == b || (any_case && strncasecmp(&a, &b, 1) == 0);
}

static int distance(const char *a, const char *b, bool any_case)
{
    enum { LIMIT = 64 };
    int n = (int)strnlen(a, LIMIT), m = (int)strnlen(b, LIMIT);
    int row[LIMIT + 1];
    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = diagonal + !same_letter(a[i - 1], b[j - 1], any_case);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

int str_distance(const char *a, const char *b)
{
    return distance(a, b, false);
}

int str_unlike(const char *name, const char *typed)
{
    size_t n = strlen(name), m = strlen(typed), least = n < m ? n : m;
    int unlike = 2 * distance(name, typed, true);
    return least >= 2 && unlike > 1 && strncasecmp(name, typed, least) == 0 ? 1 : unlike;
}

bool str_resembles(const char *name, const char *typed)
{
    return str_unlike(name, typed) <= (int)strlen(typed);
}

static bool strbuf_reserve(StrBuf *b, size_t more)
{
    if (b->failed) return false;
    if (b->capacity - b->len > more) return true;
    size_t capacity = b->capacity > 0 ? b->capacity : 64;
    while (capacity - b->len <= more) {
        if (capacity > SIZE_MAX / 2) {
            b->failed = true;
            return false;
        }
        capacity *= 2;
    }
    char *data = realloc(b->data, capacity);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void strbuf_add_n(StrBuf *b, const char *data, size_t len)
{
    if (!strbuf_reserve(b, len)) return;
    if (len > 0) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void strbuf_add(StrBuf *b, const char *text)
{
    strbuf_add_n(b, text, strlen(text));
}

void strbuf_printf(StrBuf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) b->failed = true;
    else if (strbuf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void strbuf_release(StrBuf *b)
{
    free(b->data);
    *b = (StrBuf){ 0 };
}
