/* Any bytes as the files of the poll lock, on a machine in memory where processes die, wait and
 * come in between: never two leaders, no file is removed that a living process owns, or one
 * elsewhere, or one that nobody can name, and every answer is one that the header knows, with a
 * message.
 *
 *     byte 0     bits: see fuzz_flag
 *     byte 1, 2  before which call of the first process the second and third try as a whole
 *     then files, one after the other:
 *       kind, form, length (a byte each), and so many bytes: the file's own (form 0), or changes of
 *       a record that is right: pairs of a place and what is put on its bits; a byte left over cuts
 *
 * What may go is decided here in other words than in src/lock/liveness.c. */
#include "../src/lock/sentinel.h"
#include "../tests/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOCKS "/home/.agent-trace/locks/"

enum fuzz_flag {
    FIRST_BY_FLOCK = 1,
    SECOND_BY_FLOCK = 2,
    SOMEBODY_LEADS = 4, /* from the beginning, and to the end */
    LEADS_BY_FLOCK = 8,
    FIRST_WAITS = 16, /* long enough to see that an empty file stays empty */
    SECOND_DIES = 32, /* when it has tried */
    NO_MOVE = 64,     /* that replaces nothing */
    NO_LINK = 128
};

enum fuzz_kind { OWNER, CLAIM, TEMPORARY, LOCK, INFO, EPOCH, CLAIM_ON_CLAIM, KINDS };
enum fuzz_form { RAW, DEAD, LIVING, FOREIGN, RESTARTED, REUSED, IN_CONTAINER, NULS, FORMS };

#define FILES 12

typedef struct fuzz_file {
    char path[128];
    char *bytes;
    size_t n;
    uint8_t kind;
    bool stays;
} fuzz_file;

typedef struct fuzz_box {
    machine *m;
    uint8_t flags;
    machine_process *p[4]; /* the first, second and third who try, and who may lead already */
    machine_process *dead;
    agt_poll_lock *lock[4];
    uint8_t at[3]; /* when the second and third come */
    unsigned calls;
    bool came[3];
    uint64_t epoch; /* of the newest leader */
    fuzz_file file[FILES];
    size_t files;
    char token[3][33]; /* of the owner's record, of the claim's */
} fuzz_box;

static void must(int c) {
    if (!c) abort();
}

/* ---- what may go ---- */

static size_t line_of(const char *bytes, size_t n, const char *key, const char **value) {
    size_t len = strlen(key);
    for (size_t i = 0; i + len <= n; i++) {
        if ((i && bytes[i - 1] != '\n') || memcmp(bytes + i, key, len) != 0) continue;
        const char *end = memchr(bytes + i + len, '\n', n - i - len);
        *value = bytes + i + len;
        return end ? (size_t)(end - *value) : n - i - len;
    }
    *value = NULL;
    return 0;
}

static bool same_line(const fuzz_file *f, const char *key, const char *want) {
    const char *value;
    size_t n = line_of(f->bytes, f->n, key, &value);
    return value && n == strlen(want) && memcmp(value, want, n) == 0;
}

/* Does it end as records do, with the same token twice? */
static bool ends_well(const fuzz_file *f) {
    const size_t tail = 7 + 32 + 5 + 32 + 1; /* \ntoken= and \nend= and \n, without the first one */
    const char *t = f->bytes + f->n - tail + 1;
    return f->n > tail + 4 && memcmp(f->bytes, "pid=", 4) == 0 && memcmp(t, "token=", 6) == 0 &&
           memcmp(t + 38, "\nend=", 5) == 0 && memcmp(t + 6, t + 43, 32) == 0 && t[75] == '\n';
}

/* Has it the lines of a record, in their order, and no others? */
static bool in_order(const fuzz_file *f) {
    static const char *const keys[] = {"pid=",   "start=",   "boot=",  "pidns=", "timens=", "host=",
                                       "since=", "program=", "epoch=", "token=", "end="};
    const char *at = f->bytes, *end = f->bytes + f->n;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t n = strlen(keys[i]);
        if (!line || (size_t)(line - at) < n || memcmp(at, keys[i], n) != 0) return false;
        at = line + 1;
    }
    return at == end;
}

static bool all_nul(const fuzz_file *f) {
    for (size_t i = 0; i < f->n; i++)
        if (f->bytes[i]) return false;
    return true;
}

/* Does it name this process, running as it does? */
static bool names(const fuzz_file *f, machine_process *p) {
    agt_holder h;
    char number[32], start[32];
    agt__holder_self(&h, machine_sys(p), NULL);
    snprintf(number, sizeof number, "%lld", (long long)h.pid);
    snprintf(start, sizeof start, "%llu", (unsigned long long)h.start);
    return same_line(f, "pid=", number) && same_line(f, "start=", start) &&
           same_line(f, "host=", h.host) && same_line(f, "boot=", h.boot);
}

