/* What a pass changed, left and noted, as lines of text. */
#ifndef PARE_PIPELINE_REPORT_ENTRIES_H
#define PARE_PIPELINE_REPORT_ENTRIES_H

#include "pipeline/report.h"

/* The number that marks a rewrite made before the pass's own work: such rewrites are counted, not listed. */
#define ENTRY_PREPARED "prepared"

/* Entries with the same text share a line. `all`: nothing is cut; else long lists of what was changed and of notes that begin alike
 * are, and say so; what was skipped, and notes of their own kind, never are. */
void entries_print(const ReportStep *s, bool all, const char *indent, StrBuf *b);

#endif
