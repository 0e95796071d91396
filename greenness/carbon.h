/* From energy to carbon dioxide, and from CPU time to energy: the constants, each with its source. */
#ifndef PARE_GREENNESS_CARBON_H
#define PARE_GREENNESS_CARBON_H

#include "greenness/measure.h"

/* Carbon intensity of electricity. */
typedef struct GridFactor {
    double g_per_kwh;
    const char *region;
    int year;
    const char *basis;  /* what is counted */
    const char *source;
} GridFactor;

extern const GridFactor carbon_world;
/* Power usage effectiveness: what a data centre draws for each watt of computing. 1: none added. */
extern const double carbon_pue;
/* Watts of one busy core, when the user says nothing. */
extern const double energy_watts_per_core;

/* joules x factor x PUE in grams; `g_per_kwh` 0: the world's. The source says which factor, and how the energy was obtained. */
Sourced carbon_of_energy(const Sourced *joules, double g_per_kwh);
/* CPU seconds x watts per core; `watts_per_core` 0: the default. `reason`: why nothing was measured; may be empty. */
Sourced energy_of_cpu_time(double cpu_seconds, double watts_per_core, const char *reason);

#endif
