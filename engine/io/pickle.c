/*
 * pickle.c: the stack machine (pickle protocols 2 to 5, the binary opcodes).
 * What the opcodes mean is documented in CPython's Lib/pickletools.py.
 */
#include "io/pickle_i.h"
#include "io/io_i.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 16 };

struct arena_chunk {
    struct arena_chunk *next;
    _Alignas(16) unsigned char data[];
};

/* The program text and where we are in it. */
typedef struct reader {
    const uint8_t *p;
    size_t n, at;
} reader;

/* ---- memory --------------------------------------------------------------------------- */

void *hwb__pickle_alloc(hwb_ctx *ctx, hwb__pickle *pk, size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > pk->room - pk->used || !pk->chunks) {
        size_t room = bytes > CHUNK ? bytes : CHUNK;
        if (room > HWB__PICKLE_MAX_ARENA - pk->total) {
            pk->why = hwb_fail(ctx, HWB_EFORMAT, "the pickle makes too many objects; refused");
            return NULL;
        }
        struct arena_chunk *chunk = malloc(sizeof *chunk + room);
        if (!chunk) {
            pk->why = hwb_fail(ctx, HWB_ENOMEM, "out of memory for a pickle");
            return NULL;
        }
        chunk->next = pk->chunks;
        pk->chunks = chunk;
        pk->used = 0;
        pk->room = room;
        pk->total += room;
    }
    void *p = pk->chunks->data + pk->used;
    pk->used += bytes;
    return p;
}

hwb__pval *hwb__pickle_new(hwb_ctx *ctx, hwb__pickle *pk, hwb__pkind kind) {
    hwb__pval *v = hwb__pickle_alloc(ctx, pk, sizeof *v);
    if (!v) return NULL;
    memset(v, 0, sizeof *v);
    v->kind = kind;
    return v;
}

hwb_status hwb__pickle_append(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval *seq, hwb__pval *item) {
    if (seq->seq.n == seq->seq.capacity) {
        int64_t bigger = seq->seq.capacity ? 2 * seq->seq.capacity : 4;
        hwb__pval **items = hwb__pickle_alloc(ctx, pk, (size_t)bigger * sizeof *items);
        if (!items) return pk->why;
        if (seq->seq.n) memcpy(items, seq->seq.item, (size_t)seq->seq.n * sizeof *items);
        seq->seq.item = items;
        seq->seq.capacity = bigger;
    }
    seq->seq.item[seq->seq.n++] = item;
    return HWB_OK;
}

void hwb__pickle_done(hwb__pickle *pk) {
    while (pk->chunks) {
        struct arena_chunk *next = pk->chunks->next;
        free(pk->chunks);
        pk->chunks = next;
    }
    for (int64_t i = 0; i < pk->storage_count; i++) hwb_free(pk->storages[i].owned);
    free(pk->storages);
    hwb__strmap_clear(&pk->storage_by_key);
    free(pk->stack);
    free(pk->memo);
    *pk = (hwb__pickle){0};
}

bool hwb__ptext_is(const hwb__pval *v, const char *text) {
    size_t n = strlen(text);
    return v->kind == HWB__P_TEXT && v->text.n == n && memcmp(v->text.s, text, n) == 0;
}

/* ---- reading and the stack ---------------------------------------------------------------- */

static hwb_status damaged(hwb_ctx *ctx, const reader *r, const char *what) {
    return hwb_fail(ctx, HWB_EFORMAT, "pickle, byte %zu: %s", r->at, what);
}

static hwb_status take(hwb_ctx *ctx, reader *r, const uint8_t **out, size_t n) {
    if (n > r->n - r->at) return damaged(ctx, r, "cut short");
    *out = r->p + r->at;
    r->at += n;
    return HWB_OK;
}

/* A little-endian count of `width` bytes. */
static hwb_status take_uint(hwb_ctx *ctx, reader *r, uint64_t *out, size_t width) {
    const uint8_t *p = NULL;
    HWB_TRY(take(ctx, r, &p, width));
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++) v |= (uint64_t)p[i] << (8 * i);
    *out = v;
    return HWB_OK;
}

