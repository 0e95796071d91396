/* `pare profile`: a network run step by step, and what is told of it. */
#ifndef PARE_PIPELINE_PROFILING_H
#define PARE_PIPELINE_PROFILING_H

#include "greenness/timing.h"
#include "pipeline/places.h"

#include <cjson/cJSON.h>

#define PROFILING_SORTS "time|macs|bytes|order"
typedef enum ProfilingSort { PROFILING_TIME, PROFILING_MACS, PROFILING_BYTES, PROFILING_ORDER } ProfilingSort;

typedef struct ProfilingOptions {
    SessionOptions session;
    const char *data;        /* as --data; NULL: random inputs */
    int64_t batch;           /* 0: 1 */
    double seconds;          /* for the runs; 0: 2 */
    const Profile *machine;  /* whose peaks; NULL: measured, in a second */
    const char *machine_path;/* where it is from */
    const Places *places;    /* that the caller writes: none may be a file that is read; NULL: none */
    Log *log;
} ProfilingOptions;

/* One type of node, over the rows chosen. */
typedef struct ProfilingType {
    Str type;
    int64_t rows, calls, macs, bytes;
    double ms, share;
} ProfilingType;

typedef struct Profiling {
    const char *path;
    Timing timing;
    Profile machine;
    const char *machine_path; /* NULL: measured here and now */
    int64_t batch;            /* samples in a run; 0: the inputs have no such axis */
    bool random, plain;
    Int8Use int8;
    char **names;             /* of the rows, safe to print; those of subgraphs behind their node's */
    int *chosen;              /* rows matched, sorted */
    int chosen_count, shown;  /* matched; of them listed */
    ProfilingType *types;     /* over all matched, by time */
    int type_count;
} Profiling;

/* ERR_DATA: the file has no nodes, or its inputs no shape and no data was given. */
Status profiling_run(const Model *m, const char *path, const ProfilingOptions *options, Profiling *out, Err *err);
/* Chooses rows whose name, operator or type matches (NULL: all), sorts them, and lists `top` of them (0: all). ERR_USAGE: none matches. */
Status profiling_choose(Profiling *p, ProfilingSort sort, const char *match, int64_t top, Err *err);
void profiling_release(Profiling *p);

/* profiling_print.c */
void profiling_print(const Profiling *p, StrBuf *b);
cJSON *profiling_json(const Profiling *p); /* NULL when out of memory */

/* profiling_trace.c: the fastest run as events of Chrome's trace format, which Perfetto opens. */
Status profiling_trace(const Profiling *p, StrBuf *b, Err *err);

#endif
