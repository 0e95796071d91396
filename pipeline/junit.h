/* Goals as JUnit XML: what build servers show as tests. */
#ifndef PARE_PIPELINE_JUNIT_H
#define PARE_PIPELINE_JUNIT_H

#include "base/str.h"
#include "pipeline/goals.h"

/* One network that was judged; texts are borrowed and may hold any byte. */
typedef struct JunitSuite {
    const char *name;
    const GoalResult *goals[GOAL_COUNT];
    int goal_count;
    double seconds; /* that it took; NaN: not told */
} JunitSuite;

/* A suite holds one case "done" that passed, and one for each goal. Goals that were missed, or not measured, are failures; those that
 * are inconclusive are skipped. */
void junit_print(const JunitSuite *suites, int count, StrBuf *b);
/* The same into a file, replaced whole; "-" is standard output. */
Status junit_write(const JunitSuite *suites, int count, const char *path, Err *err);

#endif
