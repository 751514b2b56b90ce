/* holder: what a process says of itself while it has the poll lock, as text.
 *
 * One `key=value` a line, at most 512 bytes:
 *
 *     pid=4711
 *     start=123456               the process' start, in the system's own unit
 *     boot=6f1c...               id of the boot, where the system has one
 *     pidns=pid:[4026531836]     the spaces that pid and start are counted in, where the
 *     timens=time:[4026531834]   system has several
 *     host=workbench
 *     since=1795485285123        Unix time in ms
 *     program=agent-trace
 *     epoch=1795485285120        of this time of leading
 *     token=9f86d081884c7d65...  128 random bits, new for each time of leading
 *     end=9f86d081884c7d65...    the same: what lies between is of one piece
 *
 * Unknown keys are skipped, of a repeated one the first counts.
 *
 * (1) A reader survives any bytes, and believes nothing that is not of one piece.
 * (2) Whatever is shown to people is UTF-8 without control characters. */
#include "lock.h"

#include "../base/base.h"
#include "../data/data.h"
#include "../sys/sys.h"

#include <stdio.h>

#define HOLDER_PID_MAX 64 /* bytes of poll.lock that are looked at */

/* Decimal digits only, no more than int64 holds; -1 for everything else. */
static int64_t holder_number(const char *s, size_t n) {
    int64_t v = 0;
    if (n == 0 || n > 18) return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

/* A process id, or 0. Blanks around it are allowed: others read it so. */
static int64_t holder_pid(const char *s, size_t n) {
    while (n && (s[n - 1] == '\n' || s[n - 1] == '\r' || s[n - 1] == ' '))
        n--;
    while (n && *s == ' ')
        s++, n--;
    int64_t v = holder_number(s, n);
    return v > 0 && v <= INT32_MAX ? v : 0;
}

/* Text for people: cut between characters, and what is no UTF-8 or a control becomes '?'. */
AGT_PRIVATE void agt__holder_text(char *out, size_t size, const char *s, size_t n) {
    if (n > size - 1) {
        n = size - 1;
        for (int i = 0; i < 3 && n && ((unsigned char)s[n] & 0xc0u) == 0x80u; i++)
            n--;
    }
    (void)agt__copy_text(out, size, s, n);
    for (size_t i = 0; (i += agt__utf8_valid(out + i, n - i)) < n;)
        out[i++] = '?';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)out[i];
        bool c1 = c == 0xc2u && (unsigned char)out[i + 1] < 0xa0u; /* U+0080 to U+009F */
        if (c < 0x20u) out[i] = '?';
        if (c1) out[i] = out[i + 1] = '?';
    }
}

AGT_PRIVATE size_t agt__holder_format(const agt_holder *h, char out[AGT_HOLDER_TEXT]) {
    int n = snprintf(out, AGT_HOLDER_TEXT,
                     "pid=%lld\nstart=%llu\nboot=%s\npidns=%s\ntimens=%s\nhost=%s\nsince=%lld\n"
                     "program=%s\nepoch=%llu\ntoken=%s\nend=%s\n",
                     (long long)h->pid, (unsigned long long)h->start, h->boot, h->pid_space,
                     h->time_space, h->host, (long long)h->since_unix_ms, h->program,
                     (unsigned long long)h->epoch, h->token, h->token);
    return n > 0 && n < AGT_HOLDER_TEXT ? (size_t)n : 0;
}

/* The value of `key` in the lines, the first one; false if there is none. */
static bool holder_value(const char *s, size_t n, const char *key, agt_text *out) {
    size_t key_len = strlen(key);
    while (n) {
        const char *end = memchr(s, '\n', n);
        size_t len = end ? (size_t)(end - s) : n;
        if (len > key_len && s[key_len] == '=' && memcmp(s, key, key_len) == 0) {
            out->data = s + key_len + 1;
            out->len = len - key_len - 1;
            return true;
        }
        s += len;
        n -= len;
        if (n) s++, n--;
    }
    return false;
}

