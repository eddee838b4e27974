/*
 * transport.h: what carries messages between ranks; all that a communication
 * plug-in needs to know of hwb.  It calls nothing of the program.
 *
 * A plug-in exports
 *     const hwb_transport *hwb_transport_entry(uint32_t abi);
 * which returns NULL when `abi` is not its own.
 *
 * Functions return 0, or another number after text was written to `why`
 * (HWB_TRANSPORT_TEXT bytes).
 */
#ifndef HWB_COMM_TRANSPORT_H
#define HWB_COMM_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HWB_TRANSPORT_ABI 1u

enum { HWB_TRANSPORT_TEXT = 256, HWB_TRANSPORT_NOTICE = 1024 };

/* Where a process is among its equals; local: on its machine. */
typedef struct hwb_comm_place {
    int rank, size;
    int local_rank, local_size;
} hwb_comm_place;

/* One message of an exchange.  A receive takes at most `size` bytes. */
typedef struct hwb_parcel {
    int peer;
    bool receive;
    void *bytes;
    size_t size;
} hwb_parcel;

typedef enum hwb_close { HWB_CLOSE_TOGETHER, HWB_CLOSE_ALONE, HWB_CLOSE_KILL } hwb_close;

typedef struct hwb_transport {
    uint32_t abi; /* HWB_TRANSPORT_ABI */
    const char *name;

    int (*open)(void **state, void *argument, hwb_comm_place *place, char *why);
    /* Which library of which version, open or not; static text. */
    const char *(*library)(void);

    /* Begin `count` messages.  Between two ranks they arrive in order.  The buffers
     * are the transport's until test says that all messages begun are done. */
    int (*start)(void *state, int count, const hwb_parcel *messages, char *why);
    int (*test)(void *state, bool *done, char *why);

    /* Beside the exchanges: one notice of at most HWB_TRANSPORT_NOTICE bytes from each
     * rank to all others in its life. */
    int (*notify)(void *state, const void *bytes, size_t size, char *why);
    /* *from = -1: none has come since.  Else the next one, copied to bytes[HWB_TRANSPORT_NOTICE]. */
    int (*noticed)(void *state, int *from, void *bytes, char *why);

    /* HWB_CLOSE_TOGETHER: all ranks close now and no messages are under way.
     * HWB_CLOSE_ALONE: messages may be, but every rank ends by itself.
     * HWB_CLOSE_KILL: other processes are ended, with exit_code; need not return. */
    void (*close)(void *state, hwb_close how, int exit_code);
} hwb_transport;

typedef const hwb_transport *(*hwb_transport_entry_fn)(uint32_t abi);

#endif
