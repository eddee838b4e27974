/*
 * bundle.c: ordered, named tensors with text metadata.  Entries keep the order
 * in which they came; a hash table finds them by name.
 */
#include "io/io.h"
#include "io/strmap_i.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    char *name;
    hwb_tensor *tensor;
} entry;

typedef struct meta {
    char *key, *value;
} meta;

struct hwb_bundle {
    entry *entries;
    int64_t count, capacity;
    hwb__strmap by_name;
    meta *meta;
    int64_t meta_count, meta_capacity;
    hwb__strmap by_key;
};

hwb_status hwb_bundle_new(hwb_ctx *ctx, hwb_bundle **out) {
    hwb_bundle *b = calloc(1, sizeof *b);
    if (!b) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a bundle");
    *out = b;
    return HWB_OK;
}

void hwb_bundle_free(hwb_bundle *b) {
    if (!b) return;
    for (int64_t i = 0; i < b->count; i++) {
        free(b->entries[i].name);
        hwb_tensor_release(b->entries[i].tensor);
    }
    for (int64_t i = 0; i < b->meta_count; i++) {
        free(b->meta[i].key);
        free(b->meta[i].value);
    }
    free(b->entries);
    free(b->meta);
    hwb__strmap_clear(&b->by_name);
    hwb__strmap_clear(&b->by_key);
    free(b);
}

/* Room for one more element of `size` bytes; false when memory is out. */
static bool make_room(void **items, int64_t count, int64_t *capacity, size_t size) {
    if (count < *capacity) return true;
    int64_t bigger = *capacity ? 2 * *capacity : 32;
    void *p = realloc(*items, (size_t)bigger * size);
    if (!p) return false;
    *items = p;
    *capacity = bigger;
    return true;
}

hwb_status hwb_bundle_add(hwb_ctx *ctx, hwb_bundle *b, const char *name, hwb_tensor *t) {
    size_t size = strlen(name);
    if (hwb__strmap_get(&b->by_name, name, size) >= 0)
        return hwb_fail(ctx, HWB_EARG, "the name \"%.200s\" appears twice", name);
    void *items = b->entries;
    bool room = make_room(&items, b->count, &b->capacity, sizeof *b->entries);
    b->entries = items;
    char *copy = room ? strdup(name) : NULL;
    if (!copy) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a bundle");
    hwb_status status = hwb__strmap_put(ctx, &b->by_name, name, size, b->count);
    if (status != HWB_OK) {
        free(copy);
        return status;
    }
    b->entries[b->count++] = (entry){copy, hwb_tensor_retain(t)};
    return HWB_OK;
}

int64_t hwb_bundle_count(const hwb_bundle *b) {
    return b->count;
}

int64_t hwb_bundle_find(const hwb_bundle *b, const char *name) {
    return hwb__strmap_get(&b->by_name, name, strlen(name));
}

hwb_tensor *hwb_bundle_get(const hwb_bundle *b, const char *name) {
    int64_t i = hwb_bundle_find(b, name);
    return i < 0 ? NULL : b->entries[i].tensor;
}

const char *hwb_bundle_name(const hwb_bundle *b, int64_t i) {
    HWB_ASSERT(i >= 0 && i < b->count);
    return b->entries[i].name;
}

hwb_tensor *hwb_bundle_at(const hwb_bundle *b, int64_t i) {
    HWB_ASSERT(i >= 0 && i < b->count);
    return b->entries[i].tensor;
}

/* ---- metadata -------------------------------------------------------------------- */

static hwb_status replace_meta(hwb_ctx *ctx, meta *m, const char *value) {
    char *copy = strdup(value);
    if (!copy) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for metadata");
    free(m->value);
    m->value = copy;
    return HWB_OK;
}

hwb_status hwb_bundle_set_meta(hwb_ctx *ctx, hwb_bundle *b, const char *key, const char *value) {
    int64_t at = hwb__strmap_get(&b->by_key, key, strlen(key));
    if (at >= 0) return replace_meta(ctx, &b->meta[at], value);
    void *items = b->meta;
    bool room = make_room(&items, b->meta_count, &b->meta_capacity, sizeof *b->meta);
    b->meta = items;
    meta m = {room ? strdup(key) : NULL, room ? strdup(value) : NULL};
    hwb_status status = HWB_OK;
    if (!m.key || !m.value) status = hwb_fail(ctx, HWB_ENOMEM, "out of memory for metadata");
    if (status == HWB_OK)
        status = hwb__strmap_put(ctx, &b->by_key, key, strlen(key), b->meta_count);
    if (status != HWB_OK) {
        free(m.key);
        free(m.value);
        return status;
    }
    b->meta[b->meta_count++] = m;
    return HWB_OK;
}

const char *hwb_bundle_meta(const hwb_bundle *b, const char *key) {
    int64_t i = hwb__strmap_get(&b->by_key, key, strlen(key));
    return i < 0 ? NULL : b->meta[i].value;
}

int64_t hwb_bundle_meta_count(const hwb_bundle *b) {
    return b->meta_count;
}

void hwb_bundle_meta_at(const hwb_bundle *b, int64_t i, const char **key, const char **value) {
    HWB_ASSERT(i >= 0 && i < b->meta_count);
    *key = b->meta[i].key;
    *value = b->meta[i].value;
}
