/* Sources of energy figures: meters, counters, sensors, and the models that stand in where nothing can be read.
 *
 * A source is one file that ends in one const struct SourceKind, listed once below, best first. Use:
 *     source_open_best(&settings, &source, err);       one source for everything that is to be compared
 *     source_begin(&source);  ... work ...;  source_poll(&source) at least every source.poll_seconds ...
 *     source_end(&source, &work, &reading);            joules of the window, or why there are none
 * A window whose reading is dropped is lost with its whole pair: no number is invented, and part of a sum is never taken for the whole.
 * Figures of different sources are never compared. */
#ifndef PARE_GREENNESS_SOURCE_H
#define PARE_GREENNESS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* X(identifier, text in reports, measured): how a figure came about. */
#define PROVENANCE_LIST(X) \
    X(PROVENANCE_EXTERNAL, "measured_external", true) \
    X(PROVENANCE_COUNTER, "measured_counter", true) \
    X(PROVENANCE_GPU, "measured_counter_gpu", true) \
    X(PROVENANCE_SENSOR, "measured_sensor", true) \
    X(PROVENANCE_BATTERY, "measured_battery", true) \
    X(PROVENANCE_CALIBRATED, "modelled_calibrated", false) \
    X(PROVENANCE_ELSEWHERE, "modelled_calibrated_elsewhere", false) \
    X(PROVENANCE_TABLE, "modelled_generic", false) \
    X(PROVENANCE_CPU_TIME, "modelled_cpu_time", false)

typedef enum Provenance {
#define X(name, text, measured) name,
    PROVENANCE_LIST(X)
#undef X
} Provenance;

const char *provenance_text(Provenance p);
bool provenance_measured(Provenance p);

/* Readiness of a source on this machine. */
#define SOURCE_STATE_LIST(X) \
    X(SOURCE_READY, "ready") \
    X(SOURCE_DENIED, "denied") \
    X(SOURCE_ABSENT, "absent") \
    X(SOURCE_UNSET, "not set") /* needs an option or a profile */ \
    X(SOURCE_UNUSABLE, "unusable") /* there, but it cannot tell energy now */

typedef enum SourceState {
#define X(name, text) name,
    SOURCE_STATE_LIST(X)
#undef X
} SourceState;

const char *source_state_text(SourceState s);

/* One moment on three clocks, seconds. `monotonic` stands still while the machine sleeps, `boot` does not, `real` can be set. */
typedef struct SourceTime {
    double monotonic, boot, real;
} SourceTime;

/* What was done in a window: for the models. Counts of the whole window, not of one inference. */
typedef struct Work {
    double cpu_seconds;           /* all threads */
    double macs_float, macs_int8; /* executed */
    double elementwise;           /* float operations that are no MACs */
    double bytes;                 /* moved between processor and memory, at least */
} Work;

/* The calls of the NVIDIA management library that are used; tests give their own. Return 0 when done. */
typedef struct NvmlCalls {
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *out);
    int (*handle)(unsigned index, void **out);
    int (*name)(void *device, char *text, unsigned size);
    int (*energy)(void *device, unsigned long long *millijoules); /* since the driver was loaded; Volta and later */
    int (*power)(void *device, unsigned *milliwatts);
    const char *(*error)(int code);
} NvmlCalls;

struct Profile;

/* Where to look. All zero: this machine, nothing given. Pointers are borrowed until source_close. */
typedef struct SourceSettings {
    const char *sysroot;       /* the tree that holds sys/ and proc/; NULL: "/" */
    const char *meter_path;    /* log of an external meter, NULL: none */
    double meter_offset;       /* seconds that the meter's clock is ahead of this machine's */
    const char *sensor;        /* "hwmon3/power1" or its label, NULL: only sensors known to see the whole machine */
    const struct Profile *profile; /* machine profile, NULL: none */
    double watts_per_core;     /* for the CPU-time model; 0: the default of greenness/carbon.h */
    const NvmlCalls *nvml;     /* NULL: libnvidia-ml.so.1, when it is there and sysroot is not set */
    int (*perf_open)(void *context, uint32_t type, uint64_t config, int cpu); /* NULL: the system call; -1 and errno */
    void (*clock)(void *context, SourceTime *now);                            /* NULL: the machine's clocks */
    void *context;
} SourceSettings;

typedef struct SourceKind SourceKind;

#define SOURCE_TEXT 256

