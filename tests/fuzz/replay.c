/*
 * replay.c: the main program of a harness without libFuzzer: runs it on every
 * file named on the command line, and on every file of a folder named there.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

/* The data go into a block of exactly their size: reads beyond it show. */
static int replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return -1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, f) != size) abort();
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

static int replay(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return replay_file(path);
    int count = 0;
    for (struct dirent *e; count >= 0 && (e = readdir(dir));) {
        char name[4096];
        if (e->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        count = replay_file(name) < 0 ? -1 : count + 1;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv) {
    int count = 0;
    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);
        if (n < 0) return 1;
        count += n;
    }
    printf("%d inputs\n", count);
    return count ? 0 : 1; /* an empty corpus proves nothing */
}
