/* win32: the operating system as an agt_sys, for Windows 8 and later.
 *
 * The other file of the library with headers of the system; posix.c says what both owe. An agt_fd
 * is a HANDLE. It keeps no state, and needs kernel32, advapi32 and ntdll, which every process has.
 *
 * (1) Names are UTF-8 on our side and UTF-16 on theirs; half a surrogate pair becomes three bytes
 *     that are no UTF-8 and comes back from them, so that what a folder lists can be opened.
 * (2) A name is looked up by the kernel beneath an open folder (NtCreateFile with a root), as
 * openat does: no path is put together, so none is too long, none is redirected by a rename above
 * it, and "con" or "nul" means no device. What Win32 would read as something else than what it says
 *     (separators, streams, trailing dots and blanks) is refused.
 * (3) A reparse point (symbolic link, junction) is opened itself, found out and refused, never
 *     followed, except by open_root.
 * (4) Everything is opened so that others may read, write, rename and delete it meanwhile, and no
 *     handle is inherited. Renames and removals ask for POSIX semantics: a name is free at once,
 * also while somebody has the file open. Where the file system has none, what somebody has open
 *     cannot be replaced, and scanners open what is new: then it is tried again for a second.
 * (5) sync is FlushFileBuffers. It wants a handle that may write, so one that may not is opened a
 *     second time for it. For a folder that makes its names durable.
 * (6) A lock is LockFileEx on one byte far behind the data: it belongs to the open handle, keeps
 *     nobody from reading, and the kernel takes it back from the dead.
 * (7) There are no permission bits. A file is 0600, or 0400 when it has the attribute read-only;
 * who else may read it is decided by the access list that it inherits from its folder. */
#include "win32.h"

#ifdef _WIN32

#include <stdio.h>

#define WIN_CHUNK     (1024u * 1024 * 1024)
#define WIN_LOCK_HIGH 0x40000000u /* the byte at 2^62 */

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG size); /* RtlGenRandom */

static HANDLE win_handle(agt_fd fd) {
    return (HANDLE)fd;
}

/* ---- opening ---- */

/* What stands at the name, when opening it says "no folder" or "a folder". */
static bool win_link_at(HANDLE dir, win_name *name) {
    win_how how = agt__win_to(WIN_LOOK);
    HANDLE h;
    if (agt__win_at(dir, name, &how, &h) < 0) return false;
    bool link = agt__win_is_link(h);
    CloseHandle(h);
    return link;
}

static agt_fd win_open_root(void *ctx, const char *path) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    size_t size;
    WCHAR *wide = agt__win_long_path(&mem, path, &size);
    if (!wide) return agt__win_error(ERROR_NOT_ENOUGH_MEMORY);
    agt_fd rc = AGT_SYS_ERR(path[0] ? AGT_SYS_NAME : AGT_SYS_NOENT, ERROR_INVALID_NAME);
    HANDLE h = INVALID_HANDLE_VALUE;
    if (wide[0]) {
        h = CreateFileW(wide, WIN_FOLDER, WIN_SHARE_ALL, NULL, OPEN_EXISTING,
                        FILE_FLAG_BACKUP_SEMANTICS, NULL);
        rc = h == INVALID_HANDLE_VALUE ? (agt_fd)agt__win_error(GetLastError()) : (agt_fd)h;
    }
    agt__free(&mem, wide, size);
    FILE_ATTRIBUTE_TAG_INFO tag;
    if (rc < 0) return rc;
    if (agt__win_tag(h, &tag) && (tag.FileAttributes & FILE_ATTRIBUTE_DIRECTORY)) return rc;
    CloseHandle(h);
    return AGT_SYS_ERR(AGT_SYS_NOTDIR, ERROR_DIRECTORY);
}

