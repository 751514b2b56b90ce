/* What the tests of the older program's stores share: its stores, unpacked, and the facts about
 * them that git and the files themselves gave (expected.json). Both are shared test data: a test
 * that does not find them says so. */
#ifndef AGT_OLD_KIT_H
#define AGT_OLD_KIT_H

#include "../src/data/data.h"
#include "store_kit.h"

#include <unistd.h>

static const char *const old_names[] = {"empty", "scanned", "typed", "agents", "long"};
#define OLD_STORES (sizeof old_names / sizeof old_names[0])

/* The folder with the archives; skips the test where it is not there. */
static inline const char *old_data(void) {
    static char where[1000];
    const char *data = test_data();
    if (data) snprintf(where, sizeof where, "%s/reference-stores", data);
    if (!data || access(where, R_OK) != 0)
        test_skip("no stores of agent-trace 0.1.0 (reference-stores in the shared test data)");
    return where;
}

/* Unpacks a store into a fresh folder; returns the store's root. */
static inline const char *old_unpack(const char *name) {
    static char root[4][1200];
    static int at;
    char *p = root[at++ & 3];
    const char *folder = test_folder();
    free(kit_run("tar -xzf %s/%s.tar.gz -C %s 2>&1", old_data(), name, folder));
    snprintf(p, sizeof root[0], "%s/%s", folder, name);
    return p;
}

/* ---- JSON: a wanted member is there, or the test fails ---- */

typedef struct old_facts {
    unsigned char *bytes;
    agt_json root;
} old_facts;

static inline old_facts old_read_json(const char *name) {
    old_facts f;
    size_t n;
    agt_error err;
    f.bytes = test_read_file(kit_path(old_data(), name), &n);
    CHECK_OK(agt__json_parse((const char *)f.bytes, n, &f.root, &err), err);
    return f;
}
static inline agt_json old_get(const agt_json *object, const char *name) {
    agt_json v;
    memset(&v, 0, sizeof v);
    if (!agt__json_get(object, name, &v)) test_fail(__FILE__, __LINE__, "no member %s", name);
    return v;
}
static inline agt_json old_store_facts(const old_facts *f, const char *name) {
    agt_json stores = old_get(&f->root, "stores");
    return old_get(&stores, name);
}
static inline uint64_t old_count(const agt_json *container) {
    agt_json k, v;
    uint64_t n = 0;
    for (size_t at = 0; agt__json_next(container, &at, &k, &v);)
        n++;
    return n;
}
static inline uint64_t old_u64(const agt_json *object, const char *name) {
    agt_json v = old_get(object, name);
    uint64_t n = 0;
    if (!agt__json_u64(&v, &n)) test_fail(__FILE__, __LINE__, "%s is no number", name);
    return n;
}
/* A string's text in one of eight buffers; NULL for null. */
static inline const char *old_string(const agt_json *v) {
    static char out[8][8192];
    static int at;
    char *p = out[at++ & 7];
    if (v->kind == AGT_JSON_NULL) return NULL;
    CHECK(v->kind == AGT_JSON_STRING);
    CHECK(v->len < sizeof out[0]);
    p[agt__json_unescape(v, p)] = 0;
    return p;
}
static inline const char *old_text(const agt_json *object, const char *name) {
    agt_json v = old_get(object, name);
    return old_string(&v);
}

/* A text of ours is what the facts say; null is no text. */
static inline void old_same_at(int line, const char *what, agt_text got, const char *want) {
    bool same = want ? got.data && agt__text_is(got, want) : got.data == NULL;
    if (!same)
        test_fail(__FILE__, line, "%s is \"%.*s\", wanted \"%s\"", what, (int)got.len,
                  got.data ? got.data : "", want ? want : "(null)");
}
#define OLD_SAME(what, got, want) old_same_at(__LINE__, what, got, want)

static inline const char *old_sha256(const void *data, size_t n) {
    static char hex[65];
    unsigned char sum[32];
    agt__sha256(agt__cpu(), data, n, sum);
    agt__hex(sum, 32, hex);
    hex[64] = 0;
    return hex;
}

#endif /* AGT_OLD_KIT_H */
