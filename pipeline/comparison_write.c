/* A comparison's files. */
#include <math.h>

#include "pipeline/comparison.h"
#include "pipeline/junit.h"
#include "pipeline/report.h"

Status comparison_write(const ComparisonReport *r, const char *folder, Err *err)
{
    StrBuf markdown = { 0 };
    cJSON *json = comparison_json(r);
    comparison_print_markdown(r, &markdown);
    Status status = report_put_files(folder, json, &markdown, err);
    strbuf_release(&markdown);
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