static win_how win_how_of(uint32_t flags, uint32_t mode) {
    win_how how = agt__win_to(WIN_LOOK);
    bool make = (flags & AGT_O_CREATE) != 0;
    if (flags & AGT_O_FOLDER) {
        how.access = WIN_FOLDER;
        how.options = FILE_DIRECTORY_FILE;
        return how;
    }
    if (!(flags & AGT_O_WRITE) || (flags & AGT_O_READ)) how.access |= FILE_GENERIC_READ;
    if (flags & AGT_O_WRITE) how.access |= FILE_GENERIC_WRITE;
    /* as open(2): reading opens a folder too, and fstat tells what it is */
    if ((flags & AGT_O_WRITE) || make) how.options = FILE_NON_DIRECTORY_FILE;
    if (make) how.disposition = (flags & AGT_O_EXCL) ? FILE_CREATE : FILE_OPEN_IF;
    if (make && !(mode & 0200u)) how.attributes = FILE_ATTRIBUTE_READONLY;
    return how;
}

static agt_fd win_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    (void)ctx;
    win_name wide;
    if (!agt__win_component(name, &wide)) return agt__win_error(ERROR_INVALID_NAME);
    win_how how = win_how_of(flags, mode);
    HANDLE h;
    NTSTATUS st = agt__win_at(win_handle(dir), &wide, &how, &h);
    /* its name is taken until whoever still has it open lets go */
    for (DWORD i = 1; st == WIN_DELETE_PENDING && (flags & AGT_O_CREATE) && i < WIN_TRIES; i++) {
        Sleep(WIN_PAUSE * i);
        st = agt__win_at(win_handle(dir), &wide, &how, &h);
    }
    if (st < 0) {
        bool odd = st == WIN_NO_FOLDER || st == WIN_IS_FOLDER;
        if (odd && win_link_at(win_handle(dir), &wide))
            return AGT_SYS_ERR(AGT_SYS_LOOP, ERROR_CANT_RESOLVE_FILENAME);
        if (st == WIN_DELETE_PENDING && (flags & AGT_O_CREATE))
            return AGT_SYS_ERR(AGT_SYS_BUSY, ERROR_DELETE_PENDING);
        return agt__win_status(st);
    }
    int rc = agt__win_is_link(h) ? AGT_SYS_ERR(AGT_SYS_LOOP, ERROR_CANT_RESOLVE_FILENAME) : 0;
    if (rc == 0 && (flags & AGT_O_TRUNCATE)) {
        FILE_END_OF_FILE_INFO end;
        end.EndOfFile.QuadPart = 0;
        rc = agt__win_result(SetFileInformationByHandle(h, FileEndOfFileInfo, &end, sizeof end));
    }
    if (rc == 0) return (agt_fd)h;
    CloseHandle(h);
    return rc;
}

static void win_close(void *ctx, agt_fd fd) {
    (void)ctx;
    CloseHandle(win_handle(fd));
}

static agt_fd win_walk(void *ctx, agt_fd dir, const char *path) {
    char name[WIN_UTF8];
    agt_fd at = dir;
    if (path[0] == '/') return agt__win_error(ERROR_INVALID_NAME);
    if (!path[0]) return win_open(ctx, dir, ".", AGT_O_READ | AGT_O_FOLDER, 0);
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        agt_fd next = agt__win_error(ERROR_FILENAME_EXCED_RANGE);
        if (agt__copy_text(name, sizeof name, p, n))
            next = win_open(ctx, at, n ? name : ".", AGT_O_READ | AGT_O_FOLDER, 0);
        if (at != dir) win_close(ctx, at);
        if (next < 0) return next;
        at = next;
        p += n;
        p += *p == '/';
    }
    return at;
}

/* ---- bytes ---- */

static OVERLAPPED win_offset(uint64_t offset) {
    OVERLAPPED at;
    memset(&at, 0, sizeof at);
    at.Offset = (DWORD)offset;
    at.OffsetHigh = (DWORD)(offset >> 32);
    return at;
}

