/* Selection by radix: a magnitude, taken as a double, orders like its bit pattern. Four passes fix 16 bits of the threshold each,
 * from the top, by a histogram of the elements that agree with the bits fixed so far: exact for every float type up to float64, and
 * 512 KB however many weights there are (a sort or quickselect would need all of them in memory, for the global scope at once). */
#include "prune/select.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

enum { BLOCK = 4096, BINS = 65536 };

static uint64_t magnitude_bits(double value)
{
    uint64_t bits;
    value = fabs(value);
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Adds the elements of one tensor whose bits above `shift` + 16 equal `prefix` to the histogram. */
static Status count_tensor(const Tensor *t, Str name, int shift, uint64_t prefix, int64_t *bins, Err *err)
{
    double block[BLOCK];
    int64_t n = tensor_count(t);
    for (int64_t first = 0; first < n; first += BLOCK) {
        int64_t size = n - first < BLOCK ? n - first : BLOCK;
        tensor_read_doubles(t, first, size, block);
        for (int64_t i = 0; i < size; i++) {
            if (isnan(block[i]))
                return err_set(err, ERR_DATA, "weight '%.*s': element %lld is NaN: it has no magnitude to rank", STR_ARG(name),
                               (long long)(first + i));
            uint64_t bits = magnitude_bits(block[i]);
            if (shift == 48 || bits >> (shift + 16) == prefix) bins[bits >> shift & 0xffff]++;
        }
    }
    return OK;
}

Status magnitude_select(const Tensor *const *tensors, const Str *names, int count, int64_t remove, MagnitudeCut *out, Err *err)
{
    int64_t *bins = alloc_array(BINS, sizeof *bins);
    if (bins == NULL) return err_no_memory(err, "a histogram of magnitudes");
    uint64_t prefix = 0;
    int64_t left = remove; /* how many of those that agree with the prefix go */
    Status status = OK;
    for (int shift = 48; shift >= 0; shift -= 16) {
        memset(bins, 0, BINS * sizeof *bins);
        for (int i = 0; i < count; i++) TRY_OUT(count_tensor(tensors[i], names[i], shift, prefix, bins, err));
        uint64_t bin = 0;
        while (bin < BINS - 1 && bins[bin] < left) left -= bins[bin++];
        prefix = prefix << 16 | bin;
    }
    memcpy(&out->threshold, &prefix, sizeof prefix);
    out->ties = left;
    out->smaller = remove - left;
out:
    free(bins);
    return status;
}