static void holder_value_text(const char *s, size_t n, const char *key, char *out, size_t size) {
    agt_text v;
    if (holder_value(s, n, key, &v)) agt__holder_text(out, size, v.data, v.len);
}

static int64_t holder_value_number(const char *s, size_t n, const char *key) {
    agt_text v;
    int64_t number = holder_value(s, n, key, &v) ? holder_number(v.data, v.len) : -1;
    return number < 0 ? 0 : number;
}

/* Is the info all of one piece, and about this leader? */
static bool holder_info_fits(const char *s, size_t n, int64_t pid) {
    agt_text token, end;
    return pid > 0 && holder_value_number(s, n, "pid") == pid &&
           holder_value(s, n, "token", &token) && holder_value(s, n, "end", &end) &&
           agt__text_eq(token, end);
}

AGT_PRIVATE void agt__holder_parse(agt_holder *out, const void *pid, size_t pid_len,
                                   const void *info, size_t info_len) {
    memset(out, 0, sizeof *out);
    out->pid = holder_pid(pid, pid_len);
    if (!holder_info_fits(info, info_len, out->pid)) return;
    out->start = (uint64_t)holder_value_number(info, info_len, "start");
    out->epoch = (uint64_t)holder_value_number(info, info_len, "epoch");
    out->since_unix_ms = holder_value_number(info, info_len, "since");
    if (out->since_unix_ms > AGT_TIME_MAX) out->since_unix_ms = 0;
    holder_value_text(info, info_len, "boot", out->boot, sizeof out->boot);
    holder_value_text(info, info_len, "pidns", out->pid_space, sizeof out->pid_space);
    holder_value_text(info, info_len, "timens", out->time_space, sizeof out->time_space);
    holder_value_text(info, info_len, "host", out->host, sizeof out->host);
    holder_value_text(info, info_len, "program", out->program, sizeof out->program);
    holder_value_text(info, info_len, "token", out->token, sizeof out->token);
}

AGT_PRIVATE void agt__holder_self(agt_holder *h, const agt_sys *sys, const char *program) {
    agt_process self;
    unsigned char token[16];
    memset(h, 0, sizeof *h);
    h->pid = sys->pid(sys->ctx);
    h->since_unix_ms = sys->now_unix_ms(sys->ctx);
    if (sys->process(sys->ctx, &self) == 0) {
        h->start = self.start;
        agt__holder_text(h->boot, sizeof h->boot, self.boot, strlen(self.boot));
        agt__holder_text(h->host, sizeof h->host, self.host, strlen(self.host));
        agt__holder_text(h->pid_space, sizeof h->pid_space, self.pid_space, strlen(self.pid_space));
        agt__holder_text(h->time_space, sizeof h->time_space, self.time_space,
                         strlen(self.time_space));
        if (!program) program = self.program;
    }
    if (program) agt__holder_text(h->program, sizeof h->program, program, strlen(program));
    if (sys->random(sys->ctx, token, sizeof token) == 0) agt__hex(token, sizeof token, h->token);
}

/* Up to `size` bytes of a file; what cannot be read counts as empty. */
static size_t holder_look(const agt_sys *sys, agt_fd locks, const char *name, char *out,
                          size_t size) {
    agt_fd fd = sys->open(sys->ctx, locks, name, AGT_O_READ, 0);
    if (fd < 0) return 0;
    int64_t n = agt__read_all(sys, fd, out, size, 0);
    sys->close(sys->ctx, fd);
    return n > 0 ? (size_t)n : 0;
}

AGT_PRIVATE void agt__holder_read(const agt_sys *sys, agt_fd locks, agt_holder *out) {
    char pid[HOLDER_PID_MAX], info[AGT_HOLDER_TEXT];
    size_t pid_len = holder_look(sys, locks, AGT_POLL_LOCK, pid, sizeof pid);
    size_t info_len = holder_look(sys, locks, AGT_POLL_INFO, info, sizeof info);
    agt__holder_parse(out, pid, pid_len, info, info_len);
}