static hwb_status push(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval *v) {
    if (!v) return pk->why;
    if (pk->depth == pk->stack_room) {
        int64_t room = pk->stack_room ? 2 * pk->stack_room : 256;
        if (room > HWB__PICKLE_MAX_STACK)
            return hwb_fail(ctx, HWB_EFORMAT, "the pickle's stack grows too high; refused");
        hwb__pval **bigger = realloc(pk->stack, (size_t)room * sizeof *bigger);
        if (!bigger) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a pickle");
        pk->stack = bigger;
        pk->stack_room = room;
    }
    pk->stack[pk->depth++] = v;
    return HWB_OK;
}

/* Elements below the newest mark are out of reach until the mark goes. */
static int64_t floor_of(const hwb__pickle *pk) {
    return pk->mark_count ? pk->marks[pk->mark_count - 1] : 0;
}

static hwb_status pop(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, hwb__pval **out) {
    if (pk->depth <= floor_of(pk)) return damaged(ctx, r, "takes from an empty stack");
    *out = pk->stack[--pk->depth];
    return HWB_OK;
}

static hwb_status top(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, hwb__pval **out) {
    if (pk->depth <= floor_of(pk)) return damaged(ctx, r, "takes from an empty stack");
    *out = pk->stack[pk->depth - 1];
    return HWB_OK;
}

/* Take everything above the newest mark, and the mark. */
static hwb_status pop_mark(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, hwb__pval ***items,
                           int64_t *n) {
    if (pk->mark_count == 0) return damaged(ctx, r, "no mark on the stack");
    int64_t from = pk->marks[--pk->mark_count];
    *n = pk->depth - from;
    *items = *n > 0 ? pk->stack + from : NULL;
    pk->depth = from;
    return HWB_OK;
}

/* ---- values ---------------------------------------------------------------------------------- */

static hwb_status push_int(hwb_ctx *ctx, hwb__pickle *pk, hwb__pkind kind, int64_t i) {
    hwb__pval *v = hwb__pickle_new(ctx, pk, kind);
    if (v) v->i = i;
    return push(ctx, pk, v);
}

static hwb_status push_text(hwb_ctx *ctx, hwb__pickle *pk, reader *r, size_t width) {
    uint64_t n = 0;
    const uint8_t *p = NULL;
    HWB_TRY(take_uint(ctx, r, &n, width));
    HWB_TRY(take(ctx, r, &p, n));
    hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_TEXT);
    if (!v) return pk->why;
    v->text.s = (const char *)p; /* the program text outlives the machine */
    v->text.n = n;
    return push(ctx, pk, v);
}

/* LONG1, LONG4: two's complement of any width. */
static hwb_status push_long(hwb_ctx *ctx, hwb__pickle *pk, reader *r, size_t width) {
    uint64_t n = 0;
    const uint8_t *p = NULL;
    HWB_TRY(take_uint(ctx, r, &n, width));
    HWB_TRY(take(ctx, r, &p, n));
    hwb__pval *v = hwb__pickle_new(ctx, pk, n > 8 ? HWB__P_BIG : HWB__P_INT);
    if (!v) return pk->why;
    if (n > 8) {
        v->text.s = (const char *)p;
        v->text.n = n;
    } else if (n > 0) {
        uint64_t bits = p[n - 1] & 0x80 ? ~(uint64_t)0 : 0; /* sign extension */
        for (size_t i = n; i-- > 0;) bits = bits << 8 | p[i];
        v->i = (int64_t)bits;
    }
    return push(ctx, pk, v);
}

static hwb_status push_float(hwb_ctx *ctx, hwb__pickle *pk, reader *r) {
    const uint8_t *p = NULL;
    HWB_TRY(take(ctx, r, &p, 8));
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i]; /* big-endian, of all things */
    hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_FLOAT);
    if (v) memcpy(&v->f, &bits, sizeof bits);
    return push(ctx, pk, v);
}

