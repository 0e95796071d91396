/* pare: smaller networks, and what was gained. This file finds the command, runs it, and turns its Status into the exit code. */
#include "cmd/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pipeline/version.h"

static volatile int interrupted;

/* The first signal asks the work to stop at the next step; the second one ends the program, without partial files. */
static void on_signal(int number)
{
    (void)number;
    if (interrupted) {
        outfile_abort_all();
        _exit(ERR_INTERRUPTED);
    }
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction stop = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a closed pipe is a write error: exit code 7 */
    sigaction(SIGXFSZ, &ignore, NULL);
}

static Status print_text(const StrBuf *text, FILE *to, Err *err)
{
    if (text->failed) return err_no_memory(err, "the output text");
    if (text->len > 0 && fwrite(text->data, 1, text->len, to) != text->len) {
        return err_set(err, ERR_IO, "standard output: %s", strerror(errno));
    }
    return fflush(to) == 0 ? OK : err_set(err, ERR_IO, "standard output: %s", strerror(errno));
}

static Status run_command(const Command *command, int argc, char **argv, Log *log, Err *err)
{
    Call call = { .command = command, .log = log, .arena = arena_new() };
    if (call.arena == NULL) return err_no_memory(err, "the command line");
    Status status = cli_parse(&call, argc, argv, err);
    if (status == OK) {
        const CommonOptions *common = call.options;
        log->quiet = common->quiet;
        if (common->help && call.pass != NULL) help_pass(call.pass, &call.out);
        else if (common->help) help_command(command, &call.out);
        else status = command->run(&call, err);
    }
    Err print_err;
    Status printed = print_text(&call.out, call.out_to_stderr ? stderr : stdout, &print_err);
    if (printed != OK && (status == OK || status == ERR_GOAL)) {
        *err = print_err;
        status = printed;
    }
    call_release(&call);
    return status;
}

static Status run_program(int argc, char **argv, Log *log, Err *err)
{
    if (argc < 2) return err_set(err, ERR_USAGE, "no command; 'pare help' lists them");
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        StrBuf text = { 0 };
        strbuf_printf(&text, "pare %s\n", PARE_VERSION);
        Status status = print_text(&text, stdout, err);
        strbuf_release(&text);
        return status;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    const Command *command = command_find(name);
    if (command != NULL) return run_command(command, argc - 2, argv + 2, log, err);
    if (name[0] == '-') return err_set(err, ERR_USAGE, "unknown option '%s' before the command; 'pare help' lists the commands", name);
    const char *nearest = command_nearest(name);
    if (nearest == NULL) return err_set(err, ERR_USAGE, "unknown command '%s'; 'pare help' lists them", name);
    const char *before = command_find(nearest) == NULL ? "pass " : ""; /* a pass is a command's argument */
    return err_set(err, ERR_USAGE, "unknown command '%s'; did you mean '%s%s'?", name, before, nearest);
}

/* libgomp's threads spin 300,000 turns at a barrier before they sleep, which on a busy machine costs many times the work itself. It reads
 * its settings before main runs: so they are set here and the program started once more. OpenBLAS, opened when it is first called, starts
 * threads of its own, which are never used here (engine/blas_glue.c) and spin, too: it is told to start none. A user's own
 * settings stand. */
static void start_with_short_spins(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") != NULL || getenv("OMP_WAIT_POLICY") != NULL) return;
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0 || setenv("GOMP_SPINCOUNT", "3000", 1) != 0) return;
    self[n] = '\0';
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
    execv(self, argv); /* comes back only on failure: then it runs as it is */
}

int main(int argc, char **argv)
{
    start_with_short_spins(argv);
    Log log;
    Err err = { .code = OK };
    catch_signals();
    log_init(&log, stderr, false);
    log.interrupted = &interrupted;
    Status status = run_program(argc, argv, &log, &err);
    if (status != OK) {
        progress_end(&log);
        fprintf(stderr, "%spare:%s %s\n", log.color ? "\033[31m" : "", log.color ? "\033[0m" : "", err.text);
    }
    return (int)status;
}
