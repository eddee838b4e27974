/*
 * zip.c: the central-directory reader (PKWARE APPNOTE 6.3, sections 4.3 to 4.5).
 *
 *     [local header + data]…  [central directory]  [zip64 end]? [locator]?  [end]
 *
 * The end record is searched from the back, since a comment may follow it.
 */
#include "io/zip_i.h"
#include "io/io_i.h"
#include "io/strmap_i.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    MAX_COMMENT = 65535,
    MAX_ENTRIES = 1 << 20,
};

#define END_MAGIC     0x06054B50u
#define LOCATOR_MAGIC 0x07064B50u
#define END64_MAGIC   0x06064B50u
#define CENTRAL_MAGIC 0x02014B50u
#define LOCAL_MAGIC   0x04034B50u

typedef struct zip_entry {
    char *name;
    int method; /* 0 stored, 8 deflated */
    uint16_t flags;
    uint32_t crc;
    uint64_t packed, size, header; /* bytes, bytes, offset of the local header */
} zip_entry;

struct hwb__zip {
    const uint8_t *p;
    size_t n;
    zip_entry *entries;
    int64_t count;
    hwb__strmap by_name;
};

typedef struct directory {
    uint64_t offset, size, count;
} directory;

static hwb_status damaged(hwb_ctx *ctx, const char *what, uint64_t at) {
    return hwb_fail(ctx, HWB_EFORMAT, "the zip archive is damaged: %s at byte %llu", what,
                    (unsigned long long)at);
}

/* ---- finding the directory -------------------------------------------------------- */

static hwb_status read_end64(hwb_ctx *ctx, directory *d, const uint8_t *p, size_t n, size_t end) {
    if (end < LOCATOR_SIZE || hwb__le32(p + end - LOCATOR_SIZE) != LOCATOR_MAGIC)
        return damaged(ctx, "no zip64 locator", end);
    uint64_t at = hwb__le64(p + end - LOCATOR_SIZE + 8);
    if (n < END64_SIZE || at > n - END64_SIZE || hwb__le32(p + at) != END64_MAGIC)
        return damaged(ctx, "no zip64 end record", at);
    d->count = hwb__le64(p + at + 32);
    d->size = hwb__le64(p + at + 40);
    d->offset = hwb__le64(p + at + 48);
    return HWB_OK;
}

static hwb_status find_directory(hwb_ctx *ctx, directory *d, const uint8_t *p, size_t n) {
    size_t lowest = n > END_SIZE + MAX_COMMENT ? n - END_SIZE - MAX_COMMENT : 0;
    size_t end = n < END_SIZE ? 0 : n - END_SIZE;
    bool found = false;
    for (; n >= END_SIZE; end--) {
        found = hwb__le32(p + end) == END_MAGIC && hwb__le16(p + end + 20) <= n - END_SIZE - end;
        if (found || end == lowest) break;
    }
    if (!found)
        return hwb_fail(ctx, HWB_EFORMAT, "the zip archive has no end record: it is cut short");
    d->count = hwb__le16(p + end + 10);
    d->size = hwb__le32(p + end + 12);
    d->offset = hwb__le32(p + end + 16);
    if (d->count == 0xFFFF || d->size == 0xFFFFFFFFu || d->offset == 0xFFFFFFFFu)
        HWB_TRY(read_end64(ctx, d, p, n, end));
    if (d->offset > end || d->size > end - d->offset)
        return damaged(ctx, "the directory lies outside the file", d->offset);
    if (d->count > MAX_ENTRIES || d->count * CENTRAL_SIZE > d->size)
        return damaged(ctx, "the directory is shorter than its entries", d->offset);
    return HWB_OK;
}

/* ---- its entries -------------------------------------------------------------------- */

