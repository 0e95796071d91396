/* Small files of the kernel's trees under a root that tests replace. Inside greenness/ only.
 * Paths begin at the root: "/sys/class/powercap". Every read is bounded; what is longer is cut. */
#ifndef PARE_GREENNESS_TREE_H
#define PARE_GREENNESS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_PATH 512

/* `root`: NULL or "" is the machine's own. A path over TREE_PATH - 1 bytes gives ENAMETOOLONG. */
int tree_open(const char *root, const char *path); /* read-only descriptor, or -1 with errno */
/* The first line of a file without its newline, bytes that are no printable ASCII replaced. Returns 0 or errno. */
int tree_text(const char *root, const char *path, char *text, size_t size);
/* A whole number from 0 on the first line. Returns 0 or errno; EINVAL when it is none. */
int tree_number(const char *root, const char *path, uint64_t *out);
/* A decimal number, possibly negative, with or without exponent. */
int tree_decimal(const char *root, const char *path, double *out);
bool tree_exists(const char *root, const char *path);

/* Names in a folder, sorted as numbers where they hold numbers ("hwmon2" before "hwmon10"), without dot files. */
typedef struct TreeNames {
    char **names;
    int count;
} TreeNames;
/* Returns 0 or errno; release in both cases. */
int tree_list(const char *root, const char *path, TreeNames *out);
void tree_names_release(TreeNames *n);

/* A whole number from 0 that fills the text up to a newline; false when it is none or over 64 bits. */
bool text_whole_number(const char *text, uint64_t *out);

#endif
