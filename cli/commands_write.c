/* commands_write: init, write, rm and restore.
 *
 * The three that change a document are one procedure (change.c). */
#include "cli.h"

#include "change.h"
#include "output.h"
#include "place.h"
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- init ---- */

/* What to type next, from the folder one is in. */
static void init_hint(const char *folder, const char *root) {
    char cwd[4096], word[4096 * 2];
    (void)fputs("write a document with: agent-trace ", stdout);
    if (!getcwd(cwd, sizeof cwd) || strcmp(cwd, root) != 0) {
        (void)fputs("-C ", stdout);
        (void)out_word(folder, word, sizeof word);
        out_text(word, strlen(word));
        (void)putchar(' ');
    }
    (void)puts("write notes.md --content 'hello'");
}

/* One store may lie in another; whoever did not mean that should know. */
static void init_note_outer(const char *root) {
    char parent[4096], outer[4096];
    (void)snprintf(parent, sizeof parent, "%s", root);
    char *slash = strrchr(parent, '/');
    if (!slash || !slash[1]) return; /* "/" */
    slash[slash == parent] = 0;
    if (agt_store_find(parent, outer, sizeof outer, NULL) == AGT_OK)
        out_note("%s lies in the folder of another store, %s", root, outer);
}

/* `s` is NULL where nothing was to be taken in. */
static int init_report(cli *c, const char *folder, const char *root, bool made, const scan *s) {
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_error err;
    agt_status st = agt_store_get_info(c->store, &info, &err);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    if (c->json) {
        out_json j = {0};
        json_open(&j, NULL, '{');
        json_put(&j, "root", root);
        json_put_bool(&j, "created", made);
        json_put(&j, "id", info.id);
        if (s) scan_print_json(s, &j);
        json_close(&j, '}');
    } else {
        (void)printf(made ? "made a store in " : "there is a store already in ");
        out_text(root, strlen(root));
        (void)putchar('\n');
        if (s) scan_print(s);
        if (made && !s) init_hint(folder, root);
    }
    if (made) init_note_outer(root);
    return CLI_DONE;
}

static bool init_names(const char *path, const char *name) {
    for (size_t n; *path; path += n + (path[n] == '/')) {
        n = strcspn(path, "/");
        if (n == strlen(name) && strncasecmp(path, name, n) == 0) return true;
    }
    return false;
}

/* A store inside the private folder of another would be taken for damage there. Links are followed
 * as far as the folders are there; what is missing has none. The library knows a .git in every
 * disguise; here one is told before the folders on the way to the store are made. */
static int init_check_folder(const char *folder) {
    const char *rest;
    char *whole = place_real(folder, &rest);
    bool private = (whole && init_names(whole, ".agent-trace")) || init_names(rest, ".agent-trace");
    bool git = (whole && init_names(whole, ".git")) || init_names(rest, ".git");
    free(whole);
    if (private)
        return out_fail(CLI_USAGE, "%s belongs to a store; make one in a folder of your own",
                        folder);
    if (git)
        return out_fail(CLI_USAGE,
                        "no store is made in %s: it is, or lies in, a .git, and git runs programs "
                        "that files in there name; make it in another folder",
                        folder);
    return CLI_DONE;
}

/* Makes the folders on the way to it. */
static int init_parents(const char *folder) {
    char path[4096];
    if (strlen(folder) >= sizeof path) return CLI_DONE;
    (void)snprintf(path, sizeof path, "%s", folder);
    for (char *p = path + 1; *p; p++) {
        if (*p != '/' || p[-1] == '/') continue;
        *p = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return out_fail(CLI_ERROR, "cannot make the folder %s: %s", path, strerror(errno));
        *p = '/';
    }
    return CLI_DONE;
}

/* Opens the store, or makes it if there is none. One that is there stays as it is, and may be
 * somebody else's: it is only read, unless documents are to be taken in. */
static int init_open(cli *c, const char *folder, bool scans, const char *actor, bool *made) {
    bool records = scans || !c->args.value[OPT_PLAIN];
    agt_error err;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.read_only = 1;
    agt_status st = agt_open(&c->store, folder, &o, &err);
    *made = st == AGT_NOT_FOUND;
    if (*made) {
        int code = place_check(c, folder, actor);
        if (code == CLI_DONE) code = init_parents(folder);
        if (code != CLI_DONE) return code;
    }
    if (*made || (st == AGT_OK && scans)) {
        (void)agt_close(c->store, NULL);
        o.read_only = 0;
        o.create = 1;
        o.publish = records ? AGT_PUBLISH_CLOSE : AGT_PUBLISH_MANUAL;
        st = agt_open(&c->store, folder, &o, &err);
    }
    return st == AGT_OK ? CLI_DONE : cli_failed(c, st, &err);
}

/* The index of a store that is there, but for one that never had one: somebody, or a switch of
 * branches, took it away. It is written through a handle of its own. */
