/* What measured and modelled figures are made of, and the machine they come from. */
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

typedef struct MachineInfo {
    char cpu[128], os[128], isa[64]; /* isa: "avx2", "avx512 vnni" ... */
    int cores, threads;
} MachineInfo;
void machine_info(MachineInfo *m);
/* Peak resident memory of this process in bytes (VmHWM). */
int64_t peak_memory(void);

#endif
