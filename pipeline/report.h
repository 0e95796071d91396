/* The report of a run: plain numbers, filled by the runner, written as JSON by the tables of report_json.c and as text by
 * report_table.c. Integers below zero, doubles that are not finite and empty texts stand for "not measured" and become null. */
#ifndef PARE_PIPELINE_REPORT_H
#define PARE_PIPELINE_REPORT_H

#include "base/hash.h"
#include "graph/pass.h"
#include "greenness/carbon.h"
#include "greenness/compare.h"
#include "greenness/counts.h"
#include "greenness/measure.h"
#include "pipeline/evaluate.h"
#include "pipeline/goals.h"

#include <cjson/cJSON.h>

typedef struct ReportMacs {
    int64_t total, nonzero, float32, int8;
} ReportMacs;

typedef struct ReportFidelity {
    const char *output;
    double sqnr_db, cosine, max_abs, top1_agreement;
    int64_t positions;
} ReportFidelity;

/* One layer, as greenness/counts.h counts it. */
typedef struct ReportLayer {
    const char *name, *type, *mac_type;
    int64_t parameters, macs, bytes; /* bytes: moved in one inference; -1 where not told */
    double milliseconds;             /* of one inference; NaN where not measured */
} ReportLayer;

/* One network at one moment. */
typedef struct ReportState {
    int64_t file_bytes, deflated_bytes;
    char sha256[HASH_TEXT];
    int64_t parameters, nonzeros;
    double weight_bits, stored_bits;
    int64_t undecided;
    char counted_at[96]; /* what was taken for dimensions that the file leaves open; empty: it leaves none */
    ReportMacs macs;
    int64_t elementwise, transcendental, weight_bytes, activation_bytes;
    int64_t peak_memory;          /* bytes of a process of its own that loads it and runs it once; -1: not told */
    char uncounted[256];
    Interval latency_ms, call_cpu_seconds, net_j; /* of one inference; net: above the idle machine */
    int64_t latency_runs;
    char latency_note[256]; /* why there is no latency */
    Sourced energy_j, power_w, carbon_g;
    Sourced green_algorithms_j, time_tdp_j; /* what two calculators would say: models, to stand beside */
    int compared;             /* this network among Report.measured.networks; -1: it was not timed */
    int64_t samples, correct;
    double accuracy, accuracy_low, accuracy_high, cross_entropy;
    ReportFidelity *fidelity; /* against the network as loaded */
    int fidelity_count;
    ReportLayer *by_layer;     /* before and after only; owned */
    int by_layer_count;
    int layer_threads;         /* that the layers were timed with */
} ReportState;

typedef struct ReportEntry {
    const char *object, *text;
    cJSON *numbers;
} ReportEntry;

typedef struct ReportStep {
    const char *pass;
    cJSON *options;          /* in full */
    cJSON *layers;           /* the rules of the recipe, null when none */
    char text_sha256[HASH_TEXT]; /* of the text file that the pass read (a table); empty: none */
    double seconds, cpu_seconds;
    Sourced cost_energy_j;   /* of the pass itself; NaN: source says why, empty: not asked for */
    int window;              /* of the run's account; -1: none */
    ReportState state;
    PassRecord record;       /* what the entries point into */
    ReportEntry *changed, *skipped, *notes;
    int changed_count, skipped_count, note_count;
} ReportStep;

typedef struct ReportCost {
    double seconds, cpu_seconds; /* of the passes alone */
    int64_t peak_memory;         /* of the whole process, VmHWM */
    Sourced energy_j, carbon_g;  /* of the passes */
    double predicted_j, found_j; /* of the longest task: said before half of it was done, and what it came to; NaN: none was */
    char predicted_task[64];
    double pays_back;            /* inferences after which it has saved the energy that it took; NaN: no saving was shown */
    double pays_back_low, pays_back_high; /* by the interval of the ratio */
    char pays_back_note[160];    /* why not */
} ReportCost;

/* Carbon of one inference of the first and the last network on one grid. */
typedef struct ReportScenario {
    GridFactor grid;
    double before_g, after_g;
} ReportScenario;

/* From energy to carbon: which grid, and over several. */
typedef struct ReportCarbon {
    GridFactor grid;
    double pue;
    Embodied embodied;           /* NaN where not given */
    Sci *sci;                    /* of one inference: before and after; owned */
    int sci_count;
    ReportScenario *scenarios;   /* owned */
    int scenario_count;
} ReportCarbon;

typedef struct ReportData {
    const char *calibration, *evaluation, *fidelity; /* what was used: a path, "random inputs ..." */
    int64_t calibration_samples, evaluation_samples;
    char calibration_sha256[HASH_TEXT], evaluation_sha256[HASH_TEXT];
} ReportData;

typedef struct Report {
    int64_t format;          /* of this document; 1 */
    bool dry_run;
    char *source, *result;   /* paths as given */
    char recipe_sha256[HASH_TEXT];
    cJSON *recipe, *versions;
    int64_t seed;
    const char *kernels;   /* what networks were measured with: "all", "plain", "all, int8 where it is faster" */
    ReportState before, after;
    bool has_after;
    Comparison measured;     /* the loaded network first; count 0: nothing was timed */
    ReportStep *steps;
    int step_count;
    char kept[96];           /* --keep-last-good: the step whose network was written, when it is not the last one */
    GoalResult *goals;
    int goal_count;
    ReportCost cost;
    ReportCarbon carbon;
    cJSON *comparisons;      /* pair by pair, form of pipeline/html_report.h; NULL: none */
    cJSON *peaks;            /* of this machine, a second: mac_f32, mac_int8, byte_l2, byte_dram; NULL: not measured */
    const char *command;     /* that does it again; borrowed; NULL: not known */
    char created[24];        /* UTC, "2025-01-31T12:00:00Z" */
    ReportData data;
    MachineInfo machine;
    const char *convention;
    Arena *arena;            /* texts */
} Report;

Report *report_new(void); /* NULL when out of memory */
void report_free(Report *r);
void report_state_init(ReportState *s); /* nothing measured */
void report_state_counts(ReportState *s, const Counts *c);
/* Layers of their own, with weights or MACs; names are made safe. */
Status report_state_layers(ReportState *s, const Counts *c, Arena *arena, Err *err);
Status report_state_evaluation(ReportState *s, const Evaluation *e, Arena *arena, Err *err);
/* Takes the record's entries apart into changed, skipped and notes; takes the record over. */
Status report_step_record(ReportStep *step, PassRecord *record, Err *err);

/* Keys in a fixed order. NULL when out of memory. */
cJSON *report_json(const Report *r);
/* JSON Schema 2020-12 of that document. */
cJSON *report_schema(void);
/* For the terminal: before, after, change; provenance; what each pass did; goals. */
void report_print(const Report *r, StrBuf *b);
void report_print_markdown(const Report *r, StrBuf *b);
/* folder/report.json, report.html and report.md; the folder is made when missing. */
Status report_write(const Report *r, const char *folder, Err *err);
/* The same files of any report: report.json and report.html of `json` (NULL: no memory for it), and report.md. */
Status report_put_files(const char *folder, const cJSON *json, const StrBuf *markdown, Err *err);
/* The goals as JUnit XML. */
Status report_write_junit(const Report *r, const char *path, Err *err);
/* Whether it could write there, so that no hour of work and no network is spent on a report that cannot be kept. */
Status report_check_folder(const char *folder, Err *err);

#endif
