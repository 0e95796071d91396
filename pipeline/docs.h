/* Documentation and schema from the tables: what exists is written down once, where it is defined. */
#ifndef PARE_PIPELINE_DOCS_H
#define PARE_PIPELINE_DOCS_H

#include "base/str.h"

#include <cjson/cJSON.h>

/* Plain lists for the terminal, one line each. */
void list_passes(StrBuf *b);
void list_formats(StrBuf *b);
void list_ops(StrBuf *b);
void list_grids(StrBuf *b);
/* The pages of docs/. */
void docs_passes(StrBuf *b);
void docs_formats(StrBuf *b);
void docs_ops(StrBuf *b);
/* JSON Schema 2020-12 of a recipe; NULL when out of memory. */
cJSON *recipe_schema(void);

#endif
