/* What a run and a measurement have in common for other tools' forms. Inside pipeline/exports*.c only. */
#ifndef PARE_PIPELINE_EXPORTS_PRIVATE_H
#define PARE_PIPELINE_EXPORTS_PRIVATE_H

#include "pipeline/comparison.h"

typedef struct Exported {
    const char *created;
    const char *about;          /* hashes of what it is of; with the time they make the id */
    const MachineInfo *machine;
    const GridFactor *grid;
    double pue;
    const ReportState *state;   /* of the network that figures are of */
    const Comparison *measured;
    int64_t batch;              /* inferences of a call */
} Exported;

#define EXPORT_INFERENCES 1000
#define JOULES_PER_KWH 3.6e6

/* A random-looking id that hashes and time make, in the form of a UUID. */
void export_id(const Exported *e, char text[40]);
double export_memory_gb(void); /* of the machine; NaN */
/* Network k of a comparison. */
Exported export_of_comparison(const ComparisonReport *r, int k);
/* What was measured of the network; NULL: nothing was timed. */
const Compared *export_compared(const Exported *e);

#endif
