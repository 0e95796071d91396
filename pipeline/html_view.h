/* Reading a report's JSON tree for a page: what is absent, null or of another type is "not known". Inside pipeline/html*.c only. */
#ifndef PARE_PIPELINE_HTML_VIEW_H
#define PARE_PIPELINE_HTML_VIEW_H

#include <cjson/cJSON.h>

#include <stdbool.h>

#define VIEW_MOST 8 /* networks side by side on one page */

typedef struct View {
    const cJSON *root;
    const cJSON *networks[VIEW_MOST]; /* the first one is the reference */
    const char *names[VIEW_MOST];
    int count;
    int left_out;   /* networks beyond VIEW_MOST */
} View;

void view_open(const cJSON *root, View *v);

/* "latency_ms.median": the member of a member; NULL when absent or null. */
const cJSON *view_get(const cJSON *object, const char *path);
double view_number(const cJSON *object, const char *path);     /* NaN */
const char *view_text(const cJSON *object, const char *path);  /* NULL */
bool view_true(const cJSON *object, const char *path);
const cJSON *view_list(const cJSON *object, const char *path); /* an array with members, else NULL */

/* A measured number with its 95 % interval, where it has one. */
typedef struct Range {
    double value, low, high; /* NaN where not known */
} Range;
Range view_range(const cJSON *object, const char *path);
bool range_has_interval(const Range *r);

/* The measures of the survey, and accuracy beside them. */
typedef enum MeasureId {
    MEASURE_TIME,
    MEASURE_SIZE,
    MEASURE_OPERATIONS,
    MEASURE_POWER,
    MEASURE_ENERGY,
    MEASURE_CARBON,
    MEASURE_COUNT
} MeasureId;

typedef struct MeasureInfo {
    const char *title, *unit, *path;
    double factor;       /* to the unit */
    const char *less, *more; /* in a sentence: "smaller", "larger" */
    const char *compared;    /* "measure" of the comparisons that decide about it; NULL: counted exactly */
} MeasureInfo;
extern const MeasureInfo measure_infos[MEASURE_COUNT];

Range measure_of(const cJSON *network, MeasureId id); /* in the unit */
/* "counted", "measured", "modelled"; NULL when there is no number. */
const char *measure_provenance(const cJSON *network, MeasureId id);
/* Where the number comes from, in words. May be NULL. */
const char *measure_source(const cJSON *network, MeasureId id);

typedef enum Claim { CLAIM_NONE, CLAIM_LESS, CLAIM_SAME, CLAIM_MORE, CLAIM_UNSURE } Claim;
/* What may be said of network k against the reference: a difference of measured numbers only where the intervals allow it. */
Claim measure_claim(const View *v, int k, MeasureId id);
/* After / before: the median of the pairs where there are any, else of the two numbers; NaN when not known. */
double measure_ratio(const View *v, int k, MeasureId id);
/* The comparison of network k with the reference by "latency", "energy" or "power"; NULL when there is none. */
const cJSON *view_comparison(const View *v, int k, const char *measure);

#endif
