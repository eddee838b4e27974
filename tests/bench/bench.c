/*
 * bench.c: the engine's side of the benchmark, without Lua.
 *
 * usage: bench list | machine | CASE [key=value...]
 *   net=resnet20|resnet50|bert  batch=  side=  k=  iterations=  probes=  steps=
 *   images=  micro= (samples a piece)  bits=      the sizes of bench_cases.c
 *   repeat=5 (0: the warm-up counts)  threads=2  smoke=1 (one run of a few samples)  dump=1 (kernels with their times, on stderr)
 *   tensors=FILE (parameters by name)  cifar=DIR (which holds cifar-10-batches-bin: real images
 *   for the cases over a data set)
 *   device=cuda (default $HWB_DEVICE or cpu)  math=float32|tf32|bf16 (inside products on a GPU)
 *   deterministic=0 (last bits may vary: a GPU then times algorithms to choose them)
 *
 * One JSON line: median, least and greatest seconds of `repeat` runs after a
 * warm-up, least processor seconds of all threads, seconds of the warm-up
 * (tracing, compiling, first run), peak resident MiB above what the process
 * held before the first computation (model and data), the engine's own account
 * of the same, multiply-adds of one run and bytes its kernels read and write
 * (0 where not counted), and the check values that peer_torch.py prints for the
 * case of the same name.
 *
 * `bench machine` prints what the machine gives: multiply-adds a second of a
 * large matrix product, bytes a second of a large copy.
 */
#include "bench.h"

#include <malloc.h>
#include <time.h>

#include "data/data.h"
#include "net_bert.h"

void bench_must(const bench *b, hwb_status st, const char *what) {
    if (st == HWB_OK) return;
    fprintf(stderr, "bench: %s: %s: %s\n", what, hwb_status_name(st), hwb_message(b->ctx));
    exit(1);
}

/* ---- set-up ------------------------------------------------------------------------------ */

/* The first `count` images of CIFAR-10: training ones for products, test ones for accuracy. */
static void real_images(bench *b, int64_t count) {
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    hwb_dataset *ds;
    const char *split = strstr(b->what->name, "eval") ? "test" : "train";
    bench_must(b, hwb_dataset_cifar(b->ctx, &ds, 10, b->cifar, split), b->cifar);
    bench_must(b, hwb_dataset_set_norm(b->ctx, ds, 3, mean, std), "normalisation");
    bench_must(b, hwb_dataset_batch(b->ctx, ds, 0, count, &b->x, &b->y), b->cifar);
    hwb_dataset_release(ds);
}

static void open_case(bench *b) {
    bench_sizes *s = &b->sizes;
    int64_t count = s->images ? s->images : s->batch;
    bool deep = strcmp(b->net_name, "resnet50") == 0;
    if (strcmp(b->net_name, "bert") == 0) {
        bench_must(b, net_bert_new(b->ctx, &b->model, &b->net), "model");
        bench_must(b, net_tokens(b->ctx, &b->x, &b->y, s->batch, s->side), "tokens");
    } else {
        bench_must(b,
                   deep ? net_resnet50_new(b->ctx, &b->model, &b->net)
                        : net_resnet20_new(b->ctx, &b->model, &b->net, 16, 3),
                   "model");
        if (b->cifar && s->images) real_images(b, count);
        else
            bench_must(b, net_images(b->ctx, &b->x, &b->y, count, s->side, deep ? 1000 : 10),
                       "images");
    }
    if (b->tensors) bench_must(b, hwb_model_load(b->ctx, b->model, b->tensors), b->tensors);
    b->what->open(b);
}

static void close_case(bench *b) {
    for (int64_t i = 0; i < b->n_sent; i++) hwb__vector_release(b->sent[i]);
    free(b->sent);
    hwb__vector_release(b->product);
    hwb__space_close(&b->space);
    hwb_tensor_release(b->v);
    hwb_tensor_release(b->out);
    hwb_trainer_free(b->trainer);
    if (b->whole) hwb_curvature_release(b->whole);
    hwb_model_release(b->model);
    hwb_tensor_release(b->x);
    hwb_tensor_release(b->y);
    hwb_ctx_free(b->ctx);
}

/* ---- measuring ---------------------------------------------------------------------------- */

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A line of /proc/self/status in MiB: "VmRSS" (resident now), "VmHWM" (at most). */
static double resident(const char *which) {
    char line[128];
    double kib = NAN;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, which, strlen(which)) == 0) sscanf(strchr(line, ':') + 1, "%lf", &kib);
    if (f) fclose(f);
    return kib / 1024;
}

