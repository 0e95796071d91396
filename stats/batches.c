#include "stats/batches.h"

Status batches_plan(Dataset *data, int64_t batch, int64_t samples, Batches *out, Err *err)
{
    int64_t all = dataset_samples(data);
    *out = (Batches){ .step = all, .samples = all };
    if (dataset_batched(data)) {
        out->step = dataset_batch(data, batch);
        if (samples > 0 && samples < all) out->samples = samples;
        bool fixed = out->step > 1 && dataset_batch(data, out->step - 1) == out->step;
        if (fixed) out->samples -= out->samples % out->step;
    }
    if (out->samples < 1 || out->step < 1)
        return err_set(err, ERR_DATA, "calibration data: %lld samples are not enough for one call of the network", (long long)all);
    out->count = (out->samples + out->step - 1) / out->step;
    return OK;
}
