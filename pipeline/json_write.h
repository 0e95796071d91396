/* JSON as text. A document that is NULL stands for one that there was no memory for: b->failed, as when the text has no room. */
#ifndef PARE_PIPELINE_JSON_WRITE_H
#define PARE_PIPELINE_JSON_WRITE_H

#include "base/str.h"

#include <cjson/cJSON.h>

/* For people: indented. */
void json_print(const cJSON *json, StrBuf *b);
/* On one line. */
void json_print_compact(const cJSON *json, StrBuf *b);
/* Keys sorted, no white space, numbers in their shortest exact form. */
void json_canonical(const cJSON *json, StrBuf *b);
/* "12" or "0.5": the shortest decimal that reads back as the same double. */
void json_number_text(double value, char text[32]);

#endif
