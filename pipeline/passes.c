#include "pipeline/passes.h"

#include <string.h>

const Pass *const *passes_all(void)
{
    static const Pass *const list[] = {
#define X(pass) &pass,
        PASS_LIST(X)
#undef X
        NULL,
    };
    return list;
}

const Pass *pass_find(const char *name)
{
    for (const Pass *const *p = passes_all(); *p != NULL; p++) {
        if (strcmp((*p)->name, name) == 0) return *p;
    }
    return NULL;
}
