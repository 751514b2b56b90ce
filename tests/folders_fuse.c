/* folders_fuse: a folder shown again somewhere else, as file systems in user space show theirs. For
 * tests/all_folders.sh.
 *
 *     folders_fuse FOLDER POINT KIND    shows FOLDER at POINT; ends when that is unmounted, or when
 *                                       who started it dies
 *
 *     plain    all that the file system below can do
 *     poor     as one over a network: times in whole seconds, another inode number whenever a file
 *              is looked up anew, and no hard links, reserved room, exchanged or careful renames
 *     nocase   names that differ in the case of ASCII letters alone lead to the same file
 *
 * One thread serves, so no state needs a lock. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#define FUSE_USE_VERSION  31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int base;
static bool poor, nocase;

static int result(long rc) {
    return rc < 0 ? -errno : (int)rc;
}

/* The name as it is written in its folder. */
static void as_written(const char *folder, char *name) {
    int fd = openat(base, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = fd < 0 ? NULL : fdopendir(fd);
    if (!all) return;
    for (struct dirent *e; (e = readdir(all));)
        if (strcasecmp(e->d_name, name) == 0) {
            memcpy(name, e->d_name, strlen(name));
            break;
        }
    closedir(all);
}

/* The path below the folder that is shown. It stays good until the next but one is asked for. */
static const char *at(const char *path) {
    static char out[2][4200];
    static int turn;
    char *to = out[turn = !turn];
    snprintf(to, sizeof out[0], ".%s", path);
    if (!nocase || path[1] == 0) return path[1] ? to : ".";
    for (char *name = to + 2; name; name++) {
        char *end = strchr(name, '/');
        struct stat st;
        if (end) *end = 0;
        if (fstatat(base, to, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            name[-1] = 0;
            as_written(to, name);
            name[-1] = '/';
        }
        if (end) *end = '/';
        if (!(name = end)) break;
    }
    return to;
}

static void shown(struct stat *st) {
    if (poor) st->st_mtim.tv_nsec = st->st_ctim.tv_nsec = st->st_atim.tv_nsec = 0;
}

static void *show_init(struct fuse_conn_info *conn, struct fuse_config *config) {
    (void)conn;
    config->use_ino = !poor;
    config->hard_remove = 1; /* a deleted file that is open is read through its own handle */
    config->nullpath_ok = 0;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    return NULL;
}

static int show_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
    int rc = fi ? fstat((int)fi->fh, st) : fstatat(base, at(path), st, AT_SYMLINK_NOFOLLOW);
    shown(st);
    return result(rc);
}

static int show_readlink(const char *path, char *out, size_t size) {
    ssize_t n = readlinkat(base, at(path), out, size - 1);
    if (n >= 0) out[n] = 0;
    return n < 0 ? -errno : 0;
}

static int show_readdir(const char *path, void *out, fuse_fill_dir_t fill, off_t from,
                        struct fuse_file_info *fi, enum fuse_readdir_flags flags) {
    (void)from;
    (void)fi;
    (void)flags;
    int fd = openat(base, at(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = fd < 0 ? NULL : fdopendir(fd);
    if (!all) return -errno;
    for (struct dirent *e; (e = readdir(all));)
        fill(out, e->d_name, NULL, 0, 0);
    closedir(all);
    return 0;
}

static int show_mkdir(const char *path, mode_t mode) {
    return result(mkdirat(base, at(path), mode));
}

static int show_unlink(const char *path) {
    return result(unlinkat(base, at(path), 0));
}

static int show_rmdir(const char *path) {
    return result(unlinkat(base, at(path), AT_REMOVEDIR));
}

static int show_symlink(const char *to, const char *path) {
    return result(symlinkat(to, base, at(path)));
}

static int show_rename(const char *from, const char *to, unsigned flags) {
    if (poor && flags) return -EINVAL;
    return result(renameat2(base, at(from), base, at(to), flags));
}

static int show_link(const char *from, const char *to) {
    return poor ? -ENOSYS : result(linkat(base, at(from), base, at(to), 0));
}

static int show_chmod(const char *path, mode_t mode, struct fuse_file_info *fi) {
    return result(fi ? fchmod((int)fi->fh, mode) : fchmodat(base, at(path), mode, 0));
}

static int show_chown(const char *path, uid_t user, gid_t group, struct fuse_file_info *fi) {
    (void)fi;
    return result(fchownat(base, at(path), user, group, AT_SYMLINK_NOFOLLOW));
}

static int show_truncate(const char *path, off_t size, struct fuse_file_info *fi) {
    if (fi) return result(ftruncate((int)fi->fh, size));
    int fd = openat(base, at(path), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = result(ftruncate(fd, size));
    close(fd);
    return rc;
}

static int show_utimens(const char *path, const struct timespec times[2],
                        struct fuse_file_info *fi) {
    (void)fi;
    return result(utimensat(base, at(path), times, AT_SYMLINK_NOFOLLOW));
}

static int show_open_as(const char *path, int flags, mode_t mode, struct fuse_file_info *fi) {
    int fd = openat(base, at(path), flags | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) return -errno;
    fi->fh = (uint64_t)fd;
    return 0;
}

static int show_create(const char *path, mode_t mode, struct fuse_file_info *fi) {
    return show_open_as(path, fi->flags | O_CREAT, mode, fi);
}

static int show_open(const char *path, struct fuse_file_info *fi) {
    return show_open_as(path, fi->flags, 0, fi);
}

static int show_read(const char *path, char *out, size_t len, off_t from,
                     struct fuse_file_info *fi) {
    (void)path;
    return result(pread((int)fi->fh, out, len, from));
}

static int show_write(const char *path, const char *data, size_t len, off_t to,
                      struct fuse_file_info *fi) {
    (void)path;
    return result(pwrite((int)fi->fh, data, len, to));
}

static int show_statfs(const char *path, struct statvfs *st) {
    (void)path;
    return result(fstatvfs(base, st));
}

static int show_release(const char *path, struct fuse_file_info *fi) {
    (void)path;
    return result(close((int)fi->fh));
}

static int show_fsync(const char *path, int data_only, struct fuse_file_info *fi) {
    (void)path;
    return result(data_only ? fdatasync((int)fi->fh) : fsync((int)fi->fh));
}

static int show_fallocate(const char *path, int mode, off_t from, off_t len,
                          struct fuse_file_info *fi) {
    (void)path;
    return poor ? -EOPNOTSUPP : result(fallocate((int)fi->fh, mode, from, len));
}

static const struct fuse_operations ops = {.init = show_init,
                                           .getattr = show_getattr,
                                           .readlink = show_readlink,
                                           .readdir = show_readdir,
                                           .mkdir = show_mkdir,
                                           .unlink = show_unlink,
                                           .rmdir = show_rmdir,
                                           .symlink = show_symlink,
                                           .rename = show_rename,
                                           .link = show_link,
                                           .chmod = show_chmod,
                                           .chown = show_chown,
                                           .truncate = show_truncate,
                                           .utimens = show_utimens,
                                           .create = show_create,
                                           .open = show_open,
                                           .read = show_read,
                                           .write = show_write,
                                           .statfs = show_statfs,
                                           .release = show_release,
                                           .fsync = show_fsync,
                                           .fallocate = show_fallocate};

int main(int argc, char **argv) {
    pid_t parent = getppid();
    if (argc != 4) return fprintf(stderr, "usage: folders_fuse FOLDER POINT KIND\n"), 2;
    poor = strcmp(argv[3], "poor") == 0;
    nocase = strcmp(argv[3], "nocase") == 0;
    base = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        return perror(argv[1]), 1;
    umask(0);
    char *args[] = {argv[0], "-f", "-s", "-o", "default_permissions", argv[2], NULL};
    return fuse_main(6, args, &ops, NULL);
}
