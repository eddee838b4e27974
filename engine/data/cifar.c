/*
 * cifar.c: the binary CIFAR files (Krizhevsky 2009).
 *
 *     CIFAR-10   row = [label][1024 red][1024 green][1024 blue]     3073 bytes
 *     CIFAR-100  row = [coarse][fine][1024 red][…][…]               3074 bytes
 *
 * Planes are 32 x 32, row-major.  The files of a split are held in memory as
 * they are (31 MB for the test set); every label is checked when they are
 * opened, so that a batch cannot fail later.
 */
#include "data/data_i.h"
#include "io/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIXELS = 3 * 32 * 32, MAX_FILES = 5, MAX_FILE = 1 << 30 };

typedef struct cifar {
    uint8_t *bytes[MAX_FILES];
    int64_t rows[MAX_FILES];
    int files;
    int labels; /* label bytes before the pixels; the last one counts */
} cifar;

typedef struct layout {
    const char *folder, *names;
    const char *train[MAX_FILES + 1], *test[MAX_FILES + 1];
} layout;

static const layout layout10 = {
    "cifar-10-batches-bin",
    "batches.meta.txt",
    {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
     "data_batch_5.bin", NULL},
    {"test_batch.bin", NULL},
};
static const layout layout100 = {
    "cifar-100-binary", "fine_label_names.txt", {"train.bin", NULL}, {"test.bin", NULL}};

static const char *const names10[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                      "dog",      "frog",       "horse", "ship", "truck"};

static hwb_status cifar_fetch(hwb_ctx *ctx, void *state, int64_t index, void *sample,
                              int64_t *label) {
    (void)ctx;
    cifar *c = state;
    int file = 0;
    while (index >= c->rows[file]) index -= c->rows[file++];
    const uint8_t *row = c->bytes[file] + (size_t)index * (size_t)(c->labels + PIXELS);
    *label = row[c->labels - 1];
    memcpy(sample, row + c->labels, PIXELS);
    return HWB_OK;
}

static void cifar_free(void *state) {
    cifar *c = state;
    for (int i = 0; i < c->files; i++) hwb_free(c->bytes[i]);
    free(c);
}

/* Takes the bytes in any case. */
static hwb_status add_file(hwb_ctx *ctx, cifar *c, int classes, uint8_t *bytes, size_t n) {
    c->bytes[c->files++] = bytes;
    size_t row = (size_t)(c->labels + PIXELS);
    if (n == 0 || n % row != 0)
        return hwb_fail(ctx, HWB_EFORMAT, "%zu bytes are not whole rows of %zu (CIFAR-%d)", n, row,
                        classes);
    c->rows[c->files - 1] = (int64_t)(n / row);
    for (size_t at = 0; at < n; at += row) {
        int label = bytes[at + (size_t)c->labels - 1];
        if (label >= classes)
            return hwb_fail(ctx, HWB_EFORMAT, "label %d at byte %zu is not below %d", label,
                            at + (size_t)c->labels - 1, classes);
    }
    return HWB_OK;
}

static hwb_status finish(hwb_ctx *ctx, hwb_dataset **out, cifar *c, int classes,
                         const char *const *names) {
    hwb_dataset_def def = {.kind = classes == 10 ? "cifar10" : "cifar100",
                           .classes = classes,
                           .class_names = names           ? names
                                          : classes == 10 ? names10
                                                          : NULL,
                           .sample = {3, {3, 32, 32}},
                           .stored = HWB_U8,
                           .fetch = cifar_fetch,
                           .free_state = cifar_free,
                           .state = c};
    for (int i = 0; i < c->files; i++) def.count += c->rows[i];
    return hwb_dataset_new(ctx, out, &def);
}