static void init_index(const cli *c, const char *folder, const char *root) {
    agt_document d = AGT_DOCUMENT_INIT;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_store *s = NULL;
    agt_error err;
    char path[4096 + 32];
    struct stat at;
    (void)snprintf(path, sizeof path, "%s/AGENT-TRACE.md", root);
    if (agt_document_get(c->store, "AGENT-TRACE.md", &d, NULL) != AGT_OK) return;
    if (d.exists && lstat(path, &at) == 0) return;
    o.publish = AGT_PUBLISH_CLOSE;
    agt_status st = agt_open(&s, folder, &o, &err);
    if (st == AGT_OK) st = agt_index_refresh(s, 1, NULL, &err);
    if (st == AGT_OK)
        out_note("AGENT-TRACE.md was gone; it is made anew");
    else
        out_note("AGENT-TRACE.md is gone, and cannot be made anew: %s", err.message);
    (void)agt_close(s, NULL);
}

/* It was there before the store was: who has a backup should not go on without it. */
static void init_note_left(void) {
    out_note(
        "the AGENT-TRACE.md that was there says that there was a store before; if a backup has "
        "its .agent-trace, put that back in the place of the new one: only it has the history "
        "and the rules");
}

/* Does an index of a store that is gone lie in the folder itself? */
static bool init_left(const char *folder) {
    char at[4096];
    return place_left_index(folder, at, sizeof at) && strcmp(at, folder) == 0;
}

static int command_init(cli *c) {
    agt_error err;
    scan s = {.taken = 0};
    bool scans = c->args.value[OPT_SCAN] != NULL, made;
    const char *folder = c->args.count ? c->args.words[0] : ".";
    char absolute[4096];
    if (!folder[0]) return out_usage(c->command, "the folder's name is empty");
    if (!scans && c->args.value[OPT_TYPE])
        return out_usage(c->command, "--type is about the files that --scan takes in");
    agt_caller caller; /* a wrong one is told before anything is made */
    int code = init_check_folder(folder);
    if (code == CLI_DONE) code = scan_check(c);
    if (code == CLI_DONE) code = cli_caller(c, "init", &caller);
    bool left = init_left(folder);
    if (code == CLI_DONE) code = init_open(c, folder, scans, caller.actor, &made);
    if (code != CLI_DONE) return code;
    agt_status st = agt_store_find(folder, absolute, sizeof absolute, &err);
    if (st != AGT_OK) code = cli_failed(c, st, &err);
    if (code == CLI_DONE) (void)snprintf(c->root, sizeof c->root, "%s", absolute);
    if (code == CLI_DONE && !made && !c->args.value[OPT_PLAIN]) init_index(c, folder, absolute);
    if (code == CLI_DONE && scans) code = scan_run(c, &s);
    if (code == CLI_DONE && (made || scans) && !c->args.value[OPT_PLAIN]) {
        st = agt_index_refresh(c->store, made, NULL, &err);
        if (st != AGT_OK) code = cli_failed(c, st, &err);
    }
    if (code == CLI_DONE) code = init_report(c, folder, absolute, made, scans ? &s : NULL);
    if (code == CLI_DONE && made && left) init_note_left();
    if (code == CLI_DONE && s.denied) code = CLI_DENIED; /* it stands in what was printed */
    scan_free(&s);
    return cli_close(c, code);
}

/* ---- the bytes to write ---- */

static int write_too_large(const char *name) {
    return out_fail(CLI_USAGE, "%s has more than %u bytes, the most a document may have", name,
                    AGT_MAX_DOCUMENT);
}

static int write_read_all(int fd, const char *name, change_bytes *b) {
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        if ((uint64_t)st.st_size > AGT_MAX_DOCUMENT) return write_too_large(name);
        b->cap = (size_t)st.st_size + 1;
    }
    if (b->cap) b->data = out_alloc(b->cap);
    for (;;) {
        if (b->len == b->cap) {
            b->cap = b->cap ? b->cap * 2 : 65536;
            b->data = out_grow(b->data, b->cap);
        }
        ssize_t n = read(fd, b->data + b->len, b->cap - b->len);
        if (n == 0) return CLI_DONE;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return out_fail(CLI_ERROR, "cannot read %s: %s", name, strerror(errno));
        b->len += (size_t)n;
        if (b->len > AGT_MAX_DOCUMENT) return write_too_large(name);
    }
}

static int write_input(const cli *c, change_bytes *b) {
    const char *content = c->args.value[OPT_CONTENT], *file = c->args.value[OPT_FILE];
    if (content && file) return out_usage(c->command, "give --content or --file, not both");
    if (content) {
        b->len = strlen(content);
        b->data = out_alloc(b->len);
        memcpy(b->data, content, b->len);
        return CLI_DONE;
    }
    if (!file || strcmp(file, "-") == 0) {
        b->piped = true;
        if (out_is_terminal(0)) out_note("reading the document from the terminal; Ctrl-D ends it");
        return write_read_all(0, "stdin", b);
    }
    if (!file[0]) return out_usage(c->command, "the file's name is empty");
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return out_fail(errno == ENOENT ? CLI_NOT_FOUND : CLI_ERROR, "cannot read %s: %s", file,
                        strerror(errno));
    int code = write_read_all(fd, file, b);
    (void)close(fd);
    return code;
}

