/* Known truths on the machine's own clocks: a network against itself must read 1, within the noise, and against itself run twice an
 * inference 2. Prints a line for each seed: both ratios, of run time and of processor time, with their intervals and the null band. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "graph/format.h"
#include "greenness/compare.h"

typedef struct Side {
    Session *session;
    Tensor *inputs, *outputs;
    int count, times;
} Side;

static Status call(void *context, Err *err)
{
    Side *s = context;
    for (int i = 0; i < s->times; i++) {
        TRY(session_run(s->session, s->inputs, s->outputs, err));
        for (int k = 0; k < s->count; k++) tensor_release(&s->outputs[k]);
    }
    return OK;
}

static Status side_open(Side *s, const Graph *g, Tensor *inputs, int times, int threads, Err *err)
{
    *s = (Side){ .inputs = inputs, .count = g->output_count, .times = times };
    s->outputs = alloc_zeroed((size_t)g->output_count + 1, sizeof *s->outputs);
    if (s->outputs == NULL) return err_no_memory(err, "tensors");
    return session_new(g, &(SessionOptions){ .threads = threads }, &s->session, err);
}

static void print_ratio(const char *name, const Ratio *r, const NullBand *null)
{
    printf("  %s %.4f [%.4f, %.4f] %s, noise %.4f to %.4f\n", name, r->median, r->low, r->high, verdict_text(r->verdict), null->low,
           null->high);
}

static Status compare_sides(Side *sides, int threads, double budget, uint64_t seed, int inside[2], Err *err)
{
    Contestant contestants[3];
    Comparison c;
    static const char *const names[] = { "once", "itself", "twice" };
    for (int i = 0; i < 3; i++) contestants[i] = (Contestant){ .name = names[i], .context = &sides[i], .call = call, .batch = 1 };
    CompareOptions options = { .budget = budget, .threads = threads, .seed = seed, .time_only = true };
    TRY(compare_networks(contestants, 3, &options, &c, err));
    printf("seed %d: %d rounds, other processes %.0f %% of all cores\n", (int)seed, c.rounds, 100 * c.environment.other_load);
    for (int i = 1; i < 3; i++) {
        const Compared *n = &c.networks[i];
        char name[32];
        snprintf(name, sizeof name, "%s, run time", names[i]);
        print_ratio(name, &n->time, &c.null_time);
        snprintf(name, sizeof name, "%s, CPU time", names[i]);
        print_ratio(name, &n->cpu, &c.null_cpu);
    }
    const Compared *itself = &c.networks[1];
    inside[0] += itself->time.median >= c.null_time.low && itself->time.median <= c.null_time.high;
    inside[1] += itself->cpu.median >= c.null_cpu.low && itself->cpu.median <= c.null_cpu.high;
    fflush(stdout);
    comparison_release(&c);
    return OK;
}

static Status run(Graph **graph, Dataset **data, Side sides[3], char **args, Err *err)
{
    int threads = engine_set_threads((int)strtol(args[3], NULL, 10)), inside[2] = { 0, 0 };
    long seeds = strtol(args[5], NULL, 10);
    TRY(model_load(args[1], &(LoadOptions){ 0 }, graph, err));
    engine_bind(*graph);
    TRY(engine_infer(*graph, err));
    TRY(dataset_open(args[2], *graph, &(DataOptions){ 0 }, data, err));
    Tensor *inputs = alloc_zeroed((size_t)graph_feeds(*graph, NULL, 0) + 1, sizeof *inputs);
    if (inputs == NULL) return err_no_memory(err, "tensors");
    sides[0].inputs = inputs;
    TRY(dataset_read(*data, 0, dataset_batch(*data, 1), inputs, NULL, err));
    for (int i = 0; i < 3; i++) TRY(side_open(&sides[i], *graph, inputs, i == 2 ? 2 : 1, threads, err));
    for (long seed = 1; seed <= seeds; seed++)
        TRY(compare_sides(sides, threads, strtod(args[4], NULL), (uint64_t)seed, inside, err));
    printf("against itself inside the noise: %d of %ld in run time, %d in CPU time\n", inside[0], seeds, inside[1]);
    return OK;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: twice MODEL DATA.npz THREADS SECONDS SEEDS\n");
        return ERR_USAGE;
    }
    Err err = { 0 };
    Graph *graph = NULL;
    Dataset *data = NULL;
    Side sides[3] = { { 0 } };
    Status status = run(&graph, &data, sides, argv, &err);
    if (status != OK) fprintf(stderr, "twice: %s\n", err.text);
    int feeds = graph != NULL ? graph_feeds(graph, NULL, 0) : 0;
    for (int i = 0; sides[0].inputs != NULL && i < feeds; i++) tensor_release(&sides[0].inputs[i]);
    free(sides[0].inputs);
    for (int i = 0; i < 3; i++) {
        free(sides[i].outputs);
        session_free(sides[i].session);
    }
    dataset_free(data);
    graph_free(graph);
    return status;
}
