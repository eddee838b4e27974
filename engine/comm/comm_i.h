/*
 * comm_i.h: private to engine/comm.  An open communicator of several ranks; a
 * context that is alone has none.
 */
#ifndef HWB_COMM_I_H
#define HWB_COMM_I_H

#include "comm/comm.h"

/* A message is a header and at most CHUNK bytes; receives are posted for as much,
 * so that a rank in another call can be told from one in this call. */
enum { HWB__COMM_CHUNK = 256 * 1024, HWB__COMM_SMALL = 4 * 1024, HWB__COMM_DEVICE = 1024 * 1024 };

/* What is sent in front of every message: which call it belongs to. */
typedef struct hwb__comm_header {
    int64_t call, n;
    uint64_t mark;
    int32_t kind, dtype; /* enum in exchange.c; 0 for a broadcast */
    int32_t piece, round;
} hwb__comm_header;

enum { HWB__COMM_SLOT = sizeof(hwb__comm_header) + HWB__COMM_CHUNK };
_Static_assert(sizeof(hwb__comm_header) == 40, "payloads behind it stay aligned for doubles");

typedef struct hwb__comm {
    const hwb_transport *transport;
    void *state;
    hwb_comm_place place;
    int64_t calls;
    uint64_t mark; /* of the next call */
    bool broken;   /* an exchange was left: its buffers are still the transport's */
    bool ended;    /* hwb_comm_end was called */
    int failed;    /* exit code of a rank that has failed, 0 = none is known to have */
    int passed;    /* exit code of the first rank whose failure reached us */
    hwb_close how; /* to close, and the exit code for it */
    int exit_code;
    double early;         /* when a rank was first seen to have ended in peace; 0 = none has */
    hwb_comm_fate *fates; /* [size] */
    hwb_comm_stats stats;
    const hwb_device_comm *device; /* NULL: none attached */
    void *device_comm, *device_state;
    unsigned char *out, *in; /* [size] slots each */
    double *total;           /* a chunk in double */
    hwb_parcel *messages;    /* [2 size] */
    size_t *bytes;           /* [size]: payloads of the slots in `out` */
} hwb__comm;

/* NULL when alone. */
hwb__comm *hwb__comm_of(const hwb_ctx *ctx);
/* Look for notices (ending.c): HWB_OK unless a rank failed. */
hwb_status hwb__comm_notices(hwb_ctx *ctx, hwb__comm *c);
/* Sleep a little longer the more often nothing had happened. */
void hwb__comm_pause(int64_t tries);
/* The plug-in of `name` (plugin.c). */
hwb_status hwb__comm_find(hwb_ctx *ctx, const hwb_transport **out, const char *name);

#endif
