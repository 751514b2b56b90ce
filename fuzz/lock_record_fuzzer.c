/* Any bytes as the files of the poll lock: what stands before the first NUL is poll.lock, what
 * follows it each of the others. Whatever is read must be sound, and written out again be read the
 * same; who looks changes nothing. */
#include "../src/data/data.h"
#include "../src/lock/sentinel.h"
#include "../tests/machine.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int c) {
    if (!c) abort();
}

static void check_text(const char *s, size_t size) {
    const char *end = memchr(s, 0, size);
    must(end != NULL);
    size_t n = (size_t)(end - s);
    must(agt__utf8_valid(s, n) == n);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        must(c >= 0x20 && c != 0x7f);
        must(c != 0xc2 || (unsigned char)s[i + 1] >= 0xa0);
    }
}

#define LOCKS "/home/.agent-trace/locks"
#define TOKEN "00112233445566778899aabbccddeeff"

static void check_look(const agt_sys *sys) {
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_error err;
    agt_sentinel s;
    agt_leftovers left;
    uint64_t epoch;
    agt_fd locks = sys->open_root(sys->ctx, LOCKS);
    must(locks >= 0);
    must(agt__epoch_read(sys, locks, &epoch, &err) == AGT_OK);
    must(epoch <= UINT64_C(100000000000000000));
    must(agt__lock_holder(sys, locks, &h, &err) == AGT_OK);
    must(h.epoch == epoch && h.held <= 1);
    /* nobody has flock on poll.lock here */
    must(h.backend == (h.held ? AGT_LOCK_SENTINEL : AGT_LOCK_DEFAULT));
    must(h.pid >= 0 && h.pid <= INT32_MAX);
    must(h.since_unix_ms >= 0 && h.since_unix_ms <= AGT_TIME_MAX);
    check_text(h.host, sizeof h.host);
    check_text(h.program, sizeof h.program);
    agt__sentinel_init(&s, sys, locks, NULL);
    agt__sentinel_sweep(&s, false, 0, &left);
    must(left.found <= 2 && !left.removed);
    sys->close(sys->ctx, locks);
}

/* The same bytes as each of the files that others look at. */
static void look(const uint8_t *lock, size_t lock_len, const uint8_t *rest, size_t rest_len) {
    static const char *const names[] = {"info", "epoch", "owner", "tmp." TOKEN, "reap." TOKEN};
    static const machine_settings set = {.unsynced_kept = true};
    machine *m = machine_new(&set);
    char path[128];
    must(machine_make_folder(m, LOCKS) == 0);
    must(machine_put(m, LOCKS "/poll.lock", lock, lock_len) == 0);
    for (size_t i = 0; i < AGT_COUNT(names); i++) {
        (void)snprintf(path, sizeof path, LOCKS "/poll.lock.%s", names[i]);
        must(machine_put(m, path, rest, rest_len) == 0);
    }
    char *was = machine_tree(m, LOCKS);
    check_look(machine_sys(machine_process_new(m, "reader")));
    char *is = machine_tree(m, LOCKS);
    must(strcmp(was, is) == 0);
    free(was);
    free(is);
    machine_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t pid_len = nul ? (size_t)(nul - data) : size;
    size_t info_at = nul ? pid_len + 1 : size;
    agt_holder h, again;
    look(data, pid_len, data + info_at, size - info_at);
    agt__holder_parse(&h, data, pid_len, data + info_at, size - info_at);
    must(h.pid >= 0 && h.pid <= INT32_MAX);
    must(h.since_unix_ms >= 0 && h.since_unix_ms <= AGT_TIME_MAX);
    check_text(h.boot, sizeof h.boot);
    check_text(h.host, sizeof h.host);
    check_text(h.program, sizeof h.program);
    check_text(h.token, sizeof h.token);
    if (h.pid == 0) return 0;

    char pid[24], info[AGT_HOLDER_TEXT];
    size_t len = agt__holder_format(&h, info);
    must(len > 0 && len < sizeof info);
    int n = snprintf(pid, sizeof pid, "%lld", (long long)h.pid);
    agt__holder_parse(&again, pid, (size_t)n, info, len);
    must(memcmp(&h, &again, sizeof h) == 0);
    return 0;
}
