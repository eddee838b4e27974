/*
 * registry.c: backends by name, opened at first use and kept by the context.
 *
 * ref and cpu are compiled in.  cuda is a plug-in: libhwb_cuda.so with
 *     const hwb_backend *hwb_backend_entry(uint32_t abi, const hwb_host *host);
 * looked for as base/plugin.c says.
 */
#include "backend/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hwb_host HOST = {hwb_fail, hwb_memory_count_device, hwb_interrupted};

/* ---- finding a plug-in -------------------------------------------------------- */

/* NULL when the backend behind the entry can be used. */
static const char *take(void *user, void *symbol) {
    static char reason[96];
    hwb_backend_entry_fn entry;
    *(void **)&entry = symbol; /* the cast that POSIX prescribes */
    const hwb_backend *backend = entry(HWB_BACKEND_ABI, &HOST);
    if (!backend || backend->abi != HWB_BACKEND_ABI) {
        snprintf(reason, sizeof(reason), "is made for another version of hwb (backend ABI %u)",
                 HWB_BACKEND_ABI);
        return reason;
    }
    *(const hwb_backend **)user = backend;
    return NULL;
}

static hwb_status find_plugin(hwb_ctx *ctx, const char *name, const char *file,
                              const hwb_backend **out) {
    hwb_status st = hwb_plugin_find(ctx, file, "hwb_backend_entry", take, out);
    return st == HWB_OK ? st : hwb_fail_in(ctx, st, "no device \"%s\"", name);
}

static hwb_status find_backend(hwb_ctx *ctx, const char *name, const hwb_backend **out) {
    if (strcmp(name, "cuda") == 0) return find_plugin(ctx, name, "libhwb_cuda.so", out);
    if (strcmp(name, "ref") == 0) *out = hwb_backend_ref();
    else if (strcmp(name, "cpu") == 0) *out = hwb_backend_cpu();
    else return hwb_fail(ctx, HWB_EDEVICE, "no device \"%s\": there are ref, cpu and cuda", name);
    return HWB_OK;
}

/* ---- opened devices of a context --------------------------------------------------- */

enum { MAX_DEVICES = 3 }; /* as many as there are names */

typedef struct device_list {
    int count;
    hwb_device_options options;
    hwb_device device[MAX_DEVICES];
} device_list;

static void close_devices(void *state) {
    device_list *list = state;
    for (int i = list->count - 1; i >= 0; i--)
        if (list->device[i].backend->close) list->device[i].backend->close(list->device[i].state);
    free(list);
}

static hwb_status open_devices(hwb_ctx *ctx, device_list **out) {
    device_list *list = hwb_ctx_slot(ctx, HWB_SLOT_BACKENDS);
    if (!list) {
        list = calloc(1, sizeof(*list));
        if (!list) return hwb_fail(ctx, HWB_ENOMEM, "no memory for the list of devices");
        list->options.deterministic = true;
        hwb_ctx_set_slot(ctx, HWB_SLOT_BACKENDS, list, close_devices);
    }
    *out = list;
    return HWB_OK;
}

/* "cuda:1" is "cuda" with HWB_CUDA_DEVICE=1, which the plug-in reads when it opens: a
 * process uses one device. */
static hwb_status choose_number(hwb_ctx *ctx, const device_list *list, const char *name) {
    const char *number = name + 5, *set = getenv("HWB_CUDA_DEVICE");
    if (!*number || strspn(number, "0123456789") != strlen(number))
        return hwb_fail(ctx, HWB_EDEVICE, "no device \"%s\": cuda:N wants a number", name);
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->device[i].backend->name, "cuda") == 0 &&
            (!set || strcmp(set, number) != 0))
            return hwb_fail(ctx, HWB_EDEVICE,
                            "no device \"%s\": this process uses another one already", name);
    setenv("HWB_CUDA_DEVICE", number, 1);
    return HWB_OK;
}

hwb_status hwb_device_open(hwb_ctx *ctx, hwb_device **out, const char *name) {
    device_list *list = NULL;
    const hwb_backend *backend = NULL;
    void *state = NULL;
    HWB_TRY(open_devices(ctx, &list));
    if (strncmp(name, "cuda:", 5) == 0) {
        HWB_TRY(choose_number(ctx, list, name));
        name = "cuda";
    }
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->device[i].backend->name, name) == 0) {
            *out = &list->device[i];
            return HWB_OK;
        }
    HWB_TRY(find_backend(ctx, name, &backend));
    if (strcmp(backend->name, name) != 0)
        return hwb_fail(ctx, HWB_EDEVICE, "no device \"%s\": its plug-in calls itself \"%s\"", name,
                        backend->name);
    hwb_status status = backend->open ? backend->open(ctx, &state) : HWB_OK;
    if (status != HWB_OK) {
        hwb_fail_in(ctx, status, "no device \"%s\"", name);
        return HWB_EDEVICE;
    }
    if (backend->configure) {
        status = backend->configure(ctx, state, &list->options);
        if (status != HWB_OK) {
            backend->close(state);
            return status;
        }
    }
    HWB_ASSERT(list->count < MAX_DEVICES);
    hwb_device *device = &list->device[list->count++];
    device->backend = backend;
    device->state = state;
    *out = device;
    return HWB_OK;
}

hwb_status hwb_device_describe(hwb_ctx *ctx, const hwb_device *device, char *text, size_t size) {
    if (size) text[0] = 0;
    if (!device->backend->describe) return HWB_OK;
    return device->backend->describe(ctx, device->state, text, size);
}

hwb_status hwb_device_configure(hwb_ctx *ctx, const hwb_device_options *options) {
    device_list *list = NULL;
    HWB_TRY(open_devices(ctx, &list));
    list->options = *options;
    for (int i = 0; i < list->count; i++) {
        hwb_device *d = &list->device[i];
        if (d->backend->configure) HWB_TRY(d->backend->configure(ctx, d->state, options));
    }
    return HWB_OK;
}

hwb_device_options hwb_device_configured(const hwb_ctx *ctx) {
    const device_list *list = hwb_ctx_slot(ctx, HWB_SLOT_BACKENDS);
    return list ? list->options : (hwb_device_options){HWB_MATH_EXACT, true};
}
