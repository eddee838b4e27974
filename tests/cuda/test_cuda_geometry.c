/*
 * test_cuda_geometry.c: the arithmetic around launches, which needs no device: grids
 * of empty and huge sizes, tilings, walks and their packs, and that the
 * structs of kernel arguments fit what a launch may carry.
 */
#include "testing.h"

#include "cuda_group_i.h"

/* ---- linked from the plug-in, but not called -------------------------------------- */

hwb_status hwb__cuda_fail(hwb_ctx *ctx, hwb_status status, const char *fmt, ...) {
    va_list args;
    char text[512];
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hwb_fail(ctx, status, "%s", text);
}

hwb_status hwb__cuda_check(hwb_ctx *ctx, cudaError_t e, const char *call) {
    return e == cudaSuccess ? HWB_OK : hwb_fail(ctx, HWB_EDEVICE, "%s", call);
}

hwb_status hwb__cuda_function(hwb_ctx *ctx, hwb__cuda *s, cudaKernel_t *out, const char *name,
                              const hwb__cuda_text *source) {
    (void)ctx, (void)s, (void)out, (void)name, (void)source;
    return HWB_OK;
}

void hwb__cuda_say(hwb__cuda_text *t, const char *fmt, ...) {
    (void)t, (void)fmt;
}

cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared,
                             cudaStream_t stream) {
    (void)f, (void)args, (void)shared, (void)stream;
    assert_true(grid.x > 0 && grid.x <= INT32_MAX && grid.y > 0 && grid.y <= 65535);
    assert_int_equal(grid.z, 1);
    assert_int_equal(block.x, HWB__CUDA_BLOCK);
    return cudaSuccess;
}

/* ---- tests ---------------------------------------------------------------------------- */

/* Sizes around every power of two, up to the largest there are. */
static int64_t sizes[300];
static int n_sizes;

static void make_sizes(void) {
    n_sizes = 0;
    sizes[n_sizes++] = 0;
    for (int b = 0; b < 62; b++)
        for (int d = -1; d <= 1; d++) {
            int64_t n = ((int64_t)1 << b) + d;
            if (n > sizes[n_sizes - 1]) sizes[n_sizes++] = n;
        }
}

static void test_grids(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb__cuda s = {0};
    for (int i = 0; i < n_sizes; i++)
        for (int sms = 0; sms < 300; sms += 37) {
            hwb__cuda_grid g = hwb__cuda_grid_for(sizes[i], sms);
            assert_true(g.x >= 1 && g.y == 1);
            assert_true(g.x <= (unsigned)(sms ? sms : 1) * HWB__CUDA_WAVES);
            if (sizes[i] > 0) /* no block without an element */
                assert_true(((int64_t)g.x - 1) * HWB__CUDA_BLOCK < sizes[i]);
            assert_ok(ctx, hwb__cuda_launch(ctx, &s, NULL, g, &s));
        }
    const hwb__cuda_grid bad[] = {{0, 1}, {1, 0}, {1u << 31, 1}, {1, 65536}};
    for (int i = 0; i < 4; i++)
        assert_fails(ctx, hwb__cuda_launch(ctx, &s, NULL, bad[i], &s), HWB_EINTERNAL, "a grid of");
    hwb_ctx_free(ctx);
}

/* Every kept element has one tile, every reduced one belongs to one part, the block is
 * full, and grids stay in their limits. */
static void test_tilings(void **state) {
    (void)state;
    for (int i = 0; i < n_sizes; i++)
        for (int j = 0; j < n_sizes; j++)
            for (int turn = 0; turn < 4; turn++) {
                int64_t nk = sizes[i], nr = sizes[j];
                if (nk > (int64_t)1 << 38 || nr > (int64_t)1 << 38) continue;
                hwb__cuda_tiling t = hwb__cuda_tiling_of(nk, nr, turn & 1, turn & 2);
                assert_int_equal(t.kt * t.rt, HWB__CUDA_BLOCK);
                assert_true((t.kt & (t.kt - 1)) == 0 && t.kt > 0 && t.rt > 0);
                assert_true(t.tiles * t.kt >= nk && (t.tiles - 1) * t.kt < nk);
                assert_true(t.parts >= 1 && t.parts <= 65535);
                assert_true(t.parts == 1 || (turn & 2));
                assert_true(t.length * t.parts >= nr);
                assert_true(t.parts == 1 || (t.parts - 1) * t.length < nr);
            }
}

