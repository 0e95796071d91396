/* Integer layers run by kernels and by the plain forward, under every instruction set. */
#ifndef PARE_TESTS_INTEGERS_H
#define PARE_TESTS_INTEGERS_H

#include "test.h"

#include <spawn.h>
#include <sys/wait.h>

#include "build_graph.h"
#include "engine/session.h"

extern char **environ;

static ValueId number(Graph *g, const char *name, DType type, double value)
{
    return build_constant(g, name, type, &value, NULL, 0);
}

/* Bytes all over the range; `most`: nothing but the largest. */
static Tensor bytes(DType type, const Shape *shape, bool most)
{
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, type, shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) {
        int64_t v = most ? 255 : (int64_t)floor(128 + 128 * build_noise(17, i));
        tensor_set_int(&t, i, type == DT_INT8 ? v - 128 : v);
    }
    return t;
}

/* The first output of a run; *kernels: how many steps ran the integer kernels, *float_steps: how many made a float tensor. */
static Tensor run(const Graph *g, const Tensor *x, SessionOptions options, int *kernels, int *floats)
{
    Session *s;
    Tensor y[4] = { 0 };
    Err err;
    assert_ok(session_new(g, &options, &s, &err), &err);
    assert_ok(session_run(s, x, y, &err), &err);
    if (kernels != NULL) {
        *kernels = *floats = 0;
        for (int p = 0; p < PLAN_CACHE; p++)
            for (size_t i = 0; s->plans[p] != NULL && i < s->plans[p]->step_count; i++) {
                const Step *step = &s->plans[p]->steps[i];
                *kernels += step->kernel != NULL && strncmp(step->kernel->name, "integer", 7) == 0;
                *floats += step->kernel != &kernel_reorder && s->plans[p]->slots[step->out[0]].tensor.type == DT_FLOAT;
            }
    }
    session_free(s);
    for (int i = 1; i < g->output_count; i++) tensor_release(&y[i]);
    return y[0];
}

static void assert_same(const char *name, const Tensor *got, const Tensor *want)
{
    if (!shape_eq(&got->shape, &want->shape) || got->type != want->type) fail_msg("%s: another shape or type", name);
    for (int64_t i = 0; i < tensor_count(want); i++)
        if (tensor_get(got, i) != tensor_get(want, i))
            fail_msg("%s: element %lld is %.9g, expected %.9g", name, (long long)i, tensor_get(got, i), tensor_get(want, i));
}

/* The same program under every instruction set that the processor has; oneDNN reads the cap once, so each in a process of its own. */
static void instruction_sets(void **state)
{
    (void)state;
    static const char *const sets[] = { "SSE41", "AVX", "AVX2", "AVX512_CORE" };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        pid_t child;
        int status = 0;
        char name[] = "capped", *const argv[] = { name, NULL };
        assert_int_equal(setenv("ONEDNN_MAX_CPU_ISA", sets[i], 1), 0);
        assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        unsetenv("ONEDNN_MAX_CPU_ISA");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("capped at %s: status %d", sets[i], status);
    }
}

/* The rows, and last of them instruction_sets: in the processes it starts, all but that one. */
static int run_integer_tests(const struct CMUnitTest *tests, size_t count)
{
    return _cmocka_run_group_tests("integers", tests, getenv("ONEDNN_MAX_CPU_ISA") == NULL ? count : count - 1, NULL, NULL);
}

#endif
