/* Networks side by side, by any maker: sizes, counts, accuracy, and what compare_networks measured of them. The document of
 * `pare compare` and, with one network, of `pare measure`. Numbers that are not there as in pipeline/report.h. */
#ifndef PARE_PIPELINE_COMPARISON_H
#define PARE_PIPELINE_COMPARISON_H

#include "greenness/compare.h"
#include "pipeline/report.h"

typedef struct ComparisonFile {
    const char *path;
    ReportState state;     /* sizes, counts, accuracy; fidelity to the first network. Its latency and energy are in `measured` */
    int64_t peak_memory;   /* bytes of a process of its own that loads it and runs it once; -1: not told */
    double bytes_moved;    /* of one inference, at least: weights and activations once */
    double intensity;      /* operations a byte: (2 MACs + elementwise) / bytes_moved */
} ComparisonFile;

/* Goals are judged for each network but the first. */
typedef struct ComparisonGoals {
    const char *path;
    GoalResult *goals;
    int goal_count;
} ComparisonGoals;

typedef struct ComparisonReport {
    int64_t format;        /* of this document; 1 */
    ComparisonFile *files; /* as many as measured.count, in its order; the first is "before" */
    int file_count;
    Comparison measured;   /* networks[i] belongs to files[i] */
    ComparisonGoals *judged;
    int judged_count;
    ReportData data;       /* evaluation and fidelity only */
    MachineInfo machine;
    cJSON *versions;
    const char *convention;
    char *command;         /* to do it again */
    Arena *arena;
} ComparisonReport;

typedef struct ComparisonOptions {
    const char *const *paths;
    int count;
    const char *data;          /* NULL: seeded random inputs */
    int64_t batch;             /* of one call; 0: 1, or what the network fixes */
    const Goals *goals;        /* NULL: none */
    CompareOptions measure;    /* threads, memory, log and seed are filled in */
    int threads;
    uint64_t max_mem;
    bool no_fork;              /* peak memory is left out: a library must not fork its host */
    Log *log;
} ComparisonOptions;

/* *out is filled when the status is OK or ERR_GOAL. Free with comparison_report_free. ERR_DATA: inputs that do not fit one of them. */
Status compare_files(const ComparisonOptions *options, ComparisonReport **out, Err *err);
void comparison_report_free(ComparisonReport *r);

cJSON *comparison_json(const ComparisonReport *r); /* keys in a fixed order; NULL when out of memory */
cJSON *comparison_schema(void);
void comparison_print(const ComparisonReport *r, StrBuf *b);
void comparison_print_markdown(const ComparisonReport *r, StrBuf *b);

#endif
