/* One line a run: what each build of a network was, the trend over them, and whether the last one is worse beyond the noise. */
#ifndef PARE_PIPELINE_HISTORY_H
#define PARE_PIPELINE_HISTORY_H

#include "pipeline/comparison.h"
#include "pipeline/report.h"

/* X(identifier, key in the file, title, unit, more is better) */
#define HISTORY_LIST(X) \
    X(HISTORY_TIME, "run_time", "run time", "s", false) \
    X(HISTORY_CPU, "cpu_time", "CPU time", "s", false) \
    X(HISTORY_SIZE, "file_bytes", "file size", "B", false) \
    X(HISTORY_OPERATIONS, "macs", "operations", "MAC", false) \
    X(HISTORY_POWER, "power", "power", "W", false) \
    X(HISTORY_ENERGY, "energy", "energy", "J", false) \
    X(HISTORY_CARBON, "carbon", "carbon", "g CO2e", false) \
    X(HISTORY_ACCURACY, "accuracy", "accuracy", "", true)

typedef enum HistoryId {
#define X(id, key, title, unit, more) id,
    HISTORY_LIST(X)
#undef X
    HISTORY_COUNT
} HistoryId;

typedef struct HistoryInfo {
    const char *key, *title, *unit;
    bool more_is_better;
} HistoryInfo;
extern const HistoryInfo history_infos[HISTORY_COUNT];

typedef struct HistoryPoint {
    double value, low, high; /* of one inference, in the unit; 95 % interval; NaN where not known */
    bool modelled;           /* energy and what follows from it */
} HistoryPoint;

typedef struct HistoryEntry {
    char created[24], version[24];
    char name[128], machine[192]; /* of the result's file; processor, instructions and threads: times compare only on the same */
    char meter[160];              /* where energy came from, as its source says: energies compare only from the same */
    char source[HASH_TEXT], result[HASH_TEXT], recipe[HASH_TEXT];
    double other_load;            /* share of all cores that other processes took meanwhile; NaN: not known */
    HistoryPoint before[HISTORY_COUNT], after[HISTORY_COUNT];
    unsigned bad;                 /* bits of HistoryId: numbers of `after` that are none, negative or beyond 1 */
    int line;                     /* of the file it was read from */
} HistoryEntry;

void history_of_report(const Report *r, HistoryEntry *out);
/* Network k of a comparison, the first one beside it as what was before. */
void history_of_comparison(const ComparisonReport *r, int k, HistoryEntry *out);
/* One line of at most HISTORY_LINE bytes, in one write under a lock. */
#define HISTORY_LINE 8192
Status history_append(const char *path, const HistoryEntry *e, Err *err);

typedef struct HistorySkip {
    int line;
    char reason[96];
} HistorySkip;

#define HISTORY_SKIPS 20 /* named; the others are counted */

typedef struct History {
    HistoryEntry *entries;
    size_t count, capacity;
    HistorySkip skips[HISTORY_SKIPS];
    int skipped, last_skipped; /* how many; the line of the last one */
    char others[256]; /* networks that history_keep left out: "'a.onnx', 'b.onnx'"; empty: none */
} History;

/* Whether the file could be appended to: not there, empty, or a history by its first line (a crash may have cut that off). ERR_USAGE: it is
 * of something else; ERR_IO. What is no regular file is not looked into. */
Status history_check(const char *path, Err *err);

/* Lines that are cut off, foreign or too long are skipped and named. ERR_IO. */
Status history_read(const char *path, History *out, Err *err);
/* Keeps the entries of one network, by name; NULL: of the last line's. Names the others. */
void history_keep(History *h, const char *name);
/* Bits of HistoryId: numbers that the last entry lacks though the one before had them, or that can be no such number. */
unsigned history_unjudged(const History *h);
void history_release(History *h);

typedef enum HistoryChange { HISTORY_UNKNOWN, HISTORY_SAME, HISTORY_BETTER, HISTORY_WORSE } HistoryChange;

/* The last build against those before it. */
typedef struct HistoryTrend {
    int points;          /* builds with a number */
    double first, last;
    double previous;     /* the build before the last (times: on its machine) */
    double base;         /* what it is judged against: the build before; times: the median of at most 16; accuracy: the best one */
    double noise;        /* relative; a change within it is none */
    int base_count;
    HistoryChange change;
    char against[32];    /* "the median of 5", "the best"; empty: the build before */
    char note[96];       /* why nothing can be said, or why a change is none */
} HistoryTrend;

/* The rule, in words of the documentation: counted numbers (size, operations) are worse by any growth over 0.5 % of the build before;
 * time, CPU time and measured energy where the last interval and that of the build before do not overlap, and the last is further from
 * the median of the earlier ones than three times their spread and 2 %, run time on a busy machine only where CPU time says the same;
 * modelled energy follows time and is not judged; accuracy where the intervals of the last build and the best one before it do not
 * overlap. */
void history_trend(const History *h, HistoryId id, HistoryTrend *out);

void history_print(const History *h, const char *path, bool color, bool utf8, StrBuf *b);
cJSON *history_json(const History *h, const char *path); /* NULL when out of memory */
void history_html(const History *h, const char *path, StrBuf *b);

#endif
