/* liveness: whether the process that a record names can still act. */
#ifndef AGT_LIVENESS_H
#define AGT_LIVENESS_H

#include "lock.h"

typedef enum agt_verdict {
    AGT_UNCERTAIN = 0, /* nobody here can tell: treated as alive */
    AGT_ALIVE,
    AGT_DEAD /* proved: it cannot act any more */
} agt_verdict;

/* What is known here, to judge by. */
typedef struct agt_witness {
    agt_process self;
    agt_peer peer; /* the process that has the record's pid; state AGT_PEER_UNKNOWN: not told */
    bool local;    /* the record lies on a file system of this machine alone */
} agt_witness;

/* The verdict; `why` gets the reason, a few words that continue "its process ...". Pure. */
AGT_PRIVATE agt_verdict agt__liveness(const agt_holder *h, const agt_witness *w, const char **why);
/* Gathers what is known and judges. `dir` is the folder of the record. */
AGT_PRIVATE agt_verdict agt__liveness_ask(const agt_sys *sys, agt_fd dir, const agt_holder *h,
                                          const char **why);

#endif /* AGT_LIVENESS_H */