static hwb_status push_seq(hwb_ctx *ctx, hwb__pickle *pk, hwb__pkind kind, hwb__pval **items,
                           int64_t n) {
    hwb__pval *v = hwb__pickle_new(ctx, pk, kind);
    if (!v) return pk->why;
    if (n > 0) {
        v->seq.item = hwb__pickle_alloc(ctx, pk, (size_t)n * sizeof *items);
        if (!v->seq.item) return pk->why;
        memcpy(v->seq.item, items, (size_t)n * sizeof *items);
        v->seq.n = v->seq.capacity = n;
    }
    return push(ctx, pk, v);
}

static hwb_status pop_tuple(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, int64_t n) {
    if (pk->depth - floor_of(pk) < n) return damaged(ctx, r, "takes from an empty stack");
    pk->depth -= n;
    return push_seq(ctx, pk, HWB__P_TUPLE, pk->stack + pk->depth, n);
}

/* APPEND(S) and SETITEM(S): n items go into the list or dict below them. */
static hwb_status extend(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, hwb__pkind kind,
                         hwb__pval **items, int64_t n) {
    hwb__pval *target = NULL;
    HWB_TRY(top(ctx, pk, r, &target));
    if (target->kind != kind || (kind == HWB__P_DICT && n % 2))
        return damaged(ctx, r, "adds items to something that takes none");
    for (int64_t i = 0; i < n; i++) HWB_TRY(hwb__pickle_append(ctx, pk, target, items[i]));
    return HWB_OK;
}

/* ---- memo -------------------------------------------------------------------------------------- */

static hwb_status memo_put(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, uint64_t at) {
    hwb__pval *v = NULL;
    HWB_TRY(top(ctx, pk, r, &v));
    if (at >= HWB__PICKLE_MAX_MEMO) return damaged(ctx, r, "a memo number out of range; refused");
    if ((int64_t)at >= pk->memo_room) {
        int64_t room = pk->memo_room ? pk->memo_room : 256;
        while (room <= (int64_t)at) room *= 2;
        hwb__pval **bigger = realloc(pk->memo, (size_t)room * sizeof *bigger);
        if (!bigger) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a pickle");
        pk->memo = bigger;
        memset(bigger + pk->memo_room, 0, (size_t)(room - pk->memo_room) * sizeof *bigger);
        pk->memo_room = room;
    }
    if (!pk->memo[at]) pk->memo_count++;
    pk->memo[at] = v;
    return HWB_OK;
}

static hwb_status memo_get(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, uint64_t at) {
    if (at >= (uint64_t)pk->memo_room || !pk->memo[at])
        return damaged(ctx, r, "asks for a memo that was never put");
    return push(ctx, pk, pk->memo[at]);
}

/* ---- names and calls ------------------------------------------------------------------------------ */

/* The text up to the next line feed, which is skipped. */
static hwb_status take_line(hwb_ctx *ctx, reader *r, const char **out, size_t *n) {
    const uint8_t *start = r->p + r->at;
    const uint8_t *end = memchr(start, '\n', r->n - r->at);
    if (!end) return damaged(ctx, r, "cut short");
    *out = (const char *)start;
    *n = (size_t)(end - start);
    r->at += *n + 1;
    return HWB_OK;
}

static hwb_status op_global(hwb_ctx *ctx, hwb__pickle *pk, reader *r, bool from_stack) {
    const char *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    hwb__pval *v = NULL;
    if (from_stack) {
        hwb__pval *m = NULL;
        HWB_TRY(pop(ctx, pk, r, &v));
        HWB_TRY(pop(ctx, pk, r, &m));
        if (v->kind != HWB__P_TEXT || m->kind != HWB__P_TEXT)
            return damaged(ctx, r, "a global whose name is no text");
        module = m->text.s, module_size = m->text.n;
        name = v->text.s, name_size = v->text.n;
    } else {
        HWB_TRY(take_line(ctx, r, &module, &module_size));
        HWB_TRY(take_line(ctx, r, &name, &name_size));
    }
    HWB_TRY(hwb__pickle_global(ctx, pk, &v, module, module_size, name, name_size));
    return push(ctx, pk, v);
}