/* An open source; the fields above `state` are for readers. */
typedef struct Source {
    const SourceKind *kind;
    SourceState readiness;
    Provenance provenance;
    char label[96];           /* "2 packages + dram", "hwmon2/power1 VDD_IN" */
    char boundary[96];        /* what the figure covers: "processor packages and memory", "whole machine at the plug" */
    char resolution[96];      /* "15 uJ every 1 ms" */
    char note[SOURCE_TEXT];   /* what else a reader must know; may be empty */
    char reason[SOURCE_TEXT]; /* why it is not ready, or why the last window was dropped */
    char fix[2 * SOURCE_TEXT];/* what to do about it, commands included; lines end in '\n' but the last; may be empty */
    double factor;            /* uncertainty of absolute figures: the truth lies within value / factor .. value * factor (1.1: 10 %) */
    double update_seconds;    /* how often it moves; a window of T seconds is doubtful by 2 * update / T */
    double step_joules;       /* it moves by so much at a time; 0: finer than matters. A window of few steps is dropped */
    double least_window;      /* seconds a window must last to be worth reading */
    double poll_seconds;      /* source_poll at least so often inside a window; 0: edges only */
    double limit_watts;       /* four times the plausible power: above it a reading lies */
    bool proportional;        /* follows time: as a ratio it adds nothing to time */
    bool beside;              /* sees a device on which pare computes nothing, or only ranks: shown, never chosen by itself */

    void *state;              /* of the kind */
    SourceSettings settings;
    SourceTime start, last;   /* of the window */
    double joules;            /* of the window so far */
    bool in_window, spoiled;
} Source;

typedef enum ReadingState {
    READING_GOOD,
    READING_PENDING, /* the log does not reach the window's end yet: source_settle later */
    READING_DROPPED, /* see reason; joules is NaN */
} ReadingState;

typedef struct Reading {
    ReadingState state;
    double joules, seconds, watts;
    double resolution;        /* relative doubt from the source's own steps in this window: 0.004 */
    SourceTime start, end;
    bool still;               /* dropped: the counter did not move */
    char reason[SOURCE_TEXT];
} Reading;

struct SourceKind {
    const char *id;           /* "powercap" */
    const char *title;        /* "RAPL through powercap" */
    int level;                /* 0 best; figures of different levels never stand in one ratio */
    /* Fills the reader's fields and state; readiness other than SOURCE_READY: reason and fix say why, and state stays NULL. */
    void (*open)(Source *s);
    /* Joules since the call before. False with reason: the step is lost and the next one starts here. NULL for models and logs. */
    bool (*step)(Source *s, const SourceTime *now, double *joules);
    /* Models: joules of a window. False with reason. */
    bool (*model)(Source *s, const Work *work, double seconds, double *joules);
    /* Logs: joules between two times of the real clock. READING_PENDING when the log does not reach far enough yet. */
    ReadingState (*between)(Source *s, double from, double to, double *joules);
    void (*close)(Source *s); /* called when there is a state */
};

#define SOURCE_LIST(X) \
    X(source_meter) \
    X(source_perf) \
    X(source_powercap) \
    X(source_nvml) \
    X(source_hwmon) \
    X(source_battery) \
    X(source_roofline) \
    X(source_table) \
    X(source_cpu_time)

#define X(name) extern const SourceKind name;
SOURCE_LIST(X)
#undef X

const SourceKind *const *sources_all(void); /* best first, NULL terminated */

/* True when the source is ready. In both cases source_close is due. */
bool source_open(const SourceKind *kind, const SourceSettings *settings, Source *out);
/* The source that the user named, by a meter's log or a board's sensor; NULL: none. Whoever names one gets it or an error. */
const SourceKind *source_named(const SourceSettings *settings);
/* The named one; else the first that is ready and sees what computes. One always is: CPU time x watts needs nothing. Errors: those of
 * source_check_named. */
Status source_open_best(const SourceSettings *settings, Source *out, Err *err);
/* The next one below `after`, where that one turned out to drop every window. ERR_UNSUPPORTED: there is none, or it was named. */
Status source_open_after(const SourceKind *after, const SourceSettings *settings, Source *out, Err *err);
/* What was named, a meter log or a sensor, can be used: asked before the work. ERR_DATA: the log is malformed; ERR_IO: it or the sensor
 * cannot be read; ERR_USAGE: there is no such sensor, and which there are, or both were named. */
Status source_check_named(const SourceSettings *settings, Err *err);
void source_close(Source *s);

/* The clocks that a source with these settings reads. */
void source_now(const SourceSettings *settings, SourceTime *now);

void source_begin(Source *s);
/* Follows counters that wrap and powers that must be sampled. Cheap; does nothing outside a window. */
void source_poll(Source *s);
/* `work` may be NULL where the source measures. Models without it drop the window. */
void source_end(Source *s, const Work *work, Reading *out);
/* A pending reading again, now that the log has grown. Other readings stay as they are. */
void source_settle(Source *s, Reading *r);

/* "+-10 %" or "x/: 3" */
void source_uncertainty(const Source *s, char *text, size_t size);
/* "measured: RAPL through powercap, 2 packages + dram, +-10 %"; for models that follow time "; adds nothing to time". */
void source_describe(const Source *s, char *text, size_t size);

#endif