static int64_t win_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - WIN_CHUNK) return agt__win_error(ERROR_FILE_TOO_LARGE);
    OVERLAPPED at = win_offset(offset);
    DWORD got = 0;
    if (ReadFile(win_handle(fd), buf, (DWORD)(n < WIN_CHUNK ? n : WIN_CHUNK), &got, &at))
        return got;
    DWORD e = GetLastError();
    return e == ERROR_HANDLE_EOF ? 0 : agt__win_error(e);
}

static int64_t win_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - WIN_CHUNK) return agt__win_error(ERROR_FILE_TOO_LARGE);
    OVERLAPPED at = win_offset(offset);
    DWORD put = 0;
    if (!WriteFile(win_handle(fd), buf, (DWORD)(n < WIN_CHUNK ? n : WIN_CHUNK), &put, &at))
        return agt__win_error(GetLastError());
    return put;
}

static int win_sync(void *ctx, agt_fd fd) {
    (void)ctx;
    HANDLE h = win_handle(fd), writer;
    if (FlushFileBuffers(h)) return 0;
    DWORD e = GetLastError();
    bool folder = agt__win_is_folder(h);
    if (e == ERROR_ACCESS_DENIED) { /* (5) */
        win_how how = agt__win_to(FILE_WRITE_DATA);
        NTSTATUS st = agt__win_again(h, &how, &writer);
        if (st < 0) return agt__win_status(st);
        e = FlushFileBuffers(writer) ? ERROR_SUCCESS : GetLastError();
        CloseHandle(writer);
    }
    if (e == ERROR_SUCCESS) return 0;
    /* some file systems have no sync for folders: their names are as durable as they get */
    if (folder && agt__win_class(e) == AGT_SYS_NOSYS) return 0;
    return agt__win_error(e);
}

static int win_truncate(void *ctx, agt_fd fd, uint64_t size) {
    (void)ctx;
    FILE_END_OF_FILE_INFO end;
    if (size > INT64_MAX) return agt__win_error(ERROR_FILE_TOO_LARGE);
    end.EndOfFile.QuadPart = (LONGLONG)size;
    return agt__win_result(
        SetFileInformationByHandle(win_handle(fd), FileEndOfFileInfo, &end, sizeof end));
}

/* Setting the allocation cuts a file that grew meanwhile: no reserve is better than that one. */
static int win_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    (void)ctx, (void)fd, (void)offset, (void)n;
    return agt__win_error(ERROR_NOT_SUPPORTED);
}

/* ---- what stands at a name ---- */

static int64_t win_unix_ns(int64_t ticks) { /* of 100 ns since 1601 */
    return (ticks - INT64_C(116444736000000000)) * 100;
}

/* The volume and the file's number on it: of 128 bits where there are (ReFS), else of 64. */
static bool win_identity(HANDLE h, agt_stat *out) {
    FILE_ID_INFO id;
    BY_HANDLE_FILE_INFORMATION old;
    if (GetFileInformationByHandleEx(h, FileIdInfo, &id, sizeof id)) {
        uint64_t half[2];
        memcpy(half, &id.FileId, sizeof half);
        out->dev = id.VolumeSerialNumber;
        out->ino = half[0] ^ half[1] * UINT64_C(0x9e3779b97f4a7c15);
        return true;
    }
    if (!GetFileInformationByHandle(h, &old)) return false;
    out->dev = old.dwVolumeSerialNumber;
    out->ino = (uint64_t)old.nFileIndexHigh << 32 | old.nFileIndexLow;
    return true;
}

static uint32_t win_kind(HANDLE h, DWORD attributes) {
    FILE_ATTRIBUTE_TAG_INFO tag;
    if (attributes & FILE_ATTRIBUTE_REPARSE_POINT)
        return agt__win_tag(h, &tag) && IsReparseTagNameSurrogate(tag.ReparseTag) ? AGT_FILE_LINK
                                                                                  : AGT_FILE_OTHER;
    if (GetFileType(h) != FILE_TYPE_DISK) return AGT_FILE_OTHER;
    return (attributes & FILE_ATTRIBUTE_DIRECTORY) ? AGT_FILE_FOLDER : AGT_FILE_REGULAR;
}

