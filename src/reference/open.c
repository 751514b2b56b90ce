/* open: agt_open, and what it does with a store of agent-trace 0.1.0: it can be read where it is,
 * wherever it is, and is not changed. */
#include "veil.h"

/* Opens .agent-trace of `root` if it is an old store; *at is AGT_FD_NONE if it is none. */
static agt_status open_old_at(const agt_sys *sys, const char *root, const agt_mem *mem, agt_fd *at,
                              agt_error *err) {
    bool is = false;
    *at = AGT_FD_NONE;
    agt_fd fd = sys->open_root(sys->ctx, root);
    if (fd < 0) return AGT_OK; /* the real open has said why */
    agt_fd found = sys->open(sys->ctx, fd, AGT_STORE_NAME, AGT_O_READ | AGT_O_FOLDER, 0);
    sys->close(sys->ctx, fd);
    if (found < 0) return AGT_OK;
    agt_status st = agt__store_is_old(sys, found, mem, &is, err);
    if (st == AGT_OK && is)
        *at = found;
    else
        sys->close(sys->ctx, found);
    return st;
}

static agt_status open_old(agt_store **out, const char *root, const agt_open_options *opts,
                           const agt_sys *sys, agt_fd at, const agt_mem *mem, agt_error *err) {
    agt_open_options o = *opts;
    agt_veil *veil;
    agt_status st = agt__veil_make(&veil, sys, at, mem, err);
    if (st != AGT_OK) return st;
    o.create = 0;
    o.size = sizeof o; /* the caller may have passed none */
    o.read_only = 1;
    o.sys = agt__veil_sys(veil);
    st = agt__store_open(out, root, &o, err);
    if (st != AGT_OK) {
        agt__veil_free(veil);
        return st;
    }
    (*out)->stands_on = veil;
    (*out)->stands_on_free = agt__veil_free;
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_open(agt_store **out, const char *root, const agt_open_options *opts,
                                    agt_error *err) {
    agt_open_options o;
    agt_error first;
    agt_fd at = AGT_FD_NONE;
    first.status = AGT_OK;
    agt_status st = agt__store_open(out, root, opts, &first);
    /* what makes an old store is what makes it none of ours: no format, or no config.toml */
    bool perhaps = st == AGT_UNSUPPORTED || st == AGT_NOT_FOUND || st == AGT_CORRUPT;
    if (!perhaps || agt__options(&o, sizeof o, opts, "agt_open_options", NULL) != AGT_OK)
        return agt__answer(st, &first, err);
    agt_mem mem = agt__mem(o.allocator);
    const agt_sys *sys = agt__sys_or_os(o.sys);
    agt_status is = open_old_at(sys, root, &mem, &at, err);
    if (is != AGT_OK) return is;
    if (at == AGT_FD_NONE) return agt__answer(st, &first, err);
    return open_old(out, root, &o, sys, at, &mem, err);
}
