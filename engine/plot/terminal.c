/*
 * Figures as text: braille dots (2 x 4 a character), colours by ANSI escapes,
 * box-drawing axes.  Series are drawn by the same code as on paper, on the dot
 * canvas; only the layout is its own, in character cells:
 *
 *                     title
 *      y label                        y label 2
 *      1.0 ┤⠉⠒⠤⣀                    ┤ 90        heat maps: ▀ cells in two
 *      0.5 ┤    ⠉⠒⠤⣀                ┤ 80        colours
 *          └┬─────────┬─────────┬────┘
 *           0         5        10
 *                   x label
 *      ── train  ── test
 *
 * Without colour, images are drawn in five shades; in ASCII mode a cell shows
 * how full it is by one of ". : * #".
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <string.h>

/* A page of character cells. */
typedef struct page {
    hwb_ctx *ctx;
    hwb__plot_arena *a;
    int cols, rows;
    bool color, ascii;
    uint32_t *code, *front, *back; /* [rows][cols]; colours 0 = default */
    hwb_status status;
} page;

static void put(page *p, int col, int row, uint32_t code, uint32_t front) {
    if (col < 0 || row < 0 || col >= p->cols || row >= p->rows) return;
    size_t at = (size_t)row * (size_t)p->cols + (size_t)col;
    p->code[at] = code;
    p->front[at] = front;
}

/* Decode the character at *s and step over it. */
static uint32_t next_code(const char **s) {
    const unsigned char *u = (const unsigned char *)*s;
    int more = *u < 0xC0 ? 0 : *u < 0xE0 ? 1 : *u < 0xF0 ? 2 : 3;
    uint32_t code = more == 0 ? *u : *u & (0x3Fu >> more);
    for (u++; more > 0 && *u; more--, u++) code = code << 6 | (*u & 0x3F);
    *s = (const char *)u;
    return code;
}

static char *plain(page *p, const char *markup) {
    hwb__bytes b = {.ctx = p->ctx};
    hwb__text_plain(&b, markup, p->ascii);
    hwb__bytes_add(&b, "", 1);
    char *out = b.status == HWB_OK ? hwb__plot_get(p->ctx, p->a, b.n) : NULL;
    if (out) memcpy(out, b.p, b.n);
    else p->status = HWB_ENOMEM;
    hwb_free(b.p);
    return out;
}

static int width_of(page *p, const char *markup) {
    char *s = plain(p, markup);
    return s ? (int)hwb__utf8_length(s, strlen(s)) : 0;
}

/* Columns taken; h places the text about col. */
static int write_text(page *p, int col, int row, const char *markup, hwb__halign h,
                      uint32_t color) {
    const char *s = markup ? plain(p, markup) : NULL;
    if (!s) return 0;
    int n = (int)hwb__utf8_length(s, strlen(s));
    if (h == HWB__CENTER) col -= n / 2;
    if (h == HWB__RIGHT) col -= n - 1;
    for (int i = 0; *s; i++) put(p, col + i, row, next_code(&s), color);
    return n;
}

/* ---- a panel ----------------------------------------------------------------- */

typedef struct text_panel {
    const hwb_axes *ax;
    int col, row, cols, rows;     /* the cell of the grid */
    int left, top, width, height; /* the data cells */
    hwb__scale x, y, y2;
    hwb__ticks tx, ty, ty2;
    int64_t entry_n;
    hwb__entry *entries;
} text_panel;

static int widest(page *p, const hwb__ticks *t) {
    int w = 0;
    for (int64_t i = 0; i < t->n; i++) {
        int one = width_of(p, t->label[i]);
        w = one > w ? one : w;
    }
    return w;
}

static int maximum(int a, int b) {
    return a > b ? a : b;
}

/* "×10^{k}" appended to a name when the ticks leave out a power of ten. */
static const char *name_with_power(page *p, const char *name, int k) {
    if (k == 0) return name;
    hwb__bytes b = {.ctx = p->ctx};
    if (name) hwb__bytes_text(&b, name);
    hwb__bytes_text(&b, name ? " ×10^{" : "×10^{");
    hwb__bytes_int(&b, k);
    hwb__bytes_text(&b, "}");
    hwb__bytes_add(&b, "", 1);
    char *out = b.status == HWB_OK ? hwb__plot_get(p->ctx, p->a, b.n) : NULL;
    if (out) memcpy(out, b.p, b.n);
    else p->status = HWB_ENOMEM;
    hwb_free(b.p);
    return out;
}

/* Name of the left (0) or right (1) y axis, or NULL. */
static const char *y_name(page *p, const text_panel *t, int side) {
    if (side && !t->ax->twin) return NULL;
    const hwb_axes *ax = side ? t->ax->twin : t->ax;
    return name_with_power(p, ax->axis[HWB_AXIS_Y].label, (side ? t->ty2 : t->ty).exponent);
}

