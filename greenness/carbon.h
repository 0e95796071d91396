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
    const char *code;   /* ISO 3166 alpha-3; "WLD" */
} GridFactor;

/* The table, by country, newest year first; ends with region NULL. */
const GridFactor *carbon_grids(void);
/* The newest row of a country by name or code, case aside; NULL when there is none, and *nearest (may be NULL) is the nearest name. */
const GridFactor *carbon_grid_find(const char *name, const char **nearest);

extern const GridFactor carbon_world;
/* Power usage effectiveness: what a data centre draws for each watt of computing. 1: none added. */
extern const double carbon_pue;
/* Watts of one busy core, when the user says nothing. */
extern const double energy_watts_per_core;

/* joules x factor x PUE in grams, for a row of the table or one that was given (year 0); NULL: the world's; PUE 0: 1.0. The source says
 * which factor, and how the energy was obtained. */
Sourced carbon_of_grid(const Sourced *joules, const GridFactor *grid, double pue);
/* CPU seconds x watts per core; `watts_per_core` 0: the default. `reason`: why nothing was measured; may be empty. */
Sourced energy_of_cpu_time(double cpu_seconds, double watts_per_core, const char *reason);

/* ---- what is drawn beside the computing, and what making the machine cost ---- */

/* Software carbon intensity (SCI 1.1, ISO/IEC 21031:2024): (E I + M) / R. */
typedef struct Sci {
    double energy_g;    /* E I of one functional unit, grams; PUE inside E */
    double embodied_g;  /* M of one functional unit, 0 where none was given */
    double total_g;
} Sci;

/* M = TE x (TiR / EL) x (RR / ToR): the share of what making the machine emitted. All zero: not given. */
typedef struct Embodied {
    double total_kg;       /* TE, of the whole machine */
    double lifetime_years; /* EL */
    double share;          /* RR / ToR: part of the machine that is reserved; 0: all */
} Embodied;

/* One functional unit: joules, the seconds it holds the machine, the grid, PUE (0: 1.0), what making the machine emitted (or NULL). */
Sci sci_of(double joules, double seconds, double g_per_kwh, double pue, const Embodied *embodied);

/* ---- estimates of other tools, to stand beside measured rows, labelled as what they are ---- */

typedef struct EstimateInput {
    double seconds;        /* run time */
    int cores;             /* that the run holds */
    double usage;          /* of those cores, 0..1; 0: 1 */
    double watts_per_core; /* thermal design power / cores; 0: 12, Green Algorithms' for a processor not in its table */
    double memory_gb;      /* memory available to the run */
    double pue;            /* 0: 1.0 */
} EstimateInput;

/* Green Algorithms (Lannelongue et al., Advanced Science 2021): t (n_c P_c u_c + n_mem 0.3725 W/GB) PUE. Joules, labelled. */
Sourced estimate_green_algorithms(const EstimateInput *in);
/* What CodeCarbon falls back to where it can read nothing: half the thermal design power x time; 4 W a thread for a processor that it
 * does not know. `tdp_watts` 0: not known. Joules, labelled. */
Sourced estimate_time_tdp(double seconds, double tdp_watts, int threads);

#endif
