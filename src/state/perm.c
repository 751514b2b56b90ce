/* perm: who may write what.
 *
 *     type        user      agent     system
 *     plan        allow     allow     deny
 *     context     confirm   deny      allow
 *     log         confirm   deny      allow
 *     reference   allow     deny      deny
 *     scratch     allow     allow     allow
 *
 * (1) Creating, changing, deleting, restoring, adding, renaming and untracking are all writes, and
 *     the table is the whole rule for them; unknown types, actors and actions are denied.
 * (2) Giving a document another type needs the right to write both types: nobody gets rid of a
 *     protection that he could not pass, or protects what he could not write.
 * (3) Grants are the user's alone to give and to take back; they need what a write of his needs.
 * (4) A grant allows what changes the document's bytes, not what would outlast it: no deletion, no
 *     rename, no untracking, no other type, no further grant; nor does it bring back what was
 *     deleted or untracked since.
 * (5) A deleted or untracked document keeps its place: what could not be written there, by nobody
 *     else's document is it replaced, squeezed out or shadowed.
 * (6) "confirm" with confirmation is allowed; confirmation never turns a denial into anything. */
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

AGT_PRIVATE const char *agt__action_name(agt_action action, bool exists) {
    static const char *const names[] = {"",        "delete",     "restore", "create", "rename",
                                        "untrack", "reclassify", "unlock",  "revoke"};
    if (action == AGT_ACTION_WRITE) return exists ? "modify" : "create";
    return (unsigned)action < AGT_COUNT(names) ? names[action] : "unknown";
}

AGT_PRIVATE bool agt__grantee_valid(agt_text grantee) {
    return grantee.data &&
           (agt__text_is(grantee, "agent") || agt__actor_valid(grantee.data, grantee.len));
}

AGT_PRIVATE bool agt__grantee_is(const char *grantee, agt_text actor) {
    if (strcmp(grantee, "agent") == 0) return agt__actor_kind(actor) == AGT_ACTOR_AGENT;
    return agt__text_is(actor, grantee);
}

static int perm_rule(agt_actor_kind kind, agt_type type) {
    bool known = (unsigned)type < AGT_COUNT(perm_table) && (unsigned)kind < 4;
    return known ? perm_table[type][kind] : PERM_DENY;
}

static bool perm_is_grantable(agt_action action) {
    return action == AGT_ACTION_WRITE || action == AGT_ACTION_RESTORE || action == AGT_ACTION_ADD;
}

AGT_PRIVATE agt_type agt__perm_stricter(agt_actor_kind kind, agt_type a, agt_type b) {
    static const int strict[] = {2, 0, 1}; /* deny, allow, confirm */
    if (!a || !b) return a ? a : b;
    return strict[perm_rule(kind, b)] > strict[perm_rule(kind, a)] ? b : a;
}

/* (5) */
static agt_status perm_place(const agt_ask *ask, const char **why) {
    int rule = ask->place ? perm_rule(ask->kind, ask->place) : PERM_ALLOW;
    if (rule == PERM_ALLOW || (rule == PERM_CONFIRM && ask->confirmed)) return AGT_OK;
    *why = "it is the place of a deleted or untracked document of a type that is not everybody's";
    return rule == PERM_CONFIRM ? AGT_NEEDS_CONFIRMATION : AGT_DENIED;
}

static agt_status perm_document(const agt_ask *ask, const char **why) {
    int rule = perm_rule(ask->kind, ask->type);
    bool grants = ask->action == AGT_ACTION_UNLOCK || ask->action == AGT_ACTION_REVOKE;
    *why = perm_why[(unsigned)ask->type < AGT_COUNT(perm_why) ? ask->type : 0];
    if ((unsigned)ask->action > AGT_ACTION_REVOKE) {
        *why = "nobody may do what is no known action";
        return AGT_DENIED;
    }
    if (grants && ask->kind != AGT_ACTOR_USER) { /* (3) */
        *why = "only the user may give or end a grant";
        return AGT_DENIED;
    }
    if (ask->to && ask->to != ask->type) { /* (2) */
        int other = perm_rule(ask->kind, ask->to);
        if (rule != PERM_DENY && other != PERM_ALLOW) {
            rule = other;
            *why = perm_why[(unsigned)ask->to < AGT_COUNT(perm_why) ? ask->to : 0];
        }
    } else if (ask->granted && perm_is_grantable(ask->action)) /* (4) */
        return AGT_OK;
    if (rule == PERM_ALLOW) return AGT_OK;
    if (rule == PERM_CONFIRM) return ask->confirmed ? AGT_OK : AGT_NEEDS_CONFIRMATION;
    return AGT_DENIED;
}

AGT_PRIVATE agt_status agt__perm_decide(const agt_ask *ask, const char **why) {
    agt_status st = perm_document(ask, why);
    if (st == AGT_DENIED) return st;
    agt_status place = perm_place(ask, why);
    return place == AGT_OK ? st : place;
}

AGENT_TRACE_API agt_status agt_permission(const char *actor, agt_action action, agt_type type,
                                          const char *path) {
    const char *why = "";
    agt_ask ask = {agt__actor_kind(agt__text(actor)),
                   action,
                   type,
                   AGT_TYPE_DEFAULT,
                   AGT_TYPE_DEFAULT,
                   false,
                   false};
    if (ask.kind == AGT_ACTOR_NONE) return AGT_INVALID;
    if (type == AGT_TYPE_DEFAULT) ask.type = AGT_TYPE_SCRATCH;
    ask.type = agt__perm_type(ask.type, path, path ? strlen(path) : 0);
    return agt__perm_decide(&ask, &why);
}
