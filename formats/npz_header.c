/* The header of a .npy array: a Python dictionary display of exactly three keys, read by a parser that knows nothing else.
 * Layout: "\x93NUMPY", version (2 bytes), header length (2 bytes in version 1, 4 in 2 and 3), the dictionary. (NumPy NEP 1.) */
#include "formats/npz_internal.h"

#include "base/bytes.h"

#include <stdlib.h>

Status npy_header_size(const uint8_t *data, size_t size, const char *what, size_t *bytes, Err *err)
{
    if (size < NPY_PREFIX - 2 || memcmp(data, "\x93NUMPY", 6) != 0)
        return err_set(err, ERR_DATA, "%s: does not begin as a .npy array does", what);
    if (data[6] < 1 || data[6] > 3 || data[7] != 0)
        return err_set(err, ERR_UNSUPPORTED, "%s: .npy version %d.%d; pare reads 1.0, 2.0 and 3.0", what, data[6], data[7]);
    size_t length, prefix = data[6] == 1 ? 10 : 12;
    if (size < prefix) return err_set(err, ERR_DATA, "%s: .npy header is cut off", what);
    length = (size_t)data[8] | (size_t)data[9] << 8;
    if (data[6] != 1) length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (length > NPY_MAX_HEADER)
        return err_set(err, ERR_DATA, "%s: .npy header of %zu bytes; at most %d are read", what, length, NPY_MAX_HEADER);
    *bytes = prefix + length;
    return OK;
}

static void skip_space(Cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

static bool take(Cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != (uint8_t)wanted) return false;
    c->at++;
    return true;
}

/* 'text' or "text" without escapes. */
static bool take_string(Cursor *c, char *out, size_t size)
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    uint8_t quote = *c->at++;
    const uint8_t *from = c->at;
    while (c->at < c->end && *c->at != quote && *c->at != '\\') c->at++;
    if (c->at == c->end || *c->at != quote || (size_t)(c->at - from) >= size) return false;
    memcpy(out, from, (size_t)(c->at - from));
    out[c->at - from] = '\0';
    c->at++;
    return true;
}

/* A bracketed list of a structured dtype, passed over; strings inside may hold brackets. */
static bool skip_list(Cursor *c)
{
    int depth = 0;
    char ignored[256];
    do {
        skip_space(c);
        if (c->at == c->end) return false;
        if (*c->at == '\'' || *c->at == '"') {
            if (!take_string(c, ignored, sizeof ignored)) return false;
            continue;
        }
        if (*c->at == '[' || *c->at == '(') depth++;
        if (*c->at == ']' || *c->at == ')') depth--;
        c->at++;
    } while (depth > 0);
    return depth == 0;
}

static bool take_word(Cursor *c, const char *word)
{
    size_t len = strlen(word);
    skip_space(c);
    if (cursor_left(c) < len || memcmp(c->at, word, len) != 0) return false;
    c->at += len;
    return true;
}

static bool take_size(Cursor *c, int64_t *out)
{
    skip_space(c);
    if (c->at == c->end || *c->at < '0' || *c->at > '9') return false;
    int64_t value = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (!mul_i64(value, 10, &value) || !add_i64(value, *c->at - '0', &value)) return false;
    }
    if (c->at < c->end && *c->at == 'L') c->at++; /* written by Python 2 */
    *out = value;
    return true;
}

/* (3, 4) or (3,) or (); *rank beyond MAX_RANK is counted but not kept. */
static bool take_shape(Cursor *c, Shape *shape)
{
    int rank = 0;
    if (!take(c, '(')) return false;
    while (!take(c, ')')) {
        int64_t dim;
        if (!take_size(c, &dim)) return false;
        if (rank < MAX_RANK) shape->dims[rank] = dim;
        if (++rank > 1024) return false;
        if (take(c, ',')) continue;
        if (rank < 2 || !take(c, ')')) return false; /* (3) is a number, not a shape */
        break;
    }
    shape->rank = rank;
    return true;
}

