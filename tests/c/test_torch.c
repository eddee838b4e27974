/*
 * test_torch.c: PyTorch checkpoints and numpy archives: files that PyTorch and
 * numpy wrote, the same cut short and bent, and pickles that want to run code.
 */
#include "testing.h"

#include "io/io.h"

#define GOLDEN(path, name, buf)                                                                    \
    do {                                                                                           \
        (path) = test_source("tests/golden/io/" name, (buf));                                      \
        if (!(path)) TEST_SKIP("%s is not in $HWB_TEST_SOURCE", name);                             \
    } while (0)

/* ---- files as they should be --------------------------------------------------------- */

static void check_values(hwb_bundle *b, const char *name, const char *shape, hwb_dtype dtype, int n,
                         const double *want) {
    hwb_tensor *t = hwb_bundle_get(b, name);
    char text[HWB_SHAPE_TEXT];
    assert_non_null(t);
    assert_string_equal(hwb_shape_text(hwb_tensor_shape(t), text), shape);
    assert_int_equal(hwb_tensor_dtype(t), dtype);
    assert_int_equal(hwb_tensor_numel(t), n);
    for (int i = 0; i < n; i++) assert_near(hwb_tensor_get(t, i), want[i], 0);
}

static void check_checkpoint(hwb_bundle *b) {
    double weight[24];
    for (int i = 0; i < 24; i++) weight[i] = i / 8.0;
    assert_int_equal(hwb_bundle_count(b), 12);
    assert_string_equal(hwb_bundle_name(b, 0), "conv.weight"); /* "module." is gone */
    check_values(b, "conv.weight", "2x3x2x2", HWB_F32, 24, weight);
    check_values(b, "half", "5", HWB_F32, 5, (double[]){1, -2.5, 65504, 0x1p-24, INFINITY});
    check_values(b, "bf16", "3", HWB_F32, 3, (double[]){1, -3.140625, 1.0002555517425873e30});
    check_values(b, "double", "2", HWB_F64, 2, (double[]){1.0 / 3, -1e300});
    check_values(b, "i16", "2", HWB_I32, 2, (double[]){-300, 300});
    check_values(b, "i8", "2", HWB_I32, 2, (double[]){-1, 127});
    check_values(b, "flag", "3", HWB_BOOL, 3, (double[]){1, 0, 1});
    check_values(b, "view", "2x4", HWB_F32, 8, (double[]){1, 7, 13, 19, 2, 8, 14, 20});
    check_values(b, "spread", "2x3", HWB_F32, 6, (double[]){0, 1, 2, 0, 1, 2});
    check_values(b, "count", "scalar", HWB_I64, 1, (double[]){7});
    check_values(b, "none", "0x4", HWB_F32, 0, NULL);
    hwb_tensor *nan = hwb_bundle_get(b, "nan");
    assert_non_null(nan);
    assert_true(isnan(hwb_tensor_get(nan, 0))); /* values are not our business */
    assert_string_equal(hwb_bundle_meta(b, "epoch"), "90");
    assert_string_equal(hwb_bundle_meta(b, "arch"), "tiny");
    assert_string_equal(hwb_bundle_meta(b, "lr"), "0.1");
    assert_string_equal(hwb_bundle_meta(b, "best"), "76.5");
    assert_string_equal(hwb_bundle_meta(b, "accuracy"), "0.25");
    assert_null(hwb_bundle_meta(b, "optimizer"));
}

static void test_zip_and_legacy(void **state) {
    (void)state;
    test_path zip, legacy;
    const char *z, *l;
    hwb_bundle *b;
    GOLDEN(z, "checkpoint_zip.pt", zip);
    GOLDEN(l, "checkpoint_legacy.pt", legacy);
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_io_load(ctx, &b, z));
    assert_string_equal(hwb_bundle_meta(b, "hwb.format"), "pytorch");
    check_checkpoint(b);
    hwb_bundle_free(b);
    assert_ok(ctx, hwb_io_load(ctx, &b, l));
    assert_string_equal(hwb_bundle_meta(b, "hwb.format"), "pytorch-legacy");
    check_checkpoint(b);
    hwb_bundle_free(b);
    test_ctx_free(ctx);
}

