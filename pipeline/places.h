/* The files that a command writes besides its output: none of them may be one that is read, the output, or another of them. */
#ifndef PARE_PIPELINE_PLACES_H
#define PARE_PIPELINE_PLACES_H

#include "data/dataset.h"
#include "pipeline/model.h"

#define PLACES_MOST 8 /* four options, and a report of three files */

typedef struct Place {
    const char *option, *path; /* borrowed */
} Place;

typedef struct Places {
    Place items[PLACES_MOST];
    int count;
} Places;

/* Adds a file that an option names (NULL: it was not given). ERR_USAGE: the same one as an earlier option's; the message names both. */
Status places_add(Places *p, const char *option, const char *path, Err *err);
/* The files of a report in `folder` (NULL: it was not given). */
Status places_add_report(Places *p, const char *folder, Arena *arena, Err *err);
/* ERR_USAGE when one of them is the file `path` (NULL is fine), which is `what`: "the network", "the data". Streams are never the same
 * file twice, but for standard output. */
Status places_apart(const Places *p, const char *what, const char *path, Err *err);
/* Against the files that a network and its data are made of, those that no command line names among them: weights beside the network, the
 * arrays of a data section. p and data may be NULL. */
Status places_apart_inputs(const Places *p, const Model *m, const Dataset *data, Err *err);

#endif
