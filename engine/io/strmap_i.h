/*
 * strmap_i.h: text -> index, for bundles, archives and storages.
 *
 * Open addressing with linear probing on an FNV-1a hash that is salted per
 * map, so that a file cannot choose names that collide.  Keys are copied.
 * Entries are only ever added.
 */
#ifndef HWB_IO_STRMAP_I_H
#define HWB_IO_STRMAP_I_H

#include "base/base.h"

typedef struct hwb__strmap {
    struct hwb__strmap_slot {
        char *key; /* NULL = free */
        size_t size;
        uint64_t hash;
        int64_t value;
    } * slots;
    int64_t capacity, count; /* capacity is 0 or a power of two */
    uint64_t salt;
} hwb__strmap;

/* A zeroed map is an empty one. */
void hwb__strmap_clear(hwb__strmap *m);
int64_t hwb__strmap_get(const hwb__strmap *m, const char *key, size_t size); /* -1 if absent */
/* The key must be absent. */
hwb_status hwb__strmap_put(hwb_ctx *ctx, hwb__strmap *m, const char *key, size_t size,
                           int64_t value);

#endif
