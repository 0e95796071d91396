/* The program's version, and those of the libraries it was built with or runs on. */
#ifndef PARE_PIPELINE_VERSION_H
#define PARE_PIPELINE_VERSION_H

#include <cjson/cJSON.h>

#include "base/version.h"

#include "base/version.h" /* PARE_VERSION */

/* { "pare": "0.1.0", "onednn": ..., } ; NULL when out of memory. */
cJSON *version_json(void);

#endif
