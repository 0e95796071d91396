/* Calibration of a machine: peaks, and the fit of what energy was spent on. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/blas_glue.h"
#include "engine/engine.h"
#include "greenness/measure.h"
#include "greenness/peaks.h"
#include "greenness/profile.h"

#define TERMS PROFILE_TERM_COUNT
#define REPEATS 12        /* the best of them is the peak: what disturbs only slows */
#define IDLE PEAK_COUNT   /* in a mix: nothing runs */
#define MEMORY ((uint64_t)512 << 20)

/* Solves the normal equations of the terms kept in `used`; false when they do not tell the terms apart. */
static bool solve(const double *rows, int count, const bool *used, double *out)
{
    double normal[TERMS * TERMS] = { 0 }, right[TERMS] = { 0 };
    int index[TERMS] = { 0 }, n = 0, failed = 0;
    for (int t = 0; t < TERMS; t++)
        if (used[t]) index[n++] = t;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            for (int k = 0; k < count; k++) normal[i * n + j] += rows[k * TERMS + index[i]] * rows[k * TERMS + index[j]];
        for (int k = 0; k < count; k++) right[i] += rows[k * TERMS + index[i]];
    }
    Err err;
    if (n == 0 || blas_cholesky(n, normal, &failed, &err) != OK || failed != 0) return false;
    for (int i = 0; i < n; i++)
        if (normal[i * n + i] < 1e-6) return false; /* columns are scaled to 1: the term is a mix of others */
    if (blas_cholesky_solve(n, 1, normal, right, &err) != OK) return false;
    for (int t = 0; t < TERMS; t++) out[t] = 0;
    for (int i = 0; i < n; i++) out[index[i]] = right[i];
    return true;
}

Status profile_fit(const Observation *observations, int count, Profile *p, Err *err)
{
    double rows[64 * TERMS], scale[TERMS] = { 0 }, found[TERMS];
    bool used[TERMS];
    if (count < TERMS || count > 64) return err_set(err, ERR_DATA, "energy fit: %d observations, expected %d to 64", count, TERMS);
    for (int k = 0; k < count; k++) {
        if (!(observations[k].joules > 0)) return err_set(err, ERR_DATA, "energy fit: observation %d has %g J", k, observations[k].joules);
        for (int t = 0; t < TERMS; t++) rows[k * TERMS + t] = observations[k].counts[t] / observations[k].joules; /* relative errors */
    }
    for (int t = 0; t < TERMS; t++) {
        for (int k = 0; k < count; k++) scale[t] += rows[k * TERMS + t] * rows[k * TERMS + t];
        scale[t] = sqrt(scale[t]);
        if (!(scale[t] > 0)) return err_set(err, ERR_DATA, "energy fit: no observation holds term %d", t);
        for (int k = 0; k < count; k++) rows[k * TERMS + t] /= scale[t];
        used[t] = true;
    }
    for (bool negative = true; negative;) { /* the most negative term goes, until none is */
        if (!solve(rows, count, used, found)) return err_set(err, ERR_DATA, "energy fit: the observations do not tell the terms apart");
        int least = 0;
        for (int t = 1; t < TERMS; t++)
            if (found[t] < found[least]) least = t;
        negative = found[least] < 0;
        if (negative) used[least] = false;
    }
    p->residual = p->residual_most = 0;
    p->observations = count;
    for (int k = 0; k < count; k++) {
        double error = -1;
        for (int t = 0; t < TERMS; t++) error += rows[k * TERMS + t] * found[t];
        p->residual += error * error / count;
        p->residual_most = fmax(p->residual_most, fabs(error));
    }
    p->residual = sqrt(p->residual);
    for (int t = 0; t < TERMS; t++) p->terms[t] = found[t] / scale[t];
    return OK;
}

static Status check_interrupt(Log *log, int64_t done, Err *err)
{
    return progress_step(log, done) ? OK : err_set(err, ERR_INTERRUPTED, "calibration: interrupted");
}

static Status measure_peaks(const PeakBuffers *b, double seconds, Log *log, int64_t *done, Profile *p, Err *err)
{
    double *const ones[PEAK_COUNT] = { &p->mac_f32_one, &p->mac_int8_one, &p->byte_l2_one, &p->byte_dram_one };
    double *const alls[PEAK_COUNT] = { &p->mac_f32_all, &p->mac_int8_all, &p->byte_l2_all, &p->byte_dram_all };
    double window = seconds / (2 * PEAK_COUNT * REPEATS);
    for (int r = 0; r < REPEATS; r++) {
        for (int k = 0; k < PEAK_COUNT; k++) {
            Peak kernel = (Peak)k;
            double counts[PEAK_COUNT];
            *ones[k] = fmax(*ones[k], peaks_run(b, &kernel, 1, 1, window, counts));
            *alls[k] = fmax(*alls[k], peaks_run(b, &kernel, 1, b->threads, window, counts));
            TRY(check_interrupt(log, ++*done, err));
        }
    }
    return OK;
}

static const struct {
    int kernels[2];
    int count;
    bool one; /* thread */
} mixes[] = {
    { { IDLE }, 0, true },
    { { PEAK_F32 }, 1, true }, { { PEAK_F32 }, 1, false }, { { PEAK_INT8 }, 1, true }, { { PEAK_INT8 }, 1, false },
    { { PEAK_L2 }, 1, true }, { { PEAK_L2 }, 1, false }, { { PEAK_DRAM }, 1, true }, { { PEAK_DRAM }, 1, false },
    { { PEAK_F32, PEAK_DRAM }, 2, false }, { { PEAK_INT8, PEAK_L2 }, 2, false }, { { PEAK_INT8, PEAK_DRAM }, 2, false },
};
#define MIXES ((int)(sizeof mixes / sizeof *mixes))

