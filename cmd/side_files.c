#include "cmd/side_files.h"

#include "pipeline/exports.h"
#include "pipeline/history.h"
#include "pipeline/report.h"

Status side_files_place(const SideFiles *f, Places *places, Arena *arena, Err *err)
{
    TRY(places_add_report(places, f->report, arena, err));
    TRY(places_add(places, "emissions", f->emissions, err));
    TRY(places_add(places, "boamps", f->boamps, err));
    TRY(places_add(places, "junit", f->junit, err));
    return places_add(places, "history", f->history, err);
}

Status side_files_check(const SideFiles *f, Err *err)
{
    if (f->report != NULL) TRY(report_check_folder(f->report, err));
    if (f->emissions != NULL) TRY(export_emissions_check(f->emissions, err));
    if (f->boamps != NULL) TRY(export_boamps_check(f->boamps, err));
    if (f->junit != NULL) TRY(export_check("junit", f->junit, err));
    return f->history != NULL ? history_check(f->history, err) : OK;
}
