/* A subcommand: one cmd_NAME.c that ends in one const Command, listed once below. */
#ifndef PARE_CMD_CMD_H
#define PARE_CMD_CMD_H

#include "base/log.h"
#include "base/opts.h"
#include "graph/pass.h"

#include <cjson/cJSON.h>

/* Options that every command takes; first member of each command's options. */
typedef struct CommonOptions {
    bool help, quiet;
    int64_t threads;
    const char *max_mem;
} CommonOptions;

#define COMMON_OPTIONS(Type) \
    { .name = "threads", .type = OPT_INT, .field = offsetof(Type, common.threads), .fallback = "0", .min = 0, .max = 1024, \
      .help = "threads to compute with; 0: as many as cores may be used" }, \
    { .name = "max-mem", .type = OPT_STRING, .field = offsetof(Type, common.max_mem), .unit = "bytes", \
      .help = "refuse what would take more for arrays, activations, packed weights; the program and mapped files come on top: 500M, 2G" }, \
    { .name = "quiet", .type = OPT_FLAG, .field = offsetof(Type, common.quiet), .help = "errors and warnings only; also -q" }, \
    { .name = "help", .type = OPT_FLAG, .field = offsetof(Type, common.help), .help = "this text; also -h" }

/* How the engine computes, of the commands that run networks. */
#define ENGINE_OPTIONS(Type) \
    { .name = "plain", .type = OPT_FLAG, .field = offsetof(Type, plain), \
      .help = "run the plain C operators only: slow, and the reference for the fast ones" }, \
    { .name = "int8", .type = OPT_CHOICE, .field = offsetof(Type, int8), .fallback = "always", .choices = INT8_USES, \
      .help = "quantized convolutions in integers, which are exact, or where it is faster here in float32, which now and then is a " \
              "step off" }

/* An option that may be given several times: every text of it, in order. */
typedef struct Repeated {
    const char **texts;
    int count;
    size_t capacity;
} Repeated;

typedef struct Command Command;

/* One use of a command: the parsed command line, and where its output goes. */
typedef struct Call {
    const Command *command;
    void *options;          /* command->options_size bytes, filled */
    const char **args;      /* positional arguments */
    int arg_count;
    Repeated layers;        /* --layer */
    const Pass *pass;       /* `pare pass NAME`: the pass, and the options given for it, as a recipe's entry */
    cJSON *pass_json;
    uint64_t max_mem;       /* 0: no limit */
    Arena *arena;
    Log *log;
    StrBuf again;           /* the command line that does the same, quoted for a shell, without what only prints or writes beside */
    StrBuf out;             /* printed to standard output when the command returns, whatever its status */
    bool out_to_stderr;     /* standard output carries a model: the text goes to standard error */
} Call;

struct Command {
    const char *name, *args, *summary; /* args: "MODEL", "[PASS|COMMAND]" */
    const char *details;    /* paragraphs for --help; examples included */
    const Opt *options;
    size_t options_size;    /* of a struct whose first member is CommonOptions */
    int min_args, max_args;
    bool takes_pass;        /* the first argument names a pass, whose options follow */
    bool hidden;
    Status (*run)(Call *c, Err *err);
};

#define COMMAND_LIST(X) \
    X(command_run) \
    X(command_pass) \
    X(command_inspect) \
    X(command_lint) \
    X(command_infer) \
    X(command_eval) \
    X(command_profile) \
    X(command_measure) \
    X(command_compare) \
    X(command_history) \
    X(command_probe) \
    X(command_list) \
    X(command_help) \
    X(command_docs)

#define X(command) extern const Command command;
COMMAND_LIST(X)
#undef X

const Command *const *commands_all(void); /* NULL terminated */
const Command *command_find(const char *name);
/* The known name (command or pass) nearest to one that is not known. */
const char *command_nearest(const char *name);

/* Fills c from the arguments behind the command's name. ERR_USAGE names the option and the nearest known one. */
Status cli_parse(Call *c, int argc, char **argv, Err *err);
void call_release(Call *c);
/* A document for --json, indented, a line of its own; takes it (NULL: there was no memory for it). */
Status cli_print_json(cJSON *json, StrBuf *out, Err *err);

void help_program(StrBuf *b);
void help_command(const Command *command, StrBuf *b);
void help_pass(const Pass *pass, StrBuf *b);
void help_exit_codes(StrBuf *b);
void help_recipe(StrBuf *b);
/* The manual page, in man(7) macros. */
void man_page(StrBuf *b);

#endif
