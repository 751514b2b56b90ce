/* Fuzzes the patterns that leave paths out: any text, any path. The input is the text, a byte 0xff
 * and the path. What is answered must agree with itself, whatever git would say. */
#include "../src/data/data.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(c)                                                                                    \
    do {                                                                                           \
        if (!(c)) __builtin_trap();                                                                \
    } while (0)

typedef struct list {
    char *text;
    agt_ignore_rule *rules;
    size_t count;
} list;

/* Reads a copy of exactly n bytes, so that a read past the end is seen. */
static agt_status list_read(list *l, const char *text, size_t n) {
    agt_error err;
    size_t lines = agt__ignore_lines(text, n);
    l->text = malloc(n ? n : 1);
    if (n) memcpy(l->text, text, n);
    l->rules = malloc((lines ? lines : 1) * sizeof *l->rules);
    agt_status st = agt__ignore_read(l->text, n, l->rules, &l->count, &err);
    MUST(st == AGT_OK || (st == AGT_LIMIT && err.offset >= 0 && (size_t)err.offset < n));
    MUST(l->count <= lines);
    return st;
}

static void list_free(list *l) {
    free(l->text);
    free(l->rules);
}

static agt_ignore_answer ask(const list *l, const char *path, size_t len, bool folder) {
    return agt__ignore_one(l->rules, l->count, path, len, folder);
}

/* One more line that names exactly this path decides about it, and about nothing else. */
static void check_last(const char *text, size_t n, const char *path, size_t len, bool negative) {
    char *longer = malloc(n + 2 * len + 8);
    size_t to = n;
    list l;
    if (n) memcpy(longer, text, n);
    longer[to++] = '\n';
    if (negative) longer[to++] = '!';
    longer[to++] = '/';
    for (size_t i = 0; i < len; i++) {
        if (path[i] != '/') longer[to++] = '\\';
        longer[to++] = path[i];
    }
    longer[to++] = '\n';
    if (list_read(&l, longer, to) == AGT_OK) {
        MUST(ask(&l, path, len, false) == (negative ? AGT_IGNORE_WANTED : AGT_IGNORE_LEFT_OUT));
    }
    list_free(&l);
    free(longer);
}

/* A path as the walk makes them: parts that are not empty. */
static bool is_path(const char *path, size_t len) {
    if (!len || len > 200 || path[0] == '/' || path[len - 1] == '/') return false;
    for (size_t i = 0; i < len; i++)
        if (!path[i] || path[i] == '\n' || path[i] == '\r' ||
            (path[i] == '/' && path[i + 1] == '/'))
            return false;
    return true;
}

/* What matches a file matches a folder of that name, too. */
static void check_folder(const list *l, const char *path, size_t len) {
    if (ask(l, path, len, false) == AGT_IGNORE_LEFT_OUT) MUST(ask(l, path, len, true) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *cut = size ? memchr(data, 0xff, size) : NULL;
    size_t n = cut ? (size_t)(cut - text) : size, len = cut ? size - n - 1 : 0;
    char *path = malloc(len ? len : 1);
    list l;
    if (len) memcpy(path, cut + 1, len);
    if (list_read(&l, text, n) == AGT_OK && len) {
        (void)ask(&l, path, len, true); /* any bytes at all */
        if (is_path(path, len)) {
            check_folder(&l, path, len);
            check_last(text, n, path, len, false);
            check_last(text, n, path, len, true);
        }
    }
    list_free(&l);
    free(path);
    return 0;
}