static void test_npz(void **state) {
    (void)state;
    test_path buf;
    const char *path;
    hwb_bundle *b;
    GOLDEN(path, "arrays.npz", buf);
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_io_load(ctx, &b, path));
    check_values(b, "x", "2x3", HWB_F64, 6, (double[]){0, 1, 2, 3, 4, 5});
    check_values(b, "fortran", "2x3", HWB_F32, 6, (double[]){0, 1, 2, 3, 4, 5});
    check_values(b, "big", "3", HWB_I32, 3, (double[]){0, 1, 2});
    check_values(b, "half", "2", HWB_F32, 2, (double[]){0.5, -2});
    check_values(b, "scalar", "scalar", HWB_F32, 1, (double[]){2.5});
    hwb_bundle_free(b);
    test_ctx_free(ctx);
}

/* A file cut at any byte is refused and leaves nothing behind; a file with one
 * byte changed may load, but must not do harm. */
static void cut_and_bend(const char *name) {
    test_path buf;
    const char *path = test_source(name, buf);
    if (!path) TEST_SKIP("%s is not in $HWB_TEST_SOURCE", name);
    hwb_ctx *ctx = test_ctx_new();
    uint8_t *p;
    size_t n;
    hwb_bundle *b;
    assert_ok(ctx, hwb_io_read_file(ctx, &p, &n, path, 0));
    for (size_t k = 0; k < n; k++) {
        uint8_t *cut = malloc(k ? k : 1);
        memcpy(cut, p, k);
        assert_fails(ctx, hwb_io_load_memory(ctx, &b, cut, k), HWB_EFORMAT, "");
        free(cut);
    }
    for (size_t k = 0; k < n; k++) {
        for (int change = 1; change < 256; change *= 16) {
            p[k] ^= (uint8_t)change;
            if (hwb_io_load_memory(ctx, &b, p, n) == HWB_OK) hwb_bundle_free(b);
            p[k] ^= (uint8_t)change;
        }
    }
    hwb_free(p);
    test_ctx_free(ctx);
}

static void test_broken_zip(void **state) {
    (void)state;
    cut_and_bend("tests/golden/io/checkpoint_zip.pt");
}

static void test_broken_legacy(void **state) {
    (void)state;
    cut_and_bend("tests/golden/io/checkpoint_legacy.pt");
}

static void test_broken_npz(void **state) {
    (void)state;
    cut_and_bend("tests/golden/io/arrays.npz");
}

/* ---- hostile pickles ---------------------------------------------------------------------- */

/* A legacy file around the object pickle `object`, one storage "s" of four
 * floats.  The opcodes are those of pickletools.py. */
typedef struct bytes {
    char *p;
    size_t n, room;
} bytes;

