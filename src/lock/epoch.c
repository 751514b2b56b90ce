/* epoch: the number of a time of leading, in locks/poll.lock.epoch: one larger at each change of
 * leader, never smaller. A leader's changes to the store carry it, and are refused once it is over:
 * a leader that was stopped for an hour, or whose lock file somebody deleted, does no harm.
 *
 * Two lines of 64 bytes, padded with blanks; the larger number counts:
 *
 *     epoch=00000001795485285123 again=00000001795485285123
 *     epoch=00000001795485285122 again=00000001795485285122
 *
 * (1) It is advanced under the poll lock and, besides, under flock on this file: what was read is
 *     still there when the next number is written, also where a deleted lock file made two leaders.
 * (2) The line with the smaller number is overwritten. Whatever is torn of it, by a death, a full
 *     disk or a failing one, the other line still says the newest number that a leader was given;
 *     a line counts only if both of its halves say the same.
 * (3) Where a line does not count (deleted, replaced, damaged) the next number is also above that
 *     in poll.lock.info, and where neither does not below the time in milliseconds: more than any
 *     number that was ever given out, as no store changes leaders a thousand times a second for
 *     long. Therefore the first number of all is the time as well.
 * (4) A change is accepted only with exactly the newest number. Where that is gone or has become
 *     smaller nobody's is, until the leader, or the next one, has written it again.
 * (5) Not synced: a power cut that takes a number back takes every process with it that knew it.
 * (6) A reader takes no lock. While a line is written it sees the other one, or both. */
#include "lock.h"

#include "../base/base.h"
#include "../sys/sys.h"

#include <stdio.h>

#define EPOCH_LINE  64u
#define EPOCH_MAX   UINT64_C(100000000000000000)
#define EPOCH_TRIES 100

static void epoch_format(uint64_t number, char line[EPOCH_LINE + 1]) {
    char text[EPOCH_LINE];
    (void)snprintf(text, sizeof text, "epoch=%020llu again=%020llu", (unsigned long long)number,
                   (unsigned long long)number);
    (void)snprintf(line, EPOCH_LINE + 1, "%-63s\n", text);
}

/* The number of a line, 0 for anything else. */
static uint64_t epoch_parse(const char *line, size_t n) {
    char same[EPOCH_LINE + 1];
    uint64_t number = 0;
    if (n < EPOCH_LINE) return 0;
    for (size_t i = 6; i < 26; i++) {
        if (line[i] < '0' || line[i] > '9' || number > EPOCH_MAX) return 0;
        number = number * 10 + (uint64_t)(line[i] - '0');
    }
    epoch_format(number, same);
    return number <= EPOCH_MAX && memcmp(line, same, EPOCH_LINE) == 0 ? number : 0;
}

/* What an open file says. */
typedef struct epoch_lines {
    uint64_t newest; /* 0: nothing */
    unsigned spare;  /* the line to overwrite */
    bool whole;      /* both count */
} epoch_lines;

static int epoch_look(const agt_sys *sys, agt_fd fd, epoch_lines *out) {
    char bytes[2 * EPOCH_LINE];
    int64_t n = agt__read_all(sys, fd, bytes, sizeof bytes, 0);
    if (n < 0) return (int)n;
    size_t len = (size_t)n, rest = len > EPOCH_LINE ? len - EPOCH_LINE : 0;
    uint64_t first = epoch_parse(bytes, len), second = epoch_parse(bytes + EPOCH_LINE, rest);
    out->newest = first > second ? first : second;
    out->spare = first > second;
    out->whole = first && second;
    return 0;
}

static agt_status epoch_open(const agt_sys *sys, agt_fd locks, uint32_t flags, agt_fd *out,
                             agt_error *err) {
    agt_stat st;
    agt_fd fd = sys->open(sys->ctx, locks, AGT_POLL_EPOCH, flags, 0600);
    *out = AGT_FD_NONE;
    if (fd < 0) {
        agt_status denied =
            agt__fail_sys(err, fd, "cannot open .agent-trace/locks/%s", AGT_POLL_EPOCH);
        return agt__say_owner(sys, locks, AGT_POLL_EPOCH, fd, denied, err);
    }
    int rc = sys->fstat(sys->ctx, fd, &st);
    agt_status status = AGT_OK;
    if (rc < 0)
        status = agt__fail_io(err, rc, "cannot look at .agent-trace/locks/%s", AGT_POLL_EPOCH);
    else if (st.kind != AGT_FILE_REGULAR || st.links > 1)
        status = agt__fail(err, AGT_INVALID,
                           "something that is not a file of its own stands in the place of "
                           ".agent-trace/locks/%s; remove it",
                           AGT_POLL_EPOCH);
    if (status == AGT_OK)
        *out = fd;
    else
        sys->close(sys->ctx, fd);
    return status;
}

