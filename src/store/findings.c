/* findings: see findings.h. A growing array; texts are cut, never allocated. */
#include "findings.h"

#include <stdio.h>

struct agt_findings {
    agt_mem mem;
    agt_finding *v;
    size_t count, cap, at;
    bool failed;
    agt_finding spare; /* what there was no room for */
};

AGT_PRIVATE agt_status agt__findings_new(agt_findings **out, const agt_mem *mem, agt_error *err) {
    agt_findings *all = agt__zalloc(mem, sizeof *all);
    *out = all;
    if (!all) return agt__nomem(err);
    all->mem = *mem;
    return AGT_OK;
}

static agt_finding *findings_room(agt_findings *all) {
    if (all->count == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 16;
        agt_finding *v = agt__realloc(&all->mem, all->v, all->cap * sizeof *v, cap * sizeof *v);
        if (!v) {
            all->failed = true;
            return &all->spare;
        }
        all->v = v;
        all->cap = cap;
    }
    return &all->v[all->count++];
}

AGT_PRIVATE agt_finding *agt__findings_add(agt_findings *all, agt_severity severity,
                                           const char *code, const char *mend, const char *format,
                                           ...) {
    va_list args;
    agt_finding *f = findings_room(all);
    memset(f, 0, sizeof *f);
    f->size = sizeof *f;
    f->severity = severity;
    (void)agt__copy_text(f->code, sizeof f->code, code, strlen(code));
    if (mend) (void)agt__copy_text(f->mend, sizeof f->mend, mend, strlen(mend));
    va_start(args, format);
    (void)vsnprintf(f->what, sizeof f->what, format, args);
    va_end(args);
    return f;
}

AGT_PRIVATE void agt__findings_join(agt_findings *all, const agt_findings *more) {
    for (size_t i = more->at; i < more->count; i++)
        *findings_room(all) = more->v[i];
}

AGT_PRIVATE bool agt__findings_failed(const agt_findings *all) {
    return all->failed;
}

AGT_PRIVATE void agt__findings_count(const agt_findings *all, uint32_t *bad, uint32_t *mendable,
                                     uint32_t *mended) {
    *bad = *mendable = *mended = 0;
    for (size_t i = 0; i < all->count; i++) {
        const agt_finding *f = &all->v[i];
        if (f->severity < AGT_SEVERITY_WARNING) continue;
        ++*bad;
        *mendable += f->mendable;
        *mended += f->mended;
    }
}

AGT_PRIVATE void agt__findings_mended(agt_findings *all) {
    for (size_t i = 0; i < all->count; i++)
        all->v[i].mended = all->v[i].mendable;
}

AGENT_TRACE_API agt_status agt_findings_next(agt_findings *all, agt_finding *out, agt_error *err) {
    agt_finding known;
    AGENT_TRACE_ASSERT(all && out);
    agt_status st = agt__options(&known, sizeof known, out, "agt_finding", err);
    if (st != AGT_OK) return st;
    if (all->at == all->count) return agt__fail(err, AGT_END, "no more findings");
    uint32_t size = out->size;
    const agt_finding *f = &all->v[all->at++];
    memcpy((char *)out + sizeof size, (const char *)f + sizeof size,
           (size < sizeof *f ? size : sizeof *f) - sizeof size);
    return AGT_OK;
}

AGENT_TRACE_API void agt_findings_close(agt_findings *all) {
    if (!all) return;
    agt_mem mem = all->mem;
    agt__free(&mem, all->v, all->cap * sizeof *all->v);
    agt__free(&mem, all, sizeof *all);
}