static void put(bytes *b, const void *p, size_t n) {
    if (b->n + n > b->room) {
        b->room = 2 * (b->n + n);
        b->p = realloc(b->p, b->room);
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static bytes legacy_file(const char *object, size_t n, bool storage) {
    static const char head[] = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                               "\x80\x02M\xe9\x03."
                               "\x80\x02}(X\x0d\0\0\0little_endian\x88u.";
    static const char with[] = "\x80\x02]X\x01\0\0\0sa.";
    static const char without[] = "\x80\x02].";
    static const float values[] = {1, 2, 3, 4};
    int64_t count = 4;
    bytes b = {0};
    put(&b, head, sizeof head - 1);
    put(&b, object, n);
    if (!storage) {
        put(&b, without, sizeof without - 1);
        return b;
    }
    put(&b, with, sizeof with - 1);
    put(&b, &count, sizeof count);
    put(&b, values, sizeof values);
    return b;
}

/* {"w": _rebuild_tensor_v2(storage "s" of `count`, offset, size, stride)} */
#define TENSOR_WITH(count, offset, size, stride)                                                   \
    "\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(("                                   \
    "X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0sX\x03\0\0\0cpu" count                     \
    "tQ" offset size stride "\x89Nt"                                                               \
    "Rs."
#define TENSOR(offset, size, stride) TENSOR_WITH("K\x04", offset, size, stride)

#define HUGE_INT "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"

static const struct {
    const char *what;
    const char *object;
    size_t n;
    bool storage;
    const char *text; /* NULL = fine */
} pickles[] = {
#define CASE(what, object, storage, text)                                                          \
    { what, object, sizeof(object) - 1, storage, text }
    CASE("a good one", TENSOR("K\x01", "K\x03\x85", "K\x01\x85"), true, NULL),
    CASE("GLOBAL os.system",
         "\x80\x02"
         "cos\nsystem\nX\x02\0\0\0id\x85R.",
         false, "pickle wants os.system; refused"),
    CASE("STACK_GLOBAL", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", false,
         "pickle wants posix.system; refused"),
    CASE("eval",
         "\x80\x02"
         "cbuiltins\neval\nX\x01\0\0\0"
         "1\x85R.",
         false, "pickle wants builtins.eval; refused"),
    CASE("getattr chain",
         "\x80\x02"
         "cbuiltins\ngetattr\n.",
         false, "builtins.getattr"),
    CASE("a function of torch",
         "\x80\x02"
         "ctorch\nload\n.",
         false, "torch.load"),
    CASE("a nested pickle",
         "\x80\x02"
         "ctorch.storage\n_load_from_bytes\n.",
         false, "_load_from_bytes"),
    CASE("a dotted name",
         "\x80\x04\x8c\x0b"
         "collections\x8c\x14OrderedDict.__init__\x93.",
         false, "OrderedDict.__init__"),
    CASE("control bytes in a name",
         "\x80\x02"
         "cos\x1b[2J\nsystem\x07\n.",
         false, "os?[2J.system?"),
    CASE("INST", "\x80\x02(X\x02\0\0\0idios\nsystem\n.", false, "opcode 0x69"),
    CASE("OBJ", "\x80\x02(ccollections\nOrderedDict\no.", false, "opcode 0x6F"),
    CASE("NEWOBJ",
         "\x80\x02"
         "ccollections\nOrderedDict\n)\x81.",
         false, "opcode 0x81"),
    CASE("EXT1", "\x80\x02\x82\x01.", false, "opcode 0x82"),
    CASE("PERSID", "\x80\x02Pabc\n.", false, "opcode 0x50"),
    CASE("a call of a storage",
         "\x80\x02"
         "ctorch\nFloatStorage\n)R.",
         false, "torch.FloatStorage"),
    CASE("a call of a name",
         "\x80\x02"
         "ctorch\nfloat32\n)R.",
         false, "torch.float32"),
    CASE("a call of text", "\x80\x02X\x02\0\0\0id)R.", false, "no function"),
    CASE("no argument tuple",
         "\x80\x02"
         "ccollections\nOrderedDict\n]R.",
         false, "argument tuple"),
    CASE("BUILD on a list", "\x80\x02]}b.", false, "state"),
    CASE("an odd persistent id", "\x80\x02K\x01Q.", false, "persistent id"),
    CASE("a memo never put", "\x80\x02h\x05.", false, "memo"),
    CASE("a memo far out", "\x80\x02Nr\xff\xff\xff\xff.", false, "memo number"),
    CASE("POP of nothing",
         "\x80\x02"
         "0.",
         false, "empty stack"),
    CASE("below the mark", "\x80\x02N(0.", false, "empty stack"),
    CASE("no mark", "\x80\x02t.", false, "no mark"),
    CASE("STOP with nothing", "\x80\x02.", false, "empty stack"),
    CASE("APPEND to a dict", "\x80\x02}Na.", false, "takes none"),
    CASE("an odd number of items", "\x80\x02}(NNNu.", false, "takes none"),
    CASE("text beyond the end", "\x80\x02X\xff\xff\xff\xffw.", false, "cut short"),
    CASE("a long beyond the end", "\x80\x02\x8b\xff\xff\xff\xffw.", false, "cut short"),
    CASE("a list in itself", "\x80\x02]q\0h\0a.", false, "no state dict"),
    CASE("a dict in itself", "\x80\x02}q\0X\x0a\0\0\0state_dicth\0s.", false, "no state dict"),
    CASE("no tensors", "\x80\x02}X\x01\0\0\0wK\x01s.", false, "no state dict"),
    CASE("past the storage", TENSOR("K\x01", "K\x04\x85", "K\x01\x85"), true, "reaches outside"),
    CASE("a stride past it", TENSOR("K\0", "K\x02\x85", "K\x04\x85"), true, "reaches outside"),
    CASE("a negative offset", TENSOR("J\xff\xff\xff\xff", "K\x02\x85", "K\x01\x85"), true,
         "bad offset"),
    CASE("a negative size", TENSOR("K\0", "J\xff\xff\xff\xff\x85", "K\x01\x85"), true, "bad size"),
    CASE("a negative stride", TENSOR("K\x03", "K\x02\x85", "J\xff\xff\xff\xff\x85"), true,
         "bad size"),
    CASE("sizes without strides", TENSOR("K\0", "K\x02K\x02\x86", "K\x01\x85"), true, "bad size"),
    CASE("an overflowing stride", TENSOR("K\x01", "K\x03\x85", HUGE_INT "\x85"), true, "outside"),
    CASE("an overflowing offset", TENSOR(HUGE_INT, "K\x03\x85", "K\x01\x85"), true, "outside"),
    CASE("a giant of stride 0", TENSOR("K\0", "J\xff\xff\xff\x7f\x85", "K\0\x85"), true,
         "far larger"),
    CASE("an overflowing size", TENSOR("K\0", HUGE_INT HUGE_INT "\x86", "K\0K\0\x86"), true,
         "far larger"),
    CASE("a giant beside a zero", TENSOR("K\0", HUGE_INT HUGE_INT "K\0\x87", "K\0K\0K\0\x87"), true,
         ""),
    CASE("a wrong storage size", TENSOR_WITH("K\x05", "K\x01", "K\x02\x85", "K\x01\x85"), true,
         "expected 5"),
    CASE("a negative storage size",
         TENSOR_WITH("J\xff\xff\xff\xff", "K\x01", "K\x02\x85", "K\x01\x85"), true, "bad size"),
    CASE("a storage that is not there", TENSOR("K\x01", "K\x02\x85", "K\x01\x85"), false,
         "missing"),
#undef CASE
};

static void test_hostile_pickles(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        bytes f = legacy_file(pickles[i].object, pickles[i].n, pickles[i].storage);
        hwb_bundle *b = NULL;
        hwb_status status = hwb_io_load_memory(ctx, &b, f.p, f.n);
        if (pickles[i].text) {
            if (status == HWB_OK) print_error("case \"%s\" was accepted\n", pickles[i].what);
            assert_fails(ctx, status, HWB_EFORMAT, pickles[i].text);
        } else {
            assert_ok(ctx, status);
            check_values(b, "w", "3", HWB_F32, 3, (double[]){2, 3, 4});
        }
        hwb_bundle_free(b);
        free(f.p);
    }
    test_ctx_free(ctx);
}

/* The message that ecosystem tools grep for, with the file in front. */
static void test_refusal_names_the_file(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_bundle *b;
    char path[] = "/tmp/hwb-test-torch-XXXXXX.pth";
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    bytes f = legacy_file("\x80\x02"
                          "cos\nsystem\n.",
                          14, false);
    assert_int_equal(write(fd, f.p, f.n), f.n);
    close(fd);
    assert_int_equal(hwb_io_load(ctx, &b, path), HWB_EFORMAT);
    unlink(path);
    assert_non_null(strstr(hwb_message(ctx), path));
    assert_non_null(strstr(hwb_message(ctx), "pickle wants os.system; refused"));
    free(f.p);
    test_ctx_free(ctx);
}

/* n times `unit` as an object pickle */
static void check_bomb(hwb_ctx *ctx, const char *unit, size_t n, const char *text) {
    bytes object = {0};
    hwb_bundle *b;
    put(&object, "\x80\x02", 2);
    for (size_t i = 0; i < n; i++) put(&object, unit, strlen(unit));
    put(&object, ".", 1);
    bytes f = legacy_file(object.p, object.n, false);
    assert_fails(ctx, hwb_io_load_memory(ctx, &b, f.p, f.n), HWB_EFORMAT, text);
    free(object.p);
    free(f.p);
}

static void test_bombs(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    check_bomb(ctx, "(", 5000, "nested too deeply");
    check_bomb(ctx, "N", 1100000, "stack grows too high");
    check_bomb(ctx, "]0", 4000000, "too many objects");
    check_bomb(ctx, "N\x85", 100000, "no state dict"); /* a deep tuple, never walked */
    test_ctx_free(ctx);
}

/* ---- zip archives ------------------------------------------------------------------------------ */

static void le(bytes *b, uint64_t v, int width) {
    for (int i = 0; i < width; i++) {
        uint8_t byte = (uint8_t)(v >> (8 * i));
        put(b, &byte, 1);
    }
}

/* One entry with everything about it free to choose. */
typedef struct entry {
    const char *name, *data;
    uint64_t size, claimed;
    int method;
    uint32_t crc;
    uint64_t header;
} entry;

static bytes zip_of(const entry *e, bool zip64) {
    bytes b = {0};
    size_t name = strlen(e->name);
    le(&b, 0x04034B50, 4), le(&b, 45, 2), le(&b, 0, 2), le(&b, (uint64_t)e->method, 2),
        le(&b, 0, 4);
    le(&b, e->crc, 4), le(&b, e->size, 4), le(&b, e->claimed, 4), le(&b, name, 2), le(&b, 0, 2);
    put(&b, e->name, name);
    put(&b, e->data, e->size);
    uint64_t directory = b.n;
    le(&b, 0x02014B50, 4), le(&b, 45, 2), le(&b, 45, 2), le(&b, 0, 2),
        le(&b, (uint64_t)e->method, 2);
    le(&b, 0, 4), le(&b, e->crc, 4), le(&b, zip64 ? 0xFFFFFFFF : e->size, 4);
    le(&b, zip64 ? 0xFFFFFFFF : e->claimed, 4), le(&b, name, 2), le(&b, zip64 ? 28 : 0, 2);
    le(&b, 0, 2), le(&b, 0, 2), le(&b, 0, 2), le(&b, 0, 4),
        le(&b, zip64 ? 0xFFFFFFFF : e->header, 4);
    put(&b, e->name, name);
    if (zip64)
        le(&b, 1, 2), le(&b, 24, 2), le(&b, e->claimed, 8), le(&b, e->size, 8),
            le(&b, e->header, 8);
    uint64_t size = b.n - directory, end = b.n;
    if (zip64) {
        le(&b, 0x06064B50, 4), le(&b, 44, 8), le(&b, 45, 2), le(&b, 45, 2), le(&b, 0, 8);
        le(&b, 1, 8), le(&b, 1, 8), le(&b, size, 8), le(&b, directory, 8);
        le(&b, 0x07064B50, 4), le(&b, 0, 4), le(&b, end, 8), le(&b, 1, 4);
    }
    le(&b, 0x06054B50, 4), le(&b, 0, 4), le(&b, 1, 2), le(&b, 1, 2);
    le(&b, zip64 ? 0xFFFFFFFF : size, 4), le(&b, zip64 ? 0xFFFFFFFF : directory, 4), le(&b, 0, 2);
    return b;
}

/* np.uint8([1, 2, 3]) as numpy 1.24 writes it, without the padding */
#define NPY "\x93NUMPY\x01\0\x3a\0{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }\n\1\2\3"
enum { NPY_SIZE = sizeof NPY - 1 };

static uint32_t crc32_of(const char *p, size_t n) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)p[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
    }
    return ~crc;
}