static int command_write(cli *c) {
    change ch = change_new(CHANGE_WRITE);
    ch.read_bytes = write_input;
    int code = change_run(c, &ch);
    free(ch.bytes.data);
    return code;
}

static int command_rm(cli *c) {
    change ch = change_new(CHANGE_DELETE);
    return change_run(c, &ch);
}

static int command_restore(cli *c) {
    change ch = change_new(CHANGE_RESTORE);
    int code = CLI_DONE;
    if (c->args.count > 1) code = args_version(c->args.words[1], "the version", 1, &ch.version);
    return code == CLI_DONE ? change_run(c, &ch) : code;
}

/* ---- what they are ---- */

const cli_command cli_init = {
    .name = "init",
    .run = command_init,
    .group = "store",
    .line = "make a store in a folder",
    .usage = "[DIR] [--scan [--type GLOB=TYPE]...] [--plain]",
    .text =
        "Makes a store in DIR (default: the current folder): the folder .agent-trace, the index "
        "AGENT-TRACE.md, and the folders that are missing on the way. A git repository that is "
        "there is left alone. Where there is a store already, nothing happens, but that an "
        "AGENT-TRACE.md that is gone is made anew. None is made in a .git. An agent may not make a "
        "store in the folder of another one, in a bare repository, or where AGENT-TRACE.md says "
        "that there was one.\n\n"
        "--scan takes in the *.md files that are there, also where there is a store already, as "
        "scratch documents or as the first --type whose GLOB matches says; other files too if a "
        "GLOB names them. A GLOB without a slash is about names, one with a slash about paths, ** "
        "crosses folders. Left out are hidden folders, files that agent-trace makes itself, and "
        "what .agent-trace-ignore or the usual patterns for secrets and leavings say. Where one is "
        "refused the others are taken, and the exit code is 3.",
    .takes = {{OPT_SCAN, NULL},
              {OPT_TYPE, "GLOB=TYPE, for --scan; may be given several times, the first counts"},
              {OPT_PLAIN, NULL},
              TAKES_CALLER,
              {OPT_YES, NULL},
              {OPT_JSON, NULL}},
    .examples = "agent-trace init ~/project\n"
                "agent-trace init --scan --type 'plans/*.md=plan' --type 'README.md=reference'",
    .see = "status write add",
    .max = 1,
    .offers = {OFFER_FOLDER},
};

const cli_command cli_write = {
    .name = "write",
    .run = command_write,
    .group = "documents",
    .line = "write a document",
    .usage = "PATH [--content TEXT | --file FILE] [options]",
    .text =
        "Writes a document from TEXT, from FILE or from stdin, as a new version. The same bytes "
        "again make none. A stdin that is empty empties no document; --content '' does. An edit "
        "that is found in the file is recorded first and never lost. "
        "Whoever may not write is refused, and the refusal is recorded.",
    .takes = {{OPT_CONTENT, NULL},
              {OPT_FILE, NULL},
              {OPT_TYPE, "of a new document: plan, context, log, reference, scratch (default)"},
              TAKES_CHANGE},
    .examples = "agent-trace write notes.md --content 'remember the milk'\n"
                "make report | agent-trace --actor agent:claude write report.md --type plan",
    .see = "show log restore",
    .min = 1,
    .max = 1,
    .wants = "a PATH",
    .offers = {OFFER_FILE},
};

const cli_command cli_rm = {
    .name = "rm",
    .run = command_rm,
    .group = "documents",
    .line = "delete a document",
    .usage = "PATH [options]",
    .text =
        "Deletes a document. Its versions stay: log names them, show prints them, restore brings "
        "one back.",
    .takes = {TAKES_CHANGE},
    .examples = "agent-trace rm docs/draft.md --summary 'merged into plan.md'",
    .see = "log show restore",
    .min = 1,
    .max = 1,
    .wants = "a PATH",
    .offers = {OFFER_DOCUMENT},
};

const cli_command cli_restore = {
    .name = "restore",
    .run = command_restore,
    .group = "documents",
    .line = "bring an earlier version back",
    .usage = "PATH [VERSION] [options]",
    .text =
        "Writes the bytes of VERSION as a new version, of a deleted document too. Nothing of what "
        "came since is lost. A document that is deleted, or whose file is gone, comes back as it "
        "was if no VERSION is given.",
    .takes = {TAKES_CHANGE},
    .examples = "agent-trace restore docs/plan.md 3\n"
                "agent-trace restore deleted-by-mistake.md",
    .see = "log show diff",
    .min = 1,
    .max = 2,
    .wants = "a PATH",
    .offers = {OFFER_DOCUMENT, NULL},
};
