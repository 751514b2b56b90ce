/* Any bytes as poll.lock and poll.lock.info: what stands before the first NUL is the one, what
 * follows it the other. Whatever is read must be sound, and written out again be read the same. */
#include "../src/data/data.h"
#include "../src/lock/lock.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t pid_len = nul ? (size_t)(nul - data) : size;
    size_t info_at = nul ? pid_len + 1 : size;
    agt_holder h, again;
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
