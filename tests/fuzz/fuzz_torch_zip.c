/*
 * fuzz_torch_zip.c: zip archives.  Input that is one goes in as it is; any
 * other is taken for the pickle of a PyTorch archive with one storage "0" of
 * eight bytes, packed with the right CRC, which a fuzzer would not hit.
 */
#include "fuzz.h"

#include <zlib.h>

typedef struct archive {
    uint8_t *p;
    size_t n;
} archive;

static void put(archive *a, const void *p, size_t n) {
    memcpy(a->p + a->n, p, n);
    a->n += n;
}

static void le(archive *a, uint64_t v, int width) {
    for (int i = 0; i < width; i++) a->p[a->n++] = (uint8_t)(v >> (8 * i));
}

/* The fields that a local header and a directory entry share. */
static void describe(archive *a, const char *name, const uint8_t *data, size_t n) {
    le(a, 0, 2), le(a, 0, 2), le(a, 0, 4);
    le(a, crc32(0, data, (uInt)n), 4), le(a, n, 4), le(a, n, 4), le(a, strlen(name), 2),
        le(a, 0, 2);
}

static archive pack(const uint8_t *pickle, size_t n) {
    static const uint8_t storage[8] = {0, 0, 128, 63, 0, 0, 0, 64};
    static const char *const names[] = {"x/data.pkl", "x/data/0"};
    const uint8_t *data[] = {pickle, storage};
    size_t size[] = {n, sizeof storage};
    archive a = {malloc(n + 1024), 0};
    if (!a.p) abort();
    size_t at[2], directory;
    for (int i = 0; i < 2; i++) {
        at[i] = a.n;
        le(&a, 0x04034B50, 4), le(&a, 20, 2);
        describe(&a, names[i], data[i], size[i]);
        put(&a, names[i], strlen(names[i]));
        put(&a, data[i], size[i]);
    }
    directory = a.n;
    for (int i = 0; i < 2; i++) {
        le(&a, 0x02014B50, 4), le(&a, 20, 2), le(&a, 20, 2);
        describe(&a, names[i], data[i], size[i]);
        le(&a, 0, 2), le(&a, 0, 2), le(&a, 0, 2), le(&a, 0, 4), le(&a, at[i], 4);
        put(&a, names[i], strlen(names[i]));
    }
    size_t length = a.n - directory;
    le(&a, 0x06054B50, 4), le(&a, 0, 4), le(&a, 2, 2), le(&a, 2, 2), le(&a, length, 4);
    le(&a, directory, 4), le(&a, 0, 2);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size >= 2 && data[0] == 'P' && data[1] == 'K') return fuzz_load(data, size);
    archive a = pack(data, size);
    fuzz_load(a.p, a.n);
    free(a.p);
    return 0;
}
