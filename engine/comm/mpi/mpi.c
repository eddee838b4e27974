/*
 * mpi.c: the transport over MPI, a plug-in of its own (libhwb_mpi.so).
 *
 * Messages are MPI_Isend and MPI_Irecv on a communicator of hwb's own; tag DATA
 * carries the exchanges, tag NOTICE the one notice of each rank, for which
 * receives are posted from the beginning.  All algorithms are in
 * engine/comm/exchange.c, which is why nothing else of MPI is used.
 *
 * It calls nothing of the program and is the only file that knows MPI.
 */
#include "comm/transport.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DATA = 1, NOTICE = 2 };

typedef struct link_state {
    MPI_Comm comm;
    hwb_comm_place place;
    MPI_Request *requests; /* of the exchange: at most 2 a rank */
    int count, room;
    MPI_Request *posted; /* one receive of a notice from each rank */
    MPI_Request *told;   /* sends of our own notice */
    char *notices;       /* [size][HWB_TRANSPORT_NOTICE] */
    char own[HWB_TRANSPORT_NOTICE];
} link_state;

static int failed(int code, const char *what, char *why) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0;
    MPI_Error_string(code, text, &n);
    snprintf(why, HWB_TRANSPORT_TEXT, "%s: %.180s", what, text);
    return 1;
}

#define TRY(call)                                                                                  \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != MPI_SUCCESS) return failed(code_, #call, why);                                \
    } while (0)

/* ---- opening -------------------------------------------------------------------------- */

static int find_place(link_state *l, char *why) {
    MPI_Comm local;
    TRY(MPI_Comm_rank(l->comm, &l->place.rank));
    TRY(MPI_Comm_size(l->comm, &l->place.size));
    TRY(MPI_Comm_split_type(l->comm, MPI_COMM_TYPE_SHARED, l->place.rank, MPI_INFO_NULL, &local));
    TRY(MPI_Comm_rank(local, &l->place.local_rank));
    TRY(MPI_Comm_size(local, &l->place.local_size));
    TRY(MPI_Comm_free(&local));
    return 0;
}

static int post_notices(link_state *l, char *why) {
    size_t size = (size_t)l->place.size;
    l->room = 2 * l->place.size;
    l->requests = calloc(2 * size, sizeof *l->requests);
    l->posted = calloc(size, sizeof *l->posted);
    l->told = calloc(size, sizeof *l->told);
    l->notices = calloc(size, HWB_TRANSPORT_NOTICE);
    if (!l->requests || !l->posted || !l->told || !l->notices) {
        snprintf(why, HWB_TRANSPORT_TEXT, "out of memory");
        return 1;
    }
    for (int r = 0; r < l->place.size; r++) {
        l->posted[r] = l->told[r] = MPI_REQUEST_NULL;
        if (r != l->place.rank)
            TRY(MPI_Irecv(l->notices + (size_t)r * HWB_TRANSPORT_NOTICE, HWB_TRANSPORT_NOTICE,
                          MPI_BYTE, r, NOTICE, l->comm, &l->posted[r]));
    }
    return 0;
}

static int open_link(link_state *l, char *why) {
    int have, running = 0;
    TRY(MPI_Initialized(&running));
    if (running) {
        snprintf(why, HWB_TRANSPORT_TEXT, "MPI runs already in this process");
        return 1;
    }
    /* Reading another process's memory directly needs rights that containers and the
     * fence of --untrusted take away; Open MPI then fails in the middle of a message. */
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &have));
    TRY(MPI_Comm_dup(MPI_COMM_WORLD, &l->comm));
    TRY(MPI_Comm_set_errhandler(l->comm, MPI_ERRORS_RETURN));
    if (find_place(l, why) != 0) return 1;
    return post_notices(l, why);
}

static void free_link(link_state *l) {
    free(l->requests);
    free(l->posted);
    free(l->told);
    free(l->notices);
    free(l);
}