static hwb_status op_reduce(hwb_ctx *ctx, hwb__pickle *pk, const reader *r) {
    hwb__pval *args = NULL, *fn = NULL, *v = NULL;
    HWB_TRY(pop(ctx, pk, r, &args));
    HWB_TRY(pop(ctx, pk, r, &fn));
    HWB_TRY(hwb__pickle_reduce(ctx, pk, &v, fn, args));
    return push(ctx, pk, v);
}

static hwb_status op_build(hwb_ctx *ctx, hwb__pickle *pk, const reader *r) {
    hwb__pval *state = NULL, *object = NULL;
    HWB_TRY(pop(ctx, pk, r, &state));
    HWB_TRY(top(ctx, pk, r, &object));
    return hwb__pickle_build(ctx, object, state);
}

static hwb_status op_persid(hwb_ctx *ctx, hwb__pickle *pk, const reader *r) {
    hwb__pval *id = NULL, *v = NULL;
    HWB_TRY(pop(ctx, pk, r, &id));
    HWB_TRY(hwb__pickle_persid(ctx, pk, &v, id));
    return push(ctx, pk, v);
}

/* ---- opcodes ----------------------------------------------------------------------------------------- */

static hwb_status op_number(hwb_ctx *ctx, hwb__pickle *pk, reader *r, uint8_t op) {
    uint64_t v = 0;
    switch (op) {
    case 'J': /* BININT */
        HWB_TRY(take_uint(ctx, r, &v, 4));
        return push_int(ctx, pk, HWB__P_INT, (int32_t)(uint32_t)v);
    case 'K': /* BININT1 */
        HWB_TRY(take_uint(ctx, r, &v, 1));
        return push_int(ctx, pk, HWB__P_INT, (int64_t)v);
    case 'M': /* BININT2 */
        HWB_TRY(take_uint(ctx, r, &v, 2));
        return push_int(ctx, pk, HWB__P_INT, (int64_t)v);
    case 0x8A: return push_long(ctx, pk, r, 1); /* LONG1 */
    case 0x8B: return push_long(ctx, pk, r, 4); /* LONG4 */
    default: return push_float(ctx, pk, r);     /* BINFLOAT */
    }
}

static hwb_status op_memo(hwb_ctx *ctx, hwb__pickle *pk, reader *r, uint8_t op) {
    uint64_t at = (uint64_t)pk->memo_count; /* MEMOIZE takes the next number */
    if (op == 'q' || op == 'h') HWB_TRY(take_uint(ctx, r, &at, 1));
    if (op == 'r' || op == 'j') HWB_TRY(take_uint(ctx, r, &at, 4));
    return op == 'h' || op == 'j' ? memo_get(ctx, pk, r, at) : memo_put(ctx, pk, r, at);
}

/* Opcodes that make or fill tuples, lists and dicts. */
static hwb_status op_container(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, uint8_t op) {
    hwb__pval **items = NULL, *pair[2] = {0};
    int64_t n = 0;
    switch (op) {
    case '}': return push_seq(ctx, pk, HWB__P_DICT, NULL, 0);  /* EMPTY_DICT */
    case ']': return push_seq(ctx, pk, HWB__P_LIST, NULL, 0);  /* EMPTY_LIST */
    case ')': return push_seq(ctx, pk, HWB__P_TUPLE, NULL, 0); /* EMPTY_TUPLE */
    case 0x85:                                                 /* TUPLE1, 2, 3 */
    case 0x86:
    case 0x87: return pop_tuple(ctx, pk, r, op - 0x84);
    case 'a': /* APPEND */
        HWB_TRY(pop(ctx, pk, r, &pair[0]));
        return extend(ctx, pk, r, HWB__P_LIST, pair, 1);
    case 's': /* SETITEM */
        HWB_TRY(pop(ctx, pk, r, &pair[1]));
        HWB_TRY(pop(ctx, pk, r, &pair[0]));
        return extend(ctx, pk, r, HWB__P_DICT, pair, 2);
    default: break;
    }
    HWB_TRY(pop_mark(ctx, pk, r, &items, &n));
    switch (op) {
    case 't': return push_seq(ctx, pk, HWB__P_TUPLE, items, n); /* TUPLE */
    case 'l': return push_seq(ctx, pk, HWB__P_LIST, items, n);  /* LIST */
    case 'e': return extend(ctx, pk, r, HWB__P_LIST, items, n); /* APPENDS */
    default: return extend(ctx, pk, r, HWB__P_DICT, items, n);  /* SETITEMS */
    }
}

