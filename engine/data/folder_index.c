/*
 * folder_index.c: an index of an image folder, <root>/.hwb-index, so that a
 * folder of a million images opens without listing it.
 *
 *   "HWBFIDX1"  u64 classes
 *   a class:    i64 mtime of its folder in ns, u64 images, name\0, image names\0 sorted
 *   u32 CRC-32 of all that is before
 *
 * Adding, removing or renaming an image changes the time of the folder it is
 * in, so an index is believed class by class: a class whose folder has another
 * time is listed again, and what comes out is what listing all of them gives.  A
 * folder changed less than two seconds before it was indexed is entered with
 * time 0, which no folder has: a second change might leave the same time.
 */
#include "data/data_i.h"
#include "io/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define MAGIC      "HWBFIDX1"
#define INDEX_MOST ((size_t)1 << 32)

enum { MAGIC_BYTES = 8, RACY_SECONDS = 2 };

/* ---- reading ------------------------------------------------------------------------ */

static char *index_path(const char *root) {
    size_t n = strlen(root) + sizeof "/.hwb-index";
    char *path = malloc(n);
    if (path) snprintf(path, n, "%s/.hwb-index", root);
    return path;
}

void hwb__index_free(hwb__index *x) {
    hwb_free(x->bytes);
    free(x->classes);
    memset(x, 0, sizeof *x);
}

/* The name at *at, which ends with \0 before `end`; NULL if it does not, or leads
 * out of the folder. */
static const char *text_at(const uint8_t **at, const uint8_t *end) {
    const char *text = (const char *)*at;
    const uint8_t *zero = memchr(*at, '\0', (size_t)(end - *at));
    if (!zero || strchr(text, '/')) return NULL;
    *at = zero + 1;
    return text;
}

static bool number_at(const uint8_t **at, const uint8_t *end, int64_t *out) {
    if (end - *at < (ptrdiff_t)sizeof *out) return false;
    memcpy(out, *at, sizeof *out);
    *at += sizeof *out;
    return true;
}

bool hwb__index_parse(hwb__index *x, size_t n) {
    const uint8_t *at = x->bytes + MAGIC_BYTES, *end;
    uint32_t sum;
    if (n < MAGIC_BYTES + sizeof(int64_t) + sizeof sum) return false;
    end = x->bytes + n - sizeof sum;
    memcpy(&sum, end, sizeof sum);
    if (memcmp(x->bytes, MAGIC, MAGIC_BYTES) != 0) return false;
    if ((uint32_t)crc32_z(0, x->bytes, n - sizeof sum) != sum) return false;
    if (!number_at(&at, end, &x->n) || x->n < 0 || x->n > end - at) return false;
    x->classes = calloc((size_t)x->n + 1, sizeof *x->classes);
    for (int64_t k = 0; x->classes && k < x->n; k++) {
        hwb__index_class *c = &x->classes[k];
        if (!number_at(&at, end, &c->mtime) || !number_at(&at, end, &c->n) || c->n < 0)
            return false;
        if (!(c->name = text_at(&at, end))) return false;
        c->names = (const char *)at;
        for (int64_t i = 0; i < c->n; i++)
            if (!text_at(&at, end)) return false;
    }
    return x->classes && at == end;
}

void hwb__index_read(hwb_ctx *ctx, hwb__index *out, const char *root) {
    char *path = index_path(root);
    size_t n;
    memset(out, 0, sizeof *out);
    if (path && access(path, R_OK) == 0) {
        out->found = true;
        if (hwb_io_read_file(ctx, &out->bytes, &n, path, INDEX_MOST) != HWB_OK ||
            !hwb__index_parse(out, n)) {
            hwb_note(HWB_LOG_WARN, "%s is damaged and not used; `hwb data index` makes it again",
                     path);
            hwb__index_free(out);
            out->found = out->damaged = true;
        }
    }
    free(path);
}

/* Classes are sorted as strcmp has it. */
const hwb__index_class *hwb__index_find(const hwb__index *x, const char *name) {
    int64_t lo = 0, hi = x->n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        int order = strcmp(name, x->classes[mid].name);
        if (order == 0) return &x->classes[mid];
        if (order < 0) hi = mid;
        else lo = mid + 1;
    }
    return NULL;
}

