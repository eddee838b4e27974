/*
 * cpu_after_i.h: a pointwise group that runs behind a convolution, region by
 * region while the convolution's result is in cache.
 *
 * The result of a convolution on channels-last images is a matrix: one row a pixel,
 *
 *     p = ((k N + n) H + h) W + w,        k: which of K results; 0 where there is no K
 *
 * one column a channel.  A convolution kernel computes some rows and columns of
 * it into memory of its own and calls hwb__cpu_after_region, which runs the
 * register program over them and stores the group's results.  In its own
 * description the kernel finds the group's operands behind its own ones, and as
 * outputs those of the group; the convolution's result, input 0 of the register
 * program, is stored only where an output of the group is that register.
 *
 * Sums of a group are complete after hwb__cpu_after_end.  Images are cut into
 * strips of `strip` pixels (the last may be shorter) and every strip has partial
 * sums of its own, so results depend neither on the order of the regions nor on
 * the number of threads.
 *
 * How a kernel uses it:
 *
 *   prepare  hwb__cpu_after_new(ctx, state, &after, geom->after, strip, width, parts)
 *            reserve hwb__cpu_after_scratch(after) bytes beside its own scratch
 *   run      hwb__cpu_after_begin(after, in, out, scratch)      its own in and out
 *            each thread, for each region that is complete:
 *                hwb__cpu_after_region(after, part, p0, p1, c0, c1, values)
 *            hwb__cpu_after_end(after)                          one thread, at the end
 *   free     hwb__cpu_after_free(after)
 */
#ifndef HWB_CPU_AFTER_I_H
#define HWB_CPU_AFTER_I_H

#include "backend/cpu/cpu_i.h"

typedef struct hwb__cpu_after hwb__cpu_after;

/* The group of a convolution's description can run by regions. */
bool hwb__cpu_after_supports(const hwb_kdesc *desc);

/* strip: regions are whole strips of an image, counted from its first pixel (4 W for
 * rows of 4x4 tiles), one or many; the last strip of an image ends with the image.
 * width: channels of a region, from a multiple of it on (the last may be fewer).
 * parts: how many threads work on regions at once. */
hwb_status hwb__cpu_after_new(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_after **out,
                              const hwb_kdesc *desc, int64_t strip, int64_t width, int parts);
void hwb__cpu_after_free(hwb__cpu_after *after); /* NULL is accepted */

/* Bytes it wants of the shared scratch, at a multiple of 64. */
size_t hwb__cpu_after_scratch(const hwb__cpu_after *after);

/* in, out: of the whole kernel.  An accumulate input, or another operand of the result's
 * shape, may lie in an output's memory: a kernel must have read its own part of a region
 * before it calls hwb__cpu_after_region. */
void hwb__cpu_after_begin(hwb__cpu_after *after, const void *const *in, void *const *out,
                          char *scratch);

/* Pixels p0..p1-1 (they may be of several images), channels c0..c1-1 of the result are
 * values[(p - p0) (c1 - c0) + c - c0], in memory that is none of the outputs.  part: a
 * number 0..parts-1 that no other thread uses at the time. */
void hwb__cpu_after_region(const hwb__cpu_after *after, int part, int64_t p0, int64_t p1,
                           int64_t c0, int64_t c1, const void *values);

/* Brings portion i of n of what such a region will read and write into the
 * second-level cache; call it while the region is computed.  Optional. */
void hwb__cpu_after_bring(const hwb__cpu_after *after, int64_t p0, int64_t p1, int64_t c0,
                          int64_t c1, int64_t i, int64_t n);

void hwb__cpu_after_end(hwb__cpu_after *after);

#endif
