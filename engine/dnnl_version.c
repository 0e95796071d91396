#include "engine/versions.h"

#include <dnnl.h>
#include <stdio.h>

void engine_version_onednn(char *text, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "%d.%d.%d", v->major, v->minor, v->patch);
}
