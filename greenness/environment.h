/* What else goes on in the machine while something is measured: other load, clock rate, heat, throttling, limits. */
#ifndef PARE_GREENNESS_ENVIRONMENT_H
#define PARE_GREENNESS_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Counters and gauges at one moment. NaN and -1: not told. */
typedef struct Surroundings {
    double busy, total, steal; /* CPU seconds of all cores since the machine started */
    double own;                /* CPU seconds of this process */
    double mhz, celsius;       /* mean over the cores that tell; hottest sensor of the processor */
    int64_t throttled;         /* times the processor slowed itself down, all cores */
    int64_t quota_throttled;   /* times the control group was made to wait */
} Surroundings;

/* Before and after, and what follows from both. */
typedef struct Environment {
    double other_load;   /* share of all cores that other processes took, 0..1 */
    double steal;        /* share that the hypervisor gave to others */
    double load_average; /* of the last minute, at the start */
    double mhz_before, mhz_after, mhz_most;
    char governor[32];
    double celsius_before, celsius_after;
    int64_t throttled, quota_throttled; /* while measuring */
    double quota_cores;  /* of the control group; 0: none */
    bool is_virtual, on_battery;
    int cores;           /* of the machine */
} Environment;

#define WARNING_TEXT 200
#define WARNINGS_MOST 16
typedef struct Warnings {
    char texts[WARNINGS_MOST][WARNING_TEXT]; /* what comes after the last one is left out */
    int count;
} Warnings;

void warn(Warnings *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `root` as in SourceSettings.sysroot; `own`: CPU seconds of this process so far. */
void surroundings_read(const char *root, double own, Surroundings *out);
void environment_of(const char *root, const Surroundings *before, const Surroundings *after, Environment *out);
/* What a reader must know of it before he believes a figure. */
void environment_warn(const Environment *e, Warnings *w);

#endif
