/* What every cmocka test needs, and a few helpers; include first. */
#ifndef PARE_TESTS_TEST_H
#define PARE_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

/* Fails with the message of `err` when a call did not return OK. */
#define assert_ok(call, err) \
    do { \
        Status got_ = (call); \
        if (got_ != OK) fail_msg("%s: status %d: %s", #call, (int)got_, (err)->text); \
    } while (0)
#define assert_status(call, expected, err) \
    do { \
        Status got_ = (call); \
        if (got_ != (expected)) fail_msg("%s: status %d, expected %d: %s", #call, (int)got_, (int)(expected), (err)->text); \
    } while (0)
#define assert_near(a, b, tolerance) \
    do { \
        double a_ = (a), b_ = (b); \
        if (!(fabs(a_ - b_) <= (tolerance))) fail_msg("%s = %.9g, expected %.9g within %g", #a, a_, b_, (double)(tolerance)); \
    } while (0)

/* Skips with a line when the networks beside the project are not there; else the path of one, in a static buffer. */
static inline const char *zoo_path(const char *name)
{
    static char path[1024];
    const char *root = getenv("PARE_ZOO");
    snprintf(path, sizeof path, "%s/%s", root != NULL ? root : "../shared/zoo", name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not here\n", path);
        skip();
    }
    return path;
}

#endif
