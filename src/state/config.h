/* config: .agent-trace/config.toml, the store's identity and settings, meant for people. */
#ifndef AGT_CONFIG_H
#define AGT_CONFIG_H

#include "../data/data.h"
#include "../sys/sys.h"

#define AGT_STORE_FORMAT 2

typedef struct agt_config {
    char id[40]; /* UUID */
    char name[128];
    int64_t format; /* AGT_STORE_FORMAT; 0 where there is none: a store of agent-trace 0.1.0 */
    int64_t interval_ms;
    bool polling;
} agt_config;

/* A random UUID (version 4) as 36 characters and a NUL. */
AGT_PRIVATE agt_status agt__uuid(const agt_sys *sys, char out[40], agt_error *err);
/* Reads the file. AGT_NOT_FOUND, AGT_UNSUPPORTED (an older or newer format), AGT_CORRUPT (with the
 * byte), AGT_IO, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__config_read(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_config *out, agt_error *err);
AGT_PRIVATE agt_status agt__config_write(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         const agt_config *config, agt_error *err);

#endif /* AGT_CONFIG_H */
