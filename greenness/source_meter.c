/* The log of an external meter: the whole machine at the plug, the best there is.
 *
 * Text, one sample a line: time, watts. Columns are parted by commas, semicolons or tabs; a first line that names them may put them in any
 * order (time, timestamp, t; watts, power, power_w, w; joules, energy_j: a running sum instead of a power). Times are seconds since 1970,
 * milliseconds since 1970, or 2026-01-31T12:00:00.5Z. Lines that begin with # are left out. The meter may still be writing: the last line
 * counts once it is whole, and a window is read when the log has reached its end. A log that ended before now is refused.
 * Power between samples runs straight. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "greenness/source.h"

#define SAMPLES_MOST (1u << 24)
#define GAP 5.0 /* a pause of more than so many usual intervals inside a window: the meter was not there */
#define STALE 5.0 /* seconds, and STALE_INTERVALS, that the last line may be behind the clock: who writes later is not waited for */
#define STALE_INTERVALS 10
#define WATTS_MACHINE 2000.0

typedef struct Sample {
    double time, value; /* value: watts or joules */
} Sample;

typedef struct Meter {
    Sample *samples;
    size_t count, capacity;
    double interval;    /* the usual one, seconds */
    int time_column, value_column;
    bool sums;          /* joules, not watts */
    long offset;        /* bytes read */
    int line;
} Meter;

static bool parse_time(const char *text, double *out)
{
    struct tm date = { 0 };
    char *end = strptime(text, "%Y-%m-%d", &date);
    if (end != NULL && (*end == 'T' || *end == ' ')) {
        double fraction = 0;
        end = strptime(end + 1, "%H:%M:%S", &date);
        if (end == NULL) return false;
        if (*end == '.') fraction = strtod(end, &end);
        if (strcmp(end, "Z") != 0 && strcmp(end, "+00:00") != 0) return false; /* a time without its zone could be any */
        *out = (double)timegm(&date) + fraction;
        return true;
    }
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(*out) || *out < 0) return false;
    if (*out > 1e11) *out *= 1e-3;
    return true;
}

/* Splits in place; returns the number of columns. Blanks and quotes around a cell are dropped. */
static int split(char *line, char **cells, int most)
{
    int count = 0;
    for (char *at = line; at != NULL && count < most;) {
        char *next = strpbrk(at, ",;\t");
        if (next != NULL) *next++ = '\0';
        at += strspn(at, " \"");
        size_t length = strlen(at);
        while (length > 0 && strchr(" \"\r\n", at[length - 1]) != NULL) at[--length] = '\0';
        cells[count++] = at;
        at = next;
    }
    return count;
}

static bool is_one_of(const char *text, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcasecmp(text, *names) == 0) return true;
    return false;
}

static bool read_header(Source *s, Meter *m, char **cells, int count)
{
    static const char *const times[] = { "time", "timestamp", "t", "unix_time", NULL };
    static const char *const watts[] = { "watts", "power", "power_w", "w", "watt", NULL };
    static const char *const joules[] = { "joules", "energy_j", "j", NULL };
    m->time_column = m->value_column = -1;
    for (int i = 0; i < count; i++) {
        if (m->time_column < 0 && is_one_of(cells[i], times)) m->time_column = i;
        else if (m->value_column < 0 && is_one_of(cells[i], watts)) m->value_column = i;
        else if (m->value_column < 0 && is_one_of(cells[i], joules)) {
            m->value_column = i;
            m->sums = true;
        }
    }
    if (m->time_column >= 0 && m->value_column >= 0) return true;
    snprintf(s->reason, sizeof s->reason, "line %d: no columns 'time' and 'watts' (or 'joules') among the %d named", m->line, count);
    return false;
}

