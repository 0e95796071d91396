/* Peak memory of single networks. A process of its own loads one, runs it once and says what it came to; it must be forked before there are
 * threads, so for programs only: a library must not fork its host. */
#ifndef PARE_PIPELINE_PEAK_H
#define PARE_PIPELINE_PEAK_H

#include <cjson/cJSON.h>
#include <sys/types.h>

#include "engine/engine.h"

/* How networks are loaded and what they are run on: the first of these data that fits, else seeded random inputs. */
typedef struct PeakSetup {
    const char *data;           /* as --data; NULL: none */
    const cJSON *sections[2];   /* as in a recipe, relative to `folder`; NULL: none */
    const char *folder;
    int threads;
    bool plain;
    Int8Use int8;
    uint64_t seed, max_mem;
} PeakSetup;

/* Bytes; -1: it cannot be told. Forks. */
int64_t peak_of(const char *path, const PeakSetup *setup);

/* A process forked early, which waits to be asked about networks while this one has threads and memory of its own. */
typedef struct PeakAside {
    pid_t child; /* 0: none */
    int line;
} PeakAside;

void peak_aside_open(PeakAside *p, const PeakSetup *setup);
/* -1: it cannot be told: no such process, or what `path` names is no file that can be read again. */
int64_t peak_aside_ask(PeakAside *p, const char *path);
void peak_aside_close(PeakAside *p);

#endif