/* Resident MiB now, with the record of the most set back to it. */
static double resident_base(void) {
    malloc_trim(0);
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f);
        fclose(f);
    }
    return resident("VmRSS");
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void dump_list(const hwb__programs *list, bool print) {
    for (int i = 0; i < list->n; i++) {
        if (!print) {
            hwb_program_time_kernels(list->list[i].program, true);
            continue;
        }
        char *text = hwb_program_dump(list->list[i].program);
        fputs(text, stderr);
        free(text);
    }
}

/* Of products, of the gradient and the loss. */
static void dump_programs(bench *b, bool print) {
    if (!b->dump || !b->whole) return;
    dump_list(&b->whole->family->products, print);
    dump_list(&b->whole->own, print);
}

static void print_line(bench *b, const double *wall, double cpu, double first, double mib,
                       size_t before) {
    double account = (double)(hwb_memory(b->ctx).peak - before) / 1048576.0;
    printf("{\"case\": \"%s\", \"net\": \"%s\", \"batch\": %lld, \"device\": \"%s\", "
           "\"math\": \"%s\", "
           "\"deterministic\": %s, \"repeat\": "
           "%lld, \"threads\": %lld, "
           "\"seconds_median\": %.5f, \"seconds_min\": %.5f, \"seconds_max\": %.5f, "
           "\"cpu_s_min\": %.5f, \"first_s\": %.4f, \"peak_mib\": %.1f, \"account_mib\": %.1f, "
           "\"device_mib\": %.1f, \"model_mib\": %.1f, \"gmacs\": %.4f, \"gbytes\": %.4f, "
           "\"check\": [",
           b->what->name, b->net_name, (long long)b->sizes.batch, b->device,
           b->math ? b->math : "float32", b->deterministic ? "true" : "false", (long long)b->repeat,
           (long long)b->threads, wall[b->repeat / 2], wall[0], wall[b->repeat - 1], cpu, first,
           mib, account, (double)hwb_memory(b->ctx).device_peak / 1048576.0,
           (double)before / 1048576.0, b->macs / 1e9, b->bytes / 1e9);
    for (int i = 0; i < MAX_CHECKS && b->what->checks[i]; i++)
        printf("%s%.9g", i ? ", " : "", b->check[i]);
    puts("]}");
}

static void run(bench *b) {
    hwb_tensor_release(b->out);
    b->out = NULL;
    hwb__vector_release(b->product);
    b->product = NULL;
    b->macs = b->bytes = 0;
    b->what->run(b);
}

/* The last run's check values. */
static void see(bench *b) {
    if (b->what->see) b->what->see(b);
}

static void measure(bench *b) {
    double *wall = malloc((size_t)(b->repeat + 1) * sizeof *wall), least = INFINITY;
    size_t before = hwb_memory(b->ctx).live;
    hwb_memory_reset_peak(b->ctx);
    double base = resident_base(), start = hwb_seconds(), first_cpu = cpu_seconds();
    run(b);
    double first = hwb_seconds() - start;
    if (b->repeat == 0) { /* the warm-up is the run */
        wall[b->repeat++] = first;
        least = cpu_seconds() - first_cpu;
        see(b);
        print_line(b, wall, least, first, resident("VmHWM") - base, before);
        free(wall);
        return;
    }
    dump_programs(b, false);
    for (int64_t i = 0; i < b->repeat; i++) {
        double cpu = cpu_seconds();
        start = hwb_seconds();
        run(b);
        wall[i] = hwb_seconds() - start;
        if (cpu_seconds() - cpu < least) least = cpu_seconds() - cpu;
    }
    qsort(wall, (size_t)b->repeat, sizeof *wall, ascending);
    dump_programs(b, true);
    see(b);
    print_line(b, wall, least, first, resident("VmHWM") - base, before);
    free(wall);
}

/* ---- the command line ------------------------------------------------------------------------ */

static void usage(const char *why, const char *word) {
    fprintf(stderr, "bench: %s%s\nusage: bench list | machine | CASE [key=value...]\n", why, word);
    exit(2);
}

