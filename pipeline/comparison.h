/* Networks side by side, by any maker: sizes, counts, accuracy, and what compare_networks measured of them. The document of
 * `pare compare` and, with one network, of `pare measure`. Numbers that are not there as in pipeline/report.h. */
#ifndef PARE_PIPELINE_COMPARISON_H
#define PARE_PIPELINE_COMPARISON_H

#include "greenness/compare.h"
#include "pipeline/footprint.h"
#include "pipeline/places.h"
#include "pipeline/report.h"

typedef struct ComparisonFile {
    const char *name, *path; /* name: the last part of the path, made different where two are the same */
    ReportState state;     /* sizes, counts, accuracy; fidelity to the first network; medians and sources of what was measured */
    Compared measured;     /* intervals and ratios; its pairs belong to the report's `measured` */
    double bytes_moved;    /* of one inference, at least: weights and activations once */
    char inputs[400];      /* how its inputs are not the first one's; empty: they are */
    double intensity;      /* operations a byte: (2 MACs + elementwise) / bytes_moved */
} ComparisonFile;

/* A goal, judged for each network but the first. */
typedef struct ComparisonGoal {
    int network;
    GoalResult result;
} ComparisonGoal;

/* Carbon of one inference on another grid. */
typedef struct ComparisonScenario {
    GridFactor grid;
    double first_g, last_g;
} ComparisonScenario;

typedef struct ComparisonReport {
    int64_t format;        /* of this document; 1 */
    char created[24];      /* UTC, "2026-01-31T12:00:00Z" */
    const char *command;   /* that does it again; borrowed; NULL: not known */
    ComparisonFile *files; /* the first is what the others are compared with */
    int file_count;
    Comparison measured;   /* count 0: nothing was timed, note says why. files[i].state.compared is the index into its networks */
    char note[256];
    ComparisonGoal *goals;
    int goal_count;
    ComparisonScenario *scenarios; /* the grid asked for first */
    int scenario_count;
    Sci *sci;              /* of one inference of each network that was timed */
    int sci_count;
    const char *kernels;   /* what networks were measured with, as gauge_kernels says it */
    cJSON *peaks;          /* of this machine, as in Report; NULL: not measured */
    cJSON *comparisons;    /* ratios pair by pair, form of pipeline/html_report.h */
    ReportData data;       /* evaluation and fidelity only */
    int64_t batch, seed;
    MachineInfo machine;
    cJSON *versions;
    const char *convention;
    Arena *arena;
} ComparisonReport;

typedef struct ComparisonOptions {
    const char *command;       /* that does it again, for the report; borrowed as long as that lives; NULL: not known */
    const char *const *paths;
    int count;
    const char *data;          /* NULL: seeded random inputs */
    int64_t batch;             /* of one call; 0: 1, or what the network fixes */
    const Goals *goals;        /* NULL: none */
    const Footprint *footprint;/* grid, PUE, what making the machine emitted */
    CompareOptions measure;    /* threads, memory, log and what the footprint says are filled in */
    int threads;
    bool plain;                /* as in SessionOptions */
    Int8Use int8;
    uint64_t max_mem;
    bool layers;               /* time of each layer and the machine's peaks, for the page */
    bool no_fork;              /* peak memory is left out: a library must not fork its host */
    const Places *places;      /* that the caller writes: none may be a file that is read; NULL: none */
    Log *log;
} ComparisonOptions;

/* *out is filled when the status is OK or ERR_GOAL. Free with comparison_report_free. ERR_DATA: inputs that do not fit one of them;
 * ERR_USAGE: goals that need numbers which will not be there. */
Status compare_files(const ComparisonOptions *options, ComparisonReport **out, Err *err);
void comparison_report_free(ComparisonReport *r);

/* Medians, sources and index of network k of a comparison, as a report's state holds them. */
void report_state_compared(ReportState *s, const Comparison *c, int k);
/* Ratios of network k's time and energy to the first one's, and how sure they are, as goals are judged on them; k below 0: not measured. */
void goal_numbers_compared(GoalNumbers *n, const Comparison *c, int k);
/* Ratios pair by pair with the null band, for time and energy of each network but the first, and the verdict on power. `index`: the number
 * that stands for each network, below zero: left out; NULL: its own. NULL when out of memory. */
cJSON *comparison_pairs(const Comparison *c, const int *index);
cJSON *comparison_json(const ComparisonReport *r); /* keys in a fixed order; NULL when out of memory */
cJSON *comparison_schema(void);
void comparison_print(const ComparisonReport *r, StrBuf *b);
void comparison_print_markdown(const ComparisonReport *r, StrBuf *b);
/* folder/report.json, report.html and report.md; the folder is made when missing. */
Status comparison_write(const ComparisonReport *r, const char *folder, Err *err);
/* The goals as JUnit XML, a suite for each network but the first. */
Status comparison_write_junit(const ComparisonReport *r, const char *path, Err *err);

#endif
