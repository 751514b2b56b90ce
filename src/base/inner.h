/* What the parts of base share among themselves: the trailer behind the caller's bytes. */
#ifndef AGT_BASE_INNER_H
#define AGT_BASE_INNER_H

#include "base.h"

typedef struct agt_owner {
    agt_allocator a;
    size_t size; /* of the whole allocation, trailer included */
} agt_owner;

/* Where the trailer of `len` bytes and their NUL begins, and the size of it all; false on
 * overflow. */
AGT_PRIVATE bool agt__owner_size(size_t len, size_t *offset, size_t *whole);
/* Writes the NUL and the trailer into an allocation of `allocated` bytes, and makes it *out. */
AGT_PRIVATE void agt__owner_set(const agt_mem *m, unsigned char *data, size_t len, size_t offset,
                                size_t allocated, agt_bytes *out);

#endif /* AGT_BASE_INNER_H */
