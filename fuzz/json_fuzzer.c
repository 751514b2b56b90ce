/* Fuzzes the JSON reader and writer. Any bytes may be parsed; what was accepted must be walkable,
 * written anew and read again as the same; any bytes at all can be written as a string. */
#include "../src/data/data.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(c)                                                                                    \
    do {                                                                                           \
        if (!(c)) __builtin_trap();                                                                \
    } while (0)

static agt_mem mem;
static agt_buf once, twice, copy; /* kept from run to run */

static bool inside(const agt_json *outer, const agt_json *v) {
    return v->len > 0 && v->raw > outer->raw && v->raw + v->len < outer->raw + outer->len;
}

/* Writes the string's text anew; it must be read back byte for byte. */
static void put_string_again(agt_buf *out, const agt_json *v) {
    size_t begin = out->len;
    char *text = malloc(v->len); /* exact, so that a sanitizer sees the end */
    size_t n = agt__json_unescape(v, text), m;
    agt_json again;
    MUST(n <= v->len - 2 && (v->escaped || n == v->len - 2));
    MUST(agt__utf8_valid(text, n) == n);
    agt__json_put_string(out, text, n);
    MUST(!out->failed);
    MUST(agt__json_parse((char *)out->data + begin, out->len - begin, &again, NULL) == AGT_OK);
    MUST(again.kind == AGT_JSON_STRING && again.len == out->len - begin);
    text = realloc(text, again.len + n);
    memcpy(text + again.len, text, n);
    m = agt__json_unescape(&again, text);
    MUST(m == n && memcmp(text, text + again.len, n) == 0);
    free(text);
}

static void check_number(const agt_json *v) {
    uint64_t u;
    int64_t i;
    bool is_u = agt__json_u64(v, &u), is_i = agt__json_i64(v, &i);
    if (is_u) {
        copy.len = 0;
        agt__buf_u64(&copy, u);
        MUST(copy.len == v->len && memcmp(copy.data, v->raw, v->len) == 0);
        MUST(is_i == (u <= INT64_MAX) && (!is_i || (uint64_t)i == u));
    } else if (is_i) {
        MUST(v->raw[0] == '-' && i <= 0);
    }
}

static void put_scalar(agt_buf *out, const agt_json *v) {
    if (v->kind == AGT_JSON_STRING) {
        put_string_again(out, v);
        return;
    }
    if (v->kind == AGT_JSON_NUMBER) check_number(v);
    agt__buf_put(out, v->raw, v->len);
}

/* The first member of that name must be the one that agt__json_get finds. */
static void check_get(const agt_json *object, const agt_json *key) {
    char *name = malloc(key->len + 1), *other;
    size_t n = agt__json_unescape(key, name), at = 0, m;
    agt_json k, v, got;
    name[n] = 0;
    if (!memchr(name, 0, n)) {
        MUST(agt__json_get(object, name, &got));
        while (agt__json_next(object, &at, &k, &v)) {
            other = malloc(k.len);
            m = agt__json_unescape(&k, other);
            bool same = m == n && memcmp(other, name, n) == 0;
            free(other);
            if (!same) continue;
            MUST(v.raw == got.raw && v.len == got.len);
            break;
        }
    }
    free(name);
}

static bool container(const agt_json *v) {
    return v->kind == AGT_JSON_ARRAY || v->kind == AGT_JSON_OBJECT;
}

/* Writes the whole value without blanks. */
static void put_value(agt_buf *out, const agt_json *root) {
    static agt_json stack[AGT_JSON_MAX_DEPTH];
    static size_t at[AGT_JSON_MAX_DEPTH];
    size_t depth = 0, budget = 8;
    agt_json v = *root, key;
    for (bool first = true;;) {
        if (container(&v)) {
            MUST(depth < AGT_JSON_MAX_DEPTH);
            agt__buf_byte(out, v.kind == AGT_JSON_OBJECT ? '{' : '[');
            stack[depth] = v;
            at[depth++] = 0;
            first = true;
        } else {
            put_scalar(out, &v);
            first = false;
        }
        while (depth && !agt__json_next(&stack[depth - 1], &at[depth - 1], &key, &v)) {
            agt__buf_byte(out, stack[--depth].kind == AGT_JSON_OBJECT ? '}' : ']');
            first = false;
        }
        if (depth == 0) return;
        MUST(inside(&stack[depth - 1], &v));
        if (!first) agt__buf_byte(out, ',');
        if (stack[depth - 1].kind != AGT_JSON_OBJECT) continue;
        MUST(key.kind == AGT_JSON_STRING && inside(&stack[depth - 1], &key));
        if (budget && budget--) check_get(&stack[depth - 1], &key);
        put_string_again(out, &key);
        agt__buf_byte(out, ':');
    }
}

static void check_accepted(const agt_json *root) {
    agt_json again;
    once.len = twice.len = 0;
    put_value(&once, root);
    MUST(agt__json_parse((char *)once.data, once.len, &again, NULL) == AGT_OK);
    MUST(again.len == once.len && again.kind == root->kind);
    put_value(&twice, &again);
    MUST(twice.len == once.len && memcmp(twice.data, once.data, once.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *s = (const char *)data;
    agt_json root;
    agt_error err;
    mem = agt__mem(NULL);
    once.mem = twice.mem = copy.mem = &mem;
    agt_status status = agt__json_parse(s, size, &root, &err);
    if (status == AGT_OK) {
        MUST(root.raw >= s && root.raw + root.len <= s + size);
        check_accepted(&root);
    } else {
        MUST(status == AGT_INVALID || status == AGT_LIMIT);
        MUST(err.offset >= 0 && (size_t)err.offset <= size && err.status == status);
        MUST(memchr(err.message, 0, sizeof err.message) != NULL);
    }
    copy.len = 0;
    agt__json_put_string(&copy, s, size);
    MUST(agt__json_parse((char *)copy.data, copy.len, &root, NULL) == AGT_OK);
    MUST(root.kind == AGT_JSON_STRING && root.len == copy.len);
    if (agt__utf8_valid(s, size) == size) {
        char *text = malloc(root.len);
        MUST(agt__json_unescape(&root, text) == size && (!size || !memcmp(text, s, size)));
        free(text);
    }
    return 0;
}
