/*
 * testing.h: what every C test includes, and all it needs besides the engine.
 *
 *   - cmocka.h wants four standard headers before it; here they are in order.
 *   - assert_ok / assert_fails call a fallible engine function and show the
 *     context's message when the outcome is not the expected one.
 *   - assert_near compares doubles and treats NaN as different.
 *   - TEST_SKIP leaves a test with a printed reason; RUN_TESTS gives exit code
 *     77 (a skip for ctest) when every test of the file was skipped.
 *
 * Everything is static inline, so a test may use any part of it.
 */
#ifndef HWB_TESTING_H
#define HWB_TESTING_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

/* ---- engine calls ---------------------------------------------------------- */

/* expr must be HWB_OK; otherwise its text and hwb_message(ctx) are shown. */
#define assert_ok(ctx, expr)                                                                       \
    do {                                                                                           \
        hwb_status test_status_ = (expr);                                                          \
        test_ok_at((ctx), test_status_, #expr, __FILE__, __LINE__);                                \
    } while (0)

/* expr must return `status`, with `part` somewhere in the message ("" = any). */
#define assert_fails(ctx, expr, status, part)                                                      \
    do {                                                                                           \
        hwb_status test_status_ = (expr);                                                          \
        test_fails_at((ctx), test_status_, (status), (part), #expr, __FILE__, __LINE__);           \
    } while (0)

/* |got - want| <= tol * max(1, |want|); equal infinities are near. */
#define assert_near(got, want, tol) test_near_at((got), (want), (tol), #got, __FILE__, __LINE__)

/* Every counted byte of the context's account was given back. */
#define assert_no_leak(ctx) assert_int_equal(hwb_memory(ctx).live, 0)

static inline void test_ok_at(const hwb_ctx *ctx, hwb_status status, const char *text,
                              const char *file, int line) {
    if (status == HWB_OK) return;
    print_error("%s\n  returned %s: %s\n", text, hwb_status_name(status), hwb_message(ctx));
    _fail(file, line);
}

static inline void test_fails_at(const hwb_ctx *ctx, hwb_status status, hwb_status want,
                                 const char *part, const char *text, const char *file, int line) {
    if (status == want && strstr(hwb_message(ctx), part)) return;
    print_error("%s\n  returned %s: %s\n  wanted %s with \"%s\"\n", text, hwb_status_name(status),
                hwb_message(ctx), hwb_status_name(want), part);
    _fail(file, line);
}

static inline void test_near_at(double got, double want, double tol, const char *text,
                                const char *file, int line) {
    double scale = fabs(want) > 1 ? fabs(want) : 1;
    if (got == want || fabs(got - want) <= tol * scale) return;
    print_error("%s is %.17g, wanted %.17g (off by %.3g, allowed %.3g)\n", text, got, want,
                fabs(got - want), tol * scale);
    _fail(file, line);
}

/* A context for one test; fails the test when none can be made. */
static inline hwb_ctx *test_ctx_new(void) {
    hwb_ctx *ctx = NULL;
    if (hwb_ctx_new(&ctx) != HWB_OK) fail_msg("no context");
    return ctx;
}

/* Frees it and fails when counted memory is still held. */
static inline void test_ctx_free(hwb_ctx *ctx) {
    size_t live = hwb_memory(ctx).live;
    hwb_ctx_free(ctx);
    assert_int_equal(live, 0);
}

/* ---- skipping ----------------------------------------------------------------- */

static inline int *test_skips(void) {
    static int count;
    return &count;
}

/* Leave the running test as skipped and say why. */
#define TEST_SKIP(...)                                                                             \
    do {                                                                                           \
        print_message("skipped: " __VA_ARGS__);                                                    \
        print_message("\n");                                                                       \
        ++*test_skips();                                                                           \
        skip();                                                                                    \
    } while (0)

/* The exit code of a test program for an array of struct CMUnitTest. */
#define RUN_TESTS(tests)                                                                           \
    test_exit_code(cmocka_run_group_tests((tests), NULL, NULL),                                    \
                   (int)(sizeof(tests) / sizeof((tests)[0])))

static inline int test_exit_code(int failed, int count) {
    if (failed) return 1;
    return *test_skips() == count ? 77 : 0;
}

/* ---- files ---------------------------------------------------------------------- */

/* A place for a path built by the two functions below. */
typedef char test_path[1024];

static inline const char *test_path_join(const char *root, const char *name, test_path buf) {
    if (!root || !*root) return NULL;
    int n = snprintf(buf, sizeof(test_path), "%s/%s", root, name);
    if (n < 0 || (size_t)n >= sizeof(test_path)) return NULL;
    return access(buf, R_OK) == 0 ? buf : NULL;
}

/* $HWB_TEST_DATA/name (real data, may be absent) in buf, or NULL. */
static inline const char *test_data(const char *name, test_path buf) {
    return test_path_join(getenv("HWB_TEST_DATA"), name, buf);
}

/* A file of this repository, given from its root, in buf, or NULL. */
static inline const char *test_source(const char *name, test_path buf) {
    return test_path_join(getenv("HWB_TEST_SOURCE"), name, buf);
}

/* Sets `path` (a const char *) to real data, or skips the running test. */
#define NEED_DATA(path, name, buf)                                                                 \
    do {                                                                                           \
        (path) = test_data((name), (buf));                                                         \
        if (!(path)) TEST_SKIP("%s is not in $HWB_TEST_DATA", (name));                             \
    } while (0)

#endif
