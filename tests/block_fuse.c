/* block_fuse: a disk whose every write and flush is written down, and what it holds after a power
 * cut at any of them. For tests/all_block.sh.
 *
 *     block_fuse serve FOLDER DISK LOG    mounts a file system of two files there: `disk`, which
 *                                         is the file DISK, and `mark`; ends when unmounted, or
 *                                         when who started it dies
 *     block_fuse plan LOG N SEED          says which images to make, "KIND CUT SEED" each: `none`
 * for every flush, and N of `any` block_fuse image LOG KIND CUT SEED DISK MARKS turns DISK, the
 * disk as it was when the log began, into what a cut at entry CUT leaves; what was written to
 *                                         `mark` before the cut goes to MARKS; says how many blocks
 *                                         were lost
 *
 * The log is a row of entries: a head, and for a write or a mark its bytes. One thread serves, so
 * the order of the log is the order in which the calls were answered: who wrote a mark after its
 * sync returned finds it behind the flush.
 *
 * What stands in front of the last flush before the cut is on the disk; of what came after it
 *     none    nothing is
 *     any     each block (in half of the images: each write) is or is not, by the seed
 * A block is 4096 bytes: ext4 itself trusts that the block with its superblock does not tear. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#define FUSE_USE_VERSION  31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCK = 4096 };

typedef struct entry {
    char kind; /* W write, F flush, M mark */
    uint32_t len;
    uint64_t at;
} entry;

static void die(const char *what) {
    fprintf(stderr, "block_fuse: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- serve ---- */

static int disk_fd, log_fd;

static int note(char kind, uint64_t at, const char *data, size_t len) {
    entry e;
    memset(&e, 0, sizeof e);
    e.kind = kind;
    e.len = (uint32_t)len;
    e.at = at;
    struct iovec v[2] = {{&e, sizeof e}, {(void *)data, len}};
    return writev(log_fd, v, 2) == (ssize_t)(sizeof e + len) ? 0 : -EIO;
}

static bool is_disk(const char *path) {
    return strcmp(path, "/disk") == 0;
}

static int serve_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
    (void)fi;
    memset(st, 0, sizeof *st);
    if (strcmp(path, "/") == 0) {
        st->st_mode = S_IFDIR | 0700;
        st->st_nlink = 2;
        return 0;
    }
    if (!is_disk(path) && strcmp(path, "/mark") != 0) return -ENOENT;
    if (is_disk(path) && fstat(disk_fd, st) != 0) return -errno;
    st->st_mode = S_IFREG | 0600;
    st->st_nlink = 1;
    return 0;
}

static int serve_open(const char *path, struct fuse_file_info *fi) {
    fi->direct_io = !is_disk(path);
    return 0;
}

static int serve_read(const char *path, char *out, size_t len, off_t at,
                      struct fuse_file_info *fi) {
    (void)fi;
    if (!is_disk(path)) return 0;
    ssize_t n = pread(disk_fd, out, len, at);
    return n < 0 ? -errno : (int)n;
}

static int serve_write(const char *path, const char *data, size_t len, off_t at,
                       struct fuse_file_info *fi) {
    (void)fi;
    bool disk = is_disk(path);
    if (disk && pwrite(disk_fd, data, len, at) != (ssize_t)len) return -EIO;
    int rc = note(disk ? 'W' : 'M', (uint64_t)at, data, len);
    return rc ? rc : (int)len;
}

static int serve_fsync(const char *path, int data_only, struct fuse_file_info *fi) {
    (void)data_only;
    (void)fi;
    return is_disk(path) ? note('F', 0, NULL, 0) : 0;
}

static int serve(const char *folder, const char *disk, const char *log) {
    static const struct fuse_operations ops = {.getattr = serve_getattr,
                                               .open = serve_open,
                                               .read = serve_read,
                                               .write = serve_write,
                                               .fsync = serve_fsync};
    char *argv[] = {"block_fuse", "-f", "-s", (char *)folder, NULL};
    pid_t parent = getppid();
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent) die("prctl");
    if ((disk_fd = open(disk, O_RDWR | O_CLOEXEC)) < 0) die(disk);
    if ((log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0) die(log);
    return fuse_main(4, argv, &ops, NULL);
}

/* ---- the log, read again ---- */

typedef struct record {
    entry e;
    const char *data;
} record;

static record *records;
static size_t count;

static void load(const char *log) {
    struct stat st;
    size_t cap = 0;
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0) die(log);
    const char *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED) die(log);
    for (size_t at = 0, size = (size_t)st.st_size; at < size; count++) {
        if (count == cap)
            records = realloc(records, (cap = cap ? 2 * cap : 4096) * sizeof *records);
        if (!records) die("memory");
        record *r = &records[count];
        memcpy(&r->e, base + at, sizeof r->e);
        r->data = base + at + sizeof r->e;
        at += sizeof r->e + r->e.len;
    }
    close(fd);
}

