/* none: what stands in git's place in a build without it. Making and opening the repository succeed
 * and do nothing, so that a store is made and opened the same way; everything else answers
 * AGT_UNSUPPORTED. */
#include "git.h"

static agt_status none_answer(agt_error *err) {
    return agt__fail(err, AGT_UNSUPPORTED,
                     "this build has no git; build without AGENT_TRACE_NO_GIT to read history");
}

AGT_PRIVATE agt_status agt__git_init(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                     agt_error *err) {
    (void)sys, (void)dir, (void)mem, (void)err;
    return AGT_OK;
}

AGT_PRIVATE const char *agt__git_damaged_file(const agt_sys *sys, agt_fd dir, const agt_mem *mem) {
    (void)sys, (void)dir, (void)mem;
    return NULL;
}

AGT_PRIVATE agt_status agt__git_open(agt_git **out, const agt_sys *sys, agt_fd dir,
                                     const agt_mem *mem, agt_cpu cpu, agt_error *err) {
    (void)sys, (void)dir, (void)mem, (void)cpu, (void)err;
    *out = NULL;
    return AGT_OK;
}

AGT_PRIVATE void agt__git_close(agt_git *git) {
    (void)git;
}

AGT_PRIVATE agt_status agt__git_follow(agt_git *git, agt_fd dir, bool *moved, agt_error *err) {
    (void)git, (void)dir, (void)err;
    *moved = false;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_read(agt_git *git, const agt_oid *id, agt_buf *out,
                                     agt_error *err) {
    (void)git, (void)id, (void)out;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_head(agt_git *git, agt_oid *out, bool *found, agt_error *err) {
    (void)git, (void)out;
    *found = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_diff(agt_git *git, const char *path, const void *from,
                                     size_t from_len, const void *to, size_t to_len, agt_buf *out,
                                     agt_error *err) {
    (void)git, (void)path, (void)from, (void)from_len, (void)to, (void)to_len, (void)out;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_begin(agt_git *git, const agt_oid *parent, agt_error *err) {
    (void)git, (void)parent;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_put(agt_git *git, const char *path, size_t path_len,
                                    const agt_oid *known, const void *bytes, size_t len,
                                    agt_error *err) {
    (void)git, (void)path, (void)path_len, (void)known, (void)bytes, (void)len;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_remove(agt_git *git, const char *path, size_t path_len,
                                       agt_error *err) {
    (void)git, (void)path, (void)path_len;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_commit(agt_git *git, const agt_git_signature *author,
                                       int64_t committed_unix_s, agt_text message, agt_oid *out,
                                       agt_error *err) {
    (void)git, (void)author, (void)committed_unix_s, (void)message, (void)out;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_write(agt_git *git, agt_git_write how, agt_error *err) {
    (void)git, (void)how;
    return none_answer(err);
}

AGT_PRIVATE void agt__git_abort(agt_git *git) {
    (void)git;
}

AGT_PRIVATE agt_status agt__git_set_head(agt_git *git, const agt_oid *id, const agt_oid *was,
                                         bool durable, agt_error *err) {
    (void)git, (void)id, (void)was, (void)durable;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_keep_ref(agt_git *git, const char *name, const agt_oid *id,
                                         agt_error *err) {
    (void)git, (void)name, (void)id;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_has(agt_git *git, const agt_oid *id, bool *has, agt_error *err) {
    (void)git, (void)id;
    *has = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_packed(agt_git *git, const agt_oid *id, bool *packed,
                                       agt_error *err) {
    (void)git, (void)id;
    *packed = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_whole(agt_git *git, const agt_oid *id, bool *whole,
                                      agt_error *err) {
    (void)git, (void)id;
    *whole = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_sound(agt_git *git, const agt_oid *id, bool *sound,
                                      agt_error *err) {
    (void)git, (void)id;
    *sound = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_clean(agt_git *git, agt_error *err) {
    (void)git;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_repack(agt_git *git,
                                       agt_status (*breathe)(void *ctx, agt_error *err), void *ctx,
                                       agt_git_repacked *out, agt_error *err) {
    (void)git, (void)breathe, (void)ctx;
    memset(out, 0, sizeof *out);
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_list_again(agt_git *git, agt_error *err) {
    (void)git;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_past_heads(agt_git *git, agt_buf *ids, agt_error *err) {
    (void)git, (void)ids;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_past_tips(agt_git *git, agt_buf *ids, agt_error *err) {
    (void)git, (void)ids;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_past_commit(agt_git *git, const agt_oid *id, agt_buf *bytes,
                                            agt_git_past *out, agt_error *err) {
    (void)git, (void)id, (void)bytes;
    memset(out, 0, sizeof *out);
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_past_changes(agt_git *git, const agt_oid *from, const agt_oid *to,
                                             agt_git_change_fn each, void *ctx, agt_error *err) {
    (void)git, (void)from, (void)to, (void)each, (void)ctx;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_reindex(agt_git *git, int how, uint32_t *packs, char first[64],
                                        agt_error *err) {
    (void)git, (void)how, (void)err;
    *packs = 0;
    first[0] = 0;
    return AGT_OK;
}
