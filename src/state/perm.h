/* perm: the permission rules, pure. Every call and every command asks here and nowhere else. */
#ifndef AGT_PERM_H
#define AGT_PERM_H

#include "../data/data.h"

typedef enum agt_actor_kind {
    AGT_ACTOR_NONE = 0,
    AGT_ACTOR_USER,
    AGT_ACTOR_AGENT,
    AGT_ACTOR_SYSTEM
} agt_actor_kind;

AGT_PRIVATE agt_actor_kind agt__actor_kind(agt_text actor);
/* The name behind "agent:", or NULL text. */
AGT_PRIVATE agt_text agt__actor_agent(agt_text actor);
/* The type the rules see: generated documents are context or log by their exact path. */
AGT_PRIVATE agt_type agt__perm_type(agt_type type, const char *path, size_t path_len);
/* What is asked: everything a decision is made from. */
typedef struct agt_ask {
    agt_actor_kind kind;
    agt_action action;
    agt_type type;  /* the document's, as agt__perm_type sees it */
    agt_type to;    /* the type it gets, likewise; AGT_TYPE_DEFAULT: it keeps its own */
    agt_type place; /* of a remembered document whose place is taken; AGT_TYPE_DEFAULT: of none */
    bool granted;   /* a grant of this document for this actor is in force */
    bool confirmed; /* the caller said yes beforehand */
} agt_ask;
/* Which of the two types is this kind of actor less free to write? */
AGT_PRIVATE agt_type agt__perm_stricter(agt_actor_kind kind, agt_type a, agt_type b);
/* AGT_OK, AGT_NEEDS_CONFIRMATION or AGT_DENIED; `why` gets the reason in words, never NULL. */
AGT_PRIVATE agt_status agt__perm_decide(const agt_ask *ask, const char **why);
/* What an action is called in an event: "delete", "rename"; writes are "modify" or "create". */
AGT_PRIVATE const char *agt__action_name(agt_action action, bool exists);
/* May the actor be granted something: "agent", or any that is valid? */
AGT_PRIVATE bool agt__grantee_valid(agt_text grantee);
/* Is the actor the one a grant names? */
AGT_PRIVATE bool agt__grantee_is(const char *grantee, agt_text actor);

#endif /* AGT_PERM_H */
