/* For tests of the system itself: its agt_sys, where the files of locks/ are, open descriptors. */
#ifndef OS_KIT_H
#define OS_KIT_H

#include "test.h"

#include <fcntl.h>
#include <stdio.h>

static inline const agt_sys *os(void) {
    return agt_sys_os();
}

/* <root>/.agent-trace/locks/<name>; the text lives for four calls. */
static inline const char *lock_path(const char *root, const char *name) {
    static char text[4][1024];
    static int turn;
    char *out = text[turn++ & 3];
    snprintf(out, sizeof text[0], "%s/.agent-trace/locks/%s", root, name);
    return out;
}

static inline int count_open(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

#endif /* OS_KIT_H */
