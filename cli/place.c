/* place: see place.h.
 *
 * An agent makes no store where that would free documents from the rules of another one: beneath a
 * store that is there, or where one was and only a backup has it. The user may, and is told. Nor
 * does one make a store in a bare repository, whose config and hooks would be its documents. */
#include "place.h"

#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACE_INDEX "AGENT-TRACE.md"

typedef bool (*place_is)(const char *path);

static bool place_is_there(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

/* The heading of 0.1.0 begins so, too. */
static bool place_is_index(const char *path) {
    static const char head[] = "# Agent Trace\n";
    char text[sizeof head - 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text);
    (void)close(fd);
    return n == (ssize_t)sizeof text && memcmp(text, head, sizeof text) == 0;
}

/* Is that the HEAD of a repository whose folder is not called .git? */
static bool place_is_repository(const char *head) {
    int folder = (int)strlen(head) - (int)sizeof "HEAD";
    char path[4096 + 32];
    struct stat st;
    if (!place_is_there(head)) return false;
    (void)snprintf(path, sizeof path, "%.*s/objects", folder, head);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return false;
    (void)snprintf(path, sizeof path, "%.*s/refs", folder, head);
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool place_walk(const char *folder, const char *name, place_is is, char *out, size_t size) {
    char path[4096 + 32];
    size_t n = strlen(folder);
    if (n >= size || n >= 4096) return false;
    memcpy(out, folder, n + 1);
    for (;;) {
        (void)snprintf(path, sizeof path, "%s/%s", out, name);
        if (is(path)) return true;
        while (n > 0 && out[n - 1] != '/')
            n--;
        if (n <= 1) return false;
        out[--n] = 0;
    }
}

bool place_above(const char *folder, const char *name, char *out, size_t size) {
    return place_walk(folder, name, place_is_there, out, size);
}

bool place_is_folder(const char *folder, const char *name) {
    char path[4096 + 32];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool place_left_index(const char *folder, char *out, size_t size) {
    return place_walk(folder, PLACE_INDEX, place_is_index, out, size);
}

/* ---- linked work trees ---- */

/* The file .git of a linked work tree names a folder in worktrees/ of the repository; that of a
 * submodule names a repository. Gets what it names, as seen from the folder of the file. */
static bool place_read_git(const char *git, char *out, size_t size) {
    static const char head[] = "gitdir: ";
    char text[4096];
    int fd = open(git, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = 0;
    if (strncmp(text, head, sizeof head - 1) != 0) return false;
    char *to = text + sizeof head - 1;
    to[strcspn(to, "\r\n")] = 0;
    int folder = to[0] == '/' ? 0 : (int)(strlen(git) - strlen(".git"));
    int len = snprintf(out, size, "%.*s%s", folder, git, to);
    return len > 0 && (size_t)len < size;
}

/* Where the name of a linked work tree's folder ends the repository's; NULL if it is none. */
static char *place_linked(char *named) {
    char *name = strrchr(named, '/');
    size_t part = strlen("/worktrees");
    if (!name || (size_t)(name - named) <= part) return NULL;
    return strncmp(name - part, "/worktrees", part) == 0 ? name - part : NULL;
}

static bool place_is_linked(const char *git) {
    char named[4096 * 2];
    return place_read_git(git, named, sizeof named) && place_linked(named);
}

/* The repository that a .git leads to, which is one for all of its work trees; free it. */
static char *place_repository(const char *folder) {
    char git[4096 + 32], named[4096 * 2];
    (void)snprintf(git, sizeof git, "%s/.git", folder);
    if (!place_read_git(git, named, sizeof named)) return realpath(git, NULL);
    char *end = place_linked(named);
    if (end) *end = 0;
    return realpath(named, NULL);
}

bool place_own_tree(const char *folder, const char *root, char *out, size_t size) {
    char around[4096];
    if (!place_walk(folder, ".git", place_is_linked, out, size)) return false;
    if (strlen(out) <= strlen(root) || !place_above(root, ".git", around, sizeof around))
        return false;
    char *inner = place_repository(out), *outer = place_repository(around);
    bool same = inner && outer && strcmp(inner, outer) == 0;
    free(inner);
    free(outer);
    return same;
}

char *place_real(const char *folder, const char **rest) {
    char there[4096], *whole;
    size_t n = strlen(folder);
    *rest = folder + n;
    if (n >= sizeof there) return NULL; /* no system takes it */
    memcpy(there, folder, n + 1);
    while (!(whole = realpath(n ? there : ".", NULL)) && errno == ENOENT && n > 0) {
        while (n > 0 && there[n - 1] == '/')
            n--;
        while (n > 0 && there[n - 1] != '/')
            n--;
        there[n] = 0;
    }
    *rest = folder + n;
    return whole;
}

/* What an agent may not do; `real` is the folder, or the nearest one above that is there. */
static int place_check_agent(cli *c, const char *folder, const char *real, const char *actor) {
    char outer[4096];
    agt_error err;
    agt_status st = agt_store_find(real, outer, sizeof outer, &err);
    if (st == AGT_OK)
        return out_fail(
            CLI_DENIED,
            "denied: %s may not make a store in %s: it lies in the store %s, whose rules "
            "would end there; ask the user, who may",
            actor, folder, outer);
    if (st != AGT_NOT_FOUND) return cli_failed(c, st, &err);
    if (place_walk(real, "HEAD", place_is_repository, outer, sizeof outer))
        return out_fail(CLI_DENIED,
                        "denied: %s may not make a store in %s: %s is a git repository, and git "
                        "runs programs that files in there name; make it in a work tree, or ask "
                        "the user, who may",
                        actor, folder, outer);
    if (!place_left_index(real, outer, sizeof outer)) return CLI_DONE;
    return out_fail(CLI_DENIED,
                    "denied: %s may not make a store in %s: %s/" PLACE_INDEX
                    " says that there was one, and its rules with it; ask the user, who can put "
                    ".agent-trace back from a backup, or begin anew with 'agent-trace init'",
                    actor, folder, outer);
}

/* A file of that name becomes the first version of the index; what is none would stop it when the
 * store is made already. */
static int place_check_index(const char *folder) {
    char path[4096 + 32];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/" PLACE_INDEX, folder);
    if (strlen(folder) >= 4096 || lstat(path, &st) != 0) return CLI_DONE;
    if (!S_ISREG(st.st_mode))
        return out_fail(CLI_USAGE,
                        "%s is %s, and the index of the documents belongs there; move it away, or "
                        "leave the index out with --plain",
                        path,
                        S_ISDIR(st.st_mode)   ? "a folder"
                        : S_ISLNK(st.st_mode) ? "a link"
                                              : "no regular file");
    if ((uint64_t)st.st_size > AGT_MAX_DOCUMENT)
        return out_fail(CLI_USAGE, "%s has more than %u bytes; move it away, or use --plain", path,
                        AGT_MAX_DOCUMENT);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return out_fail(CLI_ERROR, "cannot read %s: %s; move it away, or use --plain", path,
                        strerror(errno));
    (void)close(fd);
    return CLI_DONE;
}

int place_check(cli *c, const char *folder, const char *actor) {
    const char *rest;
    char *real = place_real(folder, &rest);
    int code = CLI_DONE;
    if (real && strncmp(actor, "agent:", 6) == 0) code = place_check_agent(c, folder, real, actor);
    free(real);
    if (code == CLI_DONE && !c->args.value[OPT_PLAIN]) code = place_check_index(folder);
    return code;
}
