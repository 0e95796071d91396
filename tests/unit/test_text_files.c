/* Text files that a pass reads and leaves: through the runner, with a pass of our own. */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "pipeline/runner.h"

typedef struct Options {
    const char *table, *save;
    bool fail;
} Options;

/* Leaves what it read twice, or a line of its own. */
static Status copy_run(PassContext *c, Err *err)
{
    const Options *o = c->options;
    assert_true((c->text.data != NULL) == (o->table != NULL) && (c->text_path != NULL) == (o->table != NULL));
    assert_true((c->saved != NULL) == (o->save != NULL));
    if (c->text_path != NULL) record_add(c->record, RECORD_NOTE, str_of(c->text_path), "%zu bytes", c->text.len);
    for (int i = 0; c->saved != NULL && i < 2; i++)
        if (c->text.data != NULL) strbuf_add_n(c->saved, c->text.data, c->text.len);
        else strbuf_add(c->saved, "line\n");
    return o->fail ? err_set(err, ERR_DATA, "as asked for") : OK;
}

static const Opt copy_table[] = {
    { .name = "table", .type = OPT_TEXT, .field = offsetof(Options, table), .help = "read" },
    { .name = "save-table", .type = OPT_SAVE, .field = offsetof(Options, save), .help = "written" },
    { .name = "fail", .type = OPT_FLAG, .field = offsetof(Options, fail), .help = "fail" },
    OPT_END,
};

static const Pass pass_copy = { .name = "copy", .summary = "copies", .details = "", .options = copy_table,
                                .options_size = sizeof(Options), .run = copy_run };

