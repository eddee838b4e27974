/*
 * Text: the ^{…} _{…} markup, measuring and drawing through cairo, and plain
 * text for terminals.
 *
 * The face is DejaVu Sans, which Debian's fontconfig depends on; fontconfig
 * puts another sans face where it is missing, and cairo's built-in stroke font
 * stands in where no font exists at all.  Hinting is off, so that widths do
 * not depend on the scale and layouts agree between PNG and SVG.
 */
#include "plot/canvas_i.h"

#include <cairo.h>
#include <string.h>

struct hwb__font {
    cairo_surface_t *surface;
    cairo_t *cr; /* for measuring */
};

#ifdef __SANITIZE_ADDRESS__
/* fontconfig keeps its configuration for the life of the process behind encoded
 * pointers, which LeakSanitizer takes for leaks (any cairo program shows it). */
__attribute__((weak, visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}
#endif

/* ---- markup ---------------------------------------------------------------------- */

bool hwb__text_run(const char **p, hwb__run *run) {
    const char *s = *p;
    if (!*s) return false;
    if ((s[0] == '^' || s[0] == '_') && s[1] == '{') {
        const char *end = strchr(s + 2, '}');
        if (end) {
            *run = (hwb__run){s + 2, (size_t)(end - s - 2), s[0] == '^' ? 1 : -1};
            *p = end + 1;
            return true;
        }
    }
    const char *e = s + 1;
    while (*e && !((e[0] == '^' || e[0] == '_') && e[1] == '{' && strchr(e + 2, '}'))) e++;
    *run = (hwb__run){s, (size_t)(e - s), 0};
    *p = e;
    return true;
}

int64_t hwb__utf8_length(const char *s, size_t n) {
    int64_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)s[i] & 0xC0) != 0x80) count++;
    return count;
}

