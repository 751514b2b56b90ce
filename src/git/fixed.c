/* fixed: what a repository has from its first moment on, and no commit changes.
 *
 *     HEAD                 ref: refs/heads/main
 *     config               repositoryformatversion 0, bare, no reflogs
 *     objects/ objects/pack/ objects/info/ refs/heads/ refs/tags/
 *
 * (1) HEAD and config are a person's to change, through git. What git itself cannot read is damage
 *     and made anew; such a config is kept beside it as config.damaged.
 * (2) The look at config is git's own grammar, not its meaning: a key that git does not know, or a
 *     value that it does not like, is a person's and stays. */
#include "parts.h"

#define FIXED_MAX  (1024u * 1024)
#define FIXED_HEAD "ref: refs/heads/main\n"
#define FIXED_CONFIG                                                                               \
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = false\n\tbare = true\n"                   \
    "\tlogallrefupdates = false\n"

/* Does HEAD name a ref, or a commit? */
static bool fixed_head_good(const unsigned char *p, size_t n) {
    static const char ref[] = "ref: refs/";
    agt_oid id;
    size_t at = sizeof ref - 1;
    while (n && (p[n - 1] == '\n' || p[n - 1] == ' '))
        n--;
    if (n == 40) return agt__unhex((const char *)p, n, id.id, 20);
    if (n <= at || memcmp(p, ref, at) != 0) return false;
    while (at < n && p[at] > ' ' && p[at] != 0x7f)
        at++;
    return at == n;
}

/* A value up to its line's end, as git reads it: quotes closed, no unknown escape. */
static bool fixed_config_value(const unsigned char *p, size_t n, size_t *at) {
    bool quoted = false;
    for (; *at < n && p[*at] != '\n'; ++*at) {
        if (!quoted && (p[*at] == '#' || p[*at] == ';')) {
            while (*at < n && p[*at] != '\n')
                ++*at;
            return true;
        }
        if (p[*at] == '"') quoted = !quoted;
        if (p[*at] != '\\') continue;
        if (++*at == n) return false;
        if (p[*at] == '\r' && *at + 1 < n && p[*at + 1] == '\n') ++*at;
        if (!strchr("\nntb\"\\", p[*at]) || !p[*at]) return false;
    }
    return !quoted;
}

static bool fixed_config_letter(unsigned char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && ((c >= '0' && c <= '9') || c == '-'));
}

/* "[name]" or '[name "rest"]' */
static bool fixed_config_section(const unsigned char *p, size_t n, size_t *at) {
    size_t from = ++*at;
    while (*at < n && (fixed_config_letter(p[*at], false) || p[*at] == '.'))
        ++*at;
    if (*at == from || *at == n) return false;
    if (p[(*at)++] == ']') return true;
    while (*at < n && (p[*at] == ' ' || p[*at] == '\t'))
        ++*at;
    if (*at == n || p[*at] != '"') return false;
    while (++*at < n && p[*at] != '"' && p[*at] != '\n')
        if (p[*at] == '\\' && *at + 1 < n && p[*at + 1] != '\n') ++*at;
    if (*at + 1 >= n || p[*at] != '"' || p[*at + 1] != ']') return false;
    *at += 2;
    return true;
}

/* "name", or "name = value" */
static bool fixed_config_entry(const unsigned char *p, size_t n, size_t *at) {
    if (!fixed_config_letter(p[*at], true)) return false;
    while (*at < n && fixed_config_letter(p[*at], false))
        ++*at;
    while (*at < n && (p[*at] == ' ' || p[*at] == '\t'))
        ++*at;
    if (*at + 1 < n && p[*at] == '\r' && p[*at + 1] == '\n') ++*at;
    if (*at == n || p[*at] == '\n') return true;
    return p[*at] == '=' && fixed_config_value(p, n, at);
}

