#include <stdlib.h>
#include <string.h>

#include "cmd/run_options.h"

const char *run_cache_dir(const RunCommand *o, Arena *arena)
{
    if (o->no_cache) return NULL;
    if (o->cache_dir != NULL) return o->cache_dir;
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (base != NULL && base[0] == '/') return arena_printf(arena, "%s/pare", base).data; /* the specification ignores relative ones */
    if (home != NULL && home[0] == '/') return arena_printf(arena, "%s/.cache/pare", home).data;
    return NULL;
}
