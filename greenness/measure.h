/* Measured and modelled greenness of networks: latency of interleaved runs, energy from RAPL where readable, else modelled. */
#ifndef PARE_GREENNESS_MEASURE_H
#define PARE_GREENNESS_MEASURE_H

#include "engine/engine.h"

typedef struct Interval {
    double median, low, high; /* 95 % */
} Interval;

/* A number with where it comes from: "measured: ..." or "modelled: ...". NaN value: not available, source says why. */
typedef struct Sourced {
    double value;
    char source[160];
} Sourced;

typedef struct Latency {
    Interval ms;       /* of one call at batch 1 */
    int runs;
    double cpu_seconds; /* per call, all threads */
    Sourced energy_j, power_w, carbon_g; /* per call */
} Latency;

typedef struct MeasureOptions {
    int threads;
    double seconds;    /* time budget for both networks together; 0: 2 s */
    int min_runs, max_runs;
    uint64_t seed;
    double grid_g_per_kwh;  /* 0: the world default of greenness/carbon.c */
    double watts_per_core;  /* 0: default; for the CPU-time model */
    const char *sysroot; /* the tree that holds sys/ and proc/; NULL: "/" */
    Log *log;
} MeasureOptions;

/* Warms up, then runs all networks interleaved in seeded random order on the same inputs until budget or precision is reached.
 * sessions[i] is fed inputs[i] (one tensor per feed). Median with a bootstrap interval (seeded). */
Status measure_latency(Session *const *sessions, const Tensor *const *inputs, int count, const MeasureOptions *options,
                       Latency *out, Err *err);

typedef struct MachineInfo {
    char cpu[128], os[128], isa[64]; /* isa: "avx2", "avx512 vnni" ... */
    int cores, threads;
} MachineInfo;
void machine_info(MachineInfo *m);
/* Peak resident memory of this process in bytes (VmHWM). */
int64_t peak_memory(void);

#endif
