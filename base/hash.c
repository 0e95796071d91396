#include "base/hash.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Hash {
    struct sha256_ctx context;
};

void hash_hex(const uint8_t *digest, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

Hash *hash_new(void)
{
    Hash *h = malloc(sizeof *h);
    if (h != NULL) sha256_init(&h->context);
    return h;
}

void hash_add(Hash *h, const void *data, size_t size)
{
    if (size > 0) sha256_update(&h->context, size, data);
}

void hash_finish(Hash *h, char text[HASH_TEXT])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&h->context, sizeof digest, digest);
    hash_hex(digest, sizeof digest, text);
    free(h);
}

void hash_bytes(const void *data, size_t size, char text[HASH_TEXT])
{
    struct sha256_ctx context;
    sha256_init(&context);
    if (size > 0) sha256_update(&context, size, data);
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&context, sizeof digest, digest);
    hash_hex(digest, sizeof digest, text);
}

Status hash_file(const char *path, char text[HASH_TEXT], Err *err)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    Hash *h = hash_new();
    if (h == NULL) {
        fclose(f);
        return err_no_memory(err, "a hash");
    }
    uint8_t block[1 << 16];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0) hash_add(h, block, n);
    int failed = ferror(f), reason = errno;
    fclose(f);
    hash_finish(h, text);
    return failed ? err_set(err, ERR_IO, "%s: %s", path, strerror(reason)) : OK;
}