static uint64_t seed;

static uint64_t random_below(uint64_t n) { /* splitmix64 */
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

/* ---- plan ---- */

/* Between two flushes the disk without the unflushed is always the same, and the most was promised
 * in front of the second: one image for each flush that had something to write. */
static void plan(size_t n) {
    size_t *open = malloc((count + 1) * sizeof *open), found = 0, unflushed = 0;
    if (!open) die("memory");
    for (size_t i = 0; i < count; i++) {
        if (records[i].e.kind == 'W') unflushed++;
        if (records[i].e.kind == 'F') {
            if (unflushed) printf("none %zu 0\n", i);
            unflushed = 0;
        }
        if (unflushed) open[found++] = i + 1;
    }
    printf("none %zu 0\n", count);
    for (size_t i = 0; found && i < n; i++) {
        size_t cut = open[random_below(found)];
        printf("any %zu %" PRIu64 "\n", cut, random_below(1u << 30));
    }
    free(open);
}

/* ---- image ---- */

static void put(int fd, const record *r, size_t from, size_t to) {
    if (pwrite(fd, r->data + from, to - from, (off_t)(r->e.at + from)) != (ssize_t)(to - from))
        die("writing the image");
}

static size_t put_some(int fd, const record *r, uint64_t keep, bool whole) {
    size_t lost = 0, to;
    for (size_t from = 0; from < r->e.len; from = to) {
        to = from + BLOCK - (r->e.at + from) % BLOCK;
        if (whole || to > r->e.len) to = r->e.len;
        if (random_below(8) < keep)
            put(fd, r, from, to);
        else
            lost += (to - from + BLOCK - 1) / BLOCK;
    }
    return lost;
}

static void image(const char *kind, size_t cut, const char *disk, const char *marks) {
    static const uint64_t keeps[4] = {1, 4, 4, 7}; /* of 8 */
    size_t lost = 0, flushed = 0;
    bool none = strcmp(kind, "none") == 0, whole = random_below(2) != 0;
    uint64_t keep = none ? 0 : keeps[random_below(4)];
    int fd = open(disk, O_RDWR | O_CLOEXEC);
    FILE *out = fopen(marks, "w");
    if (fd < 0 || !out) die(disk);
    if (cut > count) cut = count;
    for (size_t i = 0; i < cut; i++)
        if (records[i].e.kind == 'F') flushed = i;
    for (size_t i = 0; i < cut; i++) {
        const record *r = &records[i];
        if (r->e.kind == 'M')
            fwrite(r->data, 1, r->e.len, out);
        else if (r->e.kind == 'W' && i < flushed)
            put(fd, r, 0, r->e.len);
        else if (r->e.kind == 'W')
            lost += put_some(fd, r, keep, whole);
    }
    if (fclose(out) != 0 || close(fd) != 0) die(marks);
    printf("%zu\n", lost);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "serve") == 0 && argc == 5) return serve(argv[2], argv[3], argv[4]);
    if (strcmp(what, "plan") == 0 && argc == 5) {
        load(argv[2]);
        seed = strtoull(argv[4], NULL, 10);
        plan(strtoul(argv[3], NULL, 10));
    } else if (strcmp(what, "image") == 0 && argc == 8) {
        load(argv[2]);
        seed = strtoull(argv[5], NULL, 10);
        image(argv[3], strtoul(argv[4], NULL, 10), argv[6], argv[7]);
    } else
        return fprintf(stderr, "block_fuse: wrong arguments; see the head of block_fuse.c\n"), 2;
    return fflush(stdout) == 0 ? 0 : 1;
}
