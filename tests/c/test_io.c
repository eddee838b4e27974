/*
 * test_io.c: bundles, plain files and safetensors: round trips, what a broken
 * or hostile file gets for an answer, a full disk.
 */
#include "testing.h"

#include "io/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- a folder of its own for each test ------------------------------------------ */

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/hwb-test-io-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name) {
    static test_path path;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int files_in_folder(void) {
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void write_bytes(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* ---- bundles ------------------------------------------------------------------------ */

static void test_bundle(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b;
    hwb_tensor *t;
    assert_ok(ctx, hwb_bundle_new(ctx, &b));
    for (int i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "layer%d.weight", i);
        assert_ok(ctx, hwb_tensor_scalar(ctx, &t, HWB_F32, i));
        assert_ok(ctx, hwb_bundle_add(ctx, b, name, t));
        hwb_tensor_release(t);
    }
    assert_int_equal(hwb_bundle_count(b), 1000);
    assert_string_equal(hwb_bundle_name(b, 737), "layer737.weight");
    assert_near(hwb_tensor_get(hwb_bundle_get(b, "layer999.weight"), 0), 999, 0);
    assert_null(hwb_bundle_get(b, "layer1000.weight"));
    assert_int_equal(hwb_bundle_find(b, "layer0.weight"), 0);
    assert_int_equal(hwb_bundle_find(b, ""), -1);
    assert_fails(ctx, hwb_bundle_add(ctx, b, "layer3.weight", hwb_bundle_at(b, 0)), HWB_EARG,
                 "layer3.weight");
    assert_ok(ctx, hwb_bundle_set_meta(ctx, b, "epoch", "1"));
    assert_ok(ctx, hwb_bundle_set_meta(ctx, b, "epoch", "2"));
    assert_int_equal(hwb_bundle_meta_count(b), 1);
    assert_string_equal(hwb_bundle_meta(b, "epoch"), "2");
    assert_null(hwb_bundle_meta(b, "lr"));
    hwb_bundle_free(b);
    hwb_bundle_free(NULL);
    test_ctx_free(ctx);
}

/* ---- plain files ---------------------------------------------------------------------- */

static void test_write_and_read(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    uint8_t *p;
    size_t n;
    assert_ok(ctx, hwb_io_write_file_atomic(ctx, in_folder("a"), "first", 5));
    assert_ok(ctx, hwb_io_write_file_atomic(ctx, in_folder("a"), "second", 6));
    assert_ok(ctx, hwb_io_read_file(ctx, &p, &n, in_folder("a"), 0));
    assert_int_equal(n, 6);
    assert_string_equal((char *)p, "second");
    hwb_free(p);
    assert_fails(ctx, hwb_io_read_file(ctx, &p, &n, in_folder("a"), 5), HWB_EFORMAT, "6 bytes");
    assert_fails(ctx, hwb_io_read_file(ctx, &p, &n, folder, 0), HWB_EIO, "is a directory");
    assert_fails(ctx, hwb_io_read_file(ctx, &p, &n, "/dev/zero", 0), HWB_EIO, "not a regular");
    assert_fails(ctx, hwb_io_read_file(ctx, &p, &n, in_folder("none"), 0), HWB_EIO, "/none: No");
    assert_int_equal(files_in_folder(), 1);
    test_ctx_free(ctx);
}

static void test_write_targets(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    test_path link;
    uint8_t *p;
    size_t n;
    assert_fails(ctx, hwb_io_write_file_atomic(ctx, folder, "x", 1), HWB_EIO, "is a directory");
    assert_fails(ctx, hwb_io_write_file_atomic(ctx, "/dev/full", "x", 1), HWB_EIO, "not a regular");
    assert_fails(ctx, hwb_io_write_file_atomic(ctx, in_folder("no/such/x"), "x", 1), HWB_EIO,
                 "No such file");
    /* Through a link the file behind it is replaced and the link stays. */
    assert_ok(ctx, hwb_io_write_file_atomic(ctx, in_folder("real"), "old", 3));
    strcpy(link, in_folder("link"));
    assert_int_equal(symlink("real", link), 0);
    assert_ok(ctx, hwb_io_write_file_atomic(ctx, link, "new", 3));
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_ok(ctx, hwb_io_read_file(ctx, &p, &n, in_folder("real"), 0));
    assert_string_equal((char *)p, "new");
    hwb_free(p);
    /* Abandoned: no trace. */
    hwb_file_out *f;
    assert_ok(ctx, hwb_io_begin(ctx, &f, in_folder("half")));
    assert_ok(ctx, hwb_io_write(ctx, f, "half", 4));
    assert_int_equal(files_in_folder(), 3);
    hwb_io_abandon(f);
    assert_int_equal(files_in_folder(), 2);
    test_ctx_free(ctx);
}

/* A file size limit answers writes as a full disk does. */
static void test_disk_full(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b, *back;
    hwb_tensor *t;
    assert_ok(ctx, hwb_bundle_new(ctx, &b));
    assert_ok(ctx, hwb_tensor_zeros(ctx, &t, HWB_F64, hwb_shape_of(1, 100000)));
    assert_ok(ctx, hwb_bundle_add(ctx, b, "small", t));
    hwb_tensor_release(t);
    assert_ok(ctx, hwb_io_save_safetensors(ctx, b, in_folder("w.safetensors")));
    struct rlimit old, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = (struct rlimit){64 * 1024, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    hwb_status status = hwb_io_save_safetensors(ctx, b, in_folder("w.safetensors"));
    hwb_status second = hwb_io_save_safetensors(ctx, b, in_folder("other"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_fails(ctx, status, HWB_EIO, "File too large");
    assert_fails(ctx, second, HWB_EIO, "other");
    assert_int_equal(files_in_folder(), 1); /* the old file, and no litter */
    assert_ok(ctx, hwb_io_load(ctx, &back, in_folder("w.safetensors")));
    hwb_bundle_free(back);
    hwb_bundle_free(b);
    test_ctx_free(ctx);
}

/* ---- safetensors -------------------------------------------------------------------------- */

static void add_new(hwb_ctx *ctx, hwb_bundle *b, const char *name, hwb_dtype dtype, hwb_shape shape,
                    const void *data) {
    hwb_tensor *t;
    assert_ok(ctx, hwb_tensor_from(ctx, &t, dtype, shape, data));
    assert_ok(ctx, hwb_bundle_add(ctx, b, name, t));
    hwb_tensor_release(t);
}

static hwb_bundle *mixed_bundle(hwb_ctx *ctx) {
    hwb_bundle *b;
    hwb_tensor *t, *turned;
    static const double d[] = {1.0 / 3, -0.0, INFINITY};
    static const float f[] = {1.5f, NAN, -INFINITY, 1e-40f, 4, 5};
    static const uint8_t u[] = {0, 255, 7};
    static const int64_t l[] = {INT64_MIN, INT64_MAX};
    static const int32_t i[] = {-5};
    static const uint8_t flag[] = {1, 0};
    assert_ok(ctx, hwb_bundle_new(ctx, &b));
    add_new(ctx, b, "u8", HWB_U8, hwb_shape_of(1, 3), u);
    add_new(ctx, b, "f32", HWB_F32, hwb_shape_of(2, 2, 3), f);
    add_new(ctx, b, "f64", HWB_F64, hwb_shape_of(3, 3, 1, 1), d);
    add_new(ctx, b, "i64", HWB_I64, hwb_shape_of(1, 2), l);
    add_new(ctx, b, "scalar", HWB_I32, hwb_shape_of(0), i);
    add_new(ctx, b, "flag \"quoted\" \xC3\xA4", HWB_BOOL, hwb_shape_of(1, 2), flag);
    add_new(ctx, b, "none", HWB_F32, hwb_shape_of(2, 0, 4), f);
    assert_ok(ctx, hwb_tensor_from(ctx, &t, HWB_F32, hwb_shape_of(2, 2, 3), f));
    assert_ok(ctx, hwb_tensor_permute(ctx, &turned, t, (const int[]){1, 0}));
    assert_ok(ctx, hwb_bundle_add(ctx, b, "turned", turned));
    hwb_tensor_release(t);
    hwb_tensor_release(turned);
    assert_ok(ctx, hwb_bundle_set_meta(ctx, b, "epoch", "90"));
    return b;
}

static void test_safetensors_round_trip(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *a = mixed_bundle(ctx), *b;
    assert_ok(ctx, hwb_io_save_safetensors(ctx, a, in_folder("x")));
    assert_ok(ctx, hwb_io_load(ctx, &b, in_folder("x")));
    assert_int_equal(hwb_bundle_count(b), hwb_bundle_count(a));
    for (int64_t i = 0; i < hwb_bundle_count(a); i++) {
        hwb_tensor *s = hwb_bundle_at(a, i), *t = hwb_bundle_at(b, i), *dense;
        assert_string_equal(hwb_bundle_name(a, i), hwb_bundle_name(b, i)); /* order kept */
        assert_int_equal(hwb_tensor_dtype(s), hwb_tensor_dtype(t));
        assert_true(hwb_shape_equal(hwb_tensor_shape(s), hwb_tensor_shape(t)));
        assert_ok(ctx, hwb_tensor_contiguous(ctx, &dense, s));
        assert_memory_equal(hwb_tensor_data(dense), hwb_tensor_data(t), hwb_tensor_bytes(t));
        hwb_tensor_release(dense);
    }
    assert_string_equal(hwb_bundle_meta(b, "epoch"), "90");
    assert_string_equal(hwb_bundle_meta(b, "format"), "pt");
    assert_string_equal(hwb_bundle_meta(b, "hwb.format"), "safetensors");
    hwb_bundle_free(a);
    hwb_bundle_free(b);
    test_ctx_free(ctx);
}

/* What other readers rely on: a header padded to 8 bytes, and every tensor at a
 * multiple of its element size (PyTorch views the file as typed storage). */
static void test_safetensors_layout(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *a = mixed_bundle(ctx);
    uint8_t *p;
    size_t n;
    uint64_t header;
    assert_ok(ctx, hwb_io_save_safetensors(ctx, a, in_folder("x")));
    assert_ok(ctx, hwb_io_read_file(ctx, &p, &n, in_folder("x"), 0));
    memcpy(&header, p, 8);
    assert_int_equal(header % 8, 0);
    assert_int_equal(n, 8 + header + 3 * 8 + 2 * 8 + 6 * 4 + 6 * 4 + 4 + 3 + 2);
    char *text = strndup((char *)p + 8, header);
    assert_non_null(
        strstr(text, "\"f64\":{\"dtype\":\"F64\",\"shape\":[3,1,1],\"data_offsets\":[0,24]}"));
    assert_non_null(
        strstr(text, "\"u8\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[92,95]}"));
    free(text);
    hwb_free(p);
    hwb_bundle_free(a);
    test_ctx_free(ctx);
}

/* Any prefix is refused, as a file of the wrong kind or a damaged one. */
static void test_safetensors_truncated(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *a = mixed_bundle(ctx), *b;
    uint8_t *p;
    size_t n;
    assert_ok(ctx, hwb_io_save_safetensors(ctx, a, in_folder("x")));
    assert_ok(ctx, hwb_io_read_file(ctx, &p, &n, in_folder("x"), 0));
    for (size_t k = 0; k < n; k++) {
        uint8_t *cut = malloc(k ? k : 1); /* its own block, so that overreads show */
        memcpy(cut, p, k);
        assert_fails(ctx, hwb_io_load_memory(ctx, &b, cut, k), HWB_EFORMAT, "");
        free(cut);
    }
    hwb_free(p);
    hwb_bundle_free(a);
    test_ctx_free(ctx);
}

static hwb_status load_header(hwb_ctx *ctx, hwb_bundle **b, const char *json, size_t data) {
    size_t size = strlen(json);
    uint8_t *p = calloc(1, 8 + size + data);
    uint64_t n = size;
    memcpy(p, &n, 8);
    memcpy(p + 8, json, size);
    hwb_status status = hwb_io_load_memory(ctx, b, p, 8 + size + data);
    free(p);
    return status;
}

static void test_safetensors_hostile(void **state) {
    (void)state;
    static const struct {
        const char *json;
        size_t data;
        hwb_status status;
        const char *text;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, HWB_EFORMAT, "overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, HWB_EFORMAT,
         "hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, HWB_EFORMAT,
         "4 bytes follow"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, HWB_EFORMAT,
         "past"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, HWB_EFORMAT, "fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, HWB_EFORMAT,
         "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, HWB_EFORMAT,
         "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, HWB_EFORMAT,
         "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
         HWB_EFORMAT, "fit"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
         HWB_EFORMAT, "fit"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,2,0],\"data_offsets\":[0,0]}}", 0,
         HWB_EFORMAT, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0, HWB_EFORMAT,
         "no size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,0]}}", 0, HWB_EFORMAT,
         "no size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         HWB_EFORMAT, "dimensions"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         HWB_EUNSUPPORTED, "F8_E4M3"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, HWB_EFORMAT, "no dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, HWB_EFORMAT, "no shape"},
        {"{\"a\":[1,2]}", 0, HWB_EFORMAT, "no object"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]}}",
         8, HWB_EFORMAT, "duplicate"},
        {"{\"__metadata__\":{\"a\":1}}", 0, HWB_EFORMAT, "no text"},
        {"{\"__metadata__\":[]}", 0, HWB_EFORMAT, "no object"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, HWB_EFORMAT,
         ""},
        {"{\"\xFF\":{}}", 0, HWB_EFORMAT, "byte"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
         HWB_EFORMAT, "header"},
        {"{} {}", 0, HWB_EFORMAT, "header"},
    };
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(ctx, load_header(ctx, &b, cases[i].json, cases[i].data), cases[i].status,
                     cases[i].text);
    assert_ok(ctx, load_header(ctx, &b, "{}", 0)); /* an empty file is a file */
    assert_int_equal(hwb_bundle_count(b), 0);
    hwb_bundle_free(b);
    test_ctx_free(ctx);
}

