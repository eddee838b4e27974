/*
 * The arena of a figure and growing byte buffers.
 *
 * Chunks come from hwb_alloc, so figures count in the memory account and obey
 * its limit.  An arena only grows; everything in it dies together.
 */
#include "plot/plot_i.h"

#include <math.h>
#include <string.h>

typedef struct hwb__plot_chunk {
    struct hwb__plot_chunk *next;
    size_t used, cap;
    _Alignas(16) char data[];
} hwb__plot_chunk;

enum { CHUNK_BYTES = 16 * 1024 };

void *hwb__plot_get(hwb_ctx *ctx, hwb__plot_arena *a, size_t bytes) {
    if (bytes > SIZE_MAX / 2) {
        hwb_fail(ctx, HWB_ENOMEM, "figure: %zu bytes asked for", bytes);
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    hwb__plot_chunk *c = a->head;
    if (!c || c->cap - c->used < bytes) {
        size_t cap = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        c = hwb_alloc(ctx, sizeof *c + cap);
        if (!c) return NULL;
        c->used = 0;
        c->cap = cap;
        c->next = a->head;
        a->head = c;
    }
    void *p = c->data + c->used;
    c->used += bytes;
    memset(p, 0, bytes);
    return p;
}

void *hwb__plot_array(hwb_ctx *ctx, hwb__plot_arena *a, int64_t n, size_t size) {
    int64_t bytes;
    if (n < 0 || !hwb_mul_size(n, (int64_t)size, &bytes)) {
        hwb_fail(ctx, HWB_ENOMEM, "figure: %lld elements asked for", (long long)n);
        return NULL;
    }
    return hwb__plot_get(ctx, a, bytes > 0 ? (size_t)bytes : 1);
}

/* Bytes of the valid UTF-8 character at s, 0 if it is none (Unicode table 3-7:
 * no overlong forms, no surrogates, nothing beyond U+10FFFF). */
static size_t utf8_char(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : s[0] >> 4 == 0xE ? 3 : s[0] <= 0xF4 ? 4 : 0;
    if (s[0] < 0xC2) return 0;
    for (size_t i = 1; i < n; i++)
        if (s[i] >> 6 != 2) return 0;
    bool bad = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
               (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F) ||
               (s[0] == 0xEF && s[1] == 0xBF && s[2] >= 0xBE); /* U+FFFE, U+FFFF */
    return bad ? 0 : n;
}

char *hwb__plot_copy_text(hwb_ctx *ctx, hwb__plot_arena *a, const char *text) {
    char *p = hwb__plot_get(ctx, a, strlen(text) + 1);
    if (!p) return NULL;
    const unsigned char *s = (const unsigned char *)text;
    for (char *d = p; *s;) {
        size_t n = utf8_char(s);
        if (n == 0 || (n == 1 && (*s < 0x20 || *s == 0x7F))) {
            *d++ = n ? ' ' : '?';
            s++;
        } else {
            memcpy(d, s, n);
            d += n;
            s += n;
        }
    }
    return p;
}

double *hwb__plot_copy(hwb_ctx *ctx, hwb__plot_arena *a, int64_t n, const double *v) {
    double *p = hwb__plot_array(ctx, a, n, sizeof *p);
    if (p && n > 0) memcpy(p, v, (size_t)n * sizeof *p);
    return p;
}

void hwb__plot_arena_free(hwb__plot_arena *a) {
    while (a->head) {
        hwb__plot_chunk *next = a->head->next;
        hwb_free(a->head);
        a->head = next;
    }
}

/* ---- bytes ----------------------------------------------------------------------- */

/* Room for n more bytes and a NUL. */
static bool reserve(hwb__bytes *b, size_t n) {
    if (b->status != HWB_OK) return false;
    if (b->cap - b->n > n) return true;
    size_t cap = b->cap ? b->cap : 4096;
    while (cap - b->n <= n) {
        if (cap > SIZE_MAX / 4) {
            b->status = hwb_fail(b->ctx, HWB_ENOMEM, "figure: output beyond %zu bytes", cap);
            return false;
        }
        cap *= 2;
    }
    char *p = hwb_alloc(b->ctx, cap);
    if (!p) {
        b->status = HWB_ENOMEM;
        return false;
    }
    if (b->n) memcpy(p, b->p, b->n);
    hwb_free(b->p);
    b->p = p;
    b->cap = cap;
    return true;
}

void hwb__bytes_add(hwb__bytes *b, const void *p, size_t n) {
    if (n == 0 || !reserve(b, n)) return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void hwb__bytes_text(hwb__bytes *b, const char *text) {
    hwb__bytes_add(b, text, strlen(text));
}

void hwb__bytes_int(hwb__bytes *b, int64_t v) {
    char digits[24];
    int n = 0;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do digits[n++] = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0) digits[n++] = '-';
    while (n > 0) hwb__bytes_add(b, &digits[--n], 1);
}

void hwb__bytes_num(hwb__bytes *b, double v, int decimals) {
    int64_t unit = 1;
    for (int i = 0; i < decimals; i++) unit *= 10;
    if (!isfinite(v)) v = 0;
    double scaled = round(fabs(v) * (double)unit);
    if (scaled > 9e17) scaled = 9e17;
    int64_t u = (int64_t)scaled, frac = u % unit;
    if (v < 0 && u > 0) hwb__bytes_add(b, "-", 1);
    hwb__bytes_int(b, u / unit);
    if (frac == 0) return;
    hwb__bytes_add(b, ".", 1);
    while (frac > 0) {
        unit /= 10;
        char digit = (char)('0' + frac / unit);
        hwb__bytes_add(b, &digit, 1);
        frac %= unit;
    }
}

void hwb__bytes_base64(hwb__bytes *b, const unsigned char *p, size_t n) {
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)p[i] << 16;
        if (left > 1) v |= (uint32_t)p[i + 1] << 8;
        if (left > 2) v |= p[i + 2];
        char q[4] = {set[v >> 18], set[v >> 12 & 63], left > 1 ? set[v >> 6 & 63] : '=',
                     left > 2 ? set[v & 63] : '='};
        hwb__bytes_add(b, q, 4);
    }
}

hwb_status hwb__bytes_take(hwb__bytes *b, char **out, size_t *size) {
    if (reserve(b, 0)) {
        b->p[b->n] = 0;
        *out = b->p;
        *size = b->n;
    } else hwb_free(b->p);
    b->p = NULL;
    b->n = b->cap = 0;
    return b->status;
}
