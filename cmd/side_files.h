/* What commands that measure write beside their result: the same files, asked for before the work. */
#ifndef PARE_CMD_SIDE_FILES_H
#define PARE_CMD_SIDE_FILES_H

#include "base/arena.h"
#include "pipeline/places.h"

/* Paths as they were given; NULL: not asked for. `report` is a folder. */
typedef struct SideFiles {
    const char *report, *emissions, *boamps, *junit, *history;
} SideFiles;

/* ERR_USAGE: two of them, or one and what is there already, are one file. */
Status side_files_place(const SideFiles *f, Places *places, Arena *arena, Err *err);
/* Each could be written, and what is there is its own kind of file. */
Status side_files_check(const SideFiles *f, Err *err);

#endif
