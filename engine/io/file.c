/*
 * file.c: whole files in, and files that appear complete or not at all.
 *
 * Writing goes to <path>.tmp-<pid>-<n> in the same folder, then fsync, then
 * rename: a reader sees the old file or the new one, also after a power cut,
 * and a full disk leaves the old one and no litter.
 */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---------------------------------------------------------------------- */

static hwb_status read_all(hwb_ctx *ctx, int fd, uint8_t *p, size_t n) {
    size_t done = 0;
    while (done < n) {
        size_t want = n - done < ((size_t)1 << 30) ? n - done : (size_t)1 << 30;
        ssize_t got = read(fd, p + done, want);
        if (got < 0 && errno == EINTR) {
            HWB_TRY(hwb_check_interrupt(ctx));
            continue;
        }
        if (got < 0) return hwb_fail(ctx, HWB_EIO, "%s", strerror(errno));
        if (got == 0) return hwb_fail(ctx, HWB_EIO, "shrank to %zu bytes while being read", done);
        done += (size_t)got;
    }
    return HWB_OK;
}

static hwb_status read_open(hwb_ctx *ctx, int fd, uint8_t **out, size_t *n, size_t max) {
    struct stat st;
    if (fstat(fd, &st) != 0) return hwb_fail(ctx, HWB_EIO, "%s", strerror(errno));
    if (S_ISDIR(st.st_mode)) return hwb_fail(ctx, HWB_EIO, "is a directory");
    if (!S_ISREG(st.st_mode)) return hwb_fail(ctx, HWB_EIO, "is not a regular file");
    size_t size = (size_t)st.st_size;
    if (max && size > max)
        return hwb_fail(ctx, HWB_EFORMAT, "%zu bytes are more than the %zu allowed", size, max);
    uint8_t *p = hwb_alloc(ctx, size + 1);
    if (!p) return HWB_ENOMEM;
    hwb_status status = read_all(ctx, fd, p, size);
    if (status != HWB_OK) {
        hwb_free(p);
        return status;
    }
    p[size] = 0;
    *out = p;
    *n = size;
    return HWB_OK;
}

hwb_status hwb_io_read_file(hwb_ctx *ctx, uint8_t **out, size_t *n, const char *path, size_t max) {
    HWB_TRY(hwb_check_access(ctx, path, false));
    /* O_NONBLOCK: opening a FIFO must not hang; it means nothing to files. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return hwb_fail(ctx, HWB_EIO, "%s: %s", path, strerror(errno));
    hwb_status status = read_open(ctx, fd, out, n, max);
    close(fd);
    return status == HWB_OK ? HWB_OK : hwb_fail_in(ctx, status, "%s", path);
}

/* ---- writing ------------------------------------------------------------------------ */

struct hwb_file_out {
    int fd;
    char *path; /* the target, links resolved */
    char *tmp;
};

static hwb_status fail_errno(hwb_ctx *ctx, const char *path, const char *what) {
    return hwb_fail(ctx, HWB_EIO, "%s: %s: %s", path, what, strerror(errno));
}

/* The file that a write to `path` concerns, malloc'd: what a link points at,
 * else the path itself.  Only regular files are ever replaced. */
static hwb_status resolve_target(hwb_ctx *ctx, char **out, const char *path) {
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return hwb_fail(ctx, HWB_EIO, "%s: %s", path,
                        S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file");
    char *target = realpath(path, NULL);
    if (!target) target = strdup(path);
    if (!target) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a file name");
    *out = target;
    return HWB_OK;
}

static hwb_status open_tmp(hwb_ctx *ctx, hwb_file_out *f) {
    static atomic_uint serial;
    if (hwb_discards()) { /* no temporary file, no rename */
        f->fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        return f->fd >= 0 ? HWB_OK : fail_errno(ctx, "/dev/null", "cannot be opened");
    }
    size_t size = strlen(f->path) + 40;
    f->tmp = malloc(size);
    if (!f->tmp) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a file name");
    for (int tries = 0; tries < 100; tries++) {
        snprintf(f->tmp, size, "%s.tmp-%ld-%u", f->path, (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        f->fd = open(f->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd >= 0) return HWB_OK;
        if (errno != EEXIST) break;
    }
    return fail_errno(ctx, f->path, "cannot be created");
}

void hwb_io_abandon(hwb_file_out *f) {
    if (!f) return;
    if (f->fd >= 0) {
        close(f->fd);
        if (f->tmp) unlink(f->tmp);
    }
    free(f->tmp);
    free(f->path);
    free(f);
}

hwb_status hwb_io_begin(hwb_ctx *ctx, hwb_file_out **out, const char *path) {
    HWB_TRY(hwb_check_access(ctx, path, true));
    hwb_file_out *f = calloc(1, sizeof *f);
    if (!f) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a file");
    f->fd = -1;
    hwb_status status = resolve_target(ctx, &f->path, path);
    if (status == HWB_OK) status = open_tmp(ctx, f);
    if (status != HWB_OK) {
        hwb_io_abandon(f);
        return status;
    }
    *out = f;
    return HWB_OK;
}

hwb_status hwb_io_write(hwb_ctx *ctx, hwb_file_out *f, const void *bytes, size_t n) {
    const char *p = bytes;
    while (n > 0) {
        ssize_t put = write(f->fd, p, n < ((size_t)1 << 30) ? n : (size_t)1 << 30);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno(ctx, f->path, "cannot be written");
        p += put;
        n -= (size_t)put;
    }
    return HWB_OK;
}

/* Make the rename itself durable; file systems that cannot are left alone. */
static void sync_folder_of(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof folder) return;
    memcpy(folder, path, n);
    folder[n] = '\0';
    int fd = open(n ? folder : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

hwb_status hwb_io_commit(hwb_ctx *ctx, hwb_file_out *f) {
    hwb_status status = HWB_OK;
    if (!f->tmp) {
        hwb_io_abandon(f);
        return HWB_OK;
    }
    if (fsync(f->fd) != 0 && errno != EINVAL && errno != EROFS)
        status = fail_errno(ctx, f->path, "cannot be written");
    /* A network file system may report a full disk only here. */
    if (close(f->fd) != 0 && status == HWB_OK)
        status = fail_errno(ctx, f->path, "cannot be written");
    f->fd = -1;
    if (status == HWB_OK && rename(f->tmp, f->path) != 0)
        status = fail_errno(ctx, f->path, "cannot be replaced");
    if (status == HWB_OK) sync_folder_of(f->path);
    else unlink(f->tmp);
    hwb_io_abandon(f);
    return status;
}

hwb_status hwb_io_write_file_atomic(hwb_ctx *ctx, const char *path, const void *bytes, size_t n) {
    hwb_file_out *f = NULL;
    HWB_TRY(hwb_io_begin(ctx, &f, path));
    hwb_status status = hwb_io_write(ctx, f, bytes, n);
    if (status != HWB_OK) {
        hwb_io_abandon(f);
        return status;
    }
    return hwb_io_commit(ctx, f);
}
