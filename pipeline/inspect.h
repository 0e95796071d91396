/* What a network is made of: inputs, outputs, layers, parameters, MACs, bytes. */
#ifndef PARE_PIPELINE_INSPECT_H
#define PARE_PIPELINE_INSPECT_H

#include "greenness/counts.h"
#include "pipeline/model.h"

#include <cjson/cJSON.h>

typedef struct Inspection {
    const char *path;   /* as given */
    const Model *model;
    Counts counts;
} Inspection;

/* `shapes` as in counts_of. */
Status inspect_model(const Model *m, const char *path, const Shape *shapes, Inspection *out, Err *err);
void inspection_release(Inspection *i);
/* Text for a terminal, `all` with every counted node and not only those with parameters or MACs. */
void inspection_print(const Inspection *i, bool all, StrBuf *b);
cJSON *inspection_json(const Inspection *i); /* NULL when out of memory */

#endif
