/* A comparison's files. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "pipeline/comparison.h"
#include "pipeline/html_report.h"
#include "pipeline/junit.h"

Status comparison_write(const ComparisonReport *r, const char *folder, Err *err)
{
    StrBuf markdown = { 0 }, page = { 0 };
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return err_set(err, ERR_IO, "report folder %s: %s", folder, strerror(errno));
    cJSON *json = comparison_json(r);
    char *text = json != NULL ? cJSON_Print(json) : NULL;
    comparison_print_markdown(r, &markdown);
    if (json != NULL) html_report(json, &page);
    Status status = text == NULL || markdown.failed || page.failed ? err_no_memory(err, "the report") : OK;
    if (status == OK) status = outfile_put_in(folder, "report.json", text, strlen(text), err);
    if (status == OK) status = outfile_put_in(folder, "report.md", markdown.data, markdown.len, err);
    if (status == OK) status = outfile_put_in(folder, "report.html", page.data, page.len, err);
    strbuf_release(&page);
    strbuf_release(&markdown);
    cJSON_free(text);
    cJSON_Delete(json);
    return status;
}

Status comparison_write_junit(const ComparisonReport *r, const char *path, Err *err)
{
    JunitSuite suites[COMPARE_MOST] = { 0 };
    for (int i = 1; i < r->file_count; i++) {
        JunitSuite *s = &suites[i - 1];
        *s = (JunitSuite){ .name = r->files[i].name, .seconds = NAN };
        for (int k = 0; k < r->goal_count; k++)
            if (r->goals[k].network == i) s->goals[s->goal_count++] = &r->goals[k].result;
    }
    return junit_write(suites, r->file_count - 1, path, err);
}
