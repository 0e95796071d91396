#include "base/hash.h"

#include <errno.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Hash {
    SHA2_CTX context;
};

Hash *hash_new(void)
{
    Hash *h = malloc(sizeof *h);
    if (h != NULL) SHA256Init(&h->context);
    return h;
}

void hash_add(Hash *h, const void *data, size_t size)
{
    if (size > 0) SHA256Update(&h->context, data, size);
}

void hash_finish(Hash *h, char text[HASH_TEXT])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Final(digest, &h->context);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    free(h);
}

void hash_bytes(const void *data, size_t size, char text[HASH_TEXT])
{
    SHA2_CTX context;
    SHA256Init(&context);
    if (size > 0) SHA256Update(&context, data, size);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Final(digest, &context);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
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
