#include "pipeline/peak.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "greenness/measure.h"
#include "pipeline/state.h"

/* Data that do not fit are no error here: whoever measures the network says so. */
static Dataset *open_data(const PeakSetup *o, const Graph *g)
{
    const DataOptions options = { .folder = o->folder, .max_mem = o->max_mem };
    Dataset *data = NULL;
    Err ignored;
    if (o->data != NULL && dataset_open(o->data, g, &options, &data, &ignored) == OK) return data;
    for (int i = 0; i < 2; i++)
        if (o->sections[i] != NULL && dataset_open_json(o->sections[i], g, &options, &data, &ignored) == OK) return data;
    return NULL;
}

/* Loads and runs as whoever compares networks does, with nothing kept for comparing. */
static Status load_and_run(const char *path, const PeakSetup *o, Err *err)
{
    Model model;
    Session *session;
    int threads = engine_set_threads(o->threads);
    TRY(model_open(path, o->max_mem, &model, err));
    Gauge gauge = { .threads = threads, .seed = o->seed, .max_mem = o->max_mem, .evaluation = open_data(o, model.graph) };
    TRY(gauge_init(&gauge, model.graph, NULL, err));
    if (gauge.fidelity == NULL) return err_set(err, ERR_UNSUPPORTED, "%s", gauge.note);
    const SessionOptions options = { .threads = threads, .plain = o->plain, .int8 = o->int8, .max_mem = o->max_mem };
    TRY(session_new(model.graph, &options, &session, err));
    Tensor *outputs = calloc((size_t)model.graph->output_count + 1, sizeof *outputs);
    if (outputs == NULL) return err_no_memory(err, "outputs");
    return session_run(session, gauge.inputs, outputs, err); /* the process ends: nothing is released */
}

static void tell(int line, int64_t bytes)
{
    while (send(line, &bytes, sizeof bytes, MSG_NOSIGNAL) < 0 && errno == EINTR) { }
}

static int64_t hear(int line)
{
    int64_t bytes = -1;
    ssize_t n;
    while ((n = recv(line, &bytes, sizeof bytes, 0)) < 0 && errno == EINTR) { }
    return n == (ssize_t)sizeof bytes && bytes > 0 ? bytes : -1;
}

static void wait_for(pid_t child)
{
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) { }
}

int64_t peak_of(const char *path, const PeakSetup *setup)
{
    int ends[2];
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return -1; /* a pipe is read once, and not here */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        Err err;
        tell(ends[1], load_and_run(path, setup, &err) == OK ? peak_memory() : -1);
        _exit(0);
    }
    close(ends[1]);
    int64_t bytes = child > 0 ? hear(ends[0]) : -1;
    if (child > 0) wait_for(child);
    close(ends[0]);
    return bytes;
}

/* Until the other side hangs up; a signal that asks the program to stop ends it. */
static void answer(int line, const PeakSetup *setup)
{
    char path[PATH_MAX];
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    for (;;) {
        ssize_t n = recv(line, path, sizeof path - 1, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        path[n] = '\0';
        tell(line, peak_of(path, setup));
    }
}

void peak_aside_open(PeakAside *p, const PeakSetup *setup)
{
    int ends[2];
    *p = (PeakAside){ .line = -1 };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        answer(ends[1], setup);
        _exit(0);
    }
    close(ends[1]);
    if (child > 0) *p = (PeakAside){ child, ends[0] };
    else close(ends[0]);
}

int64_t peak_aside_ask(PeakAside *p, const char *path)
{
    size_t n = path != NULL ? strlen(path) : 0;
    if (p->child <= 0 || n == 0 || n >= PATH_MAX) return -1;
    return send(p->line, path, n, MSG_NOSIGNAL) == (ssize_t)n ? hear(p->line) : -1;
}

void peak_aside_close(PeakAside *p)
{
    if (p->child <= 0) return;
    close(p->line);
    wait_for(p->child);
    *p = (PeakAside){ .line = -1 };
}