/* Type and byte order of "<f4". DT_NONE for what pare has no numbers for. False: not a dtype at all. */
static bool parse_descr(const char *descr, DType *type, bool *big)
{
    static const struct { char text[4]; DType type; } known[] = {
        { "f4", DT_FLOAT }, { "u1", DT_UINT8 }, { "i1", DT_INT8 }, { "u2", DT_UINT16 }, { "i2", DT_INT16 }, { "i4", DT_INT32 },
        { "i8", DT_INT64 }, { "b1", DT_BOOL }, { "f2", DT_FLOAT16 }, { "f8", DT_DOUBLE }, { "u4", DT_UINT32 }, { "u8", DT_UINT64 },
        { "c8", DT_COMPLEX64 }, { "c16", DT_COMPLEX128 }, { "V2", DT_BFLOAT16 },
    };
    *type = DT_NONE;
    *big = descr[0] == '>';
    if (descr[0] == '\0' || strchr("<>|", descr[0]) == NULL || descr[1] == '\0') return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(descr + 1, known[i].text) != 0) continue;
        if (descr[0] == '|' && dtype_bits(known[i].type) > 8 && known[i].type != DT_BFLOAT16) return false;
        *type = known[i].type;
    }
    return true;
}

size_t npy_item_size(DType type)
{
    int bits = dtype_bits(type);
    return bits < 8 ? 1 : (size_t)bits / 8;
}

static Status take_item(Cursor *c, const char *what, NpyHeader *h, unsigned *seen, Err *err)
{
    char key[32];
    if (!take_string(c, key, sizeof key) || !take(c, ':')) return err_set(err, ERR_DATA, "%s: .npy header is malformed", what);
    unsigned bit = strcmp(key, "descr") == 0 ? 1 : strcmp(key, "fortran_order") == 0 ? 2 : strcmp(key, "shape") == 0 ? 4 : 0;
    if (bit == 0) return err_set(err, ERR_DATA, "%s: .npy header has an unknown key '%s'", what, key);
    if (*seen & bit) return err_set(err, ERR_DATA, "%s: .npy header has '%s' twice", what, key);
    *seen |= bit;
    bool fine = false;
    if (bit == 1) {
        skip_space(c);
        if (c->at < c->end && *c->at == '[') {
            fine = skip_list(c);
            snprintf(h->descr, sizeof h->descr, "a structured type");
        } else {
            fine = take_string(c, h->descr, sizeof h->descr) && parse_descr(h->descr, &h->type, &h->big_endian);
        }
    } else if (bit == 2) {
        h->fortran = take_word(c, "True");
        fine = h->fortran || take_word(c, "False");
    } else {
        fine = take_shape(c, &h->shape);
    }
    return fine ? OK : err_set(err, ERR_DATA, "%s: .npy header's '%s' is malformed", what, key);
}

Status npy_header_parse(const uint8_t *data, size_t size, const char *what, NpyHeader *out, Err *err)
{
    NpyHeader h = { .type = DT_NONE };
    TRY(npy_header_size(data, size, what, &h.header_bytes, err));
    if (h.header_bytes > size) return err_set(err, ERR_DATA, "%s: .npy header of %zu bytes is cut off", what, h.header_bytes);
    Cursor c = { data + (data[6] == 1 ? 10 : 12), data + h.header_bytes };
    unsigned seen = 0;
    if (!take(&c, '{')) return err_set(err, ERR_DATA, "%s: .npy header is no dictionary", what);
    while (!take(&c, '}')) {
        TRY(take_item(&c, what, &h, &seen, err));
        if (!take(&c, ',')) {
            if (!take(&c, '}')) return err_set(err, ERR_DATA, "%s: .npy header is malformed", what);
            break;
        }
    }
    skip_space(&c);
    if (seen != 7 || c.at != c.end)
        return err_set(err, ERR_DATA, "%s: .npy header must have exactly descr, fortran_order and shape", what);
    if (h.shape.rank > MAX_RANK)
        return err_set(err, ERR_UNSUPPORTED, "%s: %d axes; pare reads up to %d", what, h.shape.rank, MAX_RANK);
    if (h.type != DT_NONE) {
        int64_t count;
        if (!shape_count(&h.shape, &count) || !mul_size((size_t)count, npy_item_size(h.type), &h.bytes) || h.bytes > PTRDIFF_MAX)
            return err_set(err, ERR_DATA, "%s: its shape overflows", what);
    }
    if (h.shape.rank < 2) h.fortran = false; /* both orders are one */
    *out = h;
    return OK;
}

void npy_swap(void *data, DType type, size_t count)
{
    size_t item = npy_item_size(type);
    if (type == DT_COMPLEX64 || type == DT_COMPLEX128) {
        item /= 2;
        count *= 2;
    }
    uint8_t *p = data;
    for (size_t i = 0; i < count; i++, p += item) {
        for (size_t a = 0, b = item - 1; a < b; a++, b--) {
            uint8_t t = p[a];
            p[a] = p[b];
            p[b] = t;
        }
    }
}