/* One window of a mix. The source is polled between slices of it. */
static void observe(const PeakBuffers *b, Source *s, int mix, double seconds, Observation *o, Reading *reading)
{
    *o = (Observation){ .joules = 0 };
    Peak kernels[2];
    for (int i = 0; i < mixes[mix].count; i++) kernels[i] = (Peak)mixes[mix].kernels[i];
    double slice = s->poll_seconds > 0 && s->poll_seconds < seconds ? s->poll_seconds : seconds;
    source_begin(s);
    for (double done = 0; done < seconds; done += slice) {
        double counts[PEAK_COUNT] = { 0 };
        if (mixes[mix].count > 0) {
            peaks_run(b, kernels, mixes[mix].count, mixes[mix].one ? 1 : b->threads, slice, counts);
        } else {
            struct timespec rest = { (time_t)slice, (long)((slice - floor(slice)) * 1e9) };
            nanosleep(&rest, NULL);
        }
        for (int k = 0; k < PEAK_COUNT; k++) o->counts[k] += counts[k];
        source_poll(s);
    }
    source_end(s, NULL, reading);
    o->counts[PROFILE_TERM_watts_static] = reading->seconds;
    o->joules = reading->joules;
}

static Status measure_energy(const PeakBuffers *b, Source *s, double seconds, Log *log, int64_t *done, Profile *p, Err *err)
{
    Observation observations[2 * MIXES];
    double window = fmax(seconds / (2 * MIXES), s->least_window);
    int count = 0;
    char last[SOURCE_TEXT] = "";
    for (int r = 0; r < 2; r++) {
        for (int mix = 0; mix < MIXES; mix++) {
            Reading reading;
            observe(b, s, mix, window, &observations[count], &reading);
            if (reading.state == READING_GOOD) count++;
            else memcpy(last, reading.reason, sizeof last);
            TRY(check_interrupt(log, ++*done, err));
        }
    }
    Err fit = { .code = OK };
    if (profile_fit(observations, count, p, &fit) != OK) {
        snprintf(p->no_energy, sizeof p->no_energy, "%.65s%s%.65s", fit.text, last[0] != '\0' ? "; last window dropped: " : "", last);
        return OK;
    }
    p->has_energy = true;
    snprintf(p->source, sizeof p->source, "%.40s, %.50s", s->kind->title, s->label);
    memcpy(p->boundary, s->boundary, sizeof p->boundary);
    return OK;
}

/* The best source that measures what the processor draws while it runs; logs are read later and so do not serve. */
static bool open_meter(const SourceSettings *settings, Source *s)
{
    const SourceKind *named = source_named(settings);
    for (const SourceKind *const *k = sources_all(); *k != NULL; k++) {
        bool wanted = named == NULL || *k == named;
        if (source_open(*k, settings, s) && wanted && (*k)->step != NULL && !s->beside) return true;
        source_close(s);
    }
    return false;
}

Status profile_measure(const SourceSettings *settings, const CalibrateOptions *o, Profile *out, Err *err)
{
    *out = (Profile){ .cores = 1 };
    profile_name_machine(out);
    Source source;
    if (source_named(settings) == &source_meter)
        return err_set(err, ERR_USAGE, "meter-log: a log is read when the work is done; to calibrate name a source that tells at once");
    bool has_meter = open_meter(settings, &source);
    double seconds = o->seconds > 0 ? o->seconds : has_meter ? 60 : 10;
    int threads = o->threads > 0 ? o->threads : out->cores;
    PeakBuffers buffers = { .data = NULL };
    int64_t done = 0;
    out->cores = threads;
    progress_begin(o->log, "calibrating", PEAK_COUNT * REPEATS + (has_meter ? 2 * MIXES : 0));
    Status status = peaks_init(&buffers, threads, o->max_mem > 0 ? o->max_mem : MEMORY, err);
    if (status == OK) status = measure_peaks(&buffers, has_meter ? seconds / 4 : seconds, o->log, &done, out, err);
    if (status == OK && has_meter) status = measure_energy(&buffers, &source, seconds * 3 / 4, o->log, &done, out, err);
    if (!has_meter)
        snprintf(out->no_energy, sizeof out->no_energy, "no energy counter or sensor of the processor can be read; see pare probe");
    progress_end(o->log);
    peaks_release(&buffers);
    if (has_meter) source_close(&source);
    return status;
}

Status profile_measure_peaks(const CalibrateOptions *o, Profile *out, Err *err)
{
    *out = (Profile){ .cores = 1 };
    profile_name_machine(out);
    if (o->threads > 0) out->cores = o->threads;
    PeakBuffers buffers = { .data = NULL };
    int64_t done = 0;
    progress_begin(o->log, "measuring peaks", PEAK_COUNT * REPEATS);
    Status status = peaks_init(&buffers, out->cores, o->max_mem > 0 ? o->max_mem : MEMORY, err);
    if (status == OK) status = measure_peaks(&buffers, o->seconds > 0 ? o->seconds : 1, o->log, &done, out, err);
    progress_end(o->log);
    peaks_release(&buffers);
    return status;
}