/* Brackets within brackets: the parser gives up long before the stack does. */
static void test_safetensors_depth(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b;
    size_t n = 1000000;
    char *json = malloc(n + 1);
    memset(json, '[', n);
    memcpy(json, "{\"a\":", 5);
    json[n] = '\0';
    assert_fails(ctx, load_header(ctx, &b, json, 0), HWB_EFORMAT, "header");
    free(json);
    test_ctx_free(ctx);
}

/* Types the engine does not have become the nearest one. */
static void test_safetensors_types(void **state) {
    (void)state;
    static const char json[] = "{\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},"
                               "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]},"
                               "\"s\":{\"dtype\":\"I16\",\"shape\":[1],\"data_offsets\":[12,14]},"
                               "\"u\":{\"dtype\":\"U32\",\"shape\":[1],\"data_offsets\":[14,18]},"
                               "\"f\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[18,20]}}";
    static const uint8_t data[] = {0x00, 0x3C, 0x01, 0x80, 0xFF, 0x7B, 0x00, 0xFC, 0x80, 0x3F,
                                   0x49, 0xC0, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02, 0x00};
    uint8_t file[8 + sizeof json - 1 + sizeof data];
    uint64_t n = sizeof json - 1;
    memcpy(file, &n, 8);
    memcpy(file + 8, json, n);
    memcpy(file + 8 + n, data, sizeof data);
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b;
    assert_ok(ctx, hwb_io_load_memory(ctx, &b, file, sizeof file));
    hwb_tensor *h = hwb_bundle_get(b, "h");
    assert_int_equal(hwb_tensor_dtype(h), HWB_F32);
    assert_near(hwb_tensor_get(h, 0), 1, 0);
    assert_near(hwb_tensor_get(h, 1), -0x1p-24, 0); /* the smallest subnormal */
    assert_near(hwb_tensor_get(h, 2), 65504, 0);
    assert_true(isinf(hwb_tensor_get(h, 3)) && hwb_tensor_get(h, 3) < 0);
    assert_near(hwb_tensor_get(hwb_bundle_get(b, "b"), 1), -3.140625, 0);
    assert_int_equal(hwb_tensor_dtype(hwb_bundle_get(b, "s")), HWB_I32);
    assert_int_equal(hwb_tensor_get_int(hwb_bundle_get(b, "s"), 0), -2);
    assert_int_equal(hwb_tensor_get_int(hwb_bundle_get(b, "u"), 0), 4294967295);
    assert_int_equal(hwb_tensor_get_int(hwb_bundle_get(b, "f"), 0), 1);
    hwb_bundle_free(b);
    test_ctx_free(ctx);
}