AGT_PRIVATE agt_status agt__epoch_read(const agt_sys *sys, agt_fd locks, uint64_t *out,
                                       agt_error *err) {
    agt_fd fd;
    epoch_lines lines = {0, 0, false};
    *out = 0;
    agt_status status = epoch_open(sys, locks, AGT_O_READ, &fd, err);
    if (status == AGT_NOT_FOUND) return AGT_OK;
    if (status != AGT_OK) return status;
    int rc = epoch_look(sys, fd, &lines);
    sys->close(sys->ctx, fd);
    if (rc < 0) return agt__fail_io(err, rc, "cannot read .agent-trace/locks/%s", AGT_POLL_EPOCH);
    *out = lines.newest;
    return AGT_OK;
}

/* What the next number must be above, where a line does not count (3). */
static uint64_t epoch_floor(const agt_sys *sys, agt_fd locks, uint64_t newest) {
    agt_holder h;
    agt__holder_read(sys, locks, &h);
    int64_t now = sys->now_unix_ms(sys->ctx) - 1;
    uint64_t floor = h.epoch > newest && h.epoch < EPOCH_MAX ? h.epoch : newest;
    if (!newest && now > 0 && (uint64_t)now < EPOCH_MAX && (uint64_t)now > floor)
        floor = (uint64_t)now;
    return floor;
}

/* Nobody else writes the open file from here until it is closed (1). A system without flock has
 * another poll lock, and that alone. */
static agt_status epoch_guard(const agt_sys *sys, agt_fd fd, agt_error *err) {
    int rc = sys->lock(sys->ctx, fd, AGT_LOCK_EXCLUSIVE);
    for (int i = 0; i < EPOCH_TRIES && rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY; i++) {
        sys->sleep_ns(sys->ctx, 100000);
        rc = sys->lock(sys->ctx, fd, AGT_LOCK_EXCLUSIVE);
    }
    if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS) return AGT_OK;
    if (AGT_SYS_CLASS(rc) == AGT_SYS_BUSY)
        return agt__fail(err, AGT_BUSY, "the leader's epoch is being advanced by somebody else");
    return agt__fail_sys(err, rc, "cannot lock .agent-trace/locks/%s", AGT_POLL_EPOCH);
}

/* Under the guard: `mine` 0 becomes the next number; any other is written unless it is there or a
 * newer one is. */
static agt_status epoch_swap(const agt_sys *sys, agt_fd locks, agt_fd fd, uint64_t *mine,
                             agt_error *err) {
    epoch_lines lines = {0, 0, false};
    uint64_t next = *mine;
    char text[EPOCH_LINE + 1];
    int rc = epoch_look(sys, fd, &lines);
    if (rc < 0) return agt__fail_io(err, rc, "cannot read .agent-trace/locks/%s", AGT_POLL_EPOCH);
    if (next && lines.newest > next)
        return agt__fail(err, AGT_BUSY, "epoch %llu is over: %llu leads", (unsigned long long)next,
                         (unsigned long long)lines.newest);
    if (next && lines.newest == next) return AGT_OK;
    if (!next) next = (lines.whole ? lines.newest : epoch_floor(sys, locks, lines.newest)) + 1;
    if (next > EPOCH_MAX)
        return agt__fail(err, AGT_IO, "no epoch is left in .agent-trace/locks/%s; remove the file",
                         AGT_POLL_EPOCH);
    epoch_format(next, text);
    rc = agt__write_all(sys, fd, text, EPOCH_LINE, lines.spare * (uint64_t)EPOCH_LINE);
    if (rc < 0) return agt__fail_io(err, rc, "cannot write .agent-trace/locks/%s", AGT_POLL_EPOCH);
    *mine = next;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__epoch_lead(const agt_sys *sys, agt_fd locks, uint64_t *mine,
                                       agt_error *err) {
    agt_fd fd;
    uint32_t flags = AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE;
    agt_status status = epoch_open(sys, locks, flags, &fd, err);
    if (status != AGT_OK) return status;
    status = epoch_guard(sys, fd, err);
    if (status == AGT_OK) status = epoch_swap(sys, locks, fd, mine, err);
    sys->close(sys->ctx, fd);
    return status;
}

AGT_PRIVATE agt_status agt__epoch_fence(const agt_sys *sys, agt_fd locks, uint64_t epoch,
                                        agt_error *err) {
    uint64_t newest;
    if (!epoch) return AGT_OK;
    agt_status status = agt__epoch_read(sys, locks, &newest, err);
    if (status != AGT_OK || newest == epoch) return status;
    if (newest > epoch)
        return agt__fail(err, AGT_BUSY,
                         "the caller leads no longer: its epoch %llu is over, %llu has begun; take "
                         "the poll lock anew",
                         (unsigned long long)epoch, (unsigned long long)newest);
    return agt__fail(err, AGT_BUSY,
                     "nothing says that epoch %llu leads: .agent-trace/locks/%s was removed or "
                     "damaged; agt_poll_lock_check finds out",
                     (unsigned long long)epoch, AGT_POLL_EPOCH);
}
