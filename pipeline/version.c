#include "pipeline/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "engine/versions.h"

cJSON *version_json(void)
{
    cJSON *json = cJSON_CreateObject();
    char text[160];
    cJSON_AddStringToObject(json, "pare", PARE_VERSION);
    engine_version_onednn(text, sizeof text);
    cJSON_AddStringToObject(json, "onednn", text);
    engine_version_blas(text, sizeof text);
    cJSON_AddStringToObject(json, "openblas", text);
    cJSON_AddStringToObject(json, "zlib", zlibVersion());
    cJSON_AddStringToObject(json, "cjson", cJSON_Version());
    snprintf(text, sizeof text, "%s", __VERSION__);
    cJSON_AddStringToObject(json, "compiler", text);
    return json;
}
