/* SHA-256 (FIPS 180-4, by nettle) of bytes, files and running input. */
#ifndef PARE_BASE_HASH_H
#define PARE_BASE_HASH_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define HASH_TEXT 65 /* 64 hex digits and NUL */

/* Lower-case hex and NUL: text holds 2 * count + 1. */
void hash_hex(const uint8_t *digest, size_t count, char *text);

typedef struct Hash Hash; /* running SHA-256 */

Hash *hash_new(void); /* NULL when out of memory */
void hash_add(Hash *h, const void *data, size_t size);
void hash_finish(Hash *h, char text[HASH_TEXT]); /* writes lower-case hex and frees h */

void hash_bytes(const void *data, size_t size, char text[HASH_TEXT]);
/* Reads the file in blocks; memory does not grow with it. ERR_IO names the path. */
Status hash_file(const char *path, char text[HASH_TEXT], Err *err);

#endif