static bool must_stay(const fuzz_box *b, const fuzz_file *f) {
    agt_holder here;
    if (f->kind == LOCK || f->kind == INFO || f->kind == EPOCH) return false;
    /* who waits may see for ten seconds that one is empty, but for what has no place of its own */
    if (all_nul(f)) return f->kind == TEMPORARY || !(b->flags & FIRST_WAITS);
    if (!ends_well(f) || !in_order(f)) return true;
    for (size_t i = 0; i < 4; i++)
        if (names(f, b->p[i])) return true;
    agt__holder_self(&here, machine_sys(b->p[3]), NULL);
    if (!same_line(f, "host=", here.host)) return true;
    if (!same_line(f, "boot=", here.boot)) return false;
    return !same_line(f, "pidns=", here.pid_space) || !same_line(f, "timens=", here.time_space);
}

/* ---- the files ---- */

static size_t record_of(const fuzz_box *b, int form, char text[AGT_HOLDER_TEXT]) {
    agt_holder h;
    agt__holder_self(&h, machine_sys(b->p[3]), "somebody");
    if (form == DEAD) h.pid = machine_process_pid(b->dead);
    if (form == FOREIGN) (void)snprintf(h.host, sizeof h.host, "elsewhere");
    if (form == RESTARTED) (void)snprintf(h.boot, sizeof h.boot, "another");
    if (form == REUSED) h.start += 100000;
    if (form == IN_CONTAINER) (void)snprintf(h.pid_space, sizeof h.pid_space, "pid:[7]");
    return agt__holder_format(&h, text);
}

static void remember_token(fuzz_box *b, const fuzz_file *f) {
    size_t at = f->kind == OWNER ? 1 : 2;
    const char *value;
    if (f->kind != OWNER && f->kind != CLAIM) return;
    if (line_of(f->bytes, f->n, "token=", &value) != 32) return;
    for (size_t i = 0; i < 32; i++)
        if (value[i] < '0' || value[i] > 'f' || (value[i] > '9' && value[i] < 'a')) return;
    memcpy(b->token[at], value, 32);
}

static void name_of(fuzz_box *b, fuzz_file *f) {
    static const char *const plain[KINDS] = {
        "poll.lock.owner", NULL, NULL, "poll.lock", "poll.lock.info", "poll.lock.epoch", NULL};
    const char *value;
    if (plain[f->kind]) {
        snprintf(f->path, sizeof f->path, LOCKS "%s", plain[f->kind]);
        return;
    }
    size_t n = line_of(f->bytes, f->n, "token=", &value);
    if (f->kind == TEMPORARY && n == 32 && !memchr(value, 0, n) && !memchr(value, '/', n))
        snprintf(f->path, sizeof f->path, LOCKS "poll.lock.tmp.%.32s", value);
    else
        snprintf(f->path, sizeof f->path, LOCKS "poll.lock.%s.%s",
                 f->kind == TEMPORARY ? "tmp" : "reap",
                 b->token[f->kind == CLAIM            ? 1
                          : f->kind == CLAIM_ON_CLAIM ? 2
                                                      : 0]);
}

static void add_file(fuzz_box *b, const uint8_t *data, size_t n, int kind, int form) {
    fuzz_file *f = &b->file[b->files];
    char text[AGT_HOLDER_TEXT];
    f->kind = (uint8_t)kind;
    f->n = form == RAW || form == NULS ? n : record_of(b, form, text);
    f->bytes = calloc(1, f->n + 1);
    must(f->bytes != NULL);
    if (form == RAW && n) memcpy(f->bytes, data, n);
    if (form != RAW && form != NULS) {
        memcpy(f->bytes, text, f->n);
        for (size_t i = 0; i + 1 < n; i += 2)
            f->bytes[data[i] * f->n / 256] = (char)(f->bytes[data[i] * f->n / 256] ^ data[i + 1]);
        if (n % 2) f->n = data[n - 1] * f->n / 256;
    }
    name_of(b, f);
    for (size_t i = 0; i < b->files; i++)
        if (strcmp(b->file[i].path, f->path) == 0) {
            free(f->bytes);
            return;
        }
    remember_token(b, f);
    must(machine_put(b->m, f->path, f->bytes, f->n) == 0);
    b->files++;
}

static void add_files(fuzz_box *b, const uint8_t *data, size_t size) {
    bool owned = b->flags & SOMEBODY_LEADS && !(b->flags & LEADS_BY_FLOCK);
    while (size >= 3 && b->files < FILES) {
        int kind = data[0] % KINDS, form = data[1] % FORMS;
        size_t n = data[2];
        data += 3;
        size -= 3;
        if (n > size) n = size;
        if (kind != OWNER || !owned) add_file(b, data, n, kind, form);
        data += n;
        size -= n;
    }
}

/* ---- taking ---- */

