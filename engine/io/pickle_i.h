/*
 * pickle_i.h: a pickle reader that executes nothing.
 *
 * A pickle is a program for a stack machine whose GLOBAL and REDUCE opcodes
 * name and call any function of the host.  Here the opcodes are an allow-list,
 * a GLOBAL may only be one of the few names in pickle_calls.c, and "calling"
 * one of those builds a plain value below.  Anything else is refused with its
 * name: "pickle wants os.system; refused".
 *
 * Values live in an arena that goes when the machine goes.  They may form a
 * DAG or even cycles (the memo allows it), so walkers bound their depth.
 * Limits: see the enum; all are far above what real checkpoints need.
 */
#ifndef HWB_IO_PICKLE_I_H
#define HWB_IO_PICKLE_I_H

#include "io/elem_i.h"
#include "io/strmap_i.h"

enum {
    HWB__PICKLE_MAX_OPCODES = 20 * 1000 * 1000,
    HWB__PICKLE_MAX_STACK = 1 << 20,
    HWB__PICKLE_MAX_MARKS = 1000,
    HWB__PICKLE_MAX_MEMO = 1 << 22,
    HWB__PICKLE_MAX_ARENA = 1 << 29, /* bytes */
};

typedef enum hwb__pkind {
    HWB__P_NONE,
    HWB__P_BOOL,
    HWB__P_INT,
    HWB__P_BIG, /* an integer beyond 64 bits: text holds its bytes */
    HWB__P_FLOAT,
    HWB__P_TEXT, /* str or bytes */
    HWB__P_TUPLE,
    HWB__P_LIST,
    HWB__P_DICT, /* items are key, value, key, value, … */
    HWB__P_GLOBAL,
    HWB__P_STORAGE,
    HWB__P_TENSOR,
    HWB__P_NPDTYPE, /* a numpy scalar type: text holds e.g. "f8" */
    HWB__P_INERT,   /* something allowed that we have no use for */
} hwb__pkind;

typedef struct hwb__pval hwb__pval;
struct hwb__pval {
    hwb__pkind kind;
    union {
        int64_t i; /* BOOL, INT, GLOBAL (row of its table) */
        double f;
        struct {
            const char *s; /* not terminated */
            size_t n;
        } text;
        struct {
            hwb__pval **item;
            int64_t n, capacity;
        } seq;
        struct {
            hwb__elem elem;
            int64_t id;    /* row in hwb__pickle.storages, one for each key */
            int64_t first; /* a view: elements of the root storage before it */
            int64_t count;
        } storage;
        struct {
            const hwb__pval *storage;
            int64_t offset;
            int ndim;
            int64_t size[HWB_MAX_DIMS], stride[HWB_MAX_DIMS];
        } tensor;
    };
};

/* A storage that the pickle refers to; its bytes lie elsewhere in the file. */
typedef struct hwb__pstorage {
    const char *key; /* terminated, in the arena */
    hwb__elem elem;
    int64_t count;
    const uint8_t *bytes; /* NULL until the container found them */
    void *owned;          /* hwb_free it */
} hwb__pstorage;

typedef struct hwb__pickle {
    struct arena_chunk *chunks;
    size_t used, room; /* of the newest chunk */
    size_t total;
    hwb_status why; /* the status behind the last NULL of hwb__pickle_alloc */
    hwb__pval **stack;
    int64_t depth, stack_room;
    int64_t marks[HWB__PICKLE_MAX_MARKS];
    int mark_count;
    hwb__pval **memo;
    int64_t memo_count, memo_room;
    hwb__pstorage *storages;
    int64_t storage_count, storage_room;
    hwb__strmap storage_by_key;
} hwb__pickle;

/* A zeroed machine is ready.  Values stay valid over several runs, until done. */
void hwb__pickle_done(hwb__pickle *pk);
/* Run one pickle from p[0..n); *used = bytes up to and including its STOP. */
hwb_status hwb__pickle_run(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const uint8_t *p,
                           size_t n, size_t *used);

/* Helpers shared by the files of the machine. */
void *hwb__pickle_alloc(hwb_ctx *ctx, hwb__pickle *pk, size_t bytes); /* NULL: message set */
hwb__pval *hwb__pickle_new(hwb_ctx *ctx, hwb__pickle *pk, hwb__pkind kind);
hwb_status hwb__pickle_append(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval *seq, hwb__pval *item);
bool hwb__ptext_is(const hwb__pval *v, const char *text);

/* pickle_calls.c: names, calls, persistent ids */
hwb_status hwb__pickle_global(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const char *module,
                              size_t module_size, const char *name, size_t name_size);
hwb_status hwb__pickle_reduce(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const hwb__pval *fn,
                              const hwb__pval *args);
hwb_status hwb__pickle_build(hwb_ctx *ctx, hwb__pval *object, const hwb__pval *state);
hwb_status hwb__pickle_persid(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const hwb__pval *id);

#endif
