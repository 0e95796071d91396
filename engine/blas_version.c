#include "engine/versions.h"

#include <stdio.h>

#include "engine/blas_library.h"

void engine_version_blas(char *text, size_t size)
{
    snprintf(text, size, "%s", blas_library()->config());
}