bool hwb__index_holds(const hwb__index_class *c, int64_t mtime) {
    return c && mtime && c->mtime == mtime;
}

int64_t hwb__index_mtime(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* ---- making --------------------------------------------------------------------------- */

typedef struct buffer {
    uint8_t *bytes;
    size_t n, room;
    bool failed;
} buffer;

static void put(buffer *b, const void *bytes, size_t n) {
    if (!b->failed && b->room - b->n < n) {
        size_t room = 2 * b->room + n + 4096;
        uint8_t *bigger = realloc(b->bytes, room);
        b->failed = !bigger;
        if (bigger) {
            b->bytes = bigger;
            b->room = room;
        }
    }
    if (b->failed) return;
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static bool same_names(const hwb__index_class *c, const hwb__names *names) {
    const char *at = c->names;
    if (c->n != names->n) return false;
    for (int64_t i = 0; i < c->n; i++) {
        if (strcmp(at, names->item[i]) != 0) return false;
        at += strlen(at) + 1;
    }
    return true;
}

/* Lists one class into b; counts what the old index has otherwise. */
static hwb_status add_class(hwb_ctx *ctx, buffer *b, const hwb__index *old, const char *root,
                            const char *name, hwb_folder_index_info *info) {
    hwb__names images = {0};
    char *path = hwb__path_join(root, name);
    if (!path) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for an index");
    int64_t now = (int64_t)time(NULL), mtime = hwb__index_mtime(path);
    const hwb__index_class *known = hwb__index_find(old, name);
    hwb_status status = hwb__names_list(ctx, &images, path, false);
    if (!hwb__index_holds(known, mtime) || !same_names(known, &images)) info->stale++;
    if (known) info->stale--; /* of the old classes, all counted beforehand: still there */
    if (now - mtime / 1000000000 < RACY_SECONDS) mtime = 0;
    put(b, &mtime, sizeof mtime);
    put(b, &images.n, sizeof images.n);
    put(b, name, strlen(name) + 1);
    for (int64_t i = 0; i < images.n; i++) put(b, images.item[i], strlen(images.item[i]) + 1);
    info->images += images.n;
    hwb__names_free(&images);
    free(path);
    return status;
}

static hwb_status build(hwb_ctx *ctx, buffer *b, const hwb__index *old, const char *root,
                        hwb_folder_index_info *info) {
    hwb__names classes = {0};
    hwb_status status = hwb__names_list(ctx, &classes, root, true);
    if (status == HWB_OK && classes.n == 0)
        status = hwb_fail(ctx, HWB_EFORMAT, "%s: holds no folders, one for each class", root);
    info->classes = classes.n;
    info->stale = old->n;
    put(b, MAGIC, MAGIC_BYTES);
    put(b, &classes.n, sizeof classes.n);
    for (int64_t k = 0; k < classes.n && status == HWB_OK; k++) {
        status = hwb_check_interrupt(ctx);
        if (status == HWB_OK) status = add_class(ctx, b, old, root, classes.item[k], info);
    }
    hwb__names_free(&classes);
    uint32_t sum = b->failed ? 0 : (uint32_t)crc32_z(0, b->bytes, b->n);
    put(b, &sum, sizeof sum);
    if (status == HWB_OK && b->failed)
        status = hwb_fail(ctx, HWB_ENOMEM, "out of memory for an index");
    return status;
}

hwb_status hwb_folder_index(hwb_ctx *ctx, const char *root, bool write,
                            hwb_folder_index_info *info) {
    buffer b = {0};
    hwb__index old;
    char *path = index_path(root);
    memset(info, 0, sizeof *info);
    if (!path) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for an index");
    hwb__index_read(ctx, &old, root);
    info->found = old.found;
    info->damaged = old.damaged;
    hwb_status status = build(ctx, &b, &old, root, info);
    info->bytes = (int64_t)b.n;
    if (status == HWB_OK && write && (!old.found || old.damaged || info->stale))
        status = hwb_io_write_file_atomic(ctx, path, b.bytes, b.n);
    hwb__index_free(&old);
    free(b.bytes);
    free(path);
    return status;
}
