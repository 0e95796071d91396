#include "cmd/cmd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pipeline/history.h"
#include "pipeline/places.h"

typedef struct HistoryOptions {
    CommonOptions common;
    bool json, gate;
    const char *name, *html;
} HistoryOptions;

static const Opt history_options[] = {
    { .name = "name", .type = OPT_STRING, .field = offsetof(HistoryOptions, name),
      .help = "the network, by the name of its file (default: that of the last run)" },
    { .name = "gate", .type = OPT_FLAG, .field = offsetof(HistoryOptions, gate),
      .help = "exit code 5 when the last run is worse than those before it, beyond the noise" },
    { .name = "json", .type = OPT_FLAG, .field = offsetof(HistoryOptions, json), .help = "one JSON object instead of text" },
    { .name = "html", .type = OPT_STRING, .field = offsetof(HistoryOptions, html), .unit = "file",
      .help = "write a page with a plot of each number" },
    COMMON_OPTIONS(HistoryOptions),
    OPT_END,
};

/* Whether what reads our letters takes UTF-8, as the locale's variables say. */
static bool takes_utf8(void)
{
    static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || value[0] == '\0') continue;
        return strstr(value, "UTF-8") != NULL || strstr(value, "utf8") != NULL || strstr(value, "UTF8") != NULL;
    }
    return false;
}

static Status write_page(const History *h, const char *path, const char *to, Err *err)
{
    StrBuf page = { 0 };
    history_html(h, path, &page);
    Status status = page.failed ? err_no_memory(err, "the page") : outfile_put(to, page.data, page.len, err);
    strbuf_release(&page);
    return status;
}

/* A gate that had nothing to judge must not look like one that was passed. */
static void warn_of_unjudged(const History *h, const char *path, Log *log)
{
    char names[256] = "";
    unsigned ids = history_unjudged(h);
    for (int id = 0; id < HISTORY_COUNT; id++) {
        size_t used = strlen(names);
        if ((ids & 1u << id) != 0) snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? ", " : "", history_infos[id].title);
    }
    if (ids != 0) log_warn(log, "%s: line %d, the last run: missing or no such number, and so not judged: %s", path,
                           h->entries[h->count - 1].line, names);
}

static Status judge(const History *h, Err *err)
{
    char names[256] = "";
    for (int id = 0; id < HISTORY_COUNT; id++) {
        HistoryTrend t;
        history_trend(h, (HistoryId)id, &t);
        if (t.change != HISTORY_WORSE) continue;
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? ", " : "", history_infos[id].title);
    }
    return names[0] != '\0' ? err_set(err, ERR_GOAL, "worse than before, beyond the noise: %s", names) : OK;
}

static Status run(Call *c, Err *err)
{
    const HistoryOptions *o = c->options;
    const char *path = c->args[0], *no_color = getenv("NO_COLOR");
    Places places = { .count = 0 };
    History h;
    TRY(places_add(&places, "html", o->html, err));
    TRY(places_apart(&places, "the history", path, err));
    TRY(history_read(path, &h, err));
    size_t all = h.count;
    if (o->gate && all > 0 && h.last_skipped > h.entries[all - 1].line)
        log_warn(c->log, "%s: line %d, the last one, is no whole line of a run; what is judged is the run before it", path, h.last_skipped);
    history_keep(&h, o->name);
    Status status = OK;
    if (all == 0 && h.skipped > 0)
        status = err_set(err, ERR_DATA, "%s: no run in it; line %d: %s", path, h.skips[0].line, h.skips[0].reason);
    if (all == 0 && h.skipped == 0 && o->gate) status = err_set(err, ERR_DATA, "%s: no run in it, nothing to judge", path);
    if (all > 0 && h.count == 0) status = err_set(err, ERR_DATA, "%s: no run of '%s' among its %zu; there are %s", path, o->name, all,
                                                   h.others);
    if (status == OK && o->json) {
        status = cli_print_json(history_json(&h, path), &c->out, err);
    } else if (status == OK && !o->common.quiet) {
        history_print(&h, path, isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0'), takes_utf8(), &c->out);
    }
    if (status == OK && o->html != NULL) status = write_page(&h, path, o->html, err);
    if (status == OK && o->gate) warn_of_unjudged(&h, path, c->log);
    if (status == OK && o->gate) status = judge(&h, err);
    history_release(&h);
    return status;
}

const Command command_history = {
    .name = "history",
    .args = "FILE",
    .summary = "the trend of a network over its builds, and whether the last one is worse",
    .details = "  pare run recipe.json model.onnx -o small.onnx --history runs.jsonl   append a line to the file\n"
               "  pare history runs.jsonl                                              print each number's trend\n"
               "  pare history runs.jsonl --gate                                       for a build server: exit code 5 when worse\n"
               "  pare history runs.jsonl --html trend.html                            plot it\n\n"
               "Worse is: a size or count over 0.5 % above the run before; a time or measured energy whose interval does not meet that of\n"
               "the run before and which is further from the median of up to 16 earlier runs on the same machine than three times their\n"
               "spread, 2 % at least (run time, on a machine that others kept busy, only where CPU time says so, too); an accuracy\n"
               "whose interval does not meet that of the best run before. Power, and energy and carbon\n"
               "that are only modelled from time, are shown and not judged. Columns 'before' and 'change' are of the run before.\n"
               "Lines that are cut off or of something else are skipped and named; with --gate a file without runs is an error (exit 3).\n",
    .options = history_options,
    .options_size = sizeof(HistoryOptions),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
