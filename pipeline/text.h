/* Numbers and tables for people: used by the terminal, the Markdown report and inspect. */
#ifndef PARE_PIPELINE_TEXT_H
#define PARE_PIPELINE_TEXT_H

#include "base/str.h"

#include <stdint.h>

/* "13,963,115"; "n/a" below zero */
void text_count(int64_t n, char text[32]);
/* "14.0 MB", powers of 1000 */
void text_bytes(double n, char text[32]);
#define TEXT_UNIT 16
/* The factor that brings a number between 1 and 1000, and the unit that it then has: 0.00123 "J" gives 1000 and "mJ". */
double text_unit(double n, const char *unit, char text[TEXT_UNIT]);
/* "1.23 mJ" */
void text_quantity(double n, const char *unit, char text[32]);
/* Control characters and broken UTF-8 as \xNN, so that nothing a file says can move the cursor or spoil JSON; other UTF-8 stays. */
void text_safe(Str s, StrBuf *b);

/* "unknown dimensions other than the batch taken as 224" */
void text_guess(int64_t guess, char text[96]);
/* "1 If node whose branch depends on the data: the larger branch is counted" */
void text_undecided(int64_t count, StrBuf *b);

/* A table whose columns are as wide as their widest cell. Cells are copied. */
typedef struct TextTable {
    int columns;
    const char *align; /* one letter per column: 'l' or 'r' */
    char **cells;
    size_t count, capacity;
    bool failed;
} TextTable;

void table_init(TextTable *t, int columns, const char *align);
void table_cell(TextTable *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `indent` spaces before each row, two between columns; `rule` draws a line under the first row. */
void table_print(const TextTable *t, int indent, bool rule, StrBuf *b);
void table_print_markdown(const TextTable *t, StrBuf *b); /* the first row is the header */
void table_release(TextTable *t);

#endif
