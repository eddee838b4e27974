/*
 * folder.c: images in one folder per class, as ImageNet comes.
 *
 * The names are listed when the dataset is made, or taken from an index
 * (folder_index.c), and sorted (byte order, as Python's sorted() and so
 * torchvision's ImageFolder); images are read, resized and cropped when they are
 * asked for, in the thread that asks.
 */
#include "data/data_i.h"
#include "io/io.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct folder {
    hwb__names paths;
    int32_t *label; /* of each path */
    int64_t label_room;
    int64_t shorter, size;
} folder;

void hwb__names_free(hwb__names *l) {
    for (int64_t i = 0; i < l->n; i++) free(l->item[i]);
    free(l->item);
}

bool hwb__names_add(hwb__names *l, char *text) {
    if (text && l->n == l->room) {
        int64_t room = l->room ? 2 * l->room : 64;
        char **bigger = realloc(l->item, (size_t)room * sizeof *bigger);
        if (bigger) {
            l->item = bigger;
            l->room = room;
        }
    }
    if (!text || l->n == l->room) {
        free(text);
        return false;
    }
    l->item[l->n++] = text;
    return true;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_image_name(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ||
                   strcasecmp(dot, ".png") == 0);
}

char *hwb__path_join(const char *a, const char *b) {
    size_t n = strlen(a) + strlen(b) + 2;
    char *path = malloc(n);
    if (path) snprintf(path, n, "%s/%s", a, b);
    return path;
}

static bool is_folder(const char *root, const char *name) {
    char *path = hwb__path_join(root, name);
    struct stat st;
    bool yes = path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    free(path);
    return yes;
}

hwb_status hwb__names_list(hwb_ctx *ctx, hwb__names *out, const char *path, bool folders) {
    HWB_TRY(hwb_check_access(ctx, path, false));
    DIR *dir = opendir(path);
    if (!dir) return hwb_fail(ctx, HWB_EIO, "%s: %s", path, strerror(errno));
    bool room = true;
    for (struct dirent *e; room && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        if (folders ? is_folder(path, e->d_name) : is_image_name(e->d_name))
            room = hwb__names_add(out, strdup(e->d_name));
    }
    closedir(dir);
    if (!room) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a list of files");
    if (out->n) qsort(out->item, (size_t)out->n, sizeof *out->item, by_text);
    return HWB_OK;
}

/* ---- samples ------------------------------------------------------------------------------ */

/* Takes `made` [size,size,3], whose making ended with `status`. */
static hwb_status give_sample(hwb_ctx *ctx, const folder *f, int64_t index, hwb_status status,
                              hwb_tensor *made, void *sample, int64_t *label) {
    if (status != HWB_OK) return hwb_fail_in(ctx, status, "%s", f->paths.item[index]);
    const uint8_t *pixel = hwb_tensor_data(made);
    int64_t pixels = f->size * f->size;
    uint8_t *to = sample;
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) to[c * pixels + i] = pixel[3 * i + c];
    *label = f->label[index];
    hwb_tensor_release(made);
    return HWB_OK;
}

static hwb_status folder_fetch(hwb_ctx *ctx, void *state, int64_t index, void *sample,
                               int64_t *label) {
    folder *f = state;
    hwb_tensor *image = NULL, *cut = NULL;
    HWB_TRY(hwb_image_load(ctx, &image, f->paths.item[index]));
    hwb_status status = hwb_image_resize_crop(ctx, &cut, image, f->shorter, f->size);
    hwb_tensor_release(image);
    return give_sample(ctx, f, index, status, cut, sample, label);
}

/* A random part, resized to size x size whatever its shape. */
static hwb_status folder_fetch_part(hwb_ctx *ctx, void *state, int64_t index, hwb_rng rng,
                                    void *sample, int64_t *label) {
    folder *f = state;
    hwb_tensor *image = NULL, *rows = NULL, *part = NULL, *scaled = NULL;
    HWB_TRY(hwb_image_load(ctx, &image, f->paths.item[index]));
    const hwb_shape *s = hwb_tensor_shape(image);
    hwb__part p = hwb__augment_part(rng, s->dim[0], s->dim[1]);
    hwb_status status = hwb_tensor_slice(ctx, &rows, image, 0, p.top, p.h, 1);
    if (status == HWB_OK) status = hwb_tensor_slice(ctx, &part, rows, 1, p.left, p.w, 1);
    if (status == HWB_OK) status = hwb_image_resize(ctx, &scaled, part, f->size, f->size);
    hwb_tensor_release(image);
    hwb_tensor_release(rows);
    hwb_tensor_release(part);
    return give_sample(ctx, f, index, status, scaled, sample, label);
}

