/*
 * plugin.c: transports that are plug-ins: libhwb_<name>.so.
 */
#include "comm/comm_i.h"

#include <stdio.h>

/* NULL when the transport behind the entry can be used. */
static const char *take(void *user, void *symbol) {
    hwb_transport_entry_fn entry;
    *(void **)&entry = symbol; /* the cast that POSIX prescribes */
    const hwb_transport *t = entry(HWB_TRANSPORT_ABI);
    if (!t || t->abi != HWB_TRANSPORT_ABI) return "is made for another version of hwb";
    *(const hwb_transport **)user = t;
    return NULL;
}

hwb_status hwb__comm_find(hwb_ctx *ctx, const hwb_transport **out, const char *name) {
    char file[64];
    snprintf(file, sizeof file, "libhwb_%s.so", name);
    hwb_status st = hwb_plugin_find(ctx, file, "hwb_transport_entry", take, out);
    if (st == HWB_OK) return st;
    return hwb_fail_in(ctx, st, "no communication over \"%s\"", name);
}