static int win_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    (void)ctx;
    HANDLE h = win_handle(fd);
    FILE_BASIC_INFO basic;
    FILE_STANDARD_INFO standard;
    agt_stat st;
    memset(&st, 0, sizeof st);
    if (!GetFileInformationByHandleEx(h, FileBasicInfo, &basic, sizeof basic) ||
        !GetFileInformationByHandleEx(h, FileStandardInfo, &standard, sizeof standard) ||
        !win_identity(h, &st))
        return agt__win_error(GetLastError());
    bool folder = (basic.FileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
    bool fixed = !folder && (basic.FileAttributes & FILE_ATTRIBUTE_READONLY);
    st.size = folder || standard.EndOfFile.QuadPart < 0 ? 0 : (uint64_t)standard.EndOfFile.QuadPart;
    st.mtime_ns = win_unix_ns(basic.LastWriteTime.QuadPart);
    st.ctime_ns = win_unix_ns(basic.ChangeTime.QuadPart);
    st.mode = folder ? 0700u : fixed ? 0400u : 0600u;
    st.links = standard.NumberOfLinks;
    st.kind = win_kind(h, basic.FileAttributes);
    *out = st;
    return 0;
}

static int win_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    win_name wide;
    win_how how = agt__win_to(WIN_LOOK);
    HANDLE h;
    if (!agt__win_component(name, &wide)) return agt__win_error(ERROR_INVALID_NAME);
    NTSTATUS st = agt__win_at(win_handle(dir), &wide, &how, &h);
    if (st < 0) return agt__win_status(st);
    int rc = win_fstat(ctx, (agt_fd)h, out);
    CloseHandle(h);
    return rc;
}

static int win_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    (void)ctx;
    return agt__win_status(agt__win_set_fixed(win_handle(fd), !(mode & 0200u)));
}

/* ---- names that move ---- */

/* 0 nothing there, else an agt_file_kind. */
static uint32_t win_kind_at(HANDLE dir, win_name *name) {
    win_how how = agt__win_to(WIN_LOOK);
    HANDLE h;
    agt_stat st;
    if (agt__win_at(dir, name, &how, &h) < 0) return 0;
    int rc = win_fstat(NULL, (agt_fd)h, &st);
    CloseHandle(h);
    return rc < 0 ? 0 : st.kind;
}

/* What rename(2) says of a folder that meets a file, and the other way round: the kernel says only
 * "denied", and would put a folder over a file. 0: nothing stands against it. */
static int win_mismatch(HANDLE from, HANDLE dir, win_name *to) {
    uint32_t there = win_kind_at(dir, to);
    bool folder = agt__win_is_folder(from) && !agt__win_is_link(from);
    if (there == 0) return 0;
    if (folder) return AGT_SYS_ERR(there == AGT_FILE_FOLDER ? AGT_SYS_NOTEMPTY : AGT_SYS_NOTDIR, 0);
    return there == AGT_FILE_FOLDER ? AGT_SYS_ERR(AGT_SYS_ISDIR, 0) : 0;
}

static bool win_same(HANDLE a, HANDLE dir, win_name *name) {
    agt_stat x, y;
    win_how how = agt__win_to(WIN_LOOK);
    HANDLE h;
    if (agt__win_at(dir, name, &how, &h) < 0) return false;
    bool same = win_fstat(NULL, (agt_fd)a, &x) == 0 && win_fstat(NULL, (agt_fd)h, &y) == 0 &&
                agt__same_file(&x, &y);
    CloseHandle(h);
    return same;
}

