/* perm: the permission rules, pure. Every call and command asks here and nowhere else. */
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
/* AGT_OK, AGT_NEEDS_CONFIRMATION or AGT_DENIED; `why` gets the reason in words, never NULL. */
AGT_PRIVATE agt_status agt__perm_decide(agt_actor_kind kind, agt_type type, bool confirmed,
                                        const char **why);

#endif /* AGT_PERM_H */
