#include "engine/versions.h"

#include <cblas.h>
#include <stdio.h>

void engine_version_blas(char *text, size_t size)
{
    snprintf(text, size, "%s", openblas_get_config());
}