/* Sizes that are all ones stand in the zip64 extra field (id 1), in this order. */
static bool read_extra64(zip_entry *e, const uint8_t *p, size_t n) {
    while (n >= 4) {
        size_t id = hwb__le16(p), size = hwb__le16(p + 2);
        if (size > n - 4) return false;
        if (id == 1) {
            const uint8_t *field = p + 4;
            uint64_t *wanted[3] = {&e->size, &e->packed, &e->header};
            for (int i = 0; i < 3; i++) {
                if (*wanted[i] != 0xFFFFFFFFu) continue;
                if (size < 8) return false;
                *wanted[i] = hwb__le64(field);
                field += 8;
                size -= 8;
            }
            return true;
        }
        p += 4 + size;
        n -= 4 + size;
    }
    return true;
}

/* One directory entry at p (`room` bytes of directory left); *used = its length. */
static hwb_status read_entry(hwb_ctx *ctx, hwb__zip *z, const uint8_t *p, size_t room,
                             size_t *used) {
    size_t at = (size_t)(p - z->p);
    if (room < CENTRAL_SIZE || hwb__le32(p) != CENTRAL_MAGIC)
        return damaged(ctx, "no directory entry", at);
    size_t name = hwb__le16(p + 28), extra = hwb__le16(p + 30), comment = hwb__le16(p + 32);
    if (CENTRAL_SIZE + name + extra + comment > room)
        return damaged(ctx, "a directory entry is cut short", at);
    zip_entry *e = &z->entries[z->count];
    *e = (zip_entry){.method = hwb__le16(p + 10),
                     .flags = hwb__le16(p + 8),
                     .crc = hwb__le32(p + 16),
                     .packed = hwb__le32(p + 20),
                     .size = hwb__le32(p + 24),
                     .header = hwb__le32(p + 42)};
    if (!read_extra64(e, p + CENTRAL_SIZE + name, extra))
        return damaged(ctx, "a bad extra field", at);
    const char *text = (const char *)p + CENTRAL_SIZE;
    if (memchr(text, 0, name)) return damaged(ctx, "a name with a zero byte", at);
    if (hwb__strmap_get(&z->by_name, text, name) >= 0)
        return damaged(ctx, "a name that appears twice", at);
    e->name = strndup(text, name);
    if (!e->name) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a zip directory");
    z->count++; /* from here on hwb__zip_close frees the name */
    *used = CENTRAL_SIZE + name + extra + comment;
    return hwb__strmap_put(ctx, &z->by_name, text, name, z->count - 1);
}

static hwb_status read_directory(hwb_ctx *ctx, hwb__zip *z) {
    directory d = {0};
    HWB_TRY(find_directory(ctx, &d, z->p, z->n));
    z->entries = calloc(d.count ? d.count : 1, sizeof *z->entries);
    if (!z->entries) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a zip directory");
    const uint8_t *p = z->p + d.offset;
    size_t room = d.size;
    for (uint64_t i = 0; i < d.count; i++) {
        size_t used = 0;
        HWB_TRY(read_entry(ctx, z, p, room, &used));
        p += used;
        room -= used;
    }
    return HWB_OK;
}

hwb_status hwb__zip_open(hwb_ctx *ctx, hwb__zip **out, const uint8_t *p, size_t n) {
    hwb__zip *z = calloc(1, sizeof *z);
    if (!z) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a zip archive");
    z->p = p;
    z->n = n;
    hwb_status status = read_directory(ctx, z);
    if (status != HWB_OK) {
        hwb__zip_close(z);
        return status;
    }
    *out = z;
    return HWB_OK;
}

void hwb__zip_close(hwb__zip *z) {
    if (!z) return;
    for (int64_t i = 0; i < z->count; i++) free(z->entries[i].name);
    free(z->entries);
    hwb__strmap_clear(&z->by_name);
    free(z);
}

int64_t hwb__zip_count(const hwb__zip *z) {
    return z->count;
}

const char *hwb__zip_name(const hwb__zip *z, int64_t i) {
    return z->entries[i].name;
}

int64_t hwb__zip_find(const hwb__zip *z, const char *name) {
    return hwb__strmap_get(&z->by_name, name, strlen(name));
}

size_t hwb__zip_bytes(const hwb__zip *z) {
    return z->n;
}