static void test_zip_entries(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    uint32_t crc = crc32_of(NPY, NPY_SIZE);
    const struct {
        entry e;
        bool zip64;
        hwb_status status;
        const char *text;
    } cases[] = {
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE, 0, crc, 0}, false, HWB_OK, NULL},
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE, 0, crc, 0}, true, HWB_OK, NULL},
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE, 0, crc + 1, 0}, false, HWB_EFORMAT, "CRC"},
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE + 1, 0, crc, 0}, false, HWB_EFORMAT, "two sizes"},
        {{"a.npy", NPY, NPY_SIZE, (uint64_t)1 << 50, 8, crc, 0}, true, HWB_EFORMAT, "larger than"},
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE, 8, crc, 0}, false, HWB_EFORMAT, "deflated"},
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE, 12, crc, 0}, false, HWB_EUNSUPPORTED, "method 12"},
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE, 0, crc, 1}, false, HWB_EFORMAT, "no local header"},
        {{"a.npy", NPY, NPY_SIZE, NPY_SIZE, 0, crc, UINT64_MAX - 8},
         true,
         HWB_EFORMAT,
         "no local header"},
        {{"a.txt", NPY, NPY_SIZE, NPY_SIZE, 0, crc, 0}, false, HWB_EFORMAT, "neither"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hwb_bundle *b = NULL;
        bytes f = zip_of(&cases[i].e, cases[i].zip64);
        hwb_status status = hwb_io_load_memory(ctx, &b, f.p, f.n);
        if (cases[i].text) {
            assert_fails(ctx, status, cases[i].status, cases[i].text);
        } else {
            assert_ok(ctx, status);
            check_values(b, "a", "3", HWB_U8, 3, (double[]){1, 2, 3});
        }
        hwb_bundle_free(b);
        free(f.p);
    }
    test_ctx_free(ctx);
}

