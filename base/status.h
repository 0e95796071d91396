/* Status codes, which are also the program's exit codes, and the message that explains one.
 *
 * A function that can fail returns Status and takes `Err *err` as its last argument. It fills the message once, at the place
 * that knows the object's name; callers pass it on. A message says which object, what was found, what was expected, what to do. */
#ifndef PARE_BASE_STATUS_H
#define PARE_BASE_STATUS_H

#include <stdarg.h>

/* X(identifier, exit code, one-line meaning): the documented contract, printed by `pare help exit-codes` and the README. */
#define STATUS_LIST(X) \
    X(OK, 0, "done") \
    X(ERR_USAGE, 2, "the command line or the recipe is wrong (unknown key, value out of range, not JSON, " \
      "a pattern that matches no layer)") \
    X(ERR_DATA, 3, "a model or data file is malformed or does not fit (missing, misshapen or NaN array, label out of range, " \
      "cycle, external path outside the folder)") \
    X(ERR_UNSUPPORTED, 4, "unsupported op, type or opset") \
    X(ERR_GOAL, 5, "a goal is missed; the file is written") \
    X(ERR_MEMORY, 6, "out of memory or over --max-mem") \
    X(ERR_IO, 7, "cannot open, read or write; disk full") \
    X(ERR_BUG, 70, "a bug in pare") \
    X(ERR_INTERRUPTED, 130, "interrupted")

typedef enum Status {
#define X(name, code, text) name = code,
    STATUS_LIST(X)
#undef X
} Status;

typedef struct Err {
    Status code;
    char text[1024]; /* one line, no newline, NUL terminated; control characters of names are escaped */
} Err;

/* Fills `err` (may be NULL) with a formatted message and returns `code`. */
Status err_set(Err *err, Status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the message already there; returns err->code. */
Status err_prefix(Err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The message for malloc returning NULL: `what` names what was being allocated. */
Status err_no_memory(Err *err, const char *what);
const char *status_text(Status status);

/* TRY where the function owns nothing; TRY_OUT where one `out:` label releases (needs a local `Status status`). */
#define TRY(expression) \
    do { \
        Status try_status_ = (expression); \
        if (try_status_ != OK) return try_status_; \
    } while (0)
#define TRY_OUT(expression) \
    do { \
        status = (expression); \
        if (status != OK) goto out; \
    } while (0)

#endif