static int mpi_open(void **state, void *argument, hwb_comm_place *place, char *why) {
    (void)argument;
    link_state *l = calloc(1, sizeof *l);
    if (!l) {
        snprintf(why, HWB_TRANSPORT_TEXT, "out of memory");
        return 1;
    }
    if (open_link(l, why) != 0) {
        free_link(l);
        return 1;
    }
    *state = l;
    *place = l->place;
    return 0;
}

static const char *mpi_library(void) {
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int n = 0;
    if (MPI_Get_library_version(text, &n) != MPI_SUCCESS) return "MPI"; /* works before MPI_Init */
    text[strcspn(text, ",\n")] = 0;
    return text;
}

/* ---- exchanges ---------------------------------------------------------------------------- */

static int mpi_start(void *state, int count, const hwb_parcel *messages, char *why) {
    link_state *l = state;
    if (l->count + count > l->room) {
        snprintf(why, HWB_TRANSPORT_TEXT, "%d messages at once", l->count + count);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        const hwb_parcel *m = &messages[i];
        MPI_Request *r = &l->requests[l->count];
        *r = MPI_REQUEST_NULL;
        if (m->receive) TRY(MPI_Irecv(m->bytes, (int)m->size, MPI_BYTE, m->peer, DATA, l->comm, r));
        else TRY(MPI_Isend(m->bytes, (int)m->size, MPI_BYTE, m->peer, DATA, l->comm, r));
        l->count++;
    }
    return 0;
}

static int mpi_test(void *state, bool *done, char *why) {
    link_state *l = state;
    int all = 0;
    TRY(MPI_Testall(l->count, l->requests, &all, MPI_STATUSES_IGNORE));
    if (all) l->count = 0;
    *done = all != 0;
    return 0;
}

static int mpi_notify(void *state, const void *bytes, size_t size, char *why) {
    link_state *l = state;
    memcpy(l->own, bytes, size);
    for (int r = 0; r < l->place.size; r++)
        if (r != l->place.rank)
            TRY(MPI_Isend(l->own, (int)size, MPI_BYTE, r, NOTICE, l->comm, &l->told[r]));
    return 0;
}

static int mpi_noticed(void *state, int *from, void *bytes, char *why) {
    link_state *l = state;
    int index = MPI_UNDEFINED, flag = 0, sent;
    *from = -1;
    TRY(MPI_Testany(l->place.size, l->posted, &index, &flag, MPI_STATUS_IGNORE));
    TRY(MPI_Testall(l->place.size, l->told, &sent, MPI_STATUSES_IGNORE));
    if (!flag || index == MPI_UNDEFINED) return 0;
    *from = index;
    memcpy(bytes, l->notices + (size_t)index * HWB_TRANSPORT_NOTICE, HWB_TRANSPORT_NOTICE);
    return 0;
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void mpi_close(void *state, hwb_close how, int exit_code) {
    link_state *l = state;
    if (how == HWB_CLOSE_KILL) MPI_Abort(l->comm, exit_code); /* does not return */
    /* MPI_Finalize could wait for messages that nobody takes.  All that MPI may still
     * write to stays; the process is about to end. */
    if (how == HWB_CLOSE_ALONE) return;
    MPI_Waitall(l->place.size, l->told, MPI_STATUSES_IGNORE);
    for (int r = 0; r < l->place.size; r++) {
        if (l->posted[r] == MPI_REQUEST_NULL) continue;
        MPI_Cancel(&l->posted[r]); /* a program that closed without saying how it ended */
        MPI_Request_free(&l->posted[r]);
    }
    MPI_Comm_free(&l->comm);
    MPI_Finalize();
    free_link(l);
}

static const hwb_transport TRANSPORT = {
    .abi = HWB_TRANSPORT_ABI,
    .name = "mpi",
    .open = mpi_open,
    .library = mpi_library,
    .start = mpi_start,
    .test = mpi_test,
    .notify = mpi_notify,
    .noticed = mpi_noticed,
    .close = mpi_close,
};

__attribute__((visibility("default"))) const hwb_transport *hwb_transport_entry(uint32_t abi);

const hwb_transport *hwb_transport_entry(uint32_t abi) {
    return abi == HWB_TRANSPORT_ABI ? &TRANSPORT : NULL;
}