/* ---- real files ---------------------------------------------------------------------------------- */

static void test_real_checkpoints(void **state) {
    (void)state;
    test_path buf, buf2;
    const char *path, *second;
    hwb_bundle *b;
    NEED_DATA(path, "weights/resnet20-12fca82f.th", buf);
    NEED_DATA(second, "weights/pyhessian-resnet20.pkl", buf2);
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_io_load(ctx, &b, path));
    assert_int_equal(hwb_bundle_count(b), 97);
    assert_string_equal(hwb_bundle_name(b, 0), "conv1.weight");
    assert_near(atof(hwb_bundle_meta(b, "best_prec1")), 91.78, 1e-4);
    hwb_bundle_free(b);
    assert_ok(ctx, hwb_io_load(ctx, &b, second));
    assert_int_equal(hwb_bundle_count(b), 128);
    int64_t floats = 0;
    for (int64_t i = 0; i < 128; i++)
        if (!strstr(hwb_bundle_name(b, i), "num_batches") &&
            !strstr(hwb_bundle_name(b, i), "running"))
            floats += hwb_tensor_numel(hwb_bundle_at(b, i));
    assert_int_equal(floats, 272474);
    assert_int_equal(hwb_tensor_dtype(hwb_bundle_get(b, "bn1.num_batches_tracked")), HWB_I64);
    hwb_bundle_free(b);
    test_ctx_free(ctx);
}

