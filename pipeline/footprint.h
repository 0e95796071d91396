/* From energy to carbon as the user asked for it: which grid, several beside it, what a data centre adds, what making the machine cost. */
#ifndef PARE_PIPELINE_FOOTPRINT_H
#define PARE_PIPELINE_FOOTPRINT_H

#include "greenness/carbon.h"
#include "pipeline/report.h"

typedef struct FootprintTexts {
    const char *grid;     /* a country or its code, or grams a kWh; NULL: the world */
    const char *grids;    /* the same, several parted by commas; NULL: a few that differ */
    const char *pue;      /* a number of 1 or more; NULL: 1.0 */
    const char *embodied; /* "KG:YEARS" or "KG:YEARS:SHARE"; NULL: not given */
} FootprintTexts;

#define FOOTPRINT_GRIDS 24

typedef struct Footprint {
    GridFactor grid;
    double pue;
    Embodied embodied;    /* total_kg 0: not given */
    GridFactor grids[FOOTPRINT_GRIDS];
    int grid_count;
} Footprint;

/* ERR_USAGE names the option, what was found and what would do. */
Status footprint_parse(const FootprintTexts *texts, Footprint *out, Err *err);
/* joules x factor x PUE; the source says which factor of which year and basis. */
Sourced footprint_carbon(const Footprint *f, const Sourced *joules);
/* Fills in the report's carbon: of every state, over the grids, SCI, and what the passes cost. */
Status footprint_report(const Footprint *f, Report *r, Err *err);

#endif