/* A first set of ticks, for their powers of ten: these need a line. */
static hwb_status powers(page *p, text_panel *t) {
    const hwb_axes *ax = t->ax;
    HWB_TRY(hwb__plot_ticks(p->ctx, p->a, &t->tx, &t->x, &ax->axis[HWB_AXIS_X], 4));
    HWB_TRY(hwb__plot_ticks(p->ctx, p->a, &t->ty, &t->y, &ax->axis[HWB_AXIS_Y], 4));
    if (!ax->twin) return HWB_OK;
    return hwb__plot_ticks(p->ctx, p->a, &t->ty2, &t->y2, &ax->twin->axis[HWB_AXIS_Y], 4);
}

static hwb_status lay(page *p, text_panel *t) {
    const hwb_axes *ax = t->ax;
    HWB_TRY(hwb__legend_entries(p->ctx, p->a, ax, &t->entry_n, &t->entries));
    hwb__plot_range(ax, HWB_AXIS_X, &t->x);
    hwb__plot_range(ax, HWB_AXIS_Y, &t->y);
    if (ax->twin) hwb__plot_range(ax->twin, HWB_AXIS_Y, &t->y2);
    HWB_TRY(powers(p, t));
    bool head = y_name(p, t, 0) || y_name(p, t, 1);
    bool foot = ax->axis[HWB_AXIS_X].label || t->tx.exponent;
    t->top = t->row + (ax->title != NULL) + head;
    int below = 2 + foot + (t->entry_n > 0);
    t->height = maximum(2, t->row + t->rows - t->top - below);
    int want = maximum(2, t->height / 3);
    HWB_TRY(hwb__plot_ticks(p->ctx, p->a, &t->ty, &t->y, &ax->axis[HWB_AXIS_Y], want));
    int left = widest(p, &t->ty) + 1, right = 1;
    if (ax->twin) {
        HWB_TRY(hwb__plot_ticks(p->ctx, p->a, &t->ty2, &t->y2, &ax->twin->axis[HWB_AXIS_Y], want));
        right = widest(p, &t->ty2) + 2;
    }
    if (left > t->cols / 3) left = t->cols / 3; /* long names are cut */
    t->left = t->col + left + 1;
    t->width = maximum(4, t->col + t->cols - t->left - right);
    return hwb__plot_ticks(p->ctx, p->a, &t->tx, &t->x, &ax->axis[HWB_AXIS_X],
                           maximum(2, t->width / 10));
}

static void draw_series_on(hwb__dots *d, page *p, const text_panel *t) {
    const hwb_axes *axes[2] = {t->ax, t->ax->twin};
    for (int pass = HWB__BODY; pass <= HWB__WORDS; pass++)
        for (int k = 0; k < 2 && axes[k]; k++) {
            hwb__view v = {.box = {0, 0, d->w, d->h},
                           .x = t->x,
                           .y = k ? t->y2 : t->y,
                           .unit = 0.5,
                           .arena = p->a};
            v.x.p0 = 0, v.x.p1 = d->w - 1;
            v.y.p0 = d->h - 1, v.y.p1 = 0;
            for (const hwb__series *s = axes[k]->first; s && d->base.status == HWB_OK; s = s->next)
                hwb__draw_series(&d->base, &v, s, (hwb__pass)pass);
        }
}

/* Bits of a braille character by dot row and column (U+2800 + bits). */
static uint32_t braille(const hwb__dots *d, int cx, int cy, int *count) {
    static const unsigned char bit[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    uint32_t bits = 0;
    *count = 0;
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 2; x++) {
            int dx = 2 * cx + x, dy = 4 * cy + y;
            if (dx >= d->w || dy >= d->h || !d->on[(size_t)dy * (size_t)d->w + (size_t)dx])
                continue;
            bits |= bit[y][x];
            ++*count;
        }
    return 0x2800 + bits;
}

/* One of five shades for a colour, darkest colour densest. */
static uint32_t shade_of(const page *p, uint32_t rgb) {
    static const uint32_t blocks[5] = {' ', 0x2591, 0x2592, 0x2593, 0x2588};
    static const char ascii[] = " .:*#";
    int i = (int)fmin(4, 5 * (1 - sqrt(hwb__plot_luminance(hwb__plot_rgba(rgb & 0xFFFFFF, 1)))));
    return p->ascii ? (uint32_t)ascii[i] : blocks[i];
}