static void test_params(void **state) {
    (void)state;
    assert_true(sizeof(hwb__cuda_map_params) <= 4096);
    assert_true(sizeof(hwb__cuda_tile_params) <= 4096);
}

/* Joined axes reach the elements that the shape's strides reach, in order. */
static void test_walks(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        hwb_shape s = {.ndim = 1 + (int)(seed % 5)}, x;
        int tag[HWB_MAX_DIMS] = {0};
        for (int d = 0; d < s.ndim; d++)
            s.dim[d] = 1 + (int64_t)hwb_rng_below((hwb_rng){seed, 1}, (uint64_t)d, 4);
        x = s;
        for (int d = 0; d < s.ndim; d++) {
            if (hwb_rng_below((hwb_rng){seed, 2}, (uint64_t)d, 2)) x.dim[d] = 1;
            tag[d] = (int)hwb_rng_below((hwb_rng){seed, 3}, (uint64_t)d, 2);
        }
        hwb__cuda_stride stride[2];
        hwb__cuda_walk w;
        hwb__cuda_strides(&s, stride[0]);
        hwb__cuda_strides(&x, stride[1]);
        hwb__cuda_walk_make(&w, &s, 2, stride, tag);
        int64_t n = 1;
        for (int d = 0; d < w.ndim; d++) n *= w.dim[d];
        assert_int_equal(n, hwb_shape_numel(&s));
        for (int64_t i = 0; i < n; i++) {
            int64_t want[2] = {0, 0}, got[2] = {0, 0}, rest = i;
            for (int d = s.ndim - 1; d >= 0; d--) {
                for (int j = 0; j < 2; j++) want[j] += rest % s.dim[d] * stride[j][d];
                rest /= s.dim[d];
            }
            rest = i;
            for (int d = w.ndim - 1; d >= 0; d--) {
                for (int j = 0; j < 2; j++) got[j] += rest % w.dim[d] * w.stride[j][d];
                rest /= w.dim[d];
            }
            assert_int_equal(got[0], want[0]);
            assert_int_equal(got[1], want[1]);
        }
    }
}

/* A walk in packs meets every pack's first element. */
static void test_packs(void **state) {
    (void)state;
    const hwb_shape s = hwb_shape_of(3, 3, 2, 8), x = hwb_shape_of(3, 3, 1, 8);
    hwb__cuda_stride stride[3] = {{0}};
    hwb__cuda_walk w;
    hwb__cuda_strides(&s, stride[0]);
    hwb__cuda_strides(&x, stride[1]); /* [2]: a scalar */
    hwb__cuda_walk_make(&w, &s, 3, stride, NULL);
    assert_true(hwb__cuda_walk_steps(&w, 1));
    assert_false(hwb__cuda_walk_steps(&w, 2));
    hwb__cuda_walk_pack(&w, 4);
    assert_int_equal(w.ndim, 3);
    assert_int_equal(w.dim[2], 2);
    assert_int_equal(w.stride[0][2], 4);
    assert_int_equal(w.stride[1][0], 8);
    assert_int_equal(w.stride[1][1], 0);
    assert_int_equal(w.stride[2][2], 0);
}

static void test_narrow(void **state) {
    (void)state;
    hwb_vdesc v = {HWB_F32, hwb_shape_of(2, 1, 1)};
    const hwb_vdesc *all[] = {&v};
    v.shape.dim[0] = (int64_t)1 << 30;
    assert_true(hwb__cuda_narrow(1, all));
    v.shape.dim[1] = 2; /* 2^31 elements */
    assert_false(hwb__cuda_narrow(1, all));
    v.shape.dim[0] = INT32_MAX, v.shape.dim[1] = 1; /* a grid's stride would overflow */
    assert_false(hwb__cuda_narrow(1, all));
    assert_int_equal(hwb__cuda_bytes(&v), 4 * (size_t)INT32_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grids), cmocka_unit_test(test_tilings), cmocka_unit_test(test_params),
        cmocka_unit_test(test_walks), cmocka_unit_test(test_packs),   cmocka_unit_test(test_narrow),
    };
    make_sizes();
    return RUN_TESTS(tests);
}
