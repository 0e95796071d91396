/* Counted strings (names in model files may hold any byte, NUL included) and a growing text buffer. */
#ifndef PARE_BASE_STR_H
#define PARE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `data` is also NUL terminated wherever the Str came from arena_str or STR(), so it may be printed when it has no inner NUL. */
typedef struct Str {
    const char *data;
    size_t len;
} Str;

#define STR(literal) ((Str){ "" literal, sizeof(literal) - 1 })
#define STR_ARG(s) (int)(s).len, (s).data != NULL ? (s).data : "" /* for "%.*s" */

Str str_of(const char *text); /* borrows; NULL gives the empty string */
bool str_eq(Str a, Str b);
bool str_is(Str a, const char *text);
bool str_ends(Str a, const char *suffix);
uint32_t str_hash(Str s); /* FNV-1a, for tables in memory */
/* Glob over the whole string: `*` any run (also `/`), `?` one byte, `[...]` as in the shell. */
bool str_match(Str s, const char *pattern);
/* Edit distance, for "did you mean"; both at most 64 bytes are compared. */
int str_distance(const char *a, const char *b);
/* How little `name` looks like what was typed: the distance without case, twice, but 1 where one begins with the other. */
int str_unlike(const char *name, const char *typed);
/* Whether it looks like it enough to be offered: no more than half of the letters typed have to change. */
bool str_resembles(const char *name, const char *typed);

typedef struct StrBuf {
    char *data; /* NUL terminated, or NULL while empty */
    size_t len, capacity;
    bool failed; /* an allocation failed: contents are incomplete, check before use */
} StrBuf;

void strbuf_add(StrBuf *b, const char *text);
void strbuf_add_n(StrBuf *b, const char *data, size_t len);
void strbuf_printf(StrBuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_release(StrBuf *b);

#endif
