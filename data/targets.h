/* Where a distillation pass writes what the teacher said: an .npz grown sample by sample. */
#ifndef PARE_DATA_TARGETS_H
#define PARE_DATA_TARGETS_H

#include "formats/npz.h"
#include "graph/pass.h"

/* Opened by the runner for a pass's OPT_FILE option. */
Status targets_open(const char *path, bool compress, Targets **out, Err *err);
const char *targets_path(const Targets *t); /* where they go; lives as long as t */
/* Appends rows of `t` (axis 0: samples) to the array of this name, created at the first call with type and row shape of `t`. */
Status targets_append(Targets *t, const char *name, const Tensor *rows, Err *err);
/* A string as an array of bytes (uint8), a number as a scalar: hashes, temperature, source names. */
Status targets_note(Targets *t, const char *name, const char *text, Err *err);
Status targets_number(Targets *t, const char *name, double value, Err *err);
Status targets_commit(Targets *t, Err *err); /* frees in every case */
void targets_abort(Targets *t);

#endif
