/*
 * cuda_cache.c: compiled kernels, kept.
 *
 * A kernel is known by a 128-bit hash of all that decides its code: prelude,
 * source, architecture and NVRTC's version.  It is looked for in this process,
 * then in the user's cache folder ($XDG_CACHE_HOME/hwb/cuda, else
 * ~/.cache/hwb/cuda), and compiled last.  A file of the cache is
 *     "hwbcuda1"  8 bytes    size  8 bytes    FNV-1a of the code  8 bytes    code
 * and is ignored unless all of it fits; a folder that cannot be written is no
 * failure.  Loaded code stays until the process ends.
 */
#include "cuda_i.h"

#include <nvrtc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the key -------------------------------------------------------------------------- */

typedef struct key {
    uint64_t a, b;
} key;

static uint64_t fnv(uint64_t h, const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    return h;
}

static key key_of(int cc, const char *source) {
    char head[64];
    int major = 0, minor = 0;
    nvrtcVersion(&major, &minor);
    snprintf(head, sizeof(head), "sm %d nvrtc %d.%d", cc, major, minor);
    key k = {0xcbf29ce484222325u, 0x9e3779b97f4a7c15u};
    const char *parts[] = {head, hwb__cuda_prelude, source};
    for (int i = 0; i < 3; i++) {
        k.a = fnv(k.a, parts[i], strlen(parts[i]) + 1);
        k.b = fnv(k.b ^ k.a >> 7, parts[i], strlen(parts[i]) + 1);
    }
    return k;
}

/* ---- the folder ------------------------------------------------------------------------- */

typedef struct file_head {
    char magic[8];
    uint64_t bytes, sum;
} file_head;

static const char MAGIC[8] = "hwbcuda1";
enum { MAX_CODE = 64 << 20 };

/* The path of a key's file, its folders made on demand; false without a folder. */
static bool cache_path(key k, bool make, char path[4096]) {
    const char *base = getenv("XDG_CACHE_HOME"), *tail = "";
    if (!base || base[0] != '/') base = getenv("HOME"), tail = "/.cache";
    if (!base || base[0] != '/') return false;
    const char *parts[] = {tail, "/hwb", "/cuda"};
    int n = snprintf(path, 2048, "%s", base);
    if (make && n < 2048) mkdir(path, 0700);
    for (int i = 0; i < 3 && n < 2048; i++) {
        n += snprintf(path + n, (size_t)(4096 - n), "%s", parts[i]);
        if (make && parts[i][0]) mkdir(path, 0700);
    }
    if (n >= 2048) return false;
    snprintf(path + n, (size_t)(4096 - n), "/%016llx%016llx", (unsigned long long)k.a,
             (unsigned long long)k.b);
    return true;
}

static char *read_cached(key k, size_t *bytes) {
    char path[4096], *code = NULL;
    file_head head;
    FILE *f = cache_path(k, false, path) ? fopen(path, "rb") : NULL;
    if (!f) return NULL;
    if (fread(&head, sizeof(head), 1, f) == 1 && memcmp(head.magic, MAGIC, sizeof(MAGIC)) == 0 &&
        head.bytes > 0 && head.bytes <= MAX_CODE && (code = malloc(head.bytes + 1)) &&
        (fread(code, 1, head.bytes, f) != head.bytes || fnv(0, code, head.bytes) != head.sum)) {
        free(code);
        code = NULL;
    }
    fclose(f);
    if (code) *bytes = head.bytes;
    return code;
}

/* Written beside and renamed: other processes see all of it or nothing. */
static void write_cached(key k, const char *code, size_t bytes) {
    char path[4096], beside[4160];
    file_head head = {{0}, bytes, fnv(0, code, bytes)};
    memcpy(head.magic, MAGIC, sizeof(MAGIC));
    if (!cache_path(k, true, path)) return;
    snprintf(beside, sizeof(beside), "%s.%ld", path, (long)getpid());
    FILE *f = fopen(beside, "wb");
    if (!f) return;
    bool ok = fwrite(&head, sizeof(head), 1, f) == 1 && fwrite(code, 1, bytes, f) == bytes;
    ok = fclose(f) == 0 && ok;
    if (!ok || rename(beside, path) != 0) unlink(beside);
}

/* ---- this process ----------------------------------------------------------------------- */

typedef struct loaded {
    key k;
    cudaKernel_t kernel;
    struct loaded *next;
} loaded;

enum { TABLE = 1024 };
static loaded *table[TABLE];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static hwb_status load_code(hwb_ctx *ctx, cudaKernel_t *out, const char *code) {
    cudaLibrary_t library = NULL;
    HWB_CUDA_TRY(ctx, cudaLibraryLoadData(&library, code, NULL, NULL, 0, NULL, NULL, 0));
    HWB_CUDA_TRY(ctx, cudaLibraryGetKernel(out, library, "hwb_kernel"));
    return HWB_OK;
}

static hwb_status make_kernel(hwb_ctx *ctx, hwb__cuda *s, key k, const char *name,
                              const char *source, cudaKernel_t *out) {
    size_t bytes = 0;
    char *code = read_cached(k, &bytes);
    if (code) {
        hwb_status st = load_code(ctx, out, code);
        free(code);
        if (st == HWB_OK) return st; /* else a stale file: compile again */
    }
    HWB_TRY(hwb__cuda_translate(ctx, s->cc, name, source, &code, &bytes));
    hwb_status st = load_code(ctx, out, code);
    if (st == HWB_OK) write_cached(k, code, bytes);
    free(code);
    return st;
}

static hwb_status look_up(hwb_ctx *ctx, hwb__cuda *s, cudaKernel_t *out, const char *name,
                          const char *source) {
    key k = key_of(s->cc, source);
    loaded **slot = &table[k.a % TABLE];
    for (loaded *l = *slot; l; l = l->next)
        if (l->k.a == k.a && l->k.b == k.b) {
            *out = l->kernel;
            return HWB_OK;
        }
    loaded *l = calloc(1, sizeof(*l));
    if (!l) return hwb__cuda_oom(ctx);
    hwb_status st = make_kernel(ctx, s, k, name, source, &l->kernel);
    if (st != HWB_OK) {
        free(l);
        return st;
    }
    l->k = k;
    l->next = *slot;
    *out = l->kernel;
    *slot = l;
    return HWB_OK;
}

hwb_status hwb__cuda_function(hwb_ctx *ctx, hwb__cuda *s, cudaKernel_t *out, const char *name,
                              const hwb__cuda_text *source) {
    if (source->failed || !source->at) return hwb__cuda_oom(ctx);
    pthread_mutex_lock(&table_lock);
    hwb_status st = look_up(ctx, s, out, name, source->at);
    pthread_mutex_unlock(&table_lock);
    return st;
}
