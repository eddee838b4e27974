/*
 * test_device.c: opening backends by name, and every way in which a plug-in can
 * be missing, damaged or of another version.  Plug-ins are compiled here; the
 * tests that need one are skipped where there is no C compiler.
 */
#include "testing.h"
#include "backend/backend.h"

/* A folder for one test, and what it leaves. */
static void make_folder(test_path folder) {
    snprintf(folder, sizeof(test_path), "/tmp/hwb-device-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static void plugin_path(const char *folder, const char *name, test_path path) {
    int n = snprintf(path, sizeof(test_path), "%s/%s", folder, name);
    assert_true(n > 0 && (size_t)n < sizeof(test_path));
}

static void drop_folder(const char *folder) {
    static const char *const files[] = {"libhwb_cuda.so", "plugin.c"};
    test_path path;
    for (int i = 0; i < 2; i++) {
        plugin_path(folder, files[i], path);
        unlink(path);
    }
    rmdir(folder);
    unsetenv("HWB_BACKEND_PATH");
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* A plug-in from C text in `folder`; skips the test without a compiler. */
static void build_plugin(const char *folder, const char *text) {
    test_path source, library, root;
    char command[4096];
    plugin_path(folder, "plugin.c", source);
    plugin_path(folder, "libhwb_cuda.so", library);
    write_text(source, text);
    const char *engine = test_source("engine", root);
    if (!engine) {
        drop_folder(folder);
        TEST_SKIP("HWB_TEST_SOURCE is not set");
    }
    snprintf(command, sizeof(command), "cc -shared -fPIC -I%s -o %s %s", engine, library, source);
    if (system(command) != 0) {
        drop_folder(folder);
        TEST_SKIP("no C compiler for a plug-in");
    }
}

static void test_names(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *ref = NULL, *again = NULL, *cpu = NULL, *none = NULL;
    assert_ok(ctx, hwb_device_open(ctx, &ref, "ref"));
    assert_ptr_equal(ref->backend, hwb_backend_ref());
    assert_ok(ctx, hwb_device_open(ctx, &cpu, "cpu"));
    assert_ptr_equal(cpu->backend, hwb_backend_cpu());
    assert_ok(ctx, hwb_device_open(ctx, &again, "ref"));
    assert_ptr_equal(again, ref);
    assert_fails(ctx, hwb_device_open(ctx, &none, "gpu"), HWB_EDEVICE,
                 "no device \"gpu\": there are ref, cpu and cuda");
    assert_null(none);
    test_ctx_free(ctx);
}

/* An empty folder first, then one whose file is no library: the reason is shown. */
static void test_missing_and_damaged(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *d = NULL;
    test_path folder, path;
    char both[2200];
    make_folder(folder);
    setenv("HWB_BACKEND_PATH", folder, 1);
    assert_fails(ctx, hwb_device_open(ctx, &d, "cuda"), HWB_EDEVICE,
                 "no device \"cuda\": no libhwb_cuda.so in /tmp/hwb-device-");
    plugin_path(folder, "libhwb_cuda.so", path);
    write_text(path, "this is no library\n");
    snprintf(both, sizeof(both), "/nowhere:%s", folder);
    setenv("HWB_BACKEND_PATH", both, 1);
    assert_fails(ctx, hwb_device_open(ctx, &d, "cuda"), HWB_EDEVICE, path);
    assert_null(d);
    drop_folder(folder);
    test_ctx_free(ctx);
}

/* The working directory is never searched, named or not. */
static void test_not_from_here(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *d = NULL;
    test_path folder, path, here;
    make_folder(folder);
    plugin_path(folder, "libhwb_cuda.so", path);
    write_text(path, "this is no library\n");
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    const char *paths[] = {"", ".", ":", ".:./"};
    for (int i = 0; i < 4; i++) {
        setenv("HWB_BACKEND_PATH", paths[i], 1);
        assert_fails(ctx, hwb_device_open(ctx, &d, "cuda"), HWB_EDEVICE, "no absolute folder");
        assert_null(strstr(hwb_message(ctx), folder));
    }
    assert_int_equal(chdir(here), 0);
    drop_folder(folder);
    test_ctx_free(ctx);
}

static void check_refused(const char *text, const char *part) {
    hwb_device *d = NULL;
    test_path folder;
    make_folder(folder);
    build_plugin(folder, text);
    hwb_ctx *ctx = test_ctx_new();
    setenv("HWB_BACKEND_PATH", folder, 1);
    assert_fails(ctx, hwb_device_open(ctx, &d, "cuda"), HWB_EDEVICE, part);
    assert_null(d);
    drop_folder(folder);
    test_ctx_free(ctx);
}

#define PLUGIN(fields, body)                                                                       \
    "#include \"backend/backend.h\"\n"                                                             \
    "static hwb_status open_it(hwb_ctx *ctx, void **state) {" body "}\n"                           \
    "static void close_it(void *state) { ++*(int *)state; }\n"                                     \
    "static const hwb_backend b = {" fields ", .open = open_it, .close = close_it};\n"             \
    "const hwb_backend *hwb_backend_entry(uint32_t abi, const hwb_host *host);\n"                  \
    "__attribute__((visibility(\"default\")))\n"                                                   \
    "const hwb_backend *hwb_backend_entry(uint32_t abi, const hwb_host *host) {\n"                 \
    "    return abi == HWB_BACKEND_ABI && host ? &b : 0; }\n"

static void test_refused(void **state) {
    (void)state;
    check_refused("int hwb_nothing;\n", "has no hwb_backend_entry");
    check_refused(PLUGIN(".abi = 99, .name = \"cuda\"", "(void)ctx; (void)state; return 0;"),
                  "is made for another version of hwb");
    check_refused(
        PLUGIN(".abi = HWB_BACKEND_ABI, .name = \"rocm\"", "(void)ctx; (void)state; return 0;"),
        "calls itself \"rocm\"");
    check_refused(PLUGIN(".abi = HWB_BACKEND_ABI, .name = \"cuda\"",
                         "(void)ctx; (void)state; return HWB_EIO;"),
                  "no device \"cuda\"");
    check_refused("extern int missing_symbol; int *hwb_p = &missing_symbol;\n", "missing_symbol");
}

/* Opened once, closed once, with the context. */
static void test_plugin(void **state) {
    (void)state;
    hwb_device *d = NULL, *again = NULL;
    test_path folder;
    make_folder(folder);
    build_plugin(folder, PLUGIN(".abi = HWB_BACKEND_ABI, .name = \"cuda\"",
                                "static int closed; (void)ctx; *state = &closed; return HWB_OK;"));
    hwb_ctx *ctx = test_ctx_new();
    setenv("HWB_BACKEND_PATH", folder, 1);
    assert_ok(ctx, hwb_device_open(ctx, &d, "cuda"));
    assert_string_equal(d->backend->name, "cuda");
    drop_folder(folder);
    assert_ok(ctx, hwb_device_open(ctx, &again, "cuda"));
    assert_ptr_equal(d, again);
    int *closed = d->state;
    assert_int_equal(*closed, 0);
    test_ctx_free(ctx);
    assert_int_equal(*closed, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_missing_and_damaged),
        cmocka_unit_test(test_not_from_here), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_plugin),
    };
    return RUN_TESTS(tests);
}