static int win_name_file(agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                         bool replace, int cls) {
    win_name a, b;
    win_how how =
        agt__win_to(cls == WIN_RENAME ? DELETE | WIN_LOOK : FILE_WRITE_ATTRIBUTES | WIN_LOOK);
    HANDLE h, dir = win_handle(to_dir);
    NTSTATUS st;
    DWORD tries = 0;
    if (!agt__win_component(from, &a) || !agt__win_component(to, &b) || !a.bytes || !b.bytes)
        return agt__win_error(ERROR_INVALID_NAME);
    do {
        st = agt__win_at(win_handle(from_dir), &a, &how, &h);
        if (st < 0) continue;
        int rc = replace && !win_same(h, dir, &b) ? win_mismatch(h, dir, &b) : 0;
        if (rc == 0) st = agt__win_set_name(h, dir, &b, replace, cls);
        CloseHandle(h);
        if (rc < 0) return rc;
    } while (agt__win_once_more(st, &tries));
    return agt__win_status(st);
}

static int win_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                      int flag) {
    (void)ctx;
    if (flag == AGT_RENAME_EXCHANGE) return agt__win_error(ERROR_NOT_SUPPORTED);
    return win_name_file(from_dir, from, to_dir, to, flag == AGT_RENAME_REPLACE, WIN_RENAME);
}

static int win_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to) {
    (void)ctx;
    return win_name_file(from_dir, from, to_dir, to, false, WIN_LINK);
}

static int win_take_away(agt_fd dir, const char *name, bool folder) {
    win_name wide;
    win_how how = agt__win_to(DELETE | WIN_LOOK);
    HANDLE h;
    NTSTATUS st;
    DWORD tries = 0;
    if (!agt__win_component(name, &wide) || !wide.bytes) return agt__win_error(ERROR_INVALID_NAME);
    how.options = folder ? FILE_DIRECTORY_FILE : 0;
    do {
        st = agt__win_at(win_handle(dir), &wide, &how, &h);
        if (st == WIN_DELETE_PENDING) return agt__win_status(st);
        if (st < 0) continue;
        bool link = agt__win_is_link(h);
        if (folder && link)
            st = WIN_NO_FOLDER;
        else if (!folder && !link && agt__win_is_folder(h))
            st = WIN_IS_FOLDER;
        else
            st = agt__win_delete(h);
        CloseHandle(h);
    } while (agt__win_once_more(st, &tries));
    return agt__win_status(st);
}

static int win_remove(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    return win_take_away(dir, name, false);
}

static int win_remove_folder(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    return win_take_away(dir, name, true);
}

static int win_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    (void)ctx, (void)mode;
    win_name wide;
    win_how how = agt__win_to(WIN_LOOK);
    HANDLE h;
    if (!agt__win_component(name, &wide)) return agt__win_error(ERROR_INVALID_NAME);
    how.disposition = FILE_CREATE;
    how.options = FILE_DIRECTORY_FILE;
    NTSTATUS st = agt__win_at(win_handle(dir), &wide, &how, &h);
    if (st < 0) return agt__win_status(st);
    CloseHandle(h);
    return 0;
}

/* One buffer of names; 0 or what `each` answered. */
static int win_list_some(const char *at, int (*each)(void *each_ctx, const char *name),
                         void *each_ctx) {
    char name[WIN_UTF8];
    for (;;) {
        FILE_ID_BOTH_DIR_INFO e;
        memcpy(&e, at, offsetof(FILE_ID_BOTH_DIR_INFO, FileName));
        const WCHAR *wide =
            (const WCHAR *)(const void *)(at + offsetof(FILE_ID_BOTH_DIR_INFO, FileName));
        if (agt__win_narrow(wide, e.FileNameLength / sizeof(WCHAR), name, sizeof name) < 0)
            return agt__win_error(ERROR_INVALID_NAME);
        bool self = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        int rc = self ? 0 : each(each_ctx, name);
        if (rc != 0 || e.NextEntryOffset == 0) return rc;
        at += e.NextEntryOffset;
    }
}

