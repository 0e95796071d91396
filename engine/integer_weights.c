#include "engine/integer_weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/vectors.h"

#define PAIR_MOST 128    /* 255 * 128 < 2^15 */
#define SUM_MOST 65793   /* 255 * 65793 < 2^24 */

#define TURN 8 /* rows and columns of a square that eight words hold */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* Halves of neighbouring words change places: squares of 4, 2, 1 off the diagonal. */
static void turn_square(const uint8_t *from, int64_t columns, uint8_t *to, int64_t rows)
{
    static const uint64_t low[] = { 0x00000000ffffffff, 0x0000ffff0000ffff, 0x00ff00ff00ff00ff };
    uint64_t w[TURN];
    for (int i = 0; i < TURN; i++) memcpy(&w[i], from + i * columns, sizeof *w);
    for (int step = 0, by = TURN / 2; step < 3; step++, by /= 2)
        for (int i = 0; i < TURN; i++) {
            if ((i & by) != 0) continue;
            uint64_t other = ((w[i] >> (8 * by)) ^ w[i + by]) & low[step];
            w[i + by] ^= other;
            w[i] ^= other << (8 * by);
        }
    for (int i = 0; i < TURN; i++) memcpy(to + i * rows, &w[i], sizeof *w);
}
#else
static void turn_square(const uint8_t *from, int64_t columns, uint8_t *to, int64_t rows)
{
    for (int i = 0; i < TURN; i++)
        for (int k = 0; k < TURN; k++) to[k * rows + i] = from[i * columns + k];
}
#endif

void bytes_turn(const uint8_t *from, int64_t rows, int64_t columns, uint8_t *to)
{
    for (int64_t r = 0; r < rows; r += TURN)
        for (int64_t c = 0; c < columns; c += TURN) {
            if (r + TURN <= rows && c + TURN <= columns) {
                turn_square(from + r * columns + c, columns, to + c * rows + r, rows);
                continue;
            }
            for (int64_t i = r; i < rows && i < r + TURN; i++)
                for (int64_t k = c; k < columns && k < c + TURN; k++) to[k * rows + i] = from[i * columns + k];
        }
}

/* One filter's integers less its zero point, and the sum of their magnitudes; -1: one leaves 8 bits. In place where they are given so. */
VECTOR_BODY int64_t centre_filter(const uint8_t *from, int64_t count, bool is_signed, int32_t shift, int8_t *to)
{
    int32_t low = 0, high = 0, flip = is_signed ? 128 : 0; /* b ^ 128 less 128 is b read as int8 */
    int64_t total = 0;
#pragma omp simd reduction(min : low) reduction(max : high) reduction(+ : total)
    for (int64_t i = 0; i < count; i++) {
        int32_t v = (from[i] ^ flip) - flip - shift, size = v < 0 ? -v : v;
        low = v < low ? v : low;
        high = v > high ? v : high;
        total += size;
        to[i] = (int8_t)v;
    }
    return low < INT8_MIN || high > INT8_MAX ? -1 : total;
}

static int64_t centre_any(const uint8_t *from, int64_t count, bool is_signed, int32_t shift, int8_t *to)
{
    return centre_filter(from, count, is_signed, shift, to);
}

VECTOR_AVX2 static int64_t centre_avx2(const uint8_t *from, int64_t count, bool is_signed, int32_t shift, int8_t *to)
{
    return centre_filter(from, count, is_signed, shift, to);
}

Status integer_weights_init(IntegerWeights *w, const Tensor *q, const Tensor *zero, bool columns, Err *err)
{
    int64_t count = tensor_count(q);
    *w = (IntegerWeights){ .taps = 1 };
    w->filters = q->shape.dims[columns ? 1 : 0];
    w->channels = q->shape.dims[columns ? 0 : 1];
    for (int i = 2; i < q->shape.rank; i++) w->taps *= q->shape.dims[i];
    w->data = alloc_array((size_t)count + 1, 1);
    if (w->data == NULL) return err_no_memory(err, "integer weights");
    const uint8_t *bytes = q->data;
    int64_t length = w->channels * w->taps;
    if (columns) {
        bytes_turn(q->data, w->channels, w->filters, (uint8_t *)w->data);
        bytes = (const uint8_t *)w->data;
    }
    for (int64_t k = 0; k < w->filters; k++) {
        int64_t shift = zero == NULL ? 0 : tensor_get_int(zero, tensor_count(zero) == 1 ? 0 : k);
        int64_t total = VECTOR_PICK(centre)(bytes + k * length, length, q->type == DT_INT8, (int32_t)shift, w->data + k * length);
        if (total < 0) return err_set(err, ERR_UNSUPPORTED, "a weight that leaves 8 bits without its zero point");
        if (total > w->most) w->most = total;
    }
    return OK;
}