static void take(fuzz_box *b, size_t who, uint32_t backend, int32_t timeout_ms) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_error err;
    memset(&err, 0, sizeof err);
    o.backend = backend;
    o.timeout_ms = timeout_ms;
    o.sys = machine_sys(b->p[who]);
    agt_status st = agt_poll_lock_acquire(&b->lock[who], "/home", &o, &err);
    must((st == AGT_OK) == (b->lock[who] != NULL));
    must(st == AGT_OK || st == AGT_BUSY || st == AGT_IO);
    if (st != AGT_OK) {
        must(err.status == st && strstr(err.message, "lock"));
        return;
    }
    uint64_t epoch = agt_poll_lock_epoch(b->lock[who]);
    must(epoch > b->epoch);
    b->epoch = epoch;
}

static int leaders(const fuzz_box *b) {
    int count = 0;
    for (size_t i = 0; i < 4; i++)
        count += b->lock[i] != NULL && machine_process_alive(b->p[i]);
    return count;
}

static void others_come(void *ctx, machine *m, const machine_call *call) {
    fuzz_box *b = ctx;
    (void)m, (void)call;
    b->calls++;
    for (size_t i = 1; i < 3; i++) {
        if (b->came[i] || b->calls < b->at[i] || !b->at[i]) continue;
        b->came[i] = true;
        take(b, i, i == 1 && b->flags & SECOND_BY_FLOCK ? AGT_LOCK_FLOCK : AGT_LOCK_SENTINEL,
             AGT_TRY);
        must(leaders(b) <= 1);
        if (i == 1 && b->flags & SECOND_DIES) machine_process_kill(b->p[i]);
    }
}

static void check_files(fuzz_box *b) {
    for (size_t i = 0; i < b->files; i++) {
        const fuzz_file *f = &b->file[i];
        size_t n;
        if (!f->stays) continue;
        char *is = machine_get(b->m, f->path, &n);
        must(is && n == f->n && memcmp(is, f->bytes, n) == 0);
        free(is);
    }
}

/* Who looks sees the leader, and changes nothing. */
static void look(const fuzz_box *b) {
    const agt_sys *sys = machine_sys(b->p[3]);
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_error err;
    agt_fd locks = sys->open_root(sys->ctx, LOCKS);
    must(locks >= 0);
    char *was = machine_tree(b->m, LOCKS);
    agt_status st = agt__lock_holder(sys, locks, &h, &err);
    char *is = machine_tree(b->m, LOCKS);
    must(st == AGT_OK || st == AGT_NOT_FOUND);
    must(!leaders(b) || (st == AGT_OK && h.held && h.backend && h.epoch == b->epoch));
    must(strcmp(was, is) == 0);
    free(was);
    free(is);
    sys->close(sys->ctx, locks);
}

static void run(fuzz_box *b, const uint8_t *data, size_t size) {
    bool owner_stays = false;
    const agt_sys *sys = machine_sys(b->p[3]);
    if (b->flags & SOMEBODY_LEADS)
        take(b, 3, b->flags & LEADS_BY_FLOCK ? AGT_LOCK_FLOCK : AGT_LOCK_SENTINEL, AGT_TRY);
    must(!(b->flags & SOMEBODY_LEADS) || b->lock[3]);
    add_files(b, data, size);
    agt_fd locks = sys->open_root(sys->ctx, LOCKS);
    must(agt__epoch_read(sys, locks, &b->epoch, NULL) == AGT_OK);
    sys->close(sys->ctx, locks);
    for (size_t i = 0; i < b->files; i++) {
        b->file[i].stays = must_stay(b, &b->file[i]);
        owner_stays |= b->file[i].stays && b->file[i].kind == OWNER;
    }
    bool led = b->lock[3] != NULL;
    machine_on_call(b->m, others_come, b);
    take(b, 0, b->flags & FIRST_BY_FLOCK ? AGT_LOCK_FLOCK : AGT_LOCK_SENTINEL,
         b->flags & FIRST_WAITS ? 12000 : AGT_TRY);
    machine_on_call(b->m, NULL, NULL);
    must(leaders(b) <= 1);
    for (size_t i = 0; i < 3; i++)
        must(!b->lock[i] || !(owner_stays || led));
    check_files(b);
    look(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_box b;
    if (size < 3) return 0;
    memset(&b, 0, sizeof b);
    b.flags = data[0];
    b.at[1] = data[1];
    b.at[2] = data[2];
    for (size_t i = 0; i < 3; i++)
        memset(b.token[i], (int)('0' + i), 32);
    machine_settings set = {.unsynced_kept = true,
                            .no_noreplace = (b.flags & NO_MOVE) != 0,
                            .no_link = (b.flags & NO_LINK) != 0};
    b.m = machine_new(&set);
    must(machine_make_folder(b.m, LOCKS) == 0);
    b.dead = machine_process_new(b.m, "dead");
    for (size_t i = 0; i < 4; i++)
        b.p[i] = machine_process_new(b.m, "contender");
    machine_process_kill(b.dead);
    run(&b, data + 3, size - 3);
    for (size_t i = 0; i < 4; i++)
        agt_poll_lock_release(b.lock[i]);
    check_files(&b);
    for (size_t i = 0; i < b.files; i++)
        free(b.file[i].bytes);
    machine_free(b.m);
    return 0;
}
