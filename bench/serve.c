/* One side of bench/latency.py and bench/engine.py: holds a network and its inputs ready and, for each number read from standard input,
 * runs the network that many times and prints the seconds it took; 0: the seconds from the model's file to the first result. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "graph/format.h"

typedef struct Served {
    Graph *graph;
    Dataset *data;
    Session *session;
    Tensor *inputs, *outputs;
    double load; /* seconds */
} Served;

static Status served_open(Served *s, const char *model, const char *data, int threads, Err *err)
{
    double started = clock_seconds();
    TRY(model_load(model, &(LoadOptions){ 0 }, &s->graph, err));
    engine_bind(s->graph);
    TRY(engine_infer(s->graph, err));
    s->load = clock_seconds() - started;
    TRY(dataset_open(data, s->graph, &(DataOptions){ 0 }, &s->data, err));
    s->inputs = alloc_zeroed((size_t)graph_feeds(s->graph, NULL, 0) + 1, sizeof *s->inputs);
    s->outputs = alloc_zeroed((size_t)s->graph->output_count + 1, sizeof *s->outputs);
    if (s->inputs == NULL || s->outputs == NULL) return err_no_memory(err, "tensors");
    TRY(dataset_read(s->data, 0, dataset_samples(s->data), s->inputs, NULL, err));
    started = clock_seconds();
    TRY(session_new(s->graph, &(SessionOptions){ .threads = threads }, &s->session, err));
    s->load += clock_seconds() - started;
    return OK;
}

static Status served_run(Served *s, long calls, double *seconds, Err *err)
{
    double started = clock_seconds();
    for (long i = 0; i < calls; i++) {
        TRY(session_run(s->session, s->inputs, s->outputs, err));
        for (int k = 0; k < s->graph->output_count; k++) tensor_release(&s->outputs[k]);
    }
    *seconds = clock_seconds() - started;
    return OK;
}

static void served_close(Served *s)
{
    int feeds = s->graph != NULL ? graph_feeds(s->graph, NULL, 0) : 0;
    for (int i = 0; s->inputs != NULL && i < feeds; i++) tensor_release(&s->inputs[i]);
    free(s->inputs);
    free(s->outputs);
    session_free(s->session);
    dataset_free(s->data);
    graph_free(s->graph);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: serve MODEL DATA.npz THREADS\n");
        return ERR_USAGE;
    }
    Err err = { 0 };
    Served served = { 0 };
    Status status = served_open(&served, argv[1], argv[2], (int)strtol(argv[3], NULL, 10), &err);
    char line[32];
    while (status == OK && fgets(line, sizeof line, stdin) != NULL) {
        double seconds = 0;
        long calls = strtol(line, NULL, 10);
        status = served_run(&served, calls > 0 ? calls : 1, &seconds, &err);
        if (calls <= 0) seconds += served.load; /* asked for before anything else */
        if (status == OK) printf("%.9f\n", seconds);
        fflush(stdout);
    }
    if (status != OK) fprintf(stderr, "serve: %s\n", err.text);
    served_close(&served);
    return status;
}