static int win_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                    void *each_ctx) {
    (void)ctx;
    uint64_t buffer[1024];
    win_how how = agt__win_to(WIN_FOLDER);
    HANDLE h; /* of its own: the position belongs to the handle */
    how.options = FILE_DIRECTORY_FILE;
    NTSTATUS st = agt__win_again(win_handle(dir), &how, &h);
    if (st < 0) return agt__win_status(st);
    int rc = 0;
    while (rc == 0) {
        if (GetFileInformationByHandleEx(h, FileIdBothDirectoryInfo, buffer, sizeof buffer)) {
            rc = win_list_some((const char *)buffer, each, each_ctx);
            continue;
        }
        DWORD e = GetLastError(); /* a folder that is being deleted has no more names */
        if (e != ERROR_NO_MORE_FILES && agt__win_class(e) != AGT_SYS_NOENT) rc = agt__win_error(e);
        break;
    }
    CloseHandle(h);
    return rc;
}

/* ---- others: writers, rights, locks ---- */

static int win_has_writer(void *ctx, agt_fd fd) {
    (void)ctx;
    win_how how = agt__win_to(FILE_READ_DATA);
    HANDLE h;
    how.share = FILE_SHARE_READ | FILE_SHARE_DELETE;
    NTSTATUS st = agt__win_again(win_handle(fd), &how, &h);
    if (st == WIN_SHARING) return 1;
    if (st < 0) return agt__win_error(ERROR_NOT_SUPPORTED);
    CloseHandle(h);
    return 0;
}

static int win_may_change(void *ctx, agt_fd dir) {
    (void)ctx;
    win_how how = agt__win_to(FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY);
    HANDLE h;
    NTSTATUS st = agt__win_again(win_handle(dir), &how, &h);
    if (st >= 0) CloseHandle(h);
    return agt__win_status(st);
}

static int win_lock(void *ctx, agt_fd fd, int kind) {
    (void)ctx;
    HANDLE h = win_handle(fd);
    OVERLAPPED at = win_offset((uint64_t)WIN_LOCK_HIGH << 32);
    DWORD e = ERROR_SUCCESS;
    /* a lock is not changed into another but added to it: first all of ours go, as with flock */
    for (int n = 0; e == ERROR_SUCCESS; n++)
        if (!UnlockFileEx(h, 0, 1, 0, &at)) e = n > 0 ? ERROR_NOT_LOCKED : GetLastError();
    if (e == ERROR_LOCK_VIOLATION) e = ERROR_NOT_LOCKED; /* as Wine says it */
    if (kind == AGT_LOCK_UNLOCK) return e == ERROR_NOT_LOCKED ? 0 : agt__win_error(e);
    DWORD how = LOCKFILE_FAIL_IMMEDIATELY;
    if (kind == AGT_LOCK_EXCLUSIVE) how |= LOCKFILE_EXCLUSIVE_LOCK;
    return agt__win_result(LockFileEx(h, how, 0, 1, 0, &at));
}

/* ---- time, chance, identity ---- */

static uint64_t win_ticks(FILETIME t) {
    return (uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime;
}

static int64_t win_now_unix_ms(void *ctx) {
    (void)ctx;
    FILETIME t;
    GetSystemTimePreciseAsFileTime(&t);
    return win_unix_ns((int64_t)win_ticks(t)) / 1000000;
}

static int64_t win_mono_ns(void *ctx) {
    (void)ctx;
    LARGE_INTEGER n, per;
    (void)QueryPerformanceCounter(&n);
    (void)QueryPerformanceFrequency(&per);
    int64_t s = n.QuadPart / per.QuadPart, rest = n.QuadPart % per.QuadPart;
    return s * 1000000000 + rest * 1000000000 / per.QuadPart;
}

/* Sleep counts in ticks of the scheduler, up to 16 ms; a timer of high resolution (Windows 10) does
 * not. */
static void win_sleep_ns(void *ctx, int64_t ns) {
    (void)ctx;
    if (ns <= 0) return;
    HANDLE timer = CreateWaitableTimerExW(NULL, NULL, 2 /* high resolution */, TIMER_ALL_ACCESS);
    LARGE_INTEGER due;
    due.QuadPart = -(ns / 100 + 1);
    bool slept = timer && SetWaitableTimer(timer, &due, 0, NULL, NULL, FALSE) &&
                 WaitForSingleObject(timer, INFINITE) == WAIT_OBJECT_0;
    if (timer) CloseHandle(timer);
    for (int64_t ms = slept ? 0 : ns / 1000000 + (ns % 1000000 != 0); ms > 0;) {
        DWORD nap = ms < 1000000 ? (DWORD)ms : 1000000;
        Sleep(nap);
        ms -= nap;
    }
}

static int win_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    unsigned char *p = buf;
    while (n) {
        ULONG some = (ULONG)(n < WIN_CHUNK ? n : WIN_CHUNK);
        if (!SystemFunction036(p, some)) return agt__win_error(ERROR_GEN_FAILURE);
        p += some;
        n -= some;
    }
    return 0;
}

