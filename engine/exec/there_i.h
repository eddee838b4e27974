/*
 * there_i.h: long vectors that lie in the memory of a device, and arithmetic on them.
 *
 * What solvers do with vectors, as a handful of groups (backend.h) that any backend with
 * pointwise groups compiles: nothing here is written for one device.  Vectors are float32
 * or float64; all arithmetic is float64, results are rounded once when they are stored,
 * and sums are taken in an order that depends on the lengths alone.
 *
 * Coefficients and sums are numbers in slots on the device, so that sums can be used as
 * coefficients there: the host waits only where it fetches one.
 *
 * Vectors begin at multiples of the backend's alignment; mem_alloc gives such addresses.
 */
#ifndef HWB_THERE_I_H
#define HWB_THERE_I_H

#include "backend/backend.h"
#include "exec/exec.h"

typedef struct hwb__there hwb__there;

/* The device must have memory of its own and outlive the object. */
hwb_status hwb__there_new(hwb_ctx *ctx, hwb__there **out, hwb_device *device);
void hwb__there_free(hwb__there *t); /* NULL is accepted */

/* ---- memory ------------------------------------------------------------------------ */

/* Room for `bytes`, and on to a multiple of 128 of them. */
hwb_status hwb__there_alloc(hwb__there *t, void **out, int64_t bytes);
void hwb__there_release(hwb__there *t, void *p);
hwb_status hwb__there_put(hwb__there *t, void *to, const void *host, int64_t bytes);
hwb_status hwb__there_get(hwb__there *t, void *host, const void *from, int64_t bytes);
hwb_status hwb__there_copy(hwb__there *t, void *to, const void *from, int64_t bytes);
/* *part = the bytes of v from `offset` on where kernels take them: in place, or copied to
 * *copy, which is made with `room` bytes when it is NULL, and released by the caller. */
hwb_status hwb__there_part(hwb__there *t, const void *v, int64_t offset, int64_t bytes,
                           int64_t room, void **copy, void **part);

/* ---- numbers ------------------------------------------------------------------------- */

/* Room for n slots; what was in them is lost. */
hwb_status hwb__there_slots(hwb__there *t, int64_t n);
hwb_status hwb__there_set(hwb__there *t, int64_t slot, int64_t n, const double *x);
hwb_status hwb__there_fetch(hwb__there *t, int64_t slot, int64_t n, double *x); /* waits */

/* ---- groups (there_groups.c) ------------------------------------------------------------ */

/* slot+i = v_i . w for m vectors of n elements of one dtype */
hwb_status hwb__there_dots(hwb__there *t, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                           const void *w, int64_t slot);

/* out = y_slot y +- sum_i (slot+i) v_i over m vectors, of which at most seven are added in
 * one pass; out may be y. */
typedef struct hwb__sum_there {
    int64_t n, m;
    void *const *v;
    int64_t slot, y_slot; /* y_slot -1: 1 */
    bool minus;
    hwb_dtype v_dtype, y_dtype, out_dtype;
    const void *y;
    void *out;
} hwb__sum_there;
hwb_status hwb__there_sum(hwb__there *t, const hwb__sum_there *s);

/* x[i] = row i of v . row i of w, both [k,n]; waits */
hwb_status hwb__there_row_dots(hwb__there *t, hwb_dtype dtype, int64_t k, int64_t n, const void *v,
                               const void *w, double *x);
/* *finite: no NaN and no infinity among n elements; waits */
hwb_status hwb__there_finite(hwb__there *t, hwb_dtype dtype, int64_t n, const void *v,
                             bool *finite);
/* out[i] = +1 or -1, i < n: bit i % 16 (from the lowest) of words[i / 16], numbers below
 * 2^16.  out has room for a multiple of 16. */
hwb_status hwb__there_signs(hwb__there *t, hwb_dtype dtype, int64_t n, const float *words,
                            void *out);
/* mean and m2 [n] of float64 take in sample v x w (Welford), the number in slot `count`. */
hwb_status hwb__there_welford(hwb__there *t, hwb_dtype dtype, int64_t n, const void *v,
                              const void *w, int64_t count, double *mean, double *m2);

/* ---- programs on such vectors (run.c) ------------------------------------------------------ */

/* The value of an input that is a tangent, as hwb_program_set; copied at once. */
hwb_status hwb__program_set_there(hwb_ctx *ctx, hwb_program *p, hwb_id input, const void *data);
/* As hwb_program_run_one, the result into memory of the program's device. */
hwb_status hwb__program_run_there(hwb_ctx *ctx, hwb_program *p, int i, void *out);
/* As hwb_program_run_into; but output i stays on the device, in *result until the next run,
 * and outs[i] NULL.  Whether it is finite is the caller's to find out. */
hwb_status hwb__program_run_but(hwb_ctx *ctx, hwb_program *p, int i, hwb_tensor **outs,
                                const void **result);
hwb_device *hwb__program_device(const hwb_program *p); /* borrowed */
/* data[n] there becomes its sum over the ranks (sum_ranks.c). */
hwb_status hwb__device_sum_ranks(hwb_ctx *ctx, hwb_device *d, hwb_dtype dtype, int64_t n,
                                 void *data);

/* ---- tensors that have a copy there (resident.c) ------------------------------------------ */

typedef struct hwb__resident hwb__resident;

/* Memory of t on device d, with its present contents.  Parameters and constants of
 * many programs lie there once. */
hwb_status hwb__resident_get(hwb_ctx *ctx, hwb_device *d, hwb_tensor *t, hwb__resident **out);
void *hwb__resident_data(const hwb__resident *r);
void hwb__resident_release(hwb__resident *r); /* NULL is accepted */
/* The copy was written: it is the newer one until the tensor is looked at. */
void hwb__resident_written(hwb__resident *r);
/* What looking does, with a status. */
hwb_status hwb__resident_fetch(hwb__resident *r);

#endif