/* ---- data ------------------------------------------------------------------------------ */

static hwb_status inflate_into(hwb_ctx *ctx, uint8_t *dst, size_t size, const uint8_t *src,
                               size_t packed) {
    z_stream s = {0};
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for zlib");
    int code = Z_OK;
    size_t in = 0, out = 0;
    while (code == Z_OK) { /* zlib counts in 32 bits: feed it pieces */
        if (s.avail_in == 0) {
            size_t piece = packed - in < UINT_MAX / 2 ? packed - in : UINT_MAX / 2;
            s.next_in = (Bytef *)(uintptr_t)(src + in);
            s.avail_in = (uInt)piece;
            in += piece;
        }
        size_t piece = size - out < UINT_MAX / 2 ? size - out : UINT_MAX / 2;
        s.next_out = dst + out;
        s.avail_out = (uInt)piece;
        code = inflate(&s, Z_NO_FLUSH); /* Z_BUF_ERROR, when nothing moves any more */
        out += piece - s.avail_out;
    }
    inflateEnd(&s);
    if (code != Z_STREAM_END || out != size)
        return hwb_fail(ctx, HWB_EFORMAT, "deflated data are damaged");
    return HWB_OK;
}

static uint32_t crc_of(const uint8_t *p, size_t n) {
    uLong crc = crc32(0, NULL, 0);
    while (n > 0) {
        uInt piece = n < UINT_MAX / 2 ? (uInt)n : UINT_MAX / 2;
        crc = crc32(crc, p, piece);
        p += piece;
        n -= piece;
    }
    return (uint32_t)crc;
}

/* Where the packed bytes of entry e begin. */
static hwb_status locate(hwb_ctx *ctx, const hwb__zip *z, const zip_entry *e, const uint8_t **out) {
    if (e->flags & 1) return hwb_fail(ctx, HWB_EUNSUPPORTED, "the zip archive is encrypted");
    if (e->method != 0 && e->method != 8)
        return hwb_fail(ctx, HWB_EUNSUPPORTED, "zip compression method %d", e->method);
    if (z->n < LOCAL_SIZE || e->header > z->n - LOCAL_SIZE ||
        hwb__le32(z->p + e->header) != LOCAL_MAGIC)
        return damaged(ctx, "no local header", e->header);
    const uint8_t *header = z->p + e->header;
    uint64_t start = e->header + LOCAL_SIZE + hwb__le16(header + 26) + hwb__le16(header + 28);
    if (start > z->n || e->packed > z->n - start)
        return damaged(ctx, "an entry that reaches past the end", start);
    if (e->method == 0 && e->packed != e->size)
        return damaged(ctx, "a stored entry of two sizes", e->header);
    if (e->method == 8 && e->size / 1032 > e->packed)
        return damaged(ctx, "an entry larger than deflate can make it", e->header);
    *out = z->p + start;
    return HWB_OK;
}

hwb_status hwb__zip_read(hwb_ctx *ctx, hwb__zip *z, int64_t i, const uint8_t **out, size_t *n,
                         void **owned) {
    const zip_entry *e = &z->entries[i];
    const uint8_t *data = NULL;
    uint8_t *unpacked = NULL;
    char name[100];
    hwb__printable(name, sizeof name, e->name, strlen(e->name));
    hwb_status status = locate(ctx, z, e, &data);
    if (status == HWB_OK && e->method == 8) {
        unpacked = hwb_alloc(ctx, e->size);
        if (!unpacked) return HWB_ENOMEM;
        status = inflate_into(ctx, unpacked, e->size, data, e->packed);
        data = unpacked;
    }
    if (status == HWB_OK && crc_of(data, e->size) != e->crc)
        status = hwb_fail(ctx, HWB_EFORMAT, "the CRC is wrong: the data are damaged");
    if (status != HWB_OK) {
        hwb_free(unpacked);
        return hwb_fail_in(ctx, status, "%s", name);
    }
    *out = data;
    *n = e->size;
    *owned = unpacked;
    return HWB_OK;
}
