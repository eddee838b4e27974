/*
 * plot in a terminal: text, kitty and sixel, decoded again.
 */
#include "plot_picture.h"

#include "plot/canvas_i.h"

enum { N = 101 };

static void test_text(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, NULL);
    double y[N];
    for (int i = 0; i < N; i++) y[i] = i;
    assert_ok(ctx, hwb_plot_line(ctx, ax, N, y, y, &(hwb_line_opts){.style.label = "train"}));
    assert_ok(ctx, hwb_axes_title(ctx, ax, "λ over time"));
    for (int mode = 0; mode < 3; mode++) {
        char *text;
        size_t size;
        hwb_text_figure_opts o = {.cols = 60, .rows = 15, .color = mode == 1, .ascii = mode == 2};
        assert_ok(ctx, hwb_figure_text(ctx, fig, &text, &size, &o));
        assert_non_null(strstr(text, mode == 2 ? "lambda over" : "λ over time"));
        assert_int_equal(strstr(text, "\033[38;2;0;114;178m") != NULL, mode == 1); /* 0x0072B2 */
        int lines = 0, dotted = 0;
        int64_t last = 1000;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
            if (mode != 1) assert_true(hwb__utf8_length(line, strlen(line)) <= 60);
            if (mode == 2)
                for (char *c = line; *c; c++) assert_in_range(*c, 32, 126);
            if (mode != 0) continue;
            /* The diagonal: from row to row further left. */
            for (char *c = line; *c; c++) {
                bool dots = !strncmp(c, "\xE2\xA0", 2) || !strncmp(c, "\xE2\xA1", 2) ||
                            !strncmp(c, "\xE2\xA2", 2) || !strncmp(c, "\xE2\xA3", 2);
                if (!dots) continue;
                int64_t column = hwb__utf8_length(line, (size_t)(c - line));
                assert_true(column < last);
                last = column;
                dotted++;
                break;
            }
        }
        assert_true(lines >= 13 && lines <= 15);
        if (mode == 0) assert_true(dotted >= 9);
        hwb_free(text);
    }
    assert_fails(
        ctx,
        hwb_figure_text(ctx, fig, &(char *){0}, &(size_t){0}, &(hwb_text_figure_opts){.cols = 5}),
        HWB_EARG, "5 x");
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

static int base64_value(char c) {
    const char *set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return (int)(strchr(set, c) - set);
}

static void test_kitty(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.width = 4, .height = 3});
    char *text;
    size_t size, n = 0;
    assert_ok(ctx, hwb_figure_kitty(ctx, fig, &text, &size, 200));
    unsigned char *png = malloc(size);
    const char *s = text;
    bool more = true;
    for (int chunk = 0; more; chunk++) {
        const char *start = chunk ? "\033_Gm=" : "\033_Ga=T,f=100,q=2,m=";
        assert_true(!strncmp(s, start, strlen(start)));
        s += strlen(start);
        more = s[0] == '1';
        s += 2;
        size_t len = strcspn(s, "\033");
        assert_true(len <= 4096 && len % 4 == 0);
        for (size_t i = 0; i < len; i += 4) {
            uint32_t v = 0;
            for (int k = 0; k < 4; k++) v = v << 6 | (s[i + k] == '=' ? 0 : base64_value(s[i + k]));
            png[n++] = (unsigned char)(v >> 16);
            if (s[i + 2] != '=') png[n++] = (unsigned char)(v >> 8);
            if (s[i + 3] != '=') png[n++] = (unsigned char)v;
        }
        s += len;
        assert_true(!strncmp(s, "\033\\", 2));
        s += 2;
    }
    picture p = decode(png, n);
    assert_int_equal(p.w, 200);
    assert_int_equal(p.h, 150);
    free(p.rgb);
    free(png);
    hwb_free(text);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

/* Decode sixel into rgb[h][w][3]; colours are per cents. */
static void unsixel(const char *s, int w, int h, unsigned char *rgb) {
    int palette[256][3] = {{0}}, color = 0, x = 0, top = 0, used;
    while (*s && *s != '\033') {
        int k, r, g, b, n = 1;
        if (sscanf(s, "#%d;2;%d;%d;%d%n", &k, &r, &g, &b, &used) == 4) {
            palette[k][0] = r, palette[k][1] = g, palette[k][2] = b;
            s += used;
        } else if (sscanf(s, "#%d%n", &color, &used) == 1) s += used;
        else if (*s == '$') x = 0, s++;
        else if (*s == '-') x = 0, top += 6, s++;
        else {
            if (sscanf(s, "!%d%n", &n, &used) == 1) s += used;
            int bits = *s++ - 63;
            assert_in_range(bits, 0, 63);
            for (; n > 0; n--, x++)
                for (int i = 0; i < 6; i++) {
                    if (!(bits >> i & 1)) continue;
                    assert_true(x < w && top + i < h);
                    for (int q = 0; q < 3; q++)
                        rgb[3 * ((top + i) * w + x) + q] =
                            (unsigned char)(palette[color][q] * 255 / 100);
                }
        }
    }
}

static void test_sixel(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.width = 4, .height = 3, .dpi = 100});
    double z[400];
    for (int i = 0; i < 400; i++) z[i] = sin(i / 20 * 0.3) * cos(i % 20 * 0.2);
    assert_ok(ctx, hwb_plot_contour(ctx, ax, 20, 20, NULL, NULL, z, NULL));
    char *text;
    size_t size;
    assert_ok(ctx, hwb_figure_sixel(ctx, fig, &text, &size, 0));
    assert_true(!strncmp(text, "\033Pq\"1;1;400;300#0;2;", 20));
    assert_true(!strcmp(text + size - 3, "\033\\\n"));
    unsigned char *rgb = calloc(400 * 300, 3);
    unsixel(text + strlen("\033Pq\"1;1;400;300"), 400, 300, rgb);
    picture p = picture_of(ctx, fig);
    double error = 0;
    for (int i = 0; i < 400 * 300 * 3; i++) error += abs(rgb[i] - p.rgb[i]);
    assert_true(error / (400 * 300 * 3) < 3); /* of 255: the palette is close */
    free(rgb);
    free(p.rgb);
    hwb_free(text);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_kitty),
        cmocka_unit_test(test_sixel),
    };
    return RUN_TESTS(tests);
}
