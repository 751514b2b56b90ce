/* files: what lies in the store's folder and is no document, for status, init and mv. */
#include "files.h"

#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_SUM_FIRST 14695981039346656037u

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
    free(f->sum);
    f->file = NULL;
    f->sum = NULL;
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

/* FNV-1a: tells most contents apart without reading a file for each of the others. */
static uint64_t files_sum_add(uint64_t sum, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * 1099511628211u;
    return sum;
}
static uint64_t files_sum(const cli *c, files *f, size_t i) {
    char place[PATH_MAX], part[65536];
    size_t n;
    if (!f->sum) {
        f->sum = out_alloc(f->count * sizeof *f->sum);
        memset(f->sum, 0, f->count * sizeof *f->sum);
    }
    if (f->sum[i]) return f->sum[i];
    FILE *file = cli_place(c, f->file[i].path, place) ? fopen(place, "rb") : NULL;
    uint64_t sum = FILES_SUM_FIRST;
    while (file && (n = fread(part, 1, sizeof part, file)) > 0)
        sum = files_sum_add(sum, part, n);
    if (file) (void)fclose(file);
    return f->sum[i] = sum | 1;
}

bool files_take_moved(cli *c, files *f, const char *document, uint64_t size_bytes,
                      char path[AGT_MAX_PATH + 8]) {
    agt_bytes bytes = {0};
    uint64_t sum = 0;
    size_t i = 0;
    for (; size_bytes && i < f->count; i++) {
        if (f->file[i].size_bytes != size_bytes) continue;
        if (!sum && agt_read_version(c->store, document, 0, &bytes, NULL) != AGT_OK) break;
        if (!sum) sum = files_sum_add(FILES_SUM_FIRST, bytes.data, bytes.len) | 1;
        if (files_sum(c, f, i) == sum && files_same(c, f->file[i].path, &bytes)) break;
    }
    bool found = sum && i < f->count;
    agt_bytes_free(&bytes);
    if (!found) return false;
    memcpy(path, f->file[i].path, sizeof f->file[i].path);
    f->count--;
    memmove(&f->file[i], &f->file[i + 1], (f->count - i) * sizeof *f->file);
    memmove(&f->sum[i], &f->sum[i + 1], (f->count - i) * sizeof *f->sum);
    return true;
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
