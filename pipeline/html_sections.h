/* The parts of the page, in the order of html_report.c. Each writes itself, or says in a line why it is not there, or nothing at all.
 * Inside pipeline/html*.c only. */
#ifndef PARE_PIPELINE_HTML_SECTIONS_H
#define PARE_PIPELINE_HTML_SECTIONS_H

#include "base/str.h"
#include "pipeline/html_view.h"

void html_verdict(const View *v, StrBuf *b);   /* headline, what follows from it, a tile for each measure */
void html_measures(const View *v, StrBuf *b);  /* the table, and all ratios in one picture */
void html_pairs(const View *v, StrBuf *b);     /* ratios pair by pair, with the null band */
void html_steps(const View *v, StrBuf *b);     /* waterfalls */
void html_tradeoff(const View *v, StrBuf *b);  /* accuracy against size, time, energy */
void html_layers(const View *v, StrBuf *b);    /* roofline and table */
void html_carbon(const View *v, StrBuf *b);    /* over several grids */
void html_cost(const View *v, StrBuf *b);      /* of compressing */
void html_record(const View *v, StrBuf *b);    /* what each pass changed, skipped and why */
void html_method(const View *v, StrBuf *b);    /* where numbers come from, limits, warnings */
void html_again(const View *v, StrBuf *b);     /* how to reproduce */

/* A network's accuracy in percent with its interval; NaN when there is none. */
bool view_on_calibration(const View *v); /* accuracy is of the calibration data: no others were given */
Range view_accuracy(const cJSON *network);

#endif
