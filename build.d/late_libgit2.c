/* libgit2, loaded when the program first needs it.
 *
 * Most runs of the program touch no git object: a write goes to the journal, and git gets to see it
 * later. Loading libgit2, with the crypto and network libraries it brings, would cost such a run
 * more than all its own work. So the program is not linked with libgit2, but with this: the same
 * functions, which open the library in git_libgit2_init, always the first that is called.
 *
 * (1) Only what src/git/libgit2.c calls is here; anything more is a link error, not a surprise.
 * (2) The types are git2.h's own, and the library is asked for by the version of that header.
 * (3) Where it is missing git_libgit2_init fails, and the caller reports it as any other failure.
 */
#include <dlfcn.h>
#include <git2.h>
#include <string.h>

#define LATE_FUNCTIONS(X)                                                                          \
    X(git_buf_dispose)                                                                             \
    X(git_diff_options_init)                                                                       \
    X(git_error_last)                                                                              \
    X(git_libgit2_init)                                                                            \
    X(git_libgit2_shutdown)                                                                        \
    X(git_odb_free)                                                                                \
    X(git_odb_object_data)                                                                         \
    X(git_odb_object_free)                                                                         \
    X(git_odb_object_size)                                                                         \
    X(git_odb_object_type)                                                                         \
    X(git_odb_open)                                                                                \
    X(git_odb_read)                                                                                \
    X(git_patch_free)                                                                              \
    X(git_patch_from_buffers)                                                                      \
    X(git_patch_to_buf)

static struct {
    int loaded;
#define LATE_POINTER(name) __typeof__(&name) name;
    LATE_FUNCTIONS(LATE_POINTER)
} late;

static int late_find(void *library, const char *name, void *pointer) {
    void *found = dlsym(library, name);
    memcpy(pointer, &found, sizeof found); /* ISO C has no cast from data to function */
    return found != NULL;
}

/* The handle is kept for good: what a library started in a process cannot be unloaded safely. */
static int late_load(void) {
    void *library = dlopen("libgit2.so." LIBGIT2_SOVERSION, RTLD_NOW | RTLD_LOCAL);
    if (!library) return 0;
    int all = 1;
#define LATE_FIND(name) all &= late_find(library, #name, &late.name);
    LATE_FUNCTIONS(LATE_FIND)
    late.loaded = all;
    return all;
}

int git_libgit2_init(void) {
    if (!late.loaded && !late_load()) return -1;
    return late.git_libgit2_init();
}
int git_libgit2_shutdown(void) {
    return late.git_libgit2_shutdown();
}
const git_error *git_error_last(void) {
    return late.git_error_last();
}
void git_buf_dispose(git_buf *buffer) {
    late.git_buf_dispose(buffer);
}
int git_diff_options_init(git_diff_options *opts, unsigned int version) {
    return late.git_diff_options_init(opts, version);
}
int git_odb_open(git_odb **out, const char *objects_dir) {
    return late.git_odb_open(out, objects_dir);
}
void git_odb_free(git_odb *db) {
    late.git_odb_free(db);
}
int git_odb_read(git_odb_object **obj, git_odb *db, const git_oid *id) {
    return late.git_odb_read(obj, db, id);
}
const void *git_odb_object_data(git_odb_object *object) {
    return late.git_odb_object_data(object);
}
void git_odb_object_free(git_odb_object *object) {
    late.git_odb_object_free(object);
}
size_t git_odb_object_size(git_odb_object *object) {
    return late.git_odb_object_size(object);
}
git_object_t git_odb_object_type(git_odb_object *object) {
    return late.git_odb_object_type(object);
}
void git_patch_free(git_patch *patch) {
    late.git_patch_free(patch);
}
int git_patch_from_buffers(git_patch **out, const void *old_buffer, size_t old_len,
                           const char *old_as_path, const void *new_buffer, size_t new_len,
                           const char *new_as_path, const git_diff_options *opts) {
    return late.git_patch_from_buffers(out, old_buffer, old_len, old_as_path, new_buffer, new_len,
                                       new_as_path, opts);
}
int git_patch_to_buf(git_buf *out, git_patch *patch) {
    return late.git_patch_to_buf(out, patch);
}
