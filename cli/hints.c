/* hints: what somebody may have meant who named something that is not there. */
#include "cli.h"
#include "files.h"
#include "output.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HINT_LONGEST 127 /* bytes; who types longer words makes other slips */

size_t hint_distance(const char *a, const char *b) {
    size_t row[HINT_LONGEST + 1], n = strlen(b);
    if (strlen(a) > HINT_LONGEST || n > HINT_LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static const char *hint_leaf(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The document whose path is nearly that one, or that has its name in another folder. False if
 * there is none. */
static bool hint_near(cli *c, const char *path, char *near, size_t size) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    size_t best = 3; /* farther is no slip of the finger */
    if (agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return false;
    near[0] = 0;
    while (best > 0 && agt_list_next(cursor, &d, NULL) == AGT_OK) {
        size_t distance = hint_distance(path, d.path);
        if (strcmp(hint_leaf(path), hint_leaf(d.path)) == 0 && distance > 2) distance = 2;
        if (distance >= best || distance >= strlen(path)) continue;
        best = distance;
        (void)snprintf(near, size, "%s", d.path);
    }
    agt_cursor_close(cursor);
    return near[0] != 0;
}

/* A file that could be added: no link leads to it. */
static bool hint_is_file(const cli *c, const char *path) {
    char name[PATH_MAX];
    struct stat st;
    if (!cli_place(c, path, name)) return false;
    for (char *p = name + strlen(c->root) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
        *p = 0;
        if (lstat(name, &st) != 0 || !S_ISDIR(st.st_mode)) return false;
    }
    return lstat(name, &st) == 0 && S_ISREG(st.st_mode);
}

bool hint_moved(cli *c, const char *path, char *from, size_t size) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    char place[PATH_MAX];
    struct stat st;
    bool same = false;
    if (!cli_place(c, path, place) || lstat(place, &st) != 0 || st.st_size == 0) return false;
    if (agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return false;
    while (!same && agt_list_next(cursor, &d, NULL) == AGT_OK) {
        agt_bytes bytes = {0};
        if (d.size_bytes != (uint64_t)st.st_size || !cli_gone(c, d.path)) continue;
        same = agt_read_version(c->store, d.path, 0, &bytes, NULL) == AGT_OK &&
               files_same(c, path, &bytes);
        agt_bytes_free(&bytes);
    }
    agt_cursor_close(cursor);
    if (same) (void)snprintf(from, size, "%s", d.path);
    return same;
}

/* A folder that documents are in. */
static bool hint_is_folder(cli *c, const char *path) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    o.under = path;
    if (agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return false;
    bool any = agt_list_next(cursor, &d, NULL) == AGT_OK;
    agt_cursor_close(cursor);
    return any;
}

const char *hint_missing(cli *c, char *out, size_t size) {
    const char *path = c->failure.path;
    agt_document d = AGT_DOCUMENT_INIT;
    char near[AGT_MAX_PATH + 8], shown[AGT_MAX_PATH * 4];
    out[0] = 0;
    if (!c->store || !path[0]) return out;
    agt_status st = agt_document_get(c->store, path, &d, NULL);
    if (st != AGT_NOT_FOUND && (st != AGT_OK || d.exists)) return out;
    cli_shown(c, path, strlen(path), shown, sizeof shown);
    if (hint_is_folder(c, path))
        (void)snprintf(out, size, "; it is a folder, and 'agent-trace ls %s' names its documents",
                       shown);
    else if (hint_is_file(c, path) && hint_moved(c, path, near, sizeof near))
        (void)snprintf(out, size,
                       "; it is %s, moved outside, and 'agent-trace mv' with both paths keeps its "
                       "type and versions",
                       cli_shown(c, near, strlen(near), shown, sizeof shown));
    else if (hint_is_file(c, path))
        (void)snprintf(out, size, "; the file is there, and 'agent-trace add %s' makes it one",
                       shown);
    else if (st == AGT_OK)
        (void)snprintf(out, size,
                       "; it was deleted, and 'agent-trace restore %s %u' brings it back", shown,
                       d.version > 1 ? d.version - 1 : 1);
    else if (hint_near(c, path, near, sizeof near))
        (void)snprintf(out, size, "; perhaps %s",
                       cli_shown(c, near, strlen(near), shown, sizeof shown));
    else
        (void)snprintf(out, size, "; 'agent-trace ls' names those there are");
    return out;
}