static int64_t win_pid(void *ctx) {
    (void)ctx;
    return (int64_t)GetCurrentProcessId();
}

/* When this boot began, less what the clock was set by since: a text that no other boot has. */
static void win_boot(char *out, size_t size) {
    struct {
        LARGE_INTEGER boot, now, zone;
        ULONG zone_id, reserved;
        ULONGLONG bias, asleep;
    } t;
    memset(&t, 0, sizeof t);
    out[0] = 0;
    if (NtQuerySystemInformation(SystemTimeOfDayInformation, &t, sizeof t, NULL) < 0) return;
    if (t.boot.QuadPart == 0) return;
    (void)snprintf(out, size, "%016llx",
                   (unsigned long long)((uint64_t)t.boot.QuadPart - (uint64_t)t.bias));
}

/* The program's name without folder and ".exe", cut where it does not fit. */
static void win_program(char *out, size_t size) {
    WCHAR path[1024];
    char name[WIN_UTF8];
    DWORD n = GetModuleFileNameW(NULL, path, AGT_COUNT(path)), from = n;
    if (n == 0 || n >= AGT_COUNT(path)) return;
    while (from > 0 && path[from - 1] != L'\\' && path[from - 1] != L'/')
        from--;
    if (agt__win_narrow(path + from, n - from, name, sizeof name) < 0) return;
    size_t len = strlen(name);
    if (len > 4 && (strcmp(name + len - 4, ".exe") == 0 || strcmp(name + len - 4, ".EXE") == 0))
        len -= 4;
    (void)agt__copy_text(out, size, name, len);
}

static int win_process(void *ctx, agt_process *out) {
    (void)ctx;
    FILETIME born, ended, kernel, user;
    WCHAR host[64];
    DWORD n = AGT_COUNT(host);
    memset(out, 0, sizeof *out);
    out->pid = win_pid(NULL);
    if (GetProcessTimes(GetCurrentProcess(), &born, &ended, &kernel, &user))
        out->start = win_ticks(born);
    if (!GetComputerNameExW(ComputerNameDnsHostname, host, &n) ||
        agt__win_narrow(host, n, out->host, sizeof out->host) < 0)
        out->host[0] = 0;
    win_boot(out->boot, sizeof out->boot);
    win_program(out->program, sizeof out->program);
    return 0;
}

/* ---- where a folder is ---- */

/* With '/' between its parts and without the kernel's prefix, as libgit2 and people write it. */
static int win_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    size_t bytes = (WIN_PATH + 1) * sizeof(WCHAR);
    WCHAR *path = agt__alloc(&mem, bytes), *from = path;
    if (!path) return agt__win_error(ERROR_NOT_ENOUGH_MEMORY);
    DWORD n = GetFinalPathNameByHandleW(win_handle(dir), path, WIN_PATH, VOLUME_NAME_DOS);
    int rc = n == 0 ? agt__win_error(GetLastError()) : 0;
    if (n >= WIN_PATH) rc = agt__win_error(ERROR_FILENAME_EXCED_RANGE);
    if (rc == 0 && n > 8 && wcsncmp(path, L"\\\\?\\UNC\\", 8) == 0) {
        from += 6;
        n -= 6;
        from[0] = L'\\';
    } else if (rc == 0 && n > 4 && wcsncmp(path, L"\\\\?\\", 4) == 0) {
        from += 4;
        n -= 4;
    }
    for (DWORD i = 0; rc == 0 && i < n; i++)
        if (from[i] == L'\\') from[i] = L'/';
    if (rc == 0 && agt__win_narrow(from, n, out, size) < 0)
        rc = agt__win_error(ERROR_FILENAME_EXCED_RANGE);
    agt__free(&mem, path, bytes);
    return rc;
}

