/*
 * parallel.c: a loop over independent units of work.
 *
 * One thread runs the plain loop: entering an OpenMP region costs half a
 * microsecond even when it has a single thread, ten times what copying a small
 * tensor takes.
 */
#include "tensor/tensor_i.h"

void hwb__for(int threads, int64_t units, void (*body)(const void *job, int64_t unit),
              const void *job) {
    if (threads <= 1 || units <= 1) {
        for (int64_t unit = 0; unit < units; unit++) body(job, unit);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t unit = 0; unit < units; unit++) body(job, unit);
}
