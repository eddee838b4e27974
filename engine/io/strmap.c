/*
 * strmap.c: see strmap_i.h.
 */
#include "io/strmap_i.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t hash_of(const hwb__strmap *m, const char *key, size_t size) {
    uint64_t h = 0xCBF29CE484222325u ^ m->salt;
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)key[i]) * 0x100000001B3u;
    return h ^ (h >> 29);
}

/* The slot of the key, or the free one where it would go. */
static int64_t slot_of(const hwb__strmap *m, const char *key, size_t size, uint64_t hash) {
    int64_t mask = m->capacity - 1;
    int64_t i = (int64_t)(hash & (uint64_t)mask);
    for (;; i = (i + 1) & mask) {
        const struct hwb__strmap_slot *s = &m->slots[i];
        if (!s->key) return i;
        if (s->hash == hash && s->size == size && memcmp(s->key, key, size) == 0) return i;
    }
}

static hwb_status grow(hwb_ctx *ctx, hwb__strmap *m) {
    hwb__strmap bigger = {.capacity = m->capacity ? 2 * m->capacity : 64, .salt = m->salt};
    if (m->capacity == 0) {
        struct timespec now = {0};
        clock_gettime(CLOCK_MONOTONIC, &now);
        bigger.salt = (uint64_t)now.tv_nsec * 0x9E3779B97F4A7C15u + (uint64_t)(uintptr_t)m;
    }
    bigger.slots = calloc((size_t)bigger.capacity, sizeof *bigger.slots);
    if (!bigger.slots) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a table of names");
    for (int64_t i = 0; i < m->capacity; i++) {
        struct hwb__strmap_slot *s = &m->slots[i];
        if (s->key) bigger.slots[slot_of(&bigger, s->key, s->size, s->hash)] = *s;
    }
    bigger.count = m->count;
    free(m->slots);
    *m = bigger;
    return HWB_OK;
}

void hwb__strmap_clear(hwb__strmap *m) {
    for (int64_t i = 0; i < m->capacity; i++) free(m->slots[i].key);
    free(m->slots);
    *m = (hwb__strmap){0};
}

int64_t hwb__strmap_get(const hwb__strmap *m, const char *key, size_t size) {
    if (m->capacity == 0) return -1;
    const struct hwb__strmap_slot *s = &m->slots[slot_of(m, key, size, hash_of(m, key, size))];
    return s->key ? s->value : -1;
}

hwb_status hwb__strmap_put(hwb_ctx *ctx, hwb__strmap *m, const char *key, size_t size,
                           int64_t value) {
    if (4 * (m->count + 1) > 3 * m->capacity) HWB_TRY(grow(ctx, m));
    char *copy = malloc(size + 1);
    if (!copy) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a name of %zu bytes", size);
    memcpy(copy, key, size);
    copy[size] = '\0';
    uint64_t hash = hash_of(m, key, size);
    m->slots[slot_of(m, key, size, hash)] = (struct hwb__strmap_slot){copy, size, hash, value};
    m->count++;
    return HWB_OK;
}