static int win_volume(void *ctx, agt_fd dir, agt_volume *out) {
    (void)ctx;
    static const agt_volume unknown = AGT_VOLUME_INIT;
    HANDLE h = win_handle(dir);
    IO_STATUS_BLOCK io;
    struct {
        LARGE_INTEGER total, mine, free;
        ULONG per_unit, sector;
    } room;
    struct {
        ULONG type, characteristics;
    } device;
    WCHAR kind[16];
    DWORD flags = 0;
    *out = unknown;
    NTSTATUS st = NtQueryVolumeInformationFile(h, &io, &room, sizeof room,
                                               (FS_INFORMATION_CLASS)7 /* full size */);
    if (st < 0) return agt__win_status(st);
    out->free_bytes = (uint64_t)room.mine.QuadPart * room.per_unit * room.sector;
    if (NtQueryVolumeInformationFile(h, &io, &device, sizeof device,
                                     (FS_INFORMATION_CLASS)4 /* device */) >= 0)
        out->place = (device.characteristics & 0x10u) ? AGT_VOLUME_NETWORK : AGT_VOLUME_LOCAL;
    if (!GetVolumeInformationByHandleW(h, NULL, 0, NULL, NULL, &flags, kind, AGT_COUNT(kind)))
        return 0;
    out->read_only = (flags & FILE_READ_ONLY_VOLUME) != 0;
    if (agt__win_narrow(kind, wcslen(kind), out->kind, sizeof out->kind) < 0) out->kind[0] = 0;
    return 0;
}

/* ---- mutexes ---- */

static void *win_mutex_new(void *ctx) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    SRWLOCK *m = agt__alloc(&mem, sizeof *m);
    if (m) InitializeSRWLock(m);
    return m;
}

static void win_mutex_free(void *ctx, void *mutex) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    agt__free(&mem, mutex, sizeof(SRWLOCK));
}

static void win_mutex_lock(void *ctx, void *mutex) {
    (void)ctx;
    AcquireSRWLockExclusive(mutex);
}

static void win_mutex_unlock(void *ctx, void *mutex) {
    (void)ctx;
    ReleaseSRWLockExclusive(mutex);
}

static const agt_sys win_sys = {
    .size = sizeof(agt_sys),
    .open_root = win_open_root,
    .open = win_open,
    .walk = win_walk,
    .close = win_close,
    .pread = win_pread,
    .pwrite = win_pwrite,
    .sync = win_sync,
    .truncate = win_truncate,
    .reserve = win_reserve,
    .stat = win_stat,
    .fstat = win_fstat,
    .set_mode = win_set_mode,
    .rename = win_rename,
    .link = win_link,
    .remove = win_remove,
    .remove_folder = win_remove_folder,
    .make_folder = win_make_folder,
    .list = win_list,
    .has_writer = win_has_writer,
    .may_change = win_may_change,
    .lock = win_lock,
    .now_unix_ms = win_now_unix_ms,
    .mono_ns = win_mono_ns,
    .sleep_ns = win_sleep_ns,
    .random = win_random,
    .pid = win_pid,
    .process = win_process,
    .path_of = win_path_of,
    .mutex_new = win_mutex_new,
    .mutex_free = win_mutex_free,
    .mutex_lock = win_mutex_lock,
    .mutex_unlock = win_mutex_unlock,
    .volume = win_volume,
};

AGENT_TRACE_API const agt_sys *agt_sys_os(void) {
    return &win_sys;
}

#endif /* _WIN32 */
