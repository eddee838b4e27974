/*
 * zip_i.h: reading zip archives that lie in memory.
 *
 * Stored and deflated entries, zip64, no encryption, no multi-volume.  The
 * central directory is the truth; each local header is looked at only for
 * where its data begin.  A deflated entry may not claim more than the 1032:1
 * that deflate can reach, so memory stays in proportion to the file.
 */
#ifndef HWB_IO_ZIP_I_H
#define HWB_IO_ZIP_I_H

#include "base/base.h"

typedef struct hwb__zip hwb__zip;

/* The bytes must outlive the archive. */
hwb_status hwb__zip_open(hwb_ctx *ctx, hwb__zip **out, const uint8_t *p, size_t n);
void hwb__zip_close(hwb__zip *z); /* NULL is accepted */
int64_t hwb__zip_count(const hwb__zip *z);
const char *hwb__zip_name(const hwb__zip *z, int64_t i); /* borrowed */
int64_t hwb__zip_find(const hwb__zip *z, const char *name);
size_t hwb__zip_bytes(const hwb__zip *z); /* of the archive itself */

/* One entry, unpacked and CRC-checked.  `owned` is what to hwb_free (NULL when
 * *out points into the archive, which stored entries do). */
hwb_status hwb__zip_read(hwb_ctx *ctx, hwb__zip *z, int64_t i, const uint8_t **out, size_t *n,
                         void **owned);

#endif
