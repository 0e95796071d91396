/* Every energy source of a machine: readable or not, what it covers, and how to enable it. */
#ifndef PARE_PIPELINE_PROBE_H
#define PARE_PIPELINE_PROBE_H

#include <cjson/cJSON.h>

#include "base/str.h"
#include "greenness/measure.h"
#include "greenness/source.h"

#define PROBE_MOST 16

/* One line: a source, opened and closed again, and what a short window of it told. */
typedef struct ProbeLine {
    Source source;    /* closed: only the reader's fields */
    double watts;     /* NaN: not told in so short a time */
    char watts_note[SOURCE_TEXT]; /* why not */
} ProbeLine;

typedef struct Probe {
    MachineInfo machine;
    bool is_virtual;  /* under a hypervisor */
    ProbeLine lines[PROBE_MOST];
    int count, chosen; /* index of the one that would be used */
} Probe;

/* Opens each source, lets those that measure run for `seconds`, closes it. */
void probe_machine(const SourceSettings *settings, double seconds, Probe *out);
void probe_print(const Probe *p, StrBuf *b);
cJSON *probe_json(const Probe *p); /* NULL when out of memory */

#endif