/* Every counted allocation fails once. */
static void test_out_of_memory(void **state) {
    (void)state;
    test_path buf;
    const char *path;
    GOLDEN(path, "checkpoint_zip.pt", buf);
    hwb_status status = HWB_ENOMEM;
    int tries = 0;
    for (; status != HWB_OK && tries < 100; tries++) {
        char number[16];
        snprintf(number, sizeof number, "%d", tries + 1);
        setenv("HWB_TEST_FAIL_ALLOC", number, 1);
        hwb_ctx *ctx = test_ctx_new();
        hwb_bundle *b;
        status = hwb_io_load(ctx, &b, path);
        if (status == HWB_OK) hwb_bundle_free(b);
        else assert_int_equal(status, HWB_ENOMEM);
        test_ctx_free(ctx);
    }
    unsetenv("HWB_TEST_FAIL_ALLOC");
    assert_in_range(tries, 12, 99);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zip_and_legacy), cmocka_unit_test(test_npz),
        cmocka_unit_test(test_broken_zip),     cmocka_unit_test(test_broken_legacy),
        cmocka_unit_test(test_broken_npz),     cmocka_unit_test(test_hostile_pickles),
        cmocka_unit_test(test_bombs),          cmocka_unit_test(test_refusal_names_the_file),
        cmocka_unit_test(test_zip_entries),    cmocka_unit_test(test_real_checkpoints),
        cmocka_unit_test(test_out_of_memory),
    };
    return RUN_TESTS(tests);
}
