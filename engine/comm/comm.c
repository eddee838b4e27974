/*
 * comm.c: opening and closing a communicator, and what is known of it.
 */
#include "comm/comm_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hwb__comm *hwb__comm_of(const hwb_ctx *ctx) {
    return hwb_ctx_slot(ctx, HWB_SLOT_COMM);
}

static void free_comm(hwb__comm *c) {
    free(c->fates);
    free(c->out);
    free(c->in);
    free(c->total);
    free(c->messages);
    free(c->bytes);
    free(c);
}

/* With the context, every rank is expected to do the same now; or by hwb_comm_close. */
static void close_slot(void *slot) {
    hwb__comm *c = slot;
    if (c->broken && c->how == HWB_CLOSE_TOGETHER) {
        c->how = HWB_CLOSE_KILL;
        c->exit_code = hwb_status_exit_code(HWB_EPEER);
    }
    if (c->device) c->device->close(c->device_comm, c->how != HWB_CLOSE_TOGETHER);
    c->transport->close(c->state, c->how, c->exit_code);
    free_comm(c);
}

static bool allocate(hwb__comm *c) {
    size_t size = (size_t)c->place.size;
    c->fates = calloc(size, sizeof *c->fates);
    c->out = calloc(size, HWB__COMM_SLOT);
    c->in = calloc(size, HWB__COMM_SLOT);
    c->total = calloc(HWB__COMM_CHUNK / sizeof(float), sizeof *c->total);
    c->messages = calloc(2 * size, sizeof *c->messages);
    c->bytes = calloc(size, sizeof *c->bytes);
    return c->fates && c->out && c->in && c->total && c->messages && c->bytes;
}

hwb_status hwb_comm_open_over(hwb_ctx *ctx, const hwb_transport *transport, void *argument) {
    char why[HWB_TRANSPORT_TEXT] = "";
    hwb__comm *c = calloc(1, sizeof *c);
    if (!c) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a communicator");
    c->transport = transport;
    if (transport->open(&c->state, argument, &c->place, why) != 0) {
        free(c);
        return hwb_fail(ctx, HWB_EDEVICE, "no communication over \"%s\": %s", transport->name, why);
    }
    hwb_comm_close(ctx, 0); /* what was open */
    if (!allocate(c)) {
        transport->close(c->state, HWB_CLOSE_KILL, hwb_status_exit_code(HWB_ENOMEM));
        free_comm(c);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a communicator");
    }
    hwb_ctx_set_slot(ctx, HWB_SLOT_COMM, c, close_slot);
    /* Every pair of ranks has met: connections are made now, and not behind a fence. */
    return hwb_comm_barrier(ctx);
}

hwb_status hwb_comm_open(hwb_ctx *ctx, const char *name) {
    const hwb_transport *transport = NULL;
    if (strcmp(name, "self") == 0) {
        hwb_comm_close(ctx, 0);
        return HWB_OK;
    }
    if (strcmp(name, "mpi") != 0)
        return hwb_fail(ctx, HWB_EDEVICE, "no communication over \"%s\": there are self and mpi",
                        name);
    HWB_TRY(hwb__comm_find(ctx, &transport, name));
    return hwb_comm_open_over(ctx, transport, NULL);
}

hwb_status hwb_comm_probe(hwb_ctx *ctx, const char *name, char *text, size_t size) {
    const hwb_transport *transport = NULL;
    if (strcmp(name, "self") != 0) HWB_TRY(hwb__comm_find(ctx, &transport, name));
    snprintf(text, size, "%s", transport ? transport->library() : "one process");
    return HWB_OK;
}

void hwb_comm_close(hwb_ctx *ctx, int exit_code) {
    hwb__comm *c = hwb__comm_of(ctx);
    if (!c) return;
    bool all = c->ended, peace = !c->broken;
    for (int r = 0; r < c->place.size; r++) {
        all = all && c->fates[r].known;
        peace = peace && c->fates[r].exit_code == 0;
    }
    if (all) c->how = peace ? HWB_CLOSE_TOGETHER : HWB_CLOSE_ALONE;
    else if (exit_code != 0) c->how = HWB_CLOSE_KILL;
    c->exit_code = exit_code;
    hwb_ctx_set_slot(ctx, HWB_SLOT_COMM, NULL, NULL); /* runs close_slot */
}

hwb_status hwb_comm_attach_device(hwb_ctx *ctx, const hwb_device_comm *device, void *device_state) {
    hwb__comm *c = hwb__comm_of(ctx);
    char id[HWB_DEVICE_COMM_ID] = {0};
    if (!c || c->device) return HWB_OK;
    HWB_ASSERT(device->id_bytes <= sizeof id);
    if (c->place.rank == 0) HWB_TRY(device->make_id(ctx, device_state, id));
    HWB_TRY(hwb_comm_broadcast(ctx, 0, sizeof id, id));
    HWB_TRY(device->open(ctx, device_state, &c->device_comm, id, c->place.rank, c->place.size));
    c->device = device;
    c->device_state = device_state;
    return HWB_OK;
}

/* ---- facts -------------------------------------------------------------------------- */

hwb_comm_place hwb_comm_where(const hwb_ctx *ctx) {
    const hwb__comm *c = hwb__comm_of(ctx);
    return c ? c->place : (hwb_comm_place){.size = 1, .local_size = 1};
}

const char *hwb_comm_name(const hwb_ctx *ctx) {
    const hwb__comm *c = hwb__comm_of(ctx);
    return c ? c->transport->name : "self";
}

const char *hwb_comm_library(const hwb_ctx *ctx) {
    const hwb__comm *c = hwb__comm_of(ctx);
    return c ? c->transport->library() : "";
}

hwb_comm_stats hwb_comm_spent(const hwb_ctx *ctx) {
    const hwb__comm *c = hwb__comm_of(ctx);
    return c ? c->stats : (hwb_comm_stats){0};
}

int hwb_comm_passed(const hwb_ctx *ctx) {
    const hwb__comm *c = hwb__comm_of(ctx);
    return c ? c->passed : 0;
}

void hwb_comm_part(hwb_comm_place place, int64_t n, int64_t *first, int64_t *count) {
    int64_t each = n / place.size, more = n % place.size, r = place.rank;
    *first = r * each + (r < more ? r : more);
    *count = each + (r < more);
}