/* Could git read it? An empty file is a power cut's. */
static bool fixed_config_good(const unsigned char *p, size_t n) {
    size_t at = n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n) {
        if (p[at] == ' ' || p[at] == '\t' || p[at] == '\r' || p[at] == '\n') {
            at++;
        } else if (p[at] == '#' || p[at] == ';') {
            while (at < n && p[at] != '\n')
                at++;
        } else if (p[at] == '[') {
            if (!fixed_config_section(p, n, &at)) return false;
        } else if (!fixed_config_entry(p, n, &at))
            return false;
    }
    return n > 0;
}

typedef struct fixed_file {
    const char *name, *text, *kept; /* kept: the name that a damaged one gets */
    bool (*good)(const unsigned char *p, size_t n);
} fixed_file;

static const fixed_file fixed_files[] = {
    {"config", FIXED_CONFIG, "config.damaged", fixed_config_good},
    {"HEAD", FIXED_HEAD, NULL, fixed_head_good}};

/* Writes a file unless it is there and git can read it: (1). */
static agt_status fixed_make_file(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                  const fixed_file *f, agt_error *err) {
    agt_buf b = agt__buf(mem);
    agt_error mine;
    int rc = 0;
    agt_status status = agt__read_file(sys, dir, f->name, FIXED_MAX, &b, &mine);
    bool good = status == AGT_OK && f->good(b.data, b.len);
    if (status == AGT_OK && !good && b.len && f->kept)
        rc = sys->rename(sys->ctx, dir, f->name, dir, f->kept, AGT_RENAME_REPLACE);
    agt__buf_free(&b);
    if (good) return AGT_OK;
    if (rc < 0) return agt__fail_io(err, rc, "cannot keep .agent-trace/git/%s", f->kept);
    if (status != AGT_OK && status != AGT_NOT_FOUND) {
        if (err) *err = mine;
        return status;
    }
    return agt__write_file(sys, dir, f->name, f->text, strlen(f->text), true, err);
}

AGT_PRIVATE const char *agt__git_damaged_file(const agt_sys *sys, agt_fd dir, const agt_mem *mem) {
    for (size_t i = 0; i < AGT_COUNT(fixed_files); i++) {
        agt_buf b = agt__buf(mem);
        agt_status status = agt__read_file(sys, dir, fixed_files[i].name, FIXED_MAX, &b, NULL);
        bool damaged = status == AGT_INVALID || status == AGT_LIMIT ||
                       (status == AGT_OK && !fixed_files[i].good(b.data, b.len));
        agt__buf_free(&b);
        if (damaged) return fixed_files[i].name;
    }
    return NULL;
}

/* Makes `parent` and two folders in it, and syncs their names. */
static agt_status fixed_make_folders(const agt_sys *sys, agt_fd dir, const char *parent,
                                     const char *one, const char *two, agt_error *err) {
    agt_fd fd, sub;
    agt_status status = agt__open_folder(sys, dir, parent, true, &fd, err);
    if (status != AGT_OK) return status;
    const char *names[2] = {one, two};
    for (size_t i = 0; i < 2 && status == AGT_OK; i++) {
        status = agt__open_folder(sys, fd, names[i], true, &sub, err);
        if (status != AGT_OK) break;
        int rc = sys->sync(sys->ctx, sub);
        sys->close(sys->ctx, sub);
        if (rc < 0) status = agt__fail_io(err, rc, "cannot sync the git folder");
    }
    int rc = status == AGT_OK ? sys->sync(sys->ctx, fd) : 0;
    if (rc < 0) status = agt__fail_io(err, rc, "cannot sync the git folder");
    sys->close(sys->ctx, fd);
    return status;
}

AGT_PRIVATE agt_status agt__git_init(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                     agt_error *err) {
    agt_status status = fixed_make_folders(sys, dir, "objects", "pack", "info", err);
    if (status == AGT_OK) status = fixed_make_folders(sys, dir, "refs", "heads", "tags", err);
    for (size_t i = 0; i < AGT_COUNT(fixed_files) && status == AGT_OK; i++)
        status = fixed_make_file(sys, dir, mem, &fixed_files[i], err);
    if (status != AGT_OK) return status;
    int rc = sys->sync(sys->ctx, dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync the git folder") : AGT_OK;
}
