/* A run or a measurement in the forms of other tools: a row of CodeCarbon's emissions.csv, a BoAmps report. */
#ifndef PARE_PIPELINE_EXPORTS_H
#define PARE_PIPELINE_EXPORTS_H

#include "pipeline/comparison.h"
#include "pipeline/report.h"

/* Whether a file could be written or appended to there; `option` stands in the message. Asked before the work. */
Status export_check(const char *option, const char *path, Err *err);
/* Appends one row with CodeCarbon 3's columns, behind a header line in a new file: what the passes of this run used. One write under a
 * lock, so that runs side by side do not mix. ERR_DATA: the file has other columns. */
Status export_emissions(const Report *r, const char *path, Err *err);
/* The same for what was measured: a row for 1,000 inferences of each network that was timed. ERR_DATA: none was. */
Status export_emissions_of(const ComparisonReport *r, const char *path, Err *err);
/* What is wrong with a file that a row should go to; OK for a new or empty one. */
Status export_emissions_check(const char *path, Err *err);
/* Whether a BoAmps report could be written there: nothing, an empty file or another BoAmps report is. ERR_USAGE: something else, which
 * would be lost; ERR_IO. */
Status export_boamps_check(const char *path, Err *err);
/* One thousand inferences of the result, in BoAmps' form (report_schema.json of Boavizta). ERR_DATA: there is no energy to report. */
Status export_boamps(const Report *r, const char *path, Err *err);
/* The same of the last network of a comparison, or of the only one. */
Status export_boamps_of(const ComparisonReport *r, const char *path, Err *err);

#endif
