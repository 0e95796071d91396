#include "quantize/repairs.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

Status factors_new(const Place *p, Factors *f, Err *err)
{
    *f = (Factors){ .s = alloc_array((size_t)p->channels, sizeof *f->s), .relu = alloc_zeroed((size_t)p->clip_count + 1, sizeof *f->relu) };
    if (f->s == NULL || f->relu == NULL) {
        factors_release(f);
        return err_no_memory(err, "factors of channels");
    }
    for (int64_t c = 0; c < p->channels; c++) f->s[c] = 1.0;
    return OK;
}

void factors_release(Factors *f)
{
    free(f->s);
    free(f->relu);
    *f = (Factors){ 0 };
}

bool factors_matter(const Place *p, const double *s)
{
    for (int64_t c = 0; c < p->channels; c++)
        if (fabs(log(s[c])) > 0.01) return true;
    return false;
}

Status factors_apply(Graph *g, const Place *p, const Factors *f, ChannelRanges *ranges, const char *what, PassRecord *record, Err *err)
{
    double least = INFINITY, most = 0.0;
    int dropped = 0;
    for (int64_t c = 0; c < p->channels; c++) {
        least = fmin(least, f->s[c]);
        most = fmax(most, f->s[c]);
    }
    for (int i = 0; i < p->clip_count; i++) dropped += f->relu[i];
    Str reader = node_label(g, graph_node(g, p->readers[0].node)), source = p->source != 0 ? place_label(g, p) : reader;
    TRY(place_rescale(g, p, f->s, ranges, err));
    TRY(place_drop_clips(g, p, f->relu, err));
    const char *clips = dropped > 0 ? "; a Clip whose upper end the calibration data never reaches becomes a Relu" :
                        p->clip_count > 0 ? "; channels that reach the end of a Clip on the calibration data stay" : "";
    if (p->kind == PLACE_INPUT)
        record_add(record, RECORD_CHANGED, reader, "%s %lld channels by a Mul put before %d layer%s", what, (long long)p->channels,
                   p->reader_count, p->reader_count == 1 ? "" : "s");
    else
        record_add(record, RECORD_CHANGED, source, "%s %lld channels on the way to '%.*s'%s%s", what, (long long)p->channels,
                   STR_ARG(reader), p->reader_count > 1 ? " and others" : "", clips);
    record_number(record, "smallest factor", 1.0 / most);
    record_number(record, "largest factor", 1.0 / least);
    return OK;
}

void record_blocked(const Graph *g, const Place *p, PassRecord *record)
{
    record_add(record, RECORD_SKIPPED, place_label(g, p), "%s", p->obstacle);
}

static Status measure_places(const Graph *g, Dataset *data, const SweepOptions *options, const Places *places, const Places *smooth,
                             ChannelRanges *out, Err *err)
{
    ChannelAxis *first, *all, *values = NULL;
    int first_count, second_count;
    TRY(places_values(places, &first, &first_count, err));
    Status status = places_values(smooth, &values, &second_count, err);
    all = status == OK ? alloc_array((size_t)first_count + (size_t)second_count + 1, sizeof *all) : NULL;
    if (status == OK && all == NULL) status = err_no_memory(err, "the values to measure");
    if (status == OK) {
        for (int i = 0; i < first_count; i++) all[i] = first[i];
        for (int i = 0; i < second_count; i++) all[first_count + i] = values[i];
        status = channel_ranges_gather(g, data, all, first_count + second_count, options, out, err);
    }
    free(first);
    free(values);
    free(all);
    return status;
}

Status repairs_measure(const Graph *g, Dataset *data, const SweepOptions *options, ChannelRanges *out, Err *err)
{
    Places places, smooth;
    *out = (ChannelRanges){ 0 };
    TRY(places_find(g, PLACE_LAYER | PLACE_VECTOR, &places, err));
    Status status = smooth_find(g, &smooth, err);
    if (status == OK) {
        status = measure_places(g, data, options, &places, &smooth, out, err);
        places_release(&smooth);
    }
    places_release(&places);
    return status;
}
