/* HTML as it is written by every page of ours: escaped text, elements, numbers for people, the frame of a page.
 *
 * Output is also well-formed XML: elements are closed, attributes quoted. Only constants of the source may be written raw. */
#ifndef PARE_PIPELINE_HTML_H
#define PARE_PIPELINE_HTML_H

#include "base/str.h"

#define HTML_NUMBER 48

/* Text of any origin: control characters and broken UTF-8 become \xNN, markup is escaped. NULL writes nothing. */
void html_text(StrBuf *b, const char *text);
/* <tag class="name">text</tag>; `name` NULL: no class. Tag and class are constants of the source. */
void html_element(StrBuf *b, const char *tag, const char *name, const char *text);
/* The first `most` characters of a text, with an ellipsis in place of what is behind them; for labels of charts. */
void html_shorten(const char *text, int most, char *out, size_t size);

/* The one way numbers are written on a page: "35.4 kB", "367 µJ", "1.24 G"; three or four digits, NaN as a dash. `unit` may be "". */
void html_quantity(double value, const char *unit, char text[HTML_NUMBER]);
/* A plain number of at most `digits` significant digits, thousands parted: "35,402", "0.0273", "3.6 × 10⁻⁸". */
void html_number(double value, int digits, char text[HTML_NUMBER]);
/* "3.9× less", "+12 %", "same": after against before. */
void html_change(double before, double after, char text[HTML_NUMBER]);

/* From the doctype to <main>, and from </main> to the end. */
void html_begin(StrBuf *b, const char *title);
void html_end(StrBuf *b, const char *footer);

/* Style sheet of every page: light and dark, phone and paper. */
extern const char html_style[];

#endif
