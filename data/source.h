/* One array of the data file as one input of the network (or as its labels): samples picked, cast, scaled, laid out. */
#ifndef PARE_DATA_SOURCE_H
#define PARE_DATA_SOURCE_H

#include "data/picks.h"

typedef struct Source {
    Npz *file;       /* borrowed */
    int array;
    const ArraySpec *spec;
    char *what;      /* "test.npz: array 'x' for input 'image'" */
    DType stored, type; /* in the file, delivered */
    Shape shape;     /* as stored */
    int axis;        /* that counts samples, of the stored array; -1: whole */
    Picks picks;     /* count 1 and no table when whole */
    int channel_axis;
    int perm[MAX_RANK];  /* stored axis of each transposed axis */
    int place[MAX_RANK]; /* axis of the result where transposed axis i stands */
    bool moved;      /* perm is not the identity */
    int rank;        /* of the result */
    int out_axis;    /* that counts samples, of the result; -1: whole */
    bool expect_nonfinite;
    uint64_t max_mem; /* 0: no limit */
} Source;

/* Prepares reading array `array` as `type` by `spec`, whose axes are checked against the array. `whole`: the array is one sample. Spec
 * and file must outlive it. */
Status source_init(Source *s, Npz *file, int array, const ArraySpec *spec, DType type, bool whole, Err *err);
void source_release(Source *s);
/* Dimensions of the result for `count` samples (anything when whole). */
void source_shape(const Source *s, int64_t count, Shape *out);
/* Samples [first, first + count) as one tensor, aligned. ERR_DATA names the array and the index of a value that does not fit. */
Status source_read(Source *s, int64_t first, int64_t count, Tensor *out, Err *err);

/* Labels: as int64; whole arrays keep all their entries, those not picked along axis 0 become `ignore`. */
Status labels_read(Source *s, int64_t first, int64_t count, bool has_ignore, int64_t ignore, Tensor *out, Err *err);

#endif