Status integer_weights_whole(IntegerWeights *w, const Tensor *q, const Tensor *zero, bool columns, Err *err)
{
    TRY(integer_weights_init(w, q, zero, columns, err));
    return w->most <= SUM_MOST ? OK : err_set(err, ERR_UNSUPPORTED, "sums beyond 24 bits");
}

/* Of different signs the sum is no larger than either. */
static bool pair_safe(int a, int b)
{
    return a + b <= PAIR_MOST && a + b >= -PAIR_MOST;
}

/* Kernels pair neighbouring channels of a tap; those that lay out the window as one row pair across taps where the channels are odd. */
static bool pairs_safe(const IntegerWeights *w)
{
    int64_t length = w->channels * w->taps;
    for (int64_t k = 0; k < w->filters; k++) {
        const int8_t *row = w->data + k * length;
        bool safe = true;
        for (int64_t c = 1; c < w->channels; c += 2)
            for (int64_t i = c * w->taps; i < (c + 1) * w->taps; i++) safe &= pair_safe(row[i - w->taps], row[i]);
        for (int64_t i = 1; w->channels % 2 == 1 && i < length; i += 2) {
            int64_t j = i - 1;
            safe &= pair_safe(row[j % w->channels * w->taps + j / w->channels], row[i % w->channels * w->taps + i / w->channels]);
        }
        if (!safe) return false;
    }
    return true;
}

static int8_t *add_part(IntegerWeights *w, Err *err)
{
    if (w->part_count == INTEGER_PARTS) {
        err_set(err, ERR_UNSUPPORTED, "sums that take more than %d parts", INTEGER_PARTS);
        return NULL;
    }
    int8_t *part = alloc_zeroed((size_t)(w->filters * w->channels * w->taps) + 1, 1);
    if (part == NULL) err_no_memory(err, "integer weights");
    else w->part[w->part_count++] = part;
    return part;
}

/* Cuts `from` into parts by runs along each filter's row, so that no run's sum passes the limit. */
static Status cut(IntegerWeights *w, const int8_t *from, Err *err)
{
    int8_t *part[INTEGER_PARTS] = { NULL };
    int64_t length = w->channels * w->taps;
    if (w->most <= SUM_MOST) { /* no run is cut */
        part[0] = add_part(w, err);
        if (part[0] == NULL) return w->part_count < INTEGER_PARTS ? ERR_MEMORY : ERR_UNSUPPORTED;
        memcpy(part[0], from, (size_t)(w->filters * length));
        return OK;
    }
    for (int64_t k = 0; k < w->filters; k++) {
        int64_t total = 0;
        int run = 0;
        for (int64_t i = k * length; i < (k + 1) * length; i++) {
            int size = abs(from[i]);
            if (total + size > SUM_MOST) {
                run++;
                total = 0;
            }
            total += size;
            if (run < INTEGER_PARTS && part[run] == NULL) part[run] = add_part(w, err);
            if (run >= INTEGER_PARTS || part[run] == NULL)
                return run < INTEGER_PARTS && w->part_count < INTEGER_PARTS ? ERR_MEMORY
                                                                             : err_set(err, ERR_UNSUPPORTED, "sums of too many parts");
            part[run][i] = from[i];
        }
    }
    return OK;
}

Status integer_weights_split(IntegerWeights *w, bool pairs, Err *err)
{
    int64_t count = w->filters * w->channels * w->taps;
    bool halve = pairs && !pairs_safe(w);
    if (!halve && w->most <= SUM_MOST) {
        w->part[w->part_count++] = w->data;
        return OK;
    }
    if (!halve) return cut(w, w->data, err);
    int8_t *half = alloc_array((size_t)count + 1, 1);
    Status status = half != NULL ? OK : err_no_memory(err, "integer weights");
    for (int which = 0; which < 2 && status == OK; which++) {
        for (int64_t i = 0; i < count; i++) half[i] = (int8_t)(which == 0 ? w->data[i] / 2 : w->data[i] - w->data[i] / 2);
        status = cut(w, half, err);
    }
    free(half);
    return status;
}

void integer_weights_release(IntegerWeights *w)
{
    for (int i = 0; i < w->part_count; i++)
        if (w->part[i] != w->data) free(w->part[i]);
    free(w->data);
    *w = (IntegerWeights){ 0 };
}
