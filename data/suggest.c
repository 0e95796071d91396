/* What to write when arrays do not fit: the data section that would make them. It is shown, never applied. */
#include "data/dataset_internal.h"

#include "base/bytes.h"

#include <stdlib.h>

void feed_print(const Graph *g, int feed, char *text, size_t size)
{
    ValueId ids[MAX_FEEDS];
    char shape[200] = "";
    graph_feeds(g, ids, MAX_FEEDS);
    const Value *v = graph_value(g, ids[feed]);
    if (v->shape.rank >= 0) graph_print_shape(g, &v->shape, shape, sizeof shape);
    snprintf(text, size, "%s%s%s", dtype_name(v->type), shape[0] != '\0' ? " " : "", shape);
}

/* A way of laying an array out as an input. */
typedef struct Layout {
    int transpose[MAX_RANK], transpose_count, expand; /* expand -1: none */
} Layout;

static bool layout_fits(const Feed *f, const Shape *s, const Layout *l)
{
    Shape made = { .rank = 0 };
    for (int i = 0; i < s->rank; i++) {
        if (made.rank == l->expand) made.dims[made.rank++] = 1;
        made.dims[made.rank++] = s->dims[l->transpose_count > 0 ? l->transpose[i] : i];
    }
    if (made.rank == l->expand) made.dims[made.rank++] = 1;
    return feed_dims_fit(f, &made, 0);
}

/* As it is; channels from last to second, or back; an axis added, where the network fixes it at 1 if it does. */
static bool find_layout(const Feed *f, const Shape *s, Layout *out)
{
    int rank = s->rank;
    *out = (Layout){ .expand = -1 };
    if (f->shape.rank < 0 || layout_fits(f, s, out)) return true;
    if (rank == f->shape.rank && rank > 2) {
        out->transpose_count = rank;
        for (int way = 0; way < 2; way++) {
            for (int i = 1; i < rank; i++) out->transpose[i] = way == 0 ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1);
            if (layout_fits(f, s, out)) return true;
        }
    }
    if (rank + 1 != f->shape.rank) return false;
    out->transpose_count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int a = 1; a <= rank; a++) {
            out->expand = a;
            if ((pass > 0 || f->shape.dims[a] == 1) && layout_fits(f, s, out)) return true;
        }
    }
    return false;
}

static bool is_label_name(const char *name)
{
    static const char *const names[] = { "label", "labels", "y", "target", "targets" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) return true;
    }
    return false;
}

/* The array of the labels, by the names that people give it; NULL: none. */
static const char *guess_label(const Dataset *d)
{
    const char *found = NULL;
    for (int i = 0; i < npz_count(d->file); i++) {
        const NpzArray *a = npz_array(d->file, i);
        if (!dtype_is_integer(a->type) || !is_label_name(a->name.data)) continue;
        if (found == NULL || strcmp(a->name.data, "label") == 0) found = a->name.data;
    }
    return found;
}

static bool is_feed(const Dataset *d, const char *name)
{
    for (int k = 0; k < d->feed_count; k++) {
        if (strcmp(d->feeds[k].name, name) == 0) return true;
    }
    return false;
}

/* The array that an input would take: of its own name, else the only one that can be laid out for it. -1: none, or several. */
static int plausible_array(const Dataset *d, int feed, Layout *layout)
{
    int own = npz_find(d->file, d->feeds[feed].name), found = -1;
    if (own >= 0) {
        const NpzArray *a = npz_array(d->file, own);
        return a->type != DT_NONE && find_layout(&d->feeds[feed], &a->shape, layout) ? own : -1;
    }
    for (int i = 0; i < npz_count(d->file); i++) {
        const NpzArray *a = npz_array(d->file, i);
        Layout l;
        if (a->type == DT_NONE || a->shape.rank == 0 || is_label_name(a->name.data) || is_feed(d, a->name.data)) continue;
        if (!find_layout(&d->feeds[feed], &a->shape, &l)) continue;
        if (found >= 0) return -1;
        found = i;
        *layout = l;
    }
    return found;
}

static void add_string(StrBuf *b, const char *text)
{
    strbuf_add(b, "\"");
    for (; *text != '\0'; text++) strbuf_printf(b, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    strbuf_add(b, "\"");
}

static void add_entry(const Dataset *d, int feed, int array, const Layout *l, StrBuf *b)
{
    const NpzArray *a = npz_array(d->file, array);
    add_string(b, d->feeds[feed].name);
    strbuf_add(b, ": {\"array\": ");
    add_string(b, a->name.data);
    if (a->type == DT_UINT8 && dtype_is_float(d->feeds[feed].type)) strbuf_add(b, ", \"scale\": 0.003921569");
    for (int i = 0; i < l->transpose_count; i++) strbuf_printf(b, i == 0 ? ", \"transpose\": [%d" : ",%d", l->transpose[i]);
    if (l->transpose_count > 0) strbuf_add(b, "]");
    if (l->expand >= 0) strbuf_printf(b, ", \"expand\": [%d]", l->expand);
    strbuf_add(b, "}");
}

/* {"file": ..., "inputs": {...}, "label": ...}; false when some input has no array that could be it. */
static bool print_section(const Dataset *d, StrBuf *b)
{
    const char *slash = strrchr(d->file_path, '/'), *label = guess_label(d);
    bool first = true;
    strbuf_add(b, "{\"file\": ");
    add_string(b, slash != NULL ? slash + 1 : d->file_path);
    strbuf_add(b, ", \"inputs\": {");
    for (int k = 0; k < d->feed_count; k++) {
        Layout layout;
        int own = npz_find(d->file, d->feeds[k].name);
        if (own >= 0 && feed_takes(&d->feeds[k], npz_array(d->file, own))) continue;
        int array = plausible_array(d, k, &layout);
        if (array < 0) return false;
        if (!first) strbuf_add(b, ", ");
        add_entry(d, k, array, &layout, b);
        first = false;
    }
    strbuf_add(b, "}");
    if (label != NULL) {
        strbuf_add(b, ", \"label\": ");
        add_string(b, label);
    }
    strbuf_add(b, "}");
    return true;
}

Status suggest_section(const Dataset *d, const Graph *g, int feed, int array, Err *err)
{
    StrBuf b = { 0 }, section = { 0 };
    char wanted[256];
    Layout ignored;
    feed_print(g, feed, wanted, sizeof wanted);
    strbuf_printf(&b, "%s: ", d->file_path);
    int shown = array >= 0 ? array : plausible_array(d, feed, &ignored);
    if (array < 0) strbuf_printf(&b, "no array '%s'; ", d->feeds[feed].name);
    if (shown >= 0) {
        strbuf_printf(&b, "array '%s' is ", npz_array(d->file, shown)->name.data);
        npz_print_array(d->file, shown, &b);
    } else {
        npz_print_list(d->file, &b);
    }
    strbuf_printf(&b, ", input '%s' wants %s", d->feeds[feed].name, wanted);
    if (npz_count(d->file) > 0 && print_section(d, &section))
        strbuf_printf(&b, "; write a data section: %s", section.data != NULL ? section.data : "");
    else if (npz_count(d->file) > 0)
        strbuf_printf(&b, "; no simple change makes it fit; a data section with \"array\", \"transpose\" or \"expand\" for input '%s' "
                          "says how",
                      d->feeds[feed].name);
    Status status = b.failed || section.failed ? err_no_memory(err, "a message") : err_set(err, ERR_DATA, "%s", b.data);
    strbuf_release(&b);
    strbuf_release(&section);
    return status;
}
