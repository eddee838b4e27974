/*
 * gxx.c: kernels by g++, and the folder they are kept in.
 *
 * The folder is $HWB_EMU_CACHE, else /tmp/hwb-emulator-<user>, which must belong
 * to the user.  Undefined behaviour that a device may survive traps here: array
 * bounds, alignment of vector types, signed overflow, conversions out of range.
 */
#define _GNU_SOURCE
#include "nvrtc_i.h"

#include <ctype.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the folder ---------------------------------------------------------------------- */

static bool folder(char *path, size_t size) {
    struct stat s;
    const char *given = getenv("HWB_EMU_CACHE");
    if (given && given[0] == '/') snprintf(path, size, "%s", given);
    else snprintf(path, size, "/tmp/hwb-emulator-%u", (unsigned)getuid());
    mkdir(path, 0700);
    return lstat(path, &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == getuid();
}

bool emu_real_wanted(void) {
    const char *text = getenv("HWB_EMU_NVRTC");
    return EMU_REAL_NVRTC[0] && !(text && strcmp(text, "no") == 0);
}

static uint64_t fnv(uint64_t h, const char *text) {
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return (h ^ 1) * 0x100000001b3u;
}

bool emu_cache_path(char path[EMU_PATH], const char *source, const emu_image *image) {
    char where[EMU_PATH - 64], head[64];
    if (!folder(where, sizeof where)) return false;
    snprintf(head, sizeof head, "%d %d %d", image->arch, image->is_ptx, emu_real_wanted());
    uint64_t a = fnv(fnv(fnv(0xcbf29ce484222325u, EMU_SHIM), head), source);
    uint64_t b = fnv(fnv(fnv(0x9e3779b97f4a7c15u, head), source), EMU_SHIM);
    snprintf(path, EMU_PATH, "%s/%016llx%016llx", where, (unsigned long long)a,
             (unsigned long long)b);
    return true;
}

bool emu_cache_read(emu_image *image, const char *path) {
    char file[EMU_PATH + 8], text[EMU_IMAGE_TEXT];
    snprintf(file, sizeof file, "%s.image", path);
    FILE *f = fopen(file, "r");
    if (!f) return false;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return emu_image_read(image, text) && access(image->path, R_OK) == 0;
}

static bool write_text(const char *file, const char *text) {
    char beside[EMU_PATH + 64];
    snprintf(beside, sizeof beside, "%s.%ld", file, (long)getpid());
    FILE *f = fopen(beside, "w");
    if (!f) return false;
    bool ok = fputs(text, f) >= 0;
    return fclose(f) == 0 && ok && rename(beside, file) == 0;
}

bool emu_cache_write(const char *text, const char *path) {
    char file[EMU_PATH + 8];
    snprintf(file, sizeof file, "%s.image", path);
    return write_text(file, text);
}

/* ---- the source ------------------------------------------------------------------------ */

static const char *skip_space(const char *at) {
    while (isspace((unsigned char)*at)) at++;
    return at;
}

/* Behind a bracketed list that starts at `at`. */
static const char *skip_list(const char *at) {
    int depth = 0;
    do {
        depth += (*at == '(') - (*at == ')');
    } while (*at && (at++, depth > 0));
    return at;
}

static size_t word(const char *at) {
    size_t n = 0;
    while (isalnum((unsigned char)at[n]) || at[n] == '_') n++;
    return n;
}

/* One line of the module's table for each `__global__ void [__launch_bounds__(n)] name(`. */
static void write_table(FILE *f, const char *source) {
    static const char global[] = "__global__", bounds[] = "__launch_bounds__";
    fprintf(f, "\nHWB_EMU_MODULE(");
    for (const char *at = source; (at = strstr(at, global));) {
        const char *limits = "()";
        int n_limits = 2;
        at += strlen(global);
        for (;;) {
            at = skip_space(at);
            size_t n = word(at);
            const char *next = skip_space(at + n);
            if (n == strlen(bounds) && strncmp(at, bounds, n) == 0) {
                at = skip_list(next);
                limits = next;
                n_limits = (int)(at - next);
            } else if (*next == '(' || n == 0) {
                if (n) fprintf(f, " HWB_EMU_KERNEL(%.*s, %.*s)", (int)n, at, n_limits, limits);
                break;
            } else at = next;
        }
    }
    fprintf(f, ")\n");
}

static bool write_source(const char *file, const char *source) {
    FILE *f = fopen(file, "w");
    if (!f) return false;
    fprintf(f, "#line 1 \"kernel\"\n%s", source);
    write_table(f, source);
    return fclose(f) == 0;
}

/* ---- the compiler -------------------------------------------------------------------------- */

bool emu_gxx_start(emu_gxx *g, const char *source, const char *path) {
    extern char **environ;
    posix_spawn_file_actions_t actions;
    long me = (long)getpid();
    snprintf(g->path, sizeof g->path, "%s", path);
    snprintf(g->source, sizeof g->source, "%s.%ld.cpp", path, me);
    snprintf(g->made, sizeof g->made, "%s.%ld.so", path, me);
    snprintf(g->words, sizeof g->words, "%s.%ld.log", path, me);
    const char *command[] = {EMU_CXX,
                             "-x",
                             "c++",
                             "-std=c++17",
                             "-O1",
                             "-w",
                             "-nostdinc",
                             "-fno-exceptions",
                             "-fno-rtti",
                             "-fno-math-errno",
                             "-ffp-contract=off",
                             "-fsanitize=bounds,alignment,signed-integer-overflow,shift,"
                             "integer-divide-by-zero,float-cast-overflow",
                             "-fsanitize-undefined-trap-on-error",
                             "-fvisibility=hidden",
                             "-fPIC",
                             "-shared",
                             "-nostdlib",
                             "-I" EMU_SOURCE,
                             "-include",
                             EMU_SOURCE "/device/device.h",
                             g->source,
                             "-o",
                             g->made,
                             "-lm",
                             NULL};
    if (!write_source(g->source, source)) return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, g->words, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int e = posix_spawnp(&g->pid, command[0], &actions, NULL, (char *const *)(uintptr_t)command,
                         environ);
    posix_spawn_file_actions_destroy(&actions);
    return e == 0;
}

static void read_words(const char *file, char *log, size_t size) {
    FILE *f = fopen(file, "r");
    size_t n = f ? fread(log, 1, size - 1, f) : 0;
    log[n] = 0;
    if (f) fclose(f);
}

bool emu_gxx_finish(emu_gxx *g, char *log, size_t size) {
    char to[EMU_PATH + 64];
    int status = 0;
    while (waitpid(g->pid, &status, 0) < 0) continue;
    snprintf(to, sizeof to, "%s.so", g->path);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0 && rename(g->made, to) == 0;
    if (!ok) read_words(g->words, log, size);
    snprintf(to, sizeof to, "%s.cpp", g->path); /* for whoever debugs a kernel */
    rename(g->source, to);
    unlink(g->words);
    return ok;
}
