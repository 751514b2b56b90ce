/* files: what lies in the store's folder and is no document, for status, init and mv. */
#include "files.h"

#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void files_keep(files *f, const agt_document *d) {
    if (d->left_out && d->left_out < AGT_LEFT_OUT_LAST_) {
        if (!f->left_out[d->left_out]++) memcpy(f->first[d->left_out], d->path, sizeof f->first[0]);
        return;
    }
    if (f->count == f->room) {
        f->room = f->room ? f->room * 2 : 64;
        f->file = out_grow(f->file, f->room * sizeof *f->file);
    }
    f->file[f->count++] = *d;
}

agt_status files_read(cli *c, files *f, agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    o.untracked = 2;
    agt_status st = agt_list(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    while ((st = agt_list_next(cursor, &d, err)) == AGT_OK)
        files_keep(f, &d);
    agt_cursor_close(cursor);
    return st == AGT_END ? AGT_OK : st;
}

void files_free(files *f) {
    free(f->file);
    f->file = NULL;
    f->count = f->room = 0;
}

bool files_same(const cli *c, const char *path, const agt_bytes *bytes) {
    char place[PATH_MAX], part[65536];
    size_t at = 0, n;
    FILE *f = cli_place(c, path, place) ? fopen(place, "rb") : NULL;
    if (!f) return false;
    while ((n = fread(part, 1, sizeof part, f)) > 0) {
        if (n > bytes->len - at || memcmp(part, bytes->data + at, n) != 0) break;
        at += n;
    }
    bool same = n == 0 && !ferror(f) && at == bytes->len;
    (void)fclose(f);
    return same;
}

/* One and many of each reason. */
static const struct {
    const char *word, *one, *many;
} files_reasons[AGT_LEFT_OUT_LAST_] = {
    [AGT_LEFT_OUT_IGNORED] = {"ignored", "that a pattern leaves out", "that patterns leave out"},
    [AGT_LEFT_OUT_NAME] = {"name", "name that no document can have",
                           "names that no document can have"},
    [AGT_LEFT_OUT_LINK] = {"link", "link", "links"},
    [AGT_LEFT_OUT_OTHER] = {"other", "that is no regular file", "that are no regular files"},
    [AGT_LEFT_OUT_STORE] = {"store", "store of its own", "stores of their own"},
    [AGT_LEFT_OUT_UNREADABLE] = {"unreadable", "that cannot be read", "that cannot be read"},
};

const char *files_reason(uint32_t left_out) {
    return left_out < AGT_LEFT_OUT_LAST_ ? files_reasons[left_out].word : NULL;
}

bool files_left_out(const files *f, uint32_t left_out, char *text, size_t size) {
    size_t n = f->left_out[left_out];
    if (!n) return false;
    (void)snprintf(text, size, "%zu %s (%s%s)", n,
                   n == 1 ? files_reasons[left_out].one : files_reasons[left_out].many,
                   f->first[left_out], n == 1 ? "" : ", ...");
    return true;
}
