/* A machine of a test's own: networks that take time and energy as they are told, clocks and a counter that follow, faults on demand. */
#ifndef PARE_TESTS_COMPARE_FIXTURE_H
#define PARE_TESTS_COMPARE_FIXTURE_H

#include "fake_tree.h"

#include <math.h>

#include "base/rng.h"
#include "greenness/compare.h"

typedef struct FakeMachine {
    double idle_watts, joules, cpu; /* counters so far */
    double noise, drift;            /* of each call, relative; slow change over a minute */
    double spikes;                  /* share of calls that take three times as long */
    int64_t calls;
    bool stopped;                   /* the counter */
    double step;                    /* joules by which it moves; 0: fine enough */
    Rng rng;
    int counter;                    /* fd of the counter's file; 0: none */
    void (*fault)(struct FakeMachine *m); /* before every call */
    int64_t fault_at;
} FakeMachine;

typedef struct FakeNetwork {
    FakeMachine *machine;
    double seconds, watts;          /* of a call; watts above idle */
    int times;                      /* the work is done so many times in a call */
    int64_t fails_at;               /* this call of the machine fails; 0: none */
} FakeNetwork;

/* Whoever reads the clock finds the counter where it belongs: sources do so before each step. */
static void machine_clock(void *context, SourceTime *now)
{
    FakeMachine *m = context;
    char text[32];
    *now = fake_now;
    if (m->counter <= 0) return;
    snprintf(text, sizeof text, "%014.0f", m->step > 0 ? floor(m->joules / m->step) * m->step * 1e6 : floor(m->joules * 1e6));
    assert_int_equal(pwrite(m->counter, text, 14, 0), 14);
}

static void machine_spend(FakeMachine *m, double seconds, double watts)
{
    pass_time(seconds);
    if (!m->stopped) m->joules += seconds * watts;
}

static void machine_sleep(void *context, double seconds)
{
    FakeMachine *m = context;
    machine_spend(m, seconds, m->idle_watts);
}

static double machine_cpu(void *context) { return ((FakeMachine *)context)->cpu; }

static Status network_call(void *context, Err *err)
{
    const FakeNetwork *n = context;
    FakeMachine *m = n->machine;
    if (m->fault != NULL) m->fault(m);
    m->calls++;
    if (n->fails_at > 0 && m->calls >= n->fails_at) return err_set(err, ERR_DATA, "Gather 'embed': index 9 of 4");
    for (int i = 0; i < n->times; i++) {
        double seconds = n->seconds * exp(m->noise * rng_normal(&m->rng)) * (1 + m->drift * sin(fake_now.monotonic / 10));
        if (rng_uniform(&m->rng) < m->spikes) seconds *= 3;
        machine_spend(m, seconds, m->idle_watts + n->watts);
        m->cpu += seconds;
    }
    return OK;
}

/* A counter in the tree that shows the machine's joules. */
static void machine_counter_named(FakeMachine *m, const char *name)
{
    char path[256];
    put_file("sys/class/powercap/intel-rapl:0/name", name);
    put_file("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "99999999999999\n");
    put_file("sys/class/powercap/intel-rapl:0/energy_uj", "00000000000000\n");
    snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:0/energy_uj", tree);
    m->counter = open(path, O_WRONLY);
    assert_true(m->counter > 0);
}

static inline void machine_counter(FakeMachine *m) { machine_counter_named(m, "package-0\n"); }

static inline CompareOptions machine_options(FakeMachine *m, uint64_t seed)
{
    rng_init(&m->rng, seed * 7919 + 17);
    return (CompareOptions){
        .source = { .sysroot = tree, .clock = machine_clock, .context = m }, .cpu = machine_cpu, .sleep = machine_sleep,
        .seed = seed, .threads = 1,
    };
}

static inline Contestant contestant(const char *name, FakeNetwork *n)
{
    return (Contestant){ .name = name, .context = n, .call = network_call, .batch = 1 };
}

static inline bool warned(const Comparison *c, const char *text)
{
    for (int i = 0; i < c->warnings.count; i++)
        if (strstr(c->warnings.texts[i], text) != NULL) return true;
    return false;
}

static inline void measure_one(FakeNetwork *n, const CompareOptions *o, Comparison *out)
{
    Err err;
    const Contestant one = contestant("net", n);
    assert_ok(compare_networks(&one, 1, o, out, &err), &err);
}

/* Behind one row of a table: the next one finds an empty tree. */
static inline void next_machine(FakeMachine *m, Comparison *c)
{
    comparison_release(c);
    if (m->counter > 0) close(m->counter);
    new_tree();
}

/* Compares two networks of `a` and `b` on a machine with a counter, noise, drift and spikes. */
static inline void compare_two(FakeMachine *m, FakeNetwork *a, FakeNetwork *b, uint64_t seed, Comparison *out)
{
    Err err;
    CompareOptions o = machine_options(m, seed);
    a->machine = b->machine = m;
    const Contestant both[] = { contestant("before", a), contestant("after", b) };
    assert_ok(compare_networks(both, 2, &o, out, &err), &err);
}

#endif
