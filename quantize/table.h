/* The calibration table: a text file, one line for each tensor, that people read, edit and use again.
 *
 *     # anything
 *     # The network was rewritten first by: balance smooth
 *     "conv1/output" -0.25 3.5 mse          name, low, high, method
 *     #"conv2/output" 0 6 minmax            commented out: this tensor stays float
 *
 * A name stands in double quotes, with \" \\ and \xHH for what is no printable ASCII; one without blanks, quotes and # may stand bare.
 * Fields are separated by blanks. The method is a word of CALIBRATE_CHOICES but auto, or "manual". A comment whose text begins with a
 * quoted name, or is one whole line of the table, is a line commented out and is read as strictly as any other. */
#ifndef PARE_QUANTIZE_TABLE_H
#define PARE_QUANTIZE_TABLE_H

#include "graph/graph.h"
#include "quantize/calibrate.h"

#define TABLE_REWRITTEN 64
#define TABLE_AS_IT_IS "nothing" /* rewrote it */

typedef enum TableState {
    TABLE_ABSENT, /* no line: as without a table */
    TABLE_FLOAT,  /* commented out */
    TABLE_ENDS,
} TableState;

typedef struct TableEntry {
    TableState state;
    Ends ends;          /* as written, low <= high; of TABLE_FLOAT too */
    Calibration method; /* CALIBRATE_METHODS: by hand */
    int line;           /* counted from 1 */
} TableEntry;

typedef struct CalibrationTable {
    TableEntry *entries; /* [value_count + 1], by ValueId */
    uint32_t value_count;
    int count;           /* lines, those commented out included */
    char rewritten[TABLE_REWRITTEN]; /* the rewrites of the network that the ends belong to, by name; "nothing"; "": it does not say */
} CalibrationTable;

/* ERR_DATA with `path` and the line: what is no line of a table, a tensor that g does not have or that is constant, the same one twice,
 * an end that is NaN, infinite or beyond float32, low above high. *out is to be released in every case. */
Status calibration_table_read(Str text, const char *path, const Graph *g, CalibrationTable *out, Err *err);
void calibration_table_release(CalibrationTable *t); /* zeroed is fine */
/* TABLE_ABSENT also for an empty table and for values made after it was read. */
TableEntry calibration_table_find(const CalibrationTable *t, ValueId v);

/* One line of a table to write. */
typedef struct TableLine {
    ValueId value;
    Ends ends;
    Calibration method; /* CALIBRATE_METHODS: by hand */
    bool is_float;      /* write it commented out */
} TableLine;

/* The whole file, lines in the order given: the same for the same lines; numbers read back as they were. `rewritten` as in
 * CalibrationTable. Check b->failed. */
void calibration_table_write(const Graph *g, const char *rewritten, const TableLine *lines, int count, StrBuf *b);

#endif
