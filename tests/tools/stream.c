/* Runs a network step by step, handing outputs back to inputs: stream MODEL IN.npz OUT.npz [OUTPUT=INPUT ...]
 * An array of IN.npz that has one axis more than the input of its name holds one entry per step, any other is the same in every step, and
 * that of an input which is handed an output is its start. OUT.npz gets every output of every step, stacked along a new first axis.
 * Environment: PLAIN runs the plain forwards. For the interoperability tests. */
#include "engine/engine.h"
#include "formats/npz.h"
#include "graph/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 32

typedef struct Stream {
    const Graph *g;
    Session *session;
    Npz *npz;
    NpzWriter *writer;
    ValueId feeds[MOST];
    int count, from[MOST];        /* output handed back to each input, or -1 */
    bool framed[MOST];
    int64_t steps;
    Tensor given[MOST], in[MOST], out[MOST];
    int handle[MOST];
} Stream;

static Status bind_states(Stream *s, int pairs, char **text, Err *err)
{
    for (int i = 0; i < s->count; i++) s->from[i] = -1;
    for (int k = 0; k < pairs; k++) {
        char *equals = strchr(text[k], '=');
        int input = -1, output = -1;
        if (equals == NULL) return err_set(err, ERR_USAGE, "'%s' is not OUTPUT=INPUT", text[k]);
        Str name = { text[k], (size_t)(equals - text[k]) };
        for (int i = 0; i < s->count; i++)
            if (str_is(graph_value(s->g, s->feeds[i])->name, equals + 1)) input = i;
        for (int i = 0; i < s->g->output_count; i++)
            if (str_eq(graph_value(s->g, s->g->outputs[i])->name, name)) output = i;
        if (input < 0 || output < 0) return err_set(err, ERR_USAGE, "'%s' names no output and input", text[k]);
        s->from[input] = output;
    }
    return OK;
}

static Status read_inputs(Stream *s, Err *err)
{
    s->steps = -1;
    for (int i = 0; i < s->count; i++) {
        const Value *v = graph_value(s->g, s->feeds[i]);
        int at = npz_find(s->npz, v->name.data);
        if (at < 0) return err_set(err, ERR_DATA, "no array '%s'", v->name.data);
        TRY(npz_tensor(s->npz, at, &s->given[i], err));
        TRY(tensor_align(&s->given[i], err));
        s->framed[i] = s->from[i] < 0 && s->given[i].shape.rank == v->shape.rank + 1;
        if (!s->framed[i]) {
            s->in[i] = tensor_share(&s->given[i]);
            continue;
        }
        int64_t steps = s->given[i].shape.dims[0];
        if (steps == 0 || (s->steps >= 0 && s->steps != steps)) return err_set(err, ERR_DATA, "array '%s': its steps", v->name.data);
        s->steps = steps;
        Shape shape = shape_of(v->shape.rank, s->given[i].shape.dims + 1);
        TRY(tensor_new(&s->in[i], s->given[i].type, &shape, err));
    }
    return s->steps > 0 ? OK : err_set(err, ERR_DATA, "no array holds one entry per step");
}

static Status write_outputs(Stream *s, int64_t step, Err *err)
{
    for (int i = 0; i < s->g->output_count; i++) {
        const Tensor *t = &s->out[i];
        Shape shape = { .rank = t->shape.rank + 1, .dims = { s->steps } };
        memcpy(shape.dims + 1, t->shape.dims, sizeof(int64_t) * (size_t)t->shape.rank);
        if (step == 0)
            TRY(npz_writer_array(s->writer, graph_value(s->g, s->g->outputs[i])->name.data, t->type, &shape, &s->handle[i], err));
        TRY(npz_writer_rows(s->writer, s->handle[i], t->data, 1, err));
    }
    return OK;
}

static Status run_steps(Stream *s, Err *err)
{
    for (int64_t step = 0; step < s->steps; step++) {
        for (int i = 0; i < s->count; i++)
            if (s->framed[i]) memcpy(s->in[i].data, s->given[i].data + (size_t)step * s->in[i].bytes, s->in[i].bytes);
        TRY(session_run(s->session, s->in, s->out, err));
        TRY(write_outputs(s, step, err));
        for (int i = 0; i < s->count; i++) {
            if (s->from[i] < 0) continue;
            tensor_release(&s->in[i]);
            s->in[i] = tensor_share(&s->out[s->from[i]]);
        }
        for (int i = 0; i < s->g->output_count; i++) tensor_release(&s->out[i]);
    }
    return OK;
}

int main(int argc, char **argv)
{
    Err err = { .code = OK };
    Graph *g = NULL;
    Stream s = { .steps = 0 };
    if (argc < 4) {
        fprintf(stderr, "usage: stream MODEL IN.npz OUT.npz [OUTPUT=INPUT ...]\n");
        return ERR_USAGE;
    }
    SessionOptions options = { .threads = 1, .plain = getenv("PLAIN") != NULL };
    Status status = model_load(argv[1], NULL, &g, &err);
    if (status == OK) status = npz_open(argv[2], 0, &s.npz, &err);
    if (status == OK) status = session_new(g, &options, &s.session, &err);
    if (status == OK) s.g = session_graph(s.session);
    if (status == OK) s.count = graph_feeds(s.g, s.feeds, MOST);
    if (status == OK && (s.count > MOST || s.g->output_count > MOST)) status = err_set(&err, ERR_UNSUPPORTED, "too many inputs or outputs");
    if (status == OK) status = bind_states(&s, argc - 4, argv + 4, &err);
    if (status == OK) status = read_inputs(&s, &err);
    if (status == OK) status = npz_writer_open(argv[3], false, &s.writer, &err);
    if (status == OK) status = run_steps(&s, &err);
    if (status == OK) status = npz_writer_commit(s.writer, &err);
    else if (s.writer != NULL) npz_writer_abort(s.writer);
    for (int i = 0; i < MOST; i++) {
        tensor_release(&s.given[i]);
        tensor_release(&s.in[i]);
        tensor_release(&s.out[i]);
    }
    session_free(s.session);
    npz_close(s.npz);
    graph_free(g);
    if (status != OK) fprintf(stderr, "stream: %s\n", err.text);
    return (int)status;
}
