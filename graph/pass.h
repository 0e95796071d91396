/* A compression pass: one file that ends in one const Pass. Passes never load, save, time or print; they open no files
 * and read no clock. */
#ifndef PARE_GRAPH_PASS_H
#define PARE_GRAPH_PASS_H

#include "base/log.h"
#include "base/opts.h"
#include "graph/layer.h"

typedef struct Dataset Dataset; /* data/dataset.h */
typedef struct Targets Targets; /* data/targets.h */

typedef enum RecordKind { RECORD_CHANGED, RECORD_SKIPPED, RECORD_NOTE } RecordKind;

typedef struct RecordNumber {
    const char *name; /* literal: "sparsity", "rank" */
    double value;
} RecordNumber;

typedef struct RecordEntry {
    RecordKind kind;
    char *object; /* layer, node or tensor */
    char *text;   /* what was done, or why not */
    RecordNumber numbers[6];
    int number_count;
} RecordEntry;

/* What a pass did, in order; read by the report. */
typedef struct PassRecord {
    RecordEntry *entries;
    size_t count, capacity;
    bool failed; /* an allocation failed */
} PassRecord;

void record_add(PassRecord *r, RecordKind kind, Str object, const char *format, ...) __attribute__((format(printf, 4, 5)));
void record_number(PassRecord *r, const char *name, double value); /* to the entry added last */
void record_release(PassRecord *r);

/* One entry of "layers": later entries override earlier ones. */
typedef struct LayerRule {
    const char *match;
    bool skip;
    const char **names, **values; /* option names and their text */
    int count;
} LayerRule;

typedef struct PassContext {
    Graph *graph;            /* the pass's own clone: edit it freely; ops bound, shapes inferred */
    const void *options;     /* the pass's options struct, filled */
    const struct Pass *pass;
    const LayerRule *rules;
    int rule_count;
    Dataset *calibration;    /* NULL: none given */
    Graph **models;          /* networks named by the OPT_MODELS option, loaded and bound */
    const char *const *model_hashes; /* SHA-256 of their files */
    int model_count;
    Targets *targets;        /* sink opened for the pass's OPT_FILE option, or NULL */
    Str text;                /* contents of the file that the OPT_TEXT option names; data NULL: not given */
    const char *text_path;   /* its name, for messages */
    StrBuf *saved;           /* where the pass leaves the contents of the file that the OPT_SAVE option names; NULL: not asked for */
    PassRecord *record;
    Log *log;                /* progress only */
    Arena *scratch;          /* lives as long as the run of this pass */
    uint64_t seed, max_mem;  /* max_mem 0: no limit */
    int threads;
    const char *cache_dir;   /* NULL: no cache */
} PassContext;

enum {
    PASS_NEEDS_DATA = 1,   /* cannot run without calibration data */
    PASS_NEEDS_GRAPH = 2,  /* cannot run on weights alone */
    PASS_USES_DATA = 4,    /* takes calibration data when given */
    PASS_KEEPS_MODEL = 8,  /* leaves the network as it was (writes targets) */
    PASS_CHECKS_RULES = 16, /* its check tries the patterns itself: they may name more than layers (Gather tables) */
    PASS_USES_LABELS = 32, /* judges by the calibration data's labels when there are some */
};

typedef struct Pass {
    const char *name, *summary;
    const char *details;       /* for `pare help PASS`: what it does, conditions, limits, an example */
    unsigned flags;
    const Opt *options;        /* ends with OPT_END */
    size_t options_size;
    /* Options against each other and the graph, before any pass runs; NULL: nothing to check. */
    Status (*check)(const PassContext *c, Err *err);
    Status (*run)(PassContext *c, Err *err);
} Pass;

/* The registered passes, NULL terminated (pipeline/passes.c). */
const Pass *const *passes_all(void);
const Pass *pass_find(const char *name);

/* The options for one layer: the pass's own overlaid by every matching rule. `out` has pass->options_size bytes.
 * *skip: a rule says skip. */
Status pass_layer_options(const PassContext *c, const Layer *l, void *out, bool *skip, Err *err);
/* ERR_USAGE when a rule matches none of the layers; names the pattern and the nearest layer. */
Status pass_check_rules(const PassContext *c, const Layer *layers, int count, Err *err);

#endif