static char folder[] = "/tmp/test-text-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static const char *in_folder(const char *name)
{
    static char paths[8][256];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static bool holds(const char *name, const char *text)
{
    char found[256] = "";
    FILE *f = fopen(in_folder(name), "rb");
    if (f == NULL) return false;
    size_t n = fread(found, 1, sizeof found - 1, f);
    fclose(f);
    return n == strlen(text) && memcmp(found, text, n) == 0;
}

static bool exists(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

/* A recipe of these passes, each given as "table save-table fail" in turn; its files are relative to the folder. */
typedef struct Step {
    const char *table, *save;
    bool fail;
} Step;

static Status run(const Step *steps, int count, const RunOptions *with, Report **report, Err *err)
{
    RecipePass passes[2];
    Options options[2];
    char output[256];
    Recipe r = { .arena = arena_new(), .json = cJSON_Parse("{ \"passes\": [ {}, {} ] }"), .folder = folder, .passes = passes,
                 .pass_count = count };
    assert_true(r.arena != NULL && r.json != NULL);
    goals_init(&r.goals);
    for (int i = 0; i < count; i++) {
        options[i] = (Options){ steps[i].table, steps[i].save, steps[i].fail };
        passes[i] = (RecipePass){ .pass = &pass_copy, .options = &options[i] };
    }
    RunOptions o = *with;
    snprintf(output, sizeof output, "%s", in_folder(o.output != NULL ? o.output : "out.onnx"));
    o.output = output;
    o.model = "tests/data/tiny.onnx";
    o.no_measure = true;
    o.threads = 1;
    Status status = run_recipe(&r, &o, report, err);
    cJSON_Delete(r.json);
    arena_unref(r.arena);
    return status;
}

static void reads_and_writes(void **state)
{
    (void)state;
    Err err;
    Report *report;
    char hash[HASH_TEXT];
    write_file("in.txt", "a\nb\n");
    assert_ok(run((Step[]){ { "in.txt", "copy.txt", false }, { NULL, "own.txt", false } }, 2, &(RunOptions){ 0 }, &report, &err), &err);
    assert_true(holds("copy.txt", "a\nb\na\nb\n") && holds("own.txt", "line\nline\n") && exists("out.onnx"));
    hash_bytes("a\nb\n", 4, hash);
    assert_string_equal(report->steps[0].text_sha256, hash);
    assert_string_equal(report->steps[1].text_sha256, "");
    assert_int_equal(report->steps[0].note_count, 1);
    assert_string_equal(report->steps[0].notes[0].object, in_folder("in.txt"));
    report_free(report);
    /* an older result is replaced, as a network is; an empty file is a text too */
    write_file("in.txt", "");
    assert_ok(run((Step[]){ { "in.txt", "copy.txt", false } }, 1, &(RunOptions){ 0 }, &report, &err), &err);
    assert_true(holds("copy.txt", ""));
    report_free(report);
    /* without a file there is neither */
    assert_ok(run((Step[]){ { NULL, NULL, false } }, 1, &(RunOptions){ 0 }, &report, &err), &err);
    report_free(report);
}

/* Nothing is written by a dry run, by a run that fails, or where a rule says no. */
static void nothing_written(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        Step steps[2];
        int count;
        const char *output;
        bool dry_run, force;
        Status status;
        const char *says;
    } rows[] = {
        { "dry run", { { "t.txt", "new.txt", false } }, 1, NULL, true, false, OK, "" },
        { "a pass fails", { { "t.txt", "new.txt", false }, { NULL, NULL, true } }, 2, NULL, false, false, ERR_DATA,
          "pass 2 (copy): as asked" },
        { "no such file", { { "gone.txt", "new.txt", false } }, 1, NULL, false, false, ERR_IO, "gone.txt: No such file" },
        { "no such file, dry", { { "gone.txt", NULL, false } }, 1, NULL, true, false, ERR_IO, "gone.txt: No such file" },
        { "a folder", { { ".", NULL, false } }, 1, NULL, false, false, ERR_IO, "is a folder" },
        { "too large", { { "large.txt", "new.txt", false } }, 1, NULL, false, false, ERR_DATA, "at most 16 MB" },
        { "no such folder", { { NULL, "gone/new.txt", false } }, 1, NULL, false, false, ERR_IO, "cannot write into folder" },
        { "over what is read", { { "t.txt", "t.txt", false } }, 1, NULL, false, false, ERR_USAGE, "is also read" },
        { "over what another reads", { { NULL, "t.txt", false }, { "t.txt", NULL, false } }, 2, NULL, false, false, ERR_USAGE,
          "is also read" },
        { "network over the table", { { "t.txt", NULL, false } }, 1, "t.txt", false, false, ERR_USAGE, "is also read" },
        { "as the network", { { NULL, "out.onnx", false } }, 1, NULL, false, false, ERR_USAGE, "written twice: by pass 'copy' and as the" },
        { "as the network, forced", { { NULL, "out.onnx", false } }, 1, NULL, false, true, ERR_USAGE, "written twice" },
        { "twice", { { NULL, "new.txt", false }, { NULL, "new.txt", false } }, 2, NULL, false, false, ERR_USAGE, "written twice: by pass" },
    };
    Err err;
    write_file("t.txt", "t");
    int large = open(in_folder("large.txt"), O_CREAT | O_WRONLY, 0600);
    assert_true(large >= 0 && ftruncate(large, (16 << 20) + 1) == 0);
    close(large);
    unlink(in_folder("out.onnx"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Report *report = NULL;
        RunOptions o = { .output = rows[i].output, .dry_run = rows[i].dry_run, .force = rows[i].force };
        err.text[0] = '\0';
        Status status = run(rows[i].steps, rows[i].count, &o, &report, &err);
        print_message("%s: %s\n", rows[i].what, err.text);
        assert_int_equal(status, rows[i].status);
        assert_non_null(strstr(err.text, rows[i].says));
        assert_true(!exists("new.txt") && !exists("out.onnx") && holds("t.txt", "t"));
        if (status == OK) report_free(report);
    }
    /* --force may replace what is read */
    Report *report;
    assert_ok(run((Step[]){ { "t.txt", "t.txt", false } }, 1, &(RunOptions){ .force = true }, &report, &err), &err);
    assert_true(holds("t.txt", "tt"));
    report_free(report);
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = { "in.txt", "copy.txt", "own.txt", "t.txt", "large.txt", "out.onnx" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_and_writes), cmocka_unit_test(nothing_written) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
