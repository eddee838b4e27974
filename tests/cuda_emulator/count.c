/*
 * count.c: what a program asks of the device, counted ($HWB_EMU_COUNT=1): one line on
 * stderr at the end, for looking at the life of a product:
 *
 *     hwb emulator: 12 launches, 3 library calls, 2 copies up (8 KiB), ...
 *
 * Operations of a recorded graph count as "replayed" each time the graph is launched,
 * not when they are recorded.  Waits are calls that let the host go on when the stream
 * is done, whether or not it was.
 */
#include "stream_i.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    uint64_t launches, libraries, sums, fills, up, down, across, graphs, replayed, waits, mallocs;
    uint64_t up_bytes, down_bytes, across_bytes;
} counted;

static void at_end(void) {
    fprintf(stderr,
            "hwb emulator: %" PRIu64 " launches, %" PRIu64 " library calls, %" PRIu64
            " sums over ranks, %" PRIu64 " fills; %" PRIu64 " graphs of %" PRIu64
            " operations; copies: %" PRIu64 " up (%" PRIu64 " KiB), %" PRIu64 " down (%" PRIu64
            " KiB), %" PRIu64 " on the device (%" PRIu64 " KiB); %" PRIu64 " waits, %" PRIu64
            " allocations\n",
            counted.launches, counted.libraries, counted.sums, counted.fills, counted.graphs,
            counted.replayed, counted.up, counted.up_bytes / 1024, counted.down,
            counted.down_bytes / 1024, counted.across, counted.across_bytes / 1024, counted.waits,
            counted.mallocs);
}

static bool wanted(void) {
    static int known = -1;
    if (known < 0) {
        const char *text = getenv("HWB_EMU_COUNT");
        known = text && strcmp(text, "1") == 0;
        if (known) atexit(at_end);
    }
    return known;
}

void emu_count_operation(const char *what) {
    if (!wanted()) return;
    if (strncmp(what, "cublas", 6) == 0 || strncmp(what, "cudnn", 5) == 0) counted.libraries++;
    else if (strncmp(what, "nccl", 4) == 0) counted.sums += strcmp(what, "ncclReduce") == 0;
    else if (strcmp(what, "cudaMemsetAsync") == 0) counted.fills++;
    else if (strcmp(what, "cudaMemcpyAsync") != 0 && strcmp(what, "graph") != 0) counted.launches++;
}

void emu_count_copy(enum cudaMemcpyKind kind, size_t bytes) {
    if (!wanted()) return;
    if (kind == cudaMemcpyHostToDevice) counted.up++, counted.up_bytes += bytes;
    else if (kind == cudaMemcpyDeviceToHost) counted.down++, counted.down_bytes += bytes;
    else counted.across++, counted.across_bytes += bytes;
}

void emu_count_graph(size_t operations) {
    if (!wanted()) return;
    counted.graphs++;
    counted.replayed += operations;
}

void emu_count_wait(void) {
    if (wanted()) counted.waits++;
}

void emu_count_malloc(void) {
    if (wanted()) counted.mallocs++;
}