static hwb_status op_stack(hwb_ctx *ctx, hwb__pickle *pk, const reader *r, uint8_t op) {
    hwb__pval *v = NULL, **items;
    int64_t n;
    switch (op) {
    case '(': /* MARK */
        if (pk->mark_count == HWB__PICKLE_MAX_MARKS)
            return damaged(ctx, r, "nested too deeply; refused");
        pk->marks[pk->mark_count++] = pk->depth;
        return HWB_OK;
    case '0': return pop(ctx, pk, r, &v);              /* POP */
    case '1': return pop_mark(ctx, pk, r, &items, &n); /* POP_MARK */
    default: /* DUP */ HWB_TRY(top(ctx, pk, r, &v)); return push(ctx, pk, v);
    }
}

/* Everything but STOP. */
static hwb_status step(hwb_ctx *ctx, hwb__pickle *pk, reader *r, uint8_t op) {
    const uint8_t *skipped;
    switch (op) {
    case 0x80: return take(ctx, r, &skipped, 1); /* PROTO */
    case 0x95: return take(ctx, r, &skipped, 8); /* FRAME: a hint for streams */
    case 'N': return push_int(ctx, pk, HWB__P_NONE, 0);
    case 0x88: return push_int(ctx, pk, HWB__P_BOOL, 1);
    case 0x89: return push_int(ctx, pk, HWB__P_BOOL, 0);
    case 'J':
    case 'K':
    case 'M':
    case 'G':
    case 0x8A:
    case 0x8B: return op_number(ctx, pk, r, op);
    case 0x8C:
    case 'U':
    case 'C': /* SHORT_BINUNICODE, SHORT_BINSTRING, SHORT_BINBYTES */
        return push_text(ctx, pk, r, 1);
    case 'X':
    case 'T':
    case 'B': /* BINUNICODE, BINSTRING, BINBYTES */ return push_text(ctx, pk, r, 4);
    case 0x8D:
    case 0x8E: /* BINUNICODE8, BINBYTES8 */ return push_text(ctx, pk, r, 8);
    case '(':
    case '0':
    case '1':
    case '2': return op_stack(ctx, pk, r, op);
    case '}':
    case ']':
    case ')':
    case 0x85:
    case 0x86:
    case 0x87:
    case 'a':
    case 's':
    case 't':
    case 'l':
    case 'e':
    case 'u': return op_container(ctx, pk, r, op);
    case 'q':
    case 'r':
    case 'h':
    case 'j':
    case 0x94: return op_memo(ctx, pk, r, op);
    case 'c': return op_global(ctx, pk, r, false);
    case 0x93: return op_global(ctx, pk, r, true); /* STACK_GLOBAL */
    case 'R': return op_reduce(ctx, pk, r);
    case 'b': return op_build(ctx, pk, r);
    case 'Q': return op_persid(ctx, pk, r); /* BINPERSID */
    default:
        return hwb_fail(ctx, HWB_EFORMAT, "pickle, byte %zu: opcode 0x%02X is not allowed; refused",
                        r->at - 1, op);
    }
}

hwb_status hwb__pickle_run(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const uint8_t *p,
                           size_t n, size_t *used) {
    reader r = {p, n, 0};
    pk->depth = 0;
    pk->mark_count = 0;
    pk->memo_count = 0; /* each pickle has a memo of its own */
    if (pk->memo_room) memset(pk->memo, 0, (size_t)pk->memo_room * sizeof *pk->memo);
    for (int64_t count = 0;; count++) {
        const uint8_t *op = NULL;
        if (count == HWB__PICKLE_MAX_OPCODES) return damaged(ctx, &r, "too long; refused");
        HWB_TRY(take(ctx, &r, &op, 1));
        if (*op == '.') break; /* STOP */
        HWB_TRY(step(ctx, pk, &r, *op));
    }
    HWB_TRY(pop(ctx, pk, &r, out));
    *used = r.at;
    return HWB_OK;
}
