#include "data/picks.h"

#include "base/bytes.h"
#include "base/rng.h"

#include <stdlib.h>

/* Indices listed in an array of the same file. */
static Status read_rows(const char *name, int64_t total, Npz *file, const char *what, int64_t **out, int64_t *count, Err *err)
{
    int i = npz_find(file, name);
    if (i < 0) return npz_missing(file, err, "%s: 'rows' names array '%s', which the file does not have", what, name);
    const NpzArray *a = npz_array(file, i);
    if (!dtype_is_integer(a->type) || a->shape.rank != 1) {
        char shape[128];
        shape_print(&a->shape, shape, sizeof shape);
        return err_set(err, ERR_DATA, "%s: rows '%s' are %s %s, expected one axis of integer indices", what, name, dtype_name(a->type),
                       shape);
    }
    Tensor t = { 0 };
    TRY(npz_tensor(file, i, &t, err));
    Status status = OK;
    *count = tensor_count(&t);
    *out = alloc_array((size_t)*count + 1, sizeof **out);
    if (*out == NULL) status = err_no_memory(err, "the indices of samples");
    for (int64_t k = 0; k < *count && status == OK; k++) {
        (*out)[k] = tensor_get_int(&t, k);
        if ((*out)[k] < 0 || (*out)[k] >= total)
            status = err_set(err, ERR_DATA, "%s: rows '%s' [%lld] is %lld, there are %lld samples (0 to %lld)", what, name, (long long)k,
                             (long long)(*out)[k], (long long)total, (long long)total - 1);
    }
    tensor_release(&t);
    if (status != OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* `count` of n indices in ascending order, every set equally likely (Knuth, TAOCP 2, 3.4.2, algorithm S). */
static void choose(uint64_t seed, int64_t n, int64_t count, int64_t *out)
{
    Rng rng;
    rng_init(&rng, seed);
    int64_t chosen = 0;
    for (int64_t i = 0; chosen < count; i++) {
        if ((int64_t)rng_below(&rng, (uint64_t)(n - i)) < count - chosen) out[chosen++] = i;
    }
}

Status picks_make(const Sampling *s, int64_t total, Npz *file, const char *what, Picks *out, Err *err)
{
    int64_t *rows = NULL, n = total;
    *out = (Picks){ .every = s->every };
    if (s->rows != NULL) TRY(read_rows(s->rows, total, file, what, &rows, &n, err));
    int64_t head = s->first > 0 && s->first < n ? s->first : n, count = head / s->every + (head % s->every != 0);
    out->candidates = n;
    out->count = count;
    if (n == 0) {
        free(rows);
        return err_set(err, ERR_DATA, "%s: there are no samples", what);
    }
    bool chosen = s->shuffle && count < n;
    if (rows == NULL && !chosen) return OK;
    out->at = alloc_array((size_t)count, sizeof *out->at);
    if (out->at == NULL) {
        free(rows);
        return err_no_memory(err, "the indices of samples");
    }
    if (chosen) choose(s->seed, n, count, out->at);
    for (int64_t i = 0; i < count; i++) {
        int64_t place = chosen ? out->at[i] : i * s->every;
        out->at[i] = rows != NULL ? rows[place] : place;
    }
    free(rows);
    return OK;
}

void picks_release(Picks *p)
{
    free(p->at);
    *p = (Picks){ 0 };
}

typedef struct Place {
    int64_t row, sample;
} Place;

static int by_row(const void *a, const void *b)
{
    const Place *x = a, *y = b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

static Status permute(Picks *p, const Place *order, Err *err)
{
    int64_t *at = alloc_array((size_t)p->count, sizeof *at);
    if (at == NULL) return err_no_memory(err, "the order of samples");
    for (int64_t i = 0; i < p->count; i++) at[i] = picks_at(p, order[i].sample);
    free(p->at);
    p->at = at;
    return OK;
}

Status picks_sort(Picks *const *all, int count, Err *err)
{
    const Picks *lead = all[0];
    bool sorted = true;
    for (int64_t i = 1; i < lead->count && sorted; i++) sorted = picks_at(lead, i - 1) <= picks_at(lead, i);
    if (sorted) return OK;
    Place *order = alloc_array((size_t)lead->count, sizeof *order);
    if (order == NULL) return err_no_memory(err, "the order of samples");
    for (int64_t i = 0; i < lead->count; i++) order[i] = (Place){ picks_at(lead, i), i };
    qsort(order, (size_t)lead->count, sizeof *order, by_row);
    Status status = OK;
    for (int i = 0; i < count && status == OK; i++) status = permute(all[i], order, err);
    free(order);
    return status;
}