static void test_save_refuses(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b;
    assert_ok(ctx, hwb_bundle_new(ctx, &b));
    add_new(ctx, b, "\xFF", HWB_U8, hwb_shape_of(1, 1), "x");
    assert_int_not_equal(hwb_io_save_safetensors(ctx, b, in_folder("x")), HWB_OK);
    hwb_bundle_free(b);
    assert_ok(ctx, hwb_bundle_new(ctx, &b));
    add_new(ctx, b, "__metadata__", HWB_U8, hwb_shape_of(1, 1), "x");
    assert_fails(ctx, hwb_io_save_safetensors(ctx, b, in_folder("x")), HWB_EARG, "__metadata__");
    hwb_bundle_free(b);
    assert_int_equal(files_in_folder(), 0);
    test_ctx_free(ctx);
}

/* ---- sniffing --------------------------------------------------------------------------------- */

static void test_other_files(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } cases[] = {
        {"", 0, "is empty"},
        {"hello, world", 12, "is no checkpoint"},
        {"\x89PNG\r\n\x1A\n....", 12, "is no checkpoint"},
        {"\x80\x02}q\x00.", 6, "not one that torch.save wrote"},
        {"PK\x03\x04", 4, "end record"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0", 12, "is no checkpoint"},
    };
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_bytes(in_folder("weights.safetensors"), cases[i].bytes, cases[i].n);
        assert_fails(ctx, hwb_io_load(ctx, &b, in_folder("weights.safetensors")), HWB_EFORMAT,
                     cases[i].text);
        assert_non_null(strstr(hwb_message(ctx), "weights.safetensors: "));
    }
    assert_fails(ctx, hwb_io_load(ctx, &b, folder), HWB_EIO, "is a directory");
    test_ctx_free(ctx);
}