static void copy_cells(page *p, const text_panel *t, const hwb__dots *d) {
    for (int cy = 0; cy < d->cells_h; cy++)
        for (int cx = 0; cx < d->cells_w; cx++) {
            size_t at = (size_t)cy * (size_t)d->cells_w + (size_t)cx;
            uint32_t up = d->back[2 * (size_t)cy * (size_t)d->cells_w + (size_t)cx];
            uint32_t low = d->back[(2 * (size_t)cy + 1) * (size_t)d->cells_w + (size_t)cx];
            int count, col = t->left + cx, row = t->top + cy;
            uint32_t dots = braille(d, cx, cy, &count), front = d->color[at] | 0x1000000u;
            if (col >= p->cols || row >= p->rows) continue;
            size_t cell = (size_t)row * (size_t)p->cols + (size_t)col;
            if (d->glyph[at]) {
                uint32_t code = d->glyph[at];
                put(p, col, row, p->ascii && code > 126 ? '?' : code, front);
                if (p->color) p->back[cell] = up;
            } else if (count > 0) {
                put(p, col, row, p->ascii ? (uint32_t) ".:*#"[(count - 1) / 2] : dots, front);
                if (p->color) p->back[cell] = up;
            } else if (up || low) {
                if (p->color && !p->ascii) {
                    put(p, col, row, 0x2580, up); /* upper half block */
                    p->back[cell] = low;
                } else put(p, col, row, shade_of(p, up ? up : low), 0);
            }
        }
}

static void axes_lines(page *p, const text_panel *t) {
    int bottom = t->top + t->height, right = t->left + t->width;
    bool u = !p->ascii;
    for (int r = 0; r < t->height; r++) {
        put(p, t->left - 1, t->top + r, u ? 0x2502 : '|', 0);
        if (t->ax->twin) put(p, right, t->top + r, u ? 0x2502 : '|', 0);
    }
    for (int c = 0; c < t->width; c++) put(p, t->left + c, bottom, u ? 0x2500 : '-', 0);
    put(p, t->left - 1, bottom, u ? 0x2514 : '+', 0);
    if (t->ax->twin) put(p, right, bottom, u ? 0x2518 : '+', 0);

    for (int side = 0; side < (t->ax->twin ? 2 : 1); side++) {
        const hwb__ticks *k = side ? &t->ty2 : &t->ty;
        hwb__scale s = side ? t->y2 : t->y;
        s.p0 = 4 * t->height - 1, s.p1 = 0;
        for (int64_t i = 0; i < k->n; i++) {
            int row = t->top + (int)floor(hwb__plot_map(&s, k->at[i]) / 4);
            put(p, side ? right : t->left - 1, row, u ? (side ? 0x251C : 0x2524) : '+', 0);
            write_text(p, side ? right + 1 : t->left - 2, row, k->label[i],
                       side ? HWB__LEFT : HWB__RIGHT, 0);
        }
    }
    hwb__scale s = t->x;
    s.p0 = 0, s.p1 = 2 * t->width - 1;
    int free_from = t->col;
    for (int64_t i = 0; i < t->tx.n; i++) {
        int col = t->left + (int)floor(hwb__plot_map(&s, t->tx.at[i]) / 2);
        int n = width_of(p, t->tx.label[i]), from = col - n / 2;
        if (from + n > t->col + t->cols) from = t->col + t->cols - n;
        if (from < free_from) continue; /* would touch the label before it */
        put(p, col, bottom, u ? 0x252C : '+', 0);
        write_text(p, from, bottom + 1, t->tx.label[i], HWB__LEFT, 0);
        free_from = from + n + 1;
    }
}

static void words(page *p, const text_panel *t) {
    const hwb_axes *ax = t->ax;
    int middle = t->left + t->width / 2, row = t->top + t->height + 2;
    if (ax->title) write_text(p, t->col + t->cols / 2, t->row, ax->title, HWB__CENTER, 0);
    int head = t->row + (ax->title != NULL);
    write_text(p, t->col, head, y_name(p, t, 0), HWB__LEFT, 0);
    write_text(p, t->col + t->cols - 1, head, y_name(p, t, 1), HWB__RIGHT, 0);
    const char *x = name_with_power(p, ax->axis[HWB_AXIS_X].label, t->tx.exponent);
    if (x) write_text(p, middle, row++, x, HWB__CENTER, 0);
    int col = t->left;
    for (int64_t i = 0; i < t->entry_n; i++) {
        uint32_t color = t->entries[i].style->color | 0x1000000u;
        int n = width_of(p, t->entries[i].text) + 3;
        if (col + n > t->col + t->cols) break;
        for (int k = 0; k < 2; k++) put(p, col + k, row, p->ascii ? '-' : 0x2501, color);
        write_text(p, col + 3, row, t->entries[i].text, HWB__LEFT, 0);
        col += n + 2;
    }
}

