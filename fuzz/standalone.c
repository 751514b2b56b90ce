/* Replays a corpus without a fuzzer: every file named, and every file of every folder named, goes
 * through LLVMFuzzerTestOneInput once. Prints how many there were; none at all is a failure. When
 * one crashes, its name is the last line. */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char current[4096];
static unsigned count;

static void name_the_crash(int number) { /* signal-safe; the default action follows */
    static const char text[] = "crashed on ";
    if (write(2, text, sizeof text - 1) < 0 || write(2, current, strlen(current)) < 0 ||
        write(2, "\n", 1) < 0)
        _exit(2);
    signal(number, SIG_DFL);
    raise(number);
}

static int replay_file(const char *path, off_t size) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? (size_t)size : 1); /* exact, so that a sanitizer sees the end */
    if (!f || !data || fread(data, 1, (size_t)size, f) != (size_t)size) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    fclose(f);
    snprintf(current, sizeof current, "%s", path);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    count++;
    return 0;
}

static int replay(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "no %s\n", path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode)) return replay_file(path, st.st_size);
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort), failed = n < 0;
    for (int i = 0; i < n; i++) {
        char sub[4096];
        snprintf(sub, sizeof sub, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') failed |= replay(sub);
        free(names[i]);
    }
    if (n >= 0) free(names);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    signal(SIGSEGV, name_the_crash);
    signal(SIGBUS, name_the_crash);
    signal(SIGFPE, name_the_crash);
    signal(SIGABRT, name_the_crash);
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    printf("%u inputs\n", count);
    return failed || count == 0;
}