/* Every allocation that can fail is let fail once; nothing may leak or crash. */
static void test_out_of_memory(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *a = mixed_bundle(ctx), *b;
    assert_ok(ctx, hwb_io_save_safetensors(ctx, a, in_folder("x")));
    hwb_bundle_free(a);
    test_ctx_free(ctx);
    hwb_status status = HWB_ENOMEM;
    int tries = 0;
    for (; status != HWB_OK && tries < 100; tries++) {
        char number[16];
        snprintf(number, sizeof number, "%d", tries + 1);
        setenv("HWB_TEST_FAIL_ALLOC", number, 1);
        ctx = test_ctx_new();
        status = hwb_io_load(ctx, &b, in_folder("x"));
        if (status == HWB_OK) hwb_bundle_free(b);
        else assert_int_equal(status, HWB_ENOMEM);
        test_ctx_free(ctx);
    }
    unsetenv("HWB_TEST_FAIL_ALLOC");
    assert_in_range(tries, 8, 99); /* the file and seven tensors at least */
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bundle),
        IN_FOLDER(test_write_and_read),
        IN_FOLDER(test_write_targets),
        IN_FOLDER(test_disk_full),
        IN_FOLDER(test_safetensors_round_trip),
        IN_FOLDER(test_safetensors_layout),
        IN_FOLDER(test_safetensors_truncated),
        cmocka_unit_test(test_safetensors_hostile),
        cmocka_unit_test(test_safetensors_depth),
        cmocka_unit_test(test_safetensors_types),
        IN_FOLDER(test_save_refuses),
        IN_FOLDER(test_other_files),
        IN_FOLDER(test_out_of_memory),
    };
    return RUN_TESTS(tests);
}
