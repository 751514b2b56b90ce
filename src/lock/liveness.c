/* liveness: whether the process that a record names can still act, from what the system tells.
 *
 * A process id alone proves nothing: it is used again, counted anew in a container, and another
 * machine's means nothing here. DEAD is said only where each of these was looked at; whatever
 * cannot be proved is UNCERTAIN, and nobody takes anything from a process because of that.
 *
 *   pid        none, or none that a system gives out                      -> uncertain
 *   host       another one, or unknown: its processes cannot be seen      -> uncertain
 *   boot       another one, on this machine's own disk: it was restarted  -> dead
 *              another one, or unknown, on a disk that others may use:
 *              a machine of the same name, perhaps                        -> uncertain
 *   spaces     ids or times are counted in another space                  -> uncertain
 *   process    gone, or a zombie                                          -> dead
 *              in an inner space: the record would say so, so it is
 *              another one                                                -> dead
 *   start      unknown on either side: the id may have been used again    -> uncertain
 *              more than a second apart: the id was used again            -> dead
 *              else                                                       -> alive
 *
 * (1) A second is tolerated because some systems round the start, each reader a little otherwise.
 *     An id that is used again within a second of the first one's start would have to run through
 *     all ids of the system in that time.
 * (2) This process' own id is no special case: its start tells whether the record is of an earlier
 *     process that had it.
 * (3) A process that calls exec is the same one for everybody else. */
#include "liveness.h"

#include "../base/base.h"
#include "../sys/sys.h"

static agt_verdict liveness_say(agt_verdict v, const char *text, const char **why) {
    if (why) *why = text;
    return v;
}

/* Does the record speak of this machine, running as it does? AGT_ALIVE: yes, look at the pid. */
static agt_verdict liveness_place(const agt_holder *h, const agt_witness *w, const char **why) {
    if (!h->host[0] || strcmp(h->host, w->self.host) != 0)
        return liveness_say(AGT_UNCERTAIN, "is on another host", why);
    bool known = h->boot[0] && w->self.boot[0];
    if (known && strcmp(h->boot, w->self.boot) != 0) {
        if (w->local) return liveness_say(AGT_DEAD, "ended when the machine was restarted", why);
        return liveness_say(AGT_UNCERTAIN, "may be on another host of the same name", why);
    }
    if (!known && !w->local)
        return liveness_say(AGT_UNCERTAIN, "may be on another host of the same name", why);
    if (strcmp(h->pid_space, w->self.pid_space) != 0)
        return liveness_say(AGT_UNCERTAIN, "is in another container", why);
    if (strcmp(h->time_space, w->self.time_space) != 0)
        return liveness_say(AGT_UNCERTAIN, "has another count of time", why);
    return AGT_ALIVE;
}

AGT_PRIVATE agt_verdict agt__liveness(const agt_holder *h, const agt_witness *w, const char **why) {
    const agt_peer *p = &w->peer;
    if (h->pid <= 0 || h->pid > INT32_MAX) return liveness_say(AGT_UNCERTAIN, "is not named", why);
    agt_verdict v = liveness_place(h, w, why);
    if (v != AGT_ALIVE) return v;
    if (p->state == AGT_PEER_ENDED) return liveness_say(AGT_DEAD, "has ended", why);
    if (p->pid_space[0] && h->pid_space[0] && strcmp(p->pid_space, h->pid_space) != 0)
        return liveness_say(AGT_DEAD, "has ended, and another one has its id", why);
    if (!p->start || !h->start || !p->per_second)
        return liveness_say(AGT_UNCERTAIN, "may be another one of the same id", why);
    uint64_t apart = p->start > h->start ? p->start - h->start : h->start - p->start;
    if (apart > p->per_second)
        return liveness_say(AGT_DEAD, "has ended, and another one has its id", why);
    return liveness_say(AGT_ALIVE, "runs", why);
}

AGT_PRIVATE agt_verdict agt__liveness_ask(const agt_sys *sys, agt_fd dir, const agt_holder *h,
                                          const char **why) {
    static const agt_volume unknown = AGT_VOLUME_INIT;
    agt_witness w;
    agt_volume volume = unknown;
    memset(&w, 0, sizeof w);
    if (sys->process(sys->ctx, &w.self) < 0)
        return liveness_say(AGT_UNCERTAIN, "cannot be looked for", why);
    w.local =
        sys->volume && sys->volume(sys->ctx, dir, &volume) >= 0 && volume.place == AGT_VOLUME_LOCAL;
    if (h->pid <= 0 || h->pid > INT32_MAX || !sys->peer || sys->peer(sys->ctx, h->pid, &w.peer) < 0)
        memset(&w.peer, 0, sizeof w.peer);
    return agt__liveness(h, &w, why);
}