static cifar *make_cifar(hwb_ctx *ctx, int classes) {
    if (classes != 10 && classes != 100) {
        hwb_fail(ctx, HWB_EARG, "there is no CIFAR-%d", classes);
        return NULL;
    }
    cifar *c = calloc(1, sizeof *c);
    if (!c) hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    else c->labels = classes == 10 ? 1 : 2;
    return c;
}

hwb_status hwb_dataset_cifar_memory(hwb_ctx *ctx, hwb_dataset **out, int classes, const void *bytes,
                                    size_t n) {
    cifar *c = make_cifar(ctx, classes);
    if (!c) return classes == 10 || classes == 100 ? HWB_ENOMEM : HWB_EARG;
    uint8_t *copy = hwb_alloc(ctx, n);
    hwb_status status = copy ? HWB_OK : HWB_ENOMEM;
    if (copy && n) memcpy(copy, bytes, n);
    if (copy) status = add_file(ctx, c, classes, copy, n);
    if (status == HWB_OK) status = finish(ctx, out, c, classes, NULL);
    if (status != HWB_OK) cifar_free(c);
    return status;
}

/* ---- from a folder ----------------------------------------------------------------------- */

/* root/folder/name, or root/name when root is that folder itself */
static void path_of(char *buf, size_t size, const char *root, const layout *l, const char *name) {
    snprintf(buf, size, "%s/%s", root, name);
    if (access(buf, F_OK) != 0) snprintf(buf, size, "%s/%s/%s", root, l->folder, name);
}

/* One name a line; NULL when the file is absent or has other than `classes`.
 * The names point into *text (hwb_free it); the list itself is to be free()d. */
static const char **read_names(hwb_ctx *ctx, const char *path, int classes, char **text) {
    size_t n = 0;
    *text = NULL;
    if (access(path, R_OK) != 0 ||
        hwb_io_read_file(ctx, (uint8_t **)text, &n, path, 1 << 16) != HWB_OK)
        return NULL;
    const char **names = calloc((size_t)classes + 1, sizeof *names);
    int count = 0;
    char *rest = NULL;
    for (char *line = names ? strtok_r(*text, "\r\n", &rest) : NULL; line && count <= classes;
         line = strtok_r(NULL, "\r\n", &rest))
        names[count++] = line;
    if (count == classes) return names;
    free(names);
    return NULL;
}

static hwb_status read_files(hwb_ctx *ctx, cifar *c, int classes, const char *root, const layout *l,
                             const char *const *files) {
    for (int i = 0; files[i]; i++) {
        char path[4096];
        uint8_t *bytes = NULL;
        size_t n = 0;
        path_of(path, sizeof path, root, l, files[i]);
        HWB_TRY(hwb_io_read_file(ctx, &bytes, &n, path, MAX_FILE));
        hwb_status status = add_file(ctx, c, classes, bytes, n);
        if (status != HWB_OK) return hwb_fail_in(ctx, status, "%s", path);
    }
    return HWB_OK;
}

hwb_status hwb_dataset_cifar(hwb_ctx *ctx, hwb_dataset **out, int classes, const char *root,
                             const char *split) {
    bool train = strcmp(split, "train") == 0;
    if (!train && strcmp(split, "test") != 0)
        return hwb_fail(ctx, HWB_EARG, "cifar%d: split \"%s\" is neither train nor test", classes,
                        split);
    cifar *c = make_cifar(ctx, classes);
    if (!c) return classes == 10 || classes == 100 ? HWB_ENOMEM : HWB_EARG;
    const layout *l = classes == 10 ? &layout10 : &layout100;
    char path[4096], *text = NULL;
    const char **names = NULL;
    hwb_status status = read_files(ctx, c, classes, root, l, train ? l->train : l->test);
    if (status == HWB_OK) {
        path_of(path, sizeof path, root, l, l->names);
        names = read_names(ctx, path, classes, &text);
        status = finish(ctx, out, c, classes, names);
    }
    free(names);
    hwb_free(text);
    if (status != HWB_OK) cifar_free(c);
    return status;
}
