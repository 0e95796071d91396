/* Peak memory of single networks, told by processes of their own. */
#include "test.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/peak.h"

#define NETWORK "examples/digits/digits.onnx"

static const PeakSetup setup = { .threads = 1 };

static void test_peak_of(void **state)
{
    (void)state;
    char pipe_path[64];
    snprintf(pipe_path, sizeof pipe_path, "%s/test-peak-%d", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", (int)getpid());
    int64_t bytes = peak_of(NETWORK, &setup);
    assert_true(bytes > 1 << 20);
    assert_int_equal(peak_of("no/such.onnx", &setup), -1);
    assert_int_equal(peak_of("Makefile", &setup), -1);
    assert_int_equal(mkfifo(pipe_path, 0600), 0); /* would wait for ever, and eat what the program itself is to read */
    assert_int_equal(peak_of(pipe_path, &setup), -1);
    unlink(pipe_path);
    errno = 0;
    assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD); /* none is left */
}

/* The process aside is asked long after it was forked, when this one holds memory that must not count. */
static void test_peak_aside(void **state)
{
    (void)state;
    const size_t held = (size_t)64 << 20;
    PeakAside aside;
    peak_aside_open(&aside, &setup);
    char *mine = malloc(held);
    assert_non_null(mine);
    memset(mine, 1, held);
    int64_t once = peak_aside_ask(&aside, NETWORK), again = peak_aside_ask(&aside, NETWORK);
    assert_true(once > 1 << 20 && again > 1 << 20);
    assert_true(peak_of(NETWORK, &setup) > once + (int64_t)held / 2); /* forked now, it starts with all that is here */
    assert_int_equal(peak_aside_ask(&aside, "no/such.onnx"), -1);
    assert_int_equal(peak_aside_ask(&aside, NULL), -1);
    assert_true(peak_aside_ask(&aside, NETWORK) > 1 << 20); /* a network that fails leaves it as it was */
    free(mine);
    peak_aside_close(&aside);
    peak_aside_close(&aside);
    assert_int_equal(peak_aside_ask(&aside, NETWORK), -1);
    errno = 0;
    assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peak_of),
        cmocka_unit_test(test_peak_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