/* Each size that the case has becomes small. */
static void make_small(bench *b) {
    bench_sizes *s = &b->sizes;
    b->repeat = 1;
    if (s->batch) s->batch = 2;
    bool bert = strcmp(b->net_name, "bert") == 0;
    if (s->side > 32) s->side = bert ? 8 : 64;
    if (bert && s->k > 2) s->k = 2; /* a vector is 430 MB */
    if (s->images) s->images = 8, s->micro = 4;
    if (s->iterations) s->iterations = 1;
    if (s->probes) s->probes = 1;
    if (s->steps) s->steps = 3;
}

static void read_options(bench *b, int argc, char **argv) {
    bench_sizes *s = &b->sizes;
    struct {
        const char *name;
        int64_t *to;
    } numbers[] = {{"batch", &s->batch},
                   {"side", &s->side},
                   {"k", &s->k},
                   {"iterations", &s->iterations},
                   {"probes", &s->probes},
                   {"steps", &s->steps},
                   {"images", &s->images},
                   {"micro", &s->micro},
                   {"bits", &s->bits},
                   {"repeat", &b->repeat},
                   {"threads", &b->threads},
                   {"deterministic", &b->deterministic}};
    struct {
        const char *name, **to;
    } words[] = {{"net", &b->net_name},
                 {"tensors", &b->tensors},
                 {"cifar", &b->cifar},
                 {"device", &b->device},
                 {"math", &b->math}};
    for (int i = 2; i < argc; i++) {
        char *eq = strchr(argv[i], '=');
        bool known = false;
        if (!eq) usage("not key=value: ", argv[i]);
        *eq++ = 0;
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++)
            if (strcmp(argv[i], numbers[j].name) == 0) *numbers[j].to = atoll(eq), known = true;
        for (size_t j = 0; j < sizeof words / sizeof *words; j++)
            if (strcmp(argv[i], words[j].name) == 0) *words[j].to = eq, known = true;
        if (strcmp(argv[i], "dump") == 0) b->dump = atoi(eq), known = true;
        if (strcmp(argv[i], "smoke") == 0) {
            if (atoi(eq)) make_small(b);
            known = true;
        }
        if (!known) usage("no option ", argv[i]);
    }
    if (b->repeat < 0) usage("repeat= must be at least ", "0");
}

static void open_device(bench *b) {
    static const char *const names[] = {"float32", "tf32", "bf16"};
    hwb_device_options o = {HWB_MATH_EXACT, b->deterministic != 0};
    bool known = !b->math;
    if (!b->device) b->device = getenv("HWB_DEVICE");
    if (!b->device || !*b->device) b->device = "cpu";
    for (int i = 0; b->math && i < 3; i++)
        if (strcmp(b->math, names[i]) == 0) o.math = (hwb_math)i, known = true;
    if (!known) usage("math= is none of float32, tf32, bf16: ", b->math);
    bench_must(b, hwb_device_configure(b->ctx, &o), "device");
    bench_must(b, hwb_set_device(b->ctx, b->device), "device");
}

static void list_cases(void) {
    for (int i = 0; i < bench_case_count; i++)
        printf("%s\t%s\t%s\n", bench_cases[i].name, bench_cases[i].net, bench_cases[i].summary);
}

int main(int argc, char **argv) {
    bench b = {.repeat = 5, .threads = 2, .deterministic = 1};
    if (argc < 2) usage("no case", "");
    if (strcmp(argv[1], "list") == 0) {
        list_cases();
        return 0;
    }
    bool machine = strcmp(argv[1], "machine") == 0;
    for (int i = 0; i < bench_case_count; i++)
        if (strcmp(bench_cases[i].name, machine ? "gradient" : argv[1]) == 0)
            b.what = &bench_cases[i];
    if (!b.what) usage("no case ", argv[1]);
    b.net_name = b.what->net;
    b.sizes = b.what->sizes;
    read_options(&b, argc, argv);
    if (machine) {
        double macs, bytes;
        bench_machine((int)b.threads, &macs, &bytes);
        printf("{\"gmacs_per_s\": %.1f, \"gbytes_per_s\": %.1f}\n", macs / 1e9, bytes / 1e9);
        return 0;
    }
    if (strcmp(b.net_name, "resnet50") == 0 && strcmp(b.what->net, "resnet50") != 0) {
        if (b.sizes.batch == b.what->sizes.batch) b.sizes.batch = 8;
        if (b.sizes.side == b.what->sizes.side) b.sizes.side = 224;
    }
    if (hwb_ctx_new(&b.ctx) != HWB_OK) return 1;
    hwb_set_threads(b.ctx, (int)b.threads);
    open_device(&b);
    open_case(&b);
    measure(&b);
    close_case(&b);
    return 0;
}
