/*
 * bench.h: a benchmark case, and what its functions share.
 *
 * A case builds once what a user would build once (`open`), and is then run
 * over and over (`run`).  Every run leaves in `check` numbers that peer_torch.py
 * computes for the case of the same name; the driver compares them.
 */
#ifndef HWB_BENCH_H
#define HWB_BENCH_H

#include "backend/backend.h"
#include "curvature/curvature_i.h"
#include "nets.h"
#include "optim/optim.h"
#include "spectral/spectral_i.h"

enum { MAX_CHECKS = 2 };

/* Sizes of a case; zero where it has none.  Each may be set as name=value. */
typedef struct bench_sizes {
    int64_t batch, side; /* images and their height; for BERT sequences and tokens */
    int64_t k;           /* vectors of one product */
    int64_t iterations, probes, steps;
    int64_t images; /* of a data set, in pieces of `micro` */
    int64_t micro;  /* samples a piece; 0: not cut */
    int64_t bits;
} bench_sizes;

typedef struct bench bench;

typedef struct bench_case {
    const char *name, *net; /* "resnet20", "resnet50" or "bert" */
    const char *summary;    /* one line */
    bench_sizes sizes;
    void (*open)(bench *b);
    void (*run)(bench *b);
    const char *checks[MAX_CHECKS]; /* what the numbers are */
    void (*see)(bench *b);          /* fills `check` from `out`, not timed; NULL: run has */
} bench_case;

struct bench {
    hwb_ctx *ctx;
    const bench_case *what;
    const char *net_name;
    bench_sizes sizes;
    int64_t repeat, threads, deterministic;
    bool dump;
    const char *tensors, *cifar; /* files, or NULL: formulas */
    const char *device, *math;   /* of backend.h */
    net *net;
    hwb_model *model;
    hwb_tensor *x, *y;
    hwb_curvature *whole; /* NULL where no operator is asked for */
    hwb_trainer *trainer;
    hwb_tensor *v;        /* [k,n] */
    hwb_tensor *out;      /* what the last run made, for `see` */
    hwb__space space;     /* where products of `whole` are made, as solvers keep theirs: */
    hwb__vector **sent;   /* [n_sent] vectors for one product each */
    hwb__vector *product; /* what the last run made */
    int64_t n_sent;
    double check[MAX_CHECKS];
    double macs, bytes; /* of one run: multiply-adds, and memory its kernels read and write */
};

extern const bench_case bench_cases[];
extern const int bench_case_count;

/* What the machine gives: multiply-adds of a large matrix product and bytes of a
 * large copy, per second, with these threads. */
void bench_machine(int threads, double *macs, double *bytes);

/* Ends the program with the engine's message unless st is HWB_OK. */
void bench_must(const bench *b, hwb_status st, const char *what);

#endif
