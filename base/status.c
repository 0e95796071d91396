#include "base/status.h"

#include <stdio.h>
#include <string.h>

/* Names come from hostile files: control characters must not reach a terminal. */
static void escape_controls(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != 0; c++) {
        if (*c < 0x20 || *c == 0x7f) *c = '?';
    }
}

Status err_set(Err *err, Status code, const char *format, ...)
{
    if (err == NULL) return code;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    escape_controls(err->text);
    err->code = code;
    return code;
}

Status err_prefix(Err *err, const char *format, ...)
{
    if (err == NULL) return ERR_BUG;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    escape_controls(err->text);
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", old);
    return err->code;
}

Status err_no_memory(Err *err, const char *what)
{
    return err_set(err, ERR_MEMORY, "out of memory for %s", what);
}

const char *status_text(Status status)
{
    switch (status) {
#define X(name, code, text) case name: return text;
        STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}