static bool add_line(Source *s, Meter *m, char *line)
{
    char *cells[32];
    Sample sample;
    m->line++;
    if (line[strspn(line, " \t\r\n")] == '\0' || line[0] == '#') return true;
    int count = split(line, cells, 32);
    if (m->count == 0 && m->time_column < 0) {
        if (!parse_time(cells[0], &sample.time)) return read_header(s, m, cells, count);
        m->time_column = 0;
        m->value_column = 1;
    }
    char *end = NULL;
    bool wide = count > m->time_column && count > m->value_column;
    sample.value = wide ? strtod(cells[m->value_column], &end) : 0;
    if (!wide || !parse_time(cells[m->time_column], &sample.time) || end == cells[m->value_column] || *end != '\0'
        || !isfinite(sample.value) || sample.value < 0) {
        snprintf(s->reason, sizeof s->reason, "line %d: expected a time and %s of 0 or more", m->line, m->sums ? "joules" : "watts");
        return false;
    }
    sample.time -= s->settings.meter_offset;
    const Sample *last = m->count > 0 ? &m->samples[m->count - 1] : NULL;
    if (last != NULL && (sample.time < last->time || (m->sums && sample.value < last->value))) {
        snprintf(s->reason, sizeof s->reason, "line %d: %s goes back by %g", m->line, sample.time < last->time ? "the time" : "the energy",
                 sample.time < last->time ? last->time - sample.time : last->value - sample.value);
        return false;
    }
    void *samples = m->samples;
    if (m->count == SAMPLES_MOST || !array_grow(&samples, &m->capacity, m->count + 1, sizeof *m->samples)) {
        snprintf(s->reason, sizeof s->reason, "line %d: more samples than fit", m->line);
        return false;
    }
    m->samples = samples;
    m->samples[m->count++] = sample;
    return true;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of up to 512 of the intervals. */
static void find_interval(Meter *m)
{
    double intervals[512];
    size_t count = 0, stride = m->count / 512 + 1;
    for (size_t i = 1; i < m->count && count < 512; i += stride) intervals[count++] = m->samples[i].time - m->samples[i - 1].time;
    if (count == 0) return;
    qsort(intervals, count, sizeof *intervals, compare);
    m->interval = intervals[count / 2];
}

/* Reads whole lines from where it stopped. */
static bool read_log(Source *s, Meter *m)
{
    struct stat st = { 0 };
    bool there = stat(s->settings.meter_path, &st) == 0, regular = there && S_ISREG(st.st_mode); /* a pipe would be waited for */
    FILE *f = regular ? fopen(s->settings.meter_path, "re") : NULL;
    if (f == NULL) {
        snprintf(s->reason, sizeof s->reason, "%s",
                 there && !regular ? "no regular file; a log is read again as it grows" : strerror(errno));
        return false;
    }
    char line[1024];
    bool good = st.st_size >= m->offset && fseek(f, m->offset, SEEK_SET) == 0;
    if (!good) snprintf(s->reason, sizeof s->reason, "the log became shorter");
    while (good && fgets(line, sizeof line, f) != NULL) {
        size_t length = strlen(line);
        if (length == 0 || line[length - 1] != '\n') {
            if (length < sizeof line - 1) break; /* still being written */
            snprintf(s->reason, sizeof s->reason, "line %d is longer than %zu bytes", m->line + 1, sizeof line - 1);
            good = false;
            break;
        }
        m->offset += (long)length;
        good = add_line(s, m, line);
    }
    fclose(f);
    find_interval(m);
    return good;
}

/* Whether the log ended before now: of a meter that is no longer written down, or whose clock is another. */
static bool is_stale(Source *s, const Meter *m)
{
    SourceTime now;
    char when[32] = "";
    source_now(&s->settings, &now);
    double last = m->samples[m->count - 1].time, behind = now.real - last;
    if (behind <= fmax(STALE, STALE_INTERVALS * m->interval)) return false;
    time_t seconds = (time_t)last;
    struct tm utc;
    if (gmtime_r(&seconds, &utc) != NULL) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(s->reason, sizeof s->reason, "the log ends at %s, %.3g s ago: nothing is written to it now, or the meter's clock is another "
             "(--meter-offset)", when, behind);
    return true;
}

static void meter_open(Source *s)
{
    s->provenance = PROVENANCE_EXTERNAL;
    s->factor = 1.02;
    s->limit_watts = 4 * WATTS_MACHINE;
    if (s->settings.meter_path == NULL) {
        s->readiness = SOURCE_UNSET;
        snprintf(s->reason, sizeof s->reason, "no meter log given");
        snprintf(s->fix, sizeof s->fix,
                 "log a plug meter as 'time,watts' lines (time in seconds since 1970) and give it: --meter-log=FILE");
        return;
    }
    Meter *m = calloc(1, sizeof *m);
    if (m == NULL) {
        s->readiness = SOURCE_UNUSABLE;
        snprintf(s->reason, sizeof s->reason, "out of memory");
        return;
    }
    m->time_column = -1;
    bool good = read_log(s, m);
    if (good && m->count < 2) {
        snprintf(s->reason, sizeof s->reason, "fewer than 2 samples");
        good = false;
    }
    bool stale = good && is_stale(s, m);
    good = good && !stale;
    if (!good) {
        s->readiness = access(s->settings.meter_path, R_OK) != 0 ? SOURCE_ABSENT : SOURCE_UNUSABLE;
        snprintf(s->fix, sizeof s->fix, "%s", stale ? "log while it is measured: a log is read as it grows, lines at most 5 s late"
                                                    : "expected lines 'time,watts', times in order, e.g. 1767225600.5,31.2");
        free(m->samples);
        free(m);
        return;
    }
    s->state = m;
    s->readiness = SOURCE_READY;
    s->update_seconds = m->interval;
    s->least_window = fmax(1, 20 * m->interval);
    snprintf(s->label, sizeof s->label, "meter log");
    snprintf(s->boundary, sizeof s->boundary, "whole machine at the meter");
    snprintf(s->resolution, sizeof s->resolution, "%s every %g s", m->sums ? "energy" : "power", m->interval);
    snprintf(s->note, sizeof s->note, "the meter's clock and this machine's must agree; --meter-offset moves it");
}

static double value_at(const Sample *a, const Sample *b, double time)
{
    return b->time > a->time ? a->value + (b->value - a->value) * (time - a->time) / (b->time - a->time) : b->value;
}

/* Joules between two times, by the trapezoid rule over the straight lines between samples. False with reason. */
static bool integrate(Source *s, const Meter *m, double from, double to, double *joules)
{
    double sum = 0;
    for (size_t i = 1; i < m->count; i++) {
        const Sample *a = &m->samples[i - 1], *b = &m->samples[i];
        if (b->time <= from || a->time >= to) continue;
        if (b->time - a->time > GAP * m->interval) {
            snprintf(s->reason, sizeof s->reason, "the log has a gap of %.3g s inside the window", b->time - a->time);
            return false;
        }
        double left = fmax(a->time, from), right = fmin(b->time, to), first = value_at(a, b, left), last = value_at(a, b, right);
        sum += m->sums ? last - first : 0.5 * (first + last) * (right - left);
    }
    *joules = sum;
    return true;
}

static ReadingState meter_between(Source *s, double from, double to, double *joules)
{
    Meter *m = s->state;
    if (m->samples[m->count - 1].time < to && !read_log(s, m)) return READING_DROPPED;
    if (m->samples[0].time > from) {
        snprintf(s->reason, sizeof s->reason, "the log begins %.3g s after the window", m->samples[0].time - from);
        return READING_DROPPED;
    }
    if (m->samples[m->count - 1].time < to) {
        snprintf(s->reason, sizeof s->reason, "the log ends %.3g s before the window does", to - m->samples[m->count - 1].time);
        return READING_PENDING;
    }
    return integrate(s, m, from, to, joules) ? READING_GOOD : READING_DROPPED;
}

static void meter_close(Source *s)
{
    Meter *m = s->state;
    free(m->samples);
    free(m);
}

const SourceKind source_meter = {
    .id = "meter",
    .title = "external meter",
    .level = 0,
    .open = meter_open,
    .between = meter_between,
    .close = meter_close,
};