/* Superscript and subscript digits and signs of Unicode; NULL if there is none. */
static const char *script_char(char ch, int level) {
    static const char set[] = "0123456789+-";
    static const char *const sup[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹", "⁺", "⁻"};
    static const char *const sub[] = {"₀", "₁", "₂", "₃", "₄", "₅", "₆", "₇", "₈", "₉", "₊", "₋"};
    const char *at = ch ? strchr(set, ch) : NULL;
    return at ? (level > 0 ? sup : sub)[at - set] : NULL;
}

/* Plain 7-bit stand-ins for the characters that axes write themselves. */
static void add_ascii(hwb__bytes *out, const char *s, size_t n) {
    static const struct {
        const char *from, *to;
    } map[] = {{"−", "-"},     {"×", "x"},   {"·", "*"}, {"λ", "lambda"}, {"σ", "sigma"},
               {"Ω", "Omega"}, {"…", "..."}, {"–", "-"}, {"—", "-"}};
    for (size_t i = 0; i < n;) {
        if ((unsigned char)s[i] < 0x80) {
            hwb__bytes_add(out, s + i++, 1);
            continue;
        }
        size_t len = 1;
        while (i + len < n && ((unsigned char)s[i + len] & 0xC0) == 0x80) len++;
        const char *to = "?";
        for (size_t k = 0; k < sizeof map / sizeof map[0]; k++)
            if (strlen(map[k].from) == len && !memcmp(map[k].from, s + i, len)) to = map[k].to;
        hwb__bytes_text(out, to);
        i += len;
    }
}

void hwb__text_plain(hwb__bytes *out, const char *markup, bool ascii) {
    hwb__run run;
    while (hwb__text_run(&markup, &run)) {
        if (run.level == 0) {
            if (ascii) add_ascii(out, run.text, run.n);
            else hwb__bytes_add(out, run.text, run.n);
            continue;
        }
        bool all = !ascii;
        char digits[64];
        size_t k = 0;
        for (size_t i = 0; i < run.n && k < sizeof digits - 1; i++) {
            /* U+2212 counts as a minus sign. */
            bool minus = run.n - i >= 3 && !memcmp(run.text + i, "−", 3);
            digits[k++] = minus ? '-' : run.text[i];
            if (minus) i += 2;
        }
        digits[k] = 0;
        for (size_t i = 0; i < k; i++) all = all && script_char(digits[i], run.level);
        if (all) {
            for (size_t i = 0; i < k; i++) hwb__bytes_text(out, script_char(digits[i], run.level));
            continue;
        }
        hwb__bytes_text(out, run.level > 0 ? "^" : "_");
        if (ascii) add_ascii(out, run.text, run.n);
        else hwb__bytes_add(out, run.text, run.n);
    }
}

/* ---- cairo ------------------------------------------------------------------------- */

static void set_font(cairo_t *cr) {
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_font_options_t *o = cairo_font_options_create();
    cairo_font_options_set_antialias(o, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(o, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(o, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(cr, o);
    cairo_font_options_destroy(o);
}

hwb_status hwb__font_new(hwb_ctx *ctx, hwb__font **out) {
    hwb__font *f = hwb_calloc(ctx, sizeof *f);
    if (!f) return HWB_ENOMEM;
    f->surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    f->cr = cairo_create(f->surface);
    set_font(f->cr);
    if (cairo_status(f->cr) != CAIRO_STATUS_SUCCESS) {
        const char *why = cairo_status_to_string(cairo_status(f->cr));
        hwb__font_free(f);
        return hwb_fail(ctx, HWB_ENOMEM, "figure: text cannot be measured: %s", why);
    }
    *out = f;
    return HWB_OK;
}

void hwb__font_free(hwb__font *f) {
    if (!f) return;
    cairo_destroy(f->cr);
    cairo_surface_destroy(f->surface);
    hwb_free(f);
}

/* Calls cairo on at most 255 bytes at a time, cut between characters. */
static const char *piece(const hwb__run *run, size_t *at, char out[256]) {
    size_t n = run->n - *at;
    if (n == 0) return NULL;
    if (n > 255) {
        n = 255;
        while (n > 1 && ((unsigned char)run->text[*at + n] & 0xC0) == 0x80) n--;
    }
    memcpy(out, run->text + *at, n);
    out[n] = 0;
    *at += n;
    return out;
}

static double run_size(const hwb__run *run, double size) {
    return run->level ? size * HWB__SCRIPT_PERCENT / 100 : size;
}

/* Measured at 100 units and scaled: widths are then proportional to size. */
double hwb__text_width(hwb__font *f, const char *markup, double size) {
    double width = 0;
    hwb__run run;
    char buf[256];
    cairo_set_font_size(f->cr, 100);
    while (hwb__text_run(&markup, &run)) {
        for (size_t at = 0; piece(&run, &at, buf);) {
            cairo_text_extents_t e;
            cairo_text_extents(f->cr, buf, &e);
            width += e.x_advance * run_size(&run, size) / 100;
        }
    }
    return width;
}

static void draw_runs(cairo_t *cr, const hwb__label *t, bool outline) {
    const char *p = t->text;
    hwb__run run;
    char buf[256];
    while (hwb__text_run(&p, &run)) {
        double rise = run.level > 0   ? t->size * HWB__SUPER_PERCENT / 100
                      : run.level < 0 ? -t->size * HWB__SUB_PERCENT / 100
                                      : 0;
        cairo_set_font_size(cr, run_size(&run, t->size));
        cairo_rel_move_to(cr, 0, -rise);
        for (size_t at = 0; piece(&run, &at, buf);) {
            if (outline) cairo_text_path(cr, buf);
            else cairo_show_text(cr, buf);
        }
        cairo_rel_move_to(cr, 0, rise);
    }
}

void hwb__text_draw(void *cairo, hwb__font *f, const hwb__label *t) {
    cairo_t *cr = cairo;
    double width = hwb__text_width(f, t->text, t->size);
    double dx = t->h == HWB__LEFT ? 0 : t->h == HWB__CENTER ? -width / 2 : -width;
    double dy = t->v == HWB__BASELINE ? 0 : t->v == HWB__MIDDLE ? 0.36 * t->size : 0.76 * t->size;
    cairo_save(cr);
    cairo_translate(cr, t->x, t->y);
    cairo_rotate(cr, -t->angle * 3.14159265358979 / 180);
    set_font(cr);
    if (t->halo > 0) {
        cairo_new_path(cr);
        cairo_move_to(cr, dx, dy);
        draw_runs(cr, t, true);
        cairo_set_source_rgba(cr, 1, 1, 1, 0.85);
        cairo_set_line_width(cr, 2 * t->halo);
        cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
        cairo_stroke(cr);
    }
    cairo_set_source_rgba(cr, t->color.r, t->color.g, t->color.b, t->color.a);
    cairo_move_to(cr, dx, dy);
    draw_runs(cr, t, false);
    cairo_new_path(cr);
    cairo_restore(cr);
}
