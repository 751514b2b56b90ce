/* perm: who may write what.
 *
 *     type        user      agent     system
 *     plan        allow     allow     deny
 *     context     confirm   deny      allow
 *     log         confirm   deny      allow
 *     reference   allow     deny      deny
 *     scratch     allow     allow     allow
 *
 * The action does not matter: creating, changing, deleting, restoring and renaming are all writes.
 * (1) The table is the whole rule; unknown types and actors are denied.
 * (2) "confirm" with confirmation is allowed; confirmation never turns a denial into anything. */
#include "perm.h"

enum { PERM_DENY = 0, PERM_ALLOW, PERM_CONFIRM };

static const unsigned char perm_table[6][4] = {
    /* none, user, agent, system */
    {0, 0, 0, 0},
    {0, PERM_ALLOW, PERM_ALLOW, PERM_DENY},   /* plan */
    {0, PERM_CONFIRM, PERM_DENY, PERM_ALLOW}, /* context */
    {0, PERM_CONFIRM, PERM_DENY, PERM_ALLOW}, /* log */
    {0, PERM_ALLOW, PERM_DENY, PERM_DENY},    /* reference */
    {0, PERM_ALLOW, PERM_ALLOW, PERM_ALLOW},  /* scratch */
};

static const char *const perm_why[6] = {
    "a document of no known type cannot be written",
    "plan documents belong to the user and the agents, not to the system",
    "context documents are written by the system; the user must confirm, agents may not",
    "log documents are written by the system; the user must confirm, agents may not",
    "reference documents are the user's; nobody else may write them",
    "scratch documents are everybody's",
};

static const char *const perm_type_names[6] = {"default", "plan",      "context",
                                               "log",     "reference", "scratch"};

AGENT_TRACE_API const char *agt_type_name(agt_type type) {
    return (unsigned)type < AGT_COUNT(perm_type_names) ? perm_type_names[type] : "unknown";
}

AGENT_TRACE_API agt_type agt_type_from_name(const char *name) {
    for (int i = 1; i < (int)AGT_COUNT(perm_type_names); i++)
        if (strcmp(name, perm_type_names[i]) == 0) return (agt_type)i;
    return AGT_TYPE_DEFAULT;
}

AGT_PRIVATE agt_text agt__actor_agent(agt_text actor) {
    agt_text none = {NULL, 0};
    if (actor.len <= 6 || memcmp(actor.data, "agent:", 6) != 0) return none;
    return (agt_text){actor.data + 6, actor.len - 6};
}

AGT_PRIVATE agt_actor_kind agt__actor_kind(agt_text actor) {
    if (!actor.data || !agt__actor_valid(actor.data, actor.len)) return AGT_ACTOR_NONE;
    if (agt__text_is(actor, "user")) return AGT_ACTOR_USER;
    if (agt__text_is(actor, "system")) return AGT_ACTOR_SYSTEM;
    return AGT_ACTOR_AGENT;
}

AGT_PRIVATE agt_type agt__perm_type(agt_type type, const char *path, size_t len) {
    static const char *const context[] = {"AGENT-TRACE.md", "context.md", "running_summary.md"};
    if (!path) return type;
    /* in any case: on some file systems it is the same file */
    for (size_t i = 0; i < AGT_COUNT(context); i++)
        if (agt__path_fold_compare(path, len, context[i], strlen(context[i])) == 0)
            return AGT_TYPE_CONTEXT;
    /* logs/<agent>-<session>.md: one folder deep, a '-' inside, and the ending */
    if (len > 10 && agt__path_fold_compare(path, 5, "logs/", 5) == 0 &&
        agt__path_fold_compare(path + len - 3, 3, ".md", 3) == 0 &&
        !memchr(path + 5, '/', len - 5) && memchr(path + 6, '-', len - 10))
        return AGT_TYPE_LOG;
    return type;
}

AGT_PRIVATE agt_status agt__perm_decide(agt_actor_kind kind, agt_type type, bool confirmed,
                                        const char **why) {
    bool known = (unsigned)type < AGT_COUNT(perm_table) && (unsigned)kind < 4;
    int rule = known ? perm_table[type][kind] : PERM_DENY;
    *why = perm_why[known ? type : 0];
    if (rule == PERM_ALLOW) return AGT_OK;
    if (rule == PERM_CONFIRM) return confirmed ? AGT_OK : AGT_NEEDS_CONFIRMATION;
    return AGT_DENIED;
}

AGENT_TRACE_API agt_status agt_permission(const char *actor, agt_type type, const char *path) {
    const char *why;
    agt_actor_kind kind = agt__actor_kind(agt__text(actor));
    if (kind == AGT_ACTOR_NONE) return AGT_INVALID;
    if (type == AGT_TYPE_DEFAULT) type = AGT_TYPE_SCRATCH;
    return agt__perm_decide(kind, agt__perm_type(type, path, path ? strlen(path) : 0), false, &why);
}