static void draw_panel(page *p, text_panel *t) {
    hwb__dots *d = NULL;
    if (p->status == HWB_OK) p->status = lay(p, t);
    if (p->status == HWB_OK) p->status = hwb__canvas_dots(p->ctx, &d, 2 * t->width, 4 * t->height);
    if (p->status == HWB_OK) {
        draw_series_on(d, p, t);
        p->status = d->base.status;
    }
    if (p->status == HWB_OK) {
        axes_lines(p, t);
        copy_cells(p, t, d);
        words(p, t);
    }
    hwb__canvas_dots_free(d);
}

/* ---- output -------------------------------------------------------------------- */

static void add_code(hwb__bytes *b, uint32_t c) {
    char s[4];
    int n = 0;
    if (c < 0x80) s[n++] = (char)c;
    else if (c < 0x800) {
        s[n++] = (char)(0xC0 | c >> 6);
        s[n++] = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        s[n++] = (char)(0xE0 | c >> 12);
        s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        s[n++] = (char)(0x80 | (c & 0x3F));
    } else {
        s[n++] = (char)(0xF0 | c >> 18);
        s[n++] = (char)(0x80 | (c >> 12 & 0x3F));
        s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        s[n++] = (char)(0x80 | (c & 0x3F));
    }
    hwb__bytes_add(b, s, (size_t)n);
}

static void add_color(hwb__bytes *b, int kind, uint32_t rgb) {
    hwb__bytes_text(b, "\033[");
    hwb__bytes_int(b, kind);
    if (rgb) {
        hwb__bytes_text(b, ";2");
        for (int shift = 16; shift >= 0; shift -= 8) {
            hwb__bytes_text(b, ";");
            hwb__bytes_int(b, rgb >> shift & 255);
        }
    }
    hwb__bytes_text(b, "m");
}

/* Rows with trailing blanks cut; escapes only where a colour changes. */
static void print_page(const page *p, hwb__bytes *b) {
    for (int r = 0; r < p->rows; r++) {
        const size_t row = (size_t)r * (size_t)p->cols;
        int n = p->cols;
        while (n > 0 && p->code[row + (size_t)n - 1] == ' ' && !p->back[row + (size_t)n - 1]) n--;
        uint32_t front = 0, back = 0;
        for (int c = 0; c < n; c++) {
            size_t at = row + (size_t)c;
            if (p->color && p->front[at] != front && p->code[at] != ' ') {
                front = p->front[at];
                add_color(b, front ? 38 : 39, front);
            }
            if (p->color && p->back[at] != back) {
                back = p->back[at];
                add_color(b, back ? 48 : 49, back);
            }
            add_code(b, p->code[at]);
        }
        if (front || back) hwb__bytes_text(b, "\033[0m");
        hwb__bytes_text(b, "\n");
    }
}

hwb_status hwb_figure_text(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size,
                           const hwb_text_figure_opts *opts) {
    hwb_text_figure_opts o = opts ? *opts : (hwb_text_figure_opts){0};
    if (o.cols == 0) o.cols = 80;
    if (o.rows == 0) o.rows = 24;
    if (o.cols < 20 || o.rows < 8 || o.cols > 1000 || o.rows > 1000)
        return hwb_fail(ctx, HWB_EARG, "figure: %d x %d characters; 20 x 8 to 1000 x 1000", o.cols,
                        o.rows);
    hwb__plot_arena arena = {0};
    page p = {.ctx = ctx,
              .a = &arena,
              .cols = o.cols,
              .rows = o.rows,
              .color = o.color,
              .ascii = o.ascii};
    int64_t cells = (int64_t)o.cols * o.rows;
    p.code = hwb__plot_array(ctx, &arena, cells, sizeof *p.code);
    p.front = hwb__plot_array(ctx, &arena, cells, sizeof *p.front);
    p.back = hwb__plot_array(ctx, &arena, cells, sizeof *p.back);
    if (!p.code || !p.front || !p.back) p.status = HWB_ENOMEM;
    for (int64_t i = 0; p.status == HWB_OK && i < cells; i++) p.code[i] = ' ';
    int head = fig->title != NULL;
    if (p.status == HWB_OK && head) write_text(&p, o.cols / 2, 0, fig->title, HWB__CENTER, 0);
    for (int i = 0; i < fig->rows * fig->cols && p.status == HWB_OK; i++) {
        text_panel t = {
            .ax = &fig->axes[i], .cols = o.cols / fig->cols, .rows = (o.rows - head) / fig->rows};
        t.col = i % fig->cols * t.cols;
        t.row = head + i / fig->cols * t.rows;
        draw_panel(&p, &t);
    }
    hwb__bytes b = {.ctx = ctx, .status = p.status};
    if (p.status == HWB_OK) print_page(&p, &b);
    hwb__plot_arena_free(&arena);
    return hwb__bytes_take(&b, out, size);
}