static void folder_free(void *state) {
    folder *f = state;
    hwb__names_free(&f->paths);
    free(f->label);
    free(f);
}

/* ---- listing --------------------------------------------------------------------------------- */

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a list of files");
}

static bool add_image(folder *f, const char *path, const char *name, int32_t label) {
    if (f->paths.n == f->label_room) {
        int64_t room = f->label_room ? 2 * f->label_room : 64;
        int32_t *bigger = realloc(f->label, (size_t)room * sizeof *bigger);
        if (!bigger) return false;
        f->label = bigger;
        f->label_room = room;
    }
    if (!hwb__names_add(&f->paths, hwb__path_join(path, name))) return false;
    f->label[f->paths.n - 1] = label;
    return true;
}

/* The images of one class, from the index where that is up to date. */
static hwb_status add_class(hwb_ctx *ctx, folder *f, const hwb__index *index, const char *root,
                            const char *name, int32_t label, int64_t *listed) {
    hwb__names images = {0};
    char *path = hwb__path_join(root, name);
    if (!path) return oom(ctx);
    const hwb__index_class *known = hwb__index_find(index, name);
    if (known && !hwb__index_holds(known, hwb__index_mtime(path))) known = NULL;
    hwb_status status = known ? HWB_OK : hwb__names_list(ctx, &images, path, false);
    int64_t n = known ? known->n : images.n;
    const char *next = known ? known->names : NULL;
    for (int64_t i = 0; i < n && status == HWB_OK; i++) {
        const char *image = known ? next : images.item[i];
        if (known) next += strlen(next) + 1;
        if (!add_image(f, path, image, label)) status = oom(ctx);
    }
    *listed += !known;
    hwb__names_free(&images);
    free(path);
    return status;
}

static hwb_status list_images(hwb_ctx *ctx, folder *f, hwb__names *classes, const char *root) {
    HWB_TRY(hwb__names_list(ctx, classes, root, true));
    if (classes->n == 0)
        return hwb_fail(ctx, HWB_EFORMAT, "%s: holds no folders, one for each class", root);
    hwb__index index;
    int64_t listed = 0;
    hwb_status status = HWB_OK;
    hwb__index_read(ctx, &index, root);
    for (int64_t k = 0; k < classes->n && status == HWB_OK; k++)
        status = add_class(ctx, f, &index, root, classes->item[k], (int32_t)k, &listed);
    if (index.n && listed)
        hwb_note(HWB_LOG_INFO,
                 "%s: %lld of %lld folders are not as in the index; `hwb data index` renews it",
                 root, (long long)listed, (long long)classes->n);
    hwb__index_free(&index);
    HWB_TRY(status);
    if (f->paths.n == 0)
        return hwb_fail(ctx, HWB_EFORMAT, "%s: no .jpg, .jpeg or .png in its %lld folders", root,
                        (long long)classes->n);
    return HWB_OK;
}

hwb_status hwb_dataset_folder(hwb_ctx *ctx, hwb_dataset **out, const char *root, int64_t shorter,
                              int64_t size) {
    if (size < 1 || size > 8192 || shorter < 0 || shorter > 8192)
        return hwb_fail(ctx, HWB_EARG, "folder: resize %lld, crop %lld: no image sizes",
                        (long long)shorter, (long long)size);
    folder *f = calloc(1, sizeof *f);
    if (!f) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    f->shorter = shorter;
    f->size = size;
    hwb__names classes = {0};
    hwb_status status = list_images(ctx, f, &classes, root);
    if (status == HWB_OK) {
        hwb_dataset_def def = {.kind = "folder",
                               .count = f->paths.n,
                               .classes = classes.n,
                               .class_names = (const char *const *)classes.item,
                               .sample = {3, {3, size, size}},
                               .stored = HWB_U8,
                               .fetch = folder_fetch,
                               .fetch_part = folder_fetch_part,
                               .free_state = folder_free,
                               .state = f};
        status = hwb_dataset_new(ctx, out, &def);
    }
    hwb__names_free(&classes);
    if (status != HWB_OK) folder_free(f);
    return status;
}
