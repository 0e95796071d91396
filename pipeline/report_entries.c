#include "pipeline/report_entries.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "pipeline/text.h"

#define SHOWN 6       /* lines of what was changed before "and N more", objects of a line before the same */
#define SHOWN_ALIKE 12 /* notes that begin alike */
#define BEGINNING 12  /* bytes by which they do */

typedef struct List {
    const ReportEntry *entries;
    int count, limit; /* limit: lines, 0: none */
    bool alike;       /* the limit is for lines that begin alike */
    bool all;
} List;

static bool prepared(const ReportEntry *e)
{
    return cJSON_GetObjectItemCaseSensitive(e->numbers, ENTRY_PREPARED) != NULL;
}

/* Layers, whose weights changed, stand before rewrites on their behalf. */
static bool weighted(const ReportEntry *e)
{
    return cJSON_GetObjectItemCaseSensitive(e->numbers, "weight_sqnr_db") != NULL;
}

/* The objects of entry `first` and of those behind it with the same text, and the text. */
static void print_line(const List *l, int first, const char *indent, StrBuf *b)
{
    const ReportEntry *e = &l->entries[first];
    int objects = 0, more = 0;
    strbuf_printf(b, "%s  ", indent);
    for (int i = first; i < l->count; i++) {
        const ReportEntry *other = &l->entries[i];
        if (other->object[0] == '\0' || prepared(other) || strcmp(other->text, e->text) != 0) continue;
        if (!l->all && objects >= SHOWN) {
            more++;
            continue;
        }
        if (objects++ > 0) strbuf_add(b, ", ");
        text_safe(str_of(other->object), b);
    }
    if (more > 0) strbuf_printf(b, " and %d more", more);
    if (objects > 0) strbuf_add(b, ": ");
    text_safe(str_of(e->text), b);
    strbuf_add(b, "\n");
}

static bool said_before(const List *l, int i)
{
    for (int k = 0; k < i; k++)
        if (!prepared(&l->entries[k]) && strcmp(l->entries[k].text, l->entries[i].text) == 0) return true;
    return false;
}

static void print_lines(const List *l, const char *indent, StrBuf *b)
{
    bool *printed = alloc_zeroed((size_t)l->count + 1, sizeof *printed); /* [entry]: it heads a line */
    int cut = 0;
    for (int n = 0; printed != NULL && n < 2 * l->count; n++) {
        int i = n % l->count, lines = 0;
        if (weighted(&l->entries[i]) != (n < l->count) || prepared(&l->entries[i]) || said_before(l, i)) continue;
        for (int k = 0; k < l->count; k++)
            lines += printed[k] && (!l->alike || strncmp(l->entries[k].text, l->entries[i].text, BEGINNING) == 0);
        if (!l->all && l->limit > 0 && lines >= l->limit) {
            cut++;
            continue;
        }
        printed[i] = true;
        print_line(l, i, indent, b);
    }
    if (printed == NULL) b->failed = true;
    if (cut > 0) strbuf_printf(b, "%s  and %d more (--report DIR lists all)\n", indent, cut);
    free(printed);
}

static void print_list(const char *what, const List *l, const char *indent, StrBuf *b)
{
    int before = 0;
    for (int i = 0; i < l->count; i++) before += prepared(&l->entries[i]);
    if (l->count > before) strbuf_printf(b, "%s%s %d:\n", indent, what, l->count - before);
    print_lines(l, indent, b);
    if (before > 0) strbuf_printf(b, "%sfolded before: %d rewrite%s of constants, identities and normalizations\n", indent, before,
                                  before == 1 ? "" : "s");
}

void entries_print(const ReportStep *s, bool all, const char *indent, StrBuf *b)
{
    print_list("changed", &(List){ s->changed, s->changed_count, SHOWN, false, all }, indent, b);
    print_list("skipped", &(List){ s->skipped, s->skipped_count, 0, false, all }, indent, b);
    print_list("notes", &(List){ s->notes, s->note_count, SHOWN_ALIKE, true, all }, indent, b);
}
