#include "pipeline/places.h"

#include <stddef.h>

#include "base/file.h"

static bool same(const char *a, const char *b)
{
    if (outfile_is_stdout(a) || outfile_is_stdout(b)) return outfile_is_stdout(a) && outfile_is_stdout(b);
    return !outfile_is_stream(a) && !outfile_is_stream(b) && file_same_place(a, b);
}

Status places_apart(const Places *p, const char *what, const char *path, Err *err)
{
    for (int i = 0; path != NULL && i < p->count; i++) {
        const Place *place = &p->items[i];
        if (same(place->path, path))
            return err_set(err, ERR_USAGE, "%s '%s' and %s '%s' are the same file; choose another name", place->option, place->path, what,
                           path);
    }
    return OK;
}

Status places_apart_inputs(const Places *p, const Model *m, const Dataset *data, Err *err)
{
    if (p == NULL) return OK;
    for (int i = 0; i < m->file_count; i++) TRY(places_apart(p, "the input", m->files[i]->path, err));
    return data != NULL ? places_apart(p, "the data", dataset_path(data), err) : OK;
}

Status places_add(Places *p, const char *option, const char *path, Err *err)
{
    if (path == NULL) return OK;
    TRY(places_apart(p, option, path, err));
    if (p->count == PLACES_MOST) return err_set(err, ERR_BUG, "%s: more files than there is room for", option);
    p->items[p->count++] = (Place){ option, path };
    return OK;
}

Status places_add_report(Places *p, const char *folder, Arena *arena, Err *err)
{
    static const char *const names[] = { "report.json", "report.md", "report.html" };
    for (size_t i = 0; folder != NULL && i < sizeof names / sizeof *names; i++) {
        const char *path = arena_printf(arena, "%s/%s", folder, names[i]).data;
        if (path == NULL) return err_no_memory(err, "a path");
        TRY(places_add(p, "report", path, err));
    }
    return OK;
}
