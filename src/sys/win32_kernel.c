/* win32_kernel: names, answers and the few calls of the Windows kernel that win32.c stands on.
 *
 * Win32 takes whole paths; the kernel's own interface takes a name and the open folder it is in,
 * and knows renames and removals that do not mind who has a file open. What is used of it has been
 * documented and unchanged for long; what only newer systems have has the older call behind it. */
#include "win32.h"

#ifdef _WIN32

#define WIN_QUOTA         1295u /* ERROR_DISK_QUOTA_EXCEEDED, which not every header has */
#define WIN_CANNOT_DELETE ((NTSTATUS)0xC0000121u)

/* Kinds of information that no header for programs has all of. */
enum { WIN_DISPOSITION = 13, WIN_DISPOSITION_EX = 64, WIN_RENAME_EX = 65 };
#define WIN_RENAME_POSIX (0x2u | 0x40u)        /* POSIX semantics, also over what is read-only */
#define WIN_DELETE_POSIX (0x1u | 0x2u | 0x10u) /* delete, the same two */

/* ---- errors ---- */

AGT_PRIVATE int agt__win_class(DWORD e) {
    switch (e) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_DELETE_PENDING: return AGT_SYS_NOENT;
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS: return AGT_SYS_EXIST;
    case ERROR_DIRECTORY: return AGT_SYS_NOTDIR;
    case ERROR_CANT_RESOLVE_FILENAME: return AGT_SYS_LOOP;
    case ERROR_ACCESS_DENIED:
    case ERROR_WRITE_PROTECT:
    case ERROR_PRIVILEGE_NOT_HELD: return AGT_SYS_ACCESS;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case WIN_QUOTA:
    case ERROR_FILE_TOO_LARGE: return AGT_SYS_NOSPC;
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_IO_PENDING:
    case ERROR_BUSY: return AGT_SYS_BUSY;
    case ERROR_NOT_SAME_DEVICE: return AGT_SYS_XDEV;
    case ERROR_DIR_NOT_EMPTY: return AGT_SYS_NOTEMPTY;
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
    case ERROR_FILENAME_EXCED_RANGE: return AGT_SYS_NAME;
    case ERROR_INVALID_FUNCTION:
    case ERROR_NOT_SUPPORTED:
    case ERROR_CALL_NOT_IMPLEMENTED: return AGT_SYS_NOSYS;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_COMMITMENT_LIMIT: return AGT_SYS_NOMEM;
    case ERROR_TOO_MANY_OPEN_FILES: return AGT_SYS_FILES;
    default: return AGT_SYS_IO;
    }
}

AGT_PRIVATE int agt__win_error(DWORD e) {
    return AGT_SYS_ERR(agt__win_class(e), e);
}

AGT_PRIVATE int agt__win_result(BOOL ok) {
    return ok ? 0 : agt__win_error(GetLastError());
}

/* The same for the kernel's own answers, a few of which Win32 calls "access denied". */
AGT_PRIVATE int agt__win_status(NTSTATUS st) {
    if (st >= 0) return 0;
    if (st == WIN_IS_FOLDER) return AGT_SYS_ERR(AGT_SYS_ISDIR, ERROR_ACCESS_DENIED);
    if (st == WIN_NO_FOLDER) return AGT_SYS_ERR(AGT_SYS_NOTDIR, ERROR_DIRECTORY);
    if (st == WIN_DELETE_PENDING) return AGT_SYS_ERR(AGT_SYS_NOENT, ERROR_ACCESS_DENIED);
    return agt__win_error(RtlNtStatusToDosError(st));
}

/* ---- names ---- */

/* One character of UTF-8, or half a surrogate pair in three bytes (1). *p moves on; false if it is
 * neither. */
static bool win_next(const char **p, uint32_t *out) {
    const unsigned char *s = (const unsigned char *)*p;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = s[0];
    int n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 0 || (c >= 0x80 && c < 0xc2)) return false;
    if (n > 1) c &= 0x7fu >> n;
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0u) != 0x80) return false;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[n] || c > 0x10ffff) return false;
    *p += n;
    *out = c;
    return true;
}

/* UTF-16 of at most `max` units and a NUL; the count, or -1. */
AGT_PRIVATE int agt__win_wide(const char *s, WCHAR *out, size_t max) {
    size_t n = 0;
    while (*s) {
        uint32_t c;
        if (!win_next(&s, &c) || n + (c > 0xffff ? 2u : 1u) > max) return -1;
        if (c > 0xffff) {
            out[n++] = (WCHAR)(0xd800u + ((c - 0x10000u) >> 10));
            c = 0xdc00u + ((c - 0x10000u) & 0x3ffu);
        }
        out[n++] = (WCHAR)c;
    }
    out[n] = 0;
    return (int)n;
}

/* The way back; the count of bytes before the NUL, or -1 if they do not fit. */
AGT_PRIVATE int agt__win_narrow(const WCHAR *s, size_t n, char *out, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = s[i];
        if (c >= 0xd800 && c < 0xdc00 && i + 1 < n && s[i + 1] >= 0xdc00 && s[i + 1] < 0xe000)
            c = 0x10000u + ((c - 0xd800u) << 10) + (s[++i] - 0xdc00u);
        int len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        if (at + (size_t)len >= size) return -1;
        for (int k = len - 1; k > 0; k--, c >>= 6)
            out[at + (size_t)k] = (char)(0x80u | (c & 0x3fu));
        static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
        out[at] = (char)(first[len] | c);
        at += (size_t)len;
    }
    if (at >= size) return -1;
    out[at] = 0;
    return (int)at;
}

/* One component (2); "." is the folder itself, which the kernel calls by an empty name. */
AGT_PRIVATE bool agt__win_component(const char *name, win_name *out) {
    if (strcmp(name, ".") == 0)
        name = "";
    else if (!name[0])
        return false;
    int n = agt__win_wide(name, out->text, WIN_NAME);
    if (n < 0) return false;
    for (int i = 0; i < n; i++)
        if (out->text[i] < 0x20 || (out->text[i] < 0x80 && strchr("\\/:*?\"<>|", out->text[i])))
            return false;
    if (n && (out->text[n - 1] == L'.' || out->text[n - 1] == L' ')) return false;
    out->bytes = (USHORT)(n * (int)sizeof(WCHAR));
    return true;
}

/* Is every part short enough to be a name? The kernel would say "not found" of one that is not. */
static bool win_parts_fit(const WCHAR *path) {
    for (size_t n = 0; *path; path++) {
        n = *path == L'\\' || *path == L'/' ? 0 : n + 1;
        if (n > WIN_NAME) return false;
    }
    return true;
}

AGT_PRIVATE WCHAR *agt__win_long_path(const agt_mem *mem, const char *path, size_t *size) {
    size_t max = WIN_PATH + 8;
    *size = 2 * (max + 1) * sizeof(WCHAR);
    WCHAR *out = agt__alloc(mem, *size), *given = out ? out + max + 1 : NULL, *full = NULL;
    if (!out) return NULL;
    DWORD n = 0;
    if (agt__win_wide(path, given, WIN_PATH) > 0)
        n = GetFullPathNameW(given, WIN_PATH, out + 8, &full);
    if (n == 0 || n >= WIN_PATH || !win_parts_fit(out + 8)) {
        out[0] = 0;
        return out;
    }
    const WCHAR *from = out + 8;
    if (wcsncmp(from, L"\\\\?\\", 4) == 0 || wcsncmp(from, L"\\\\.\\", 4) == 0)
        memmove(out, from, (n + 1) * sizeof *out);
    else if (wcsncmp(from, L"\\\\", 2) == 0) {
        memcpy(out, L"\\\\?\\UNC", 7 * sizeof *out);
        memmove(out + 7, from + 1, n * sizeof *out);
    } else {
        memcpy(out, L"\\\\?\\", 4 * sizeof *out);
        memmove(out + 4, from, (n + 1) * sizeof *out);
    }
    return out;
}

/* ---- opening ---- */

AGT_PRIVATE win_how agt__win_to(ACCESS_MASK access) {
    win_how how = {access | SYNCHRONIZE, WIN_SHARE_ALL, FILE_OPEN, 0, FILE_ATTRIBUTE_NORMAL};
    return how;
}

AGT_PRIVATE NTSTATUS agt__win_at(HANDLE dir, win_name *name, const win_how *how, HANDLE *out) {
    UNICODE_STRING text = {name->bytes, name->bytes, name->text};
    OBJECT_ATTRIBUTES where;
    IO_STATUS_BLOCK io;
    memset(&where, 0, sizeof where);
    where.Length = sizeof where;
    where.RootDirectory = dir;
    where.ObjectName = &text;
    where.Attributes = OBJ_CASE_INSENSITIVE;
    *out = NULL;
    return NtCreateFile(out, how->access, &where, &io, NULL, how->attributes, how->share,
                        how->disposition,
                        how->options | FILE_OPEN_REPARSE_POINT | FILE_SYNCHRONOUS_IO_NONALERT |
                            FILE_OPEN_FOR_BACKUP_INTENT,
                        NULL, 0);
}

/* The same file or folder once more, with other rights. */
AGT_PRIVATE NTSTATUS agt__win_again(HANDLE h, const win_how *how, HANDLE *out) {
    win_name self = {{0}, 0};
    return agt__win_at(h, &self, how, out);
}

AGT_PRIVATE bool agt__win_tag(HANDLE h, FILE_ATTRIBUTE_TAG_INFO *out) {
    memset(out, 0, sizeof *out);
    return GetFileInformationByHandleEx(h, FileAttributeTagInfo, out, sizeof *out) != 0;
}

AGT_PRIVATE bool agt__win_is_link(HANDLE h) {
    FILE_ATTRIBUTE_TAG_INFO tag;
    return agt__win_tag(h, &tag) && (tag.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0;
}

AGT_PRIVATE bool agt__win_is_folder(HANDLE h) {
    FILE_ATTRIBUTE_TAG_INFO tag;
    return agt__win_tag(h, &tag) && (tag.FileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

/* ---- what is set of an open file ---- */

/* Rename and link have the same shape; flags of 1 mean "replace" in the old classes as in the new.
 */
typedef struct win_target {
    ULONG flags;
    HANDLE dir;
    ULONG bytes;
    WCHAR text[WIN_NAME + 1];
} win_target;

static NTSTATUS win_set(HANDLE h, void *info, size_t size, int cls) {
    IO_STATUS_BLOCK io;
    return NtSetInformationFile(h, &io, info, (ULONG)size, (FILE_INFORMATION_CLASS)cls);
}

/* Does the answer mean that this system or file system does not know the newer call? */
static bool win_unknown(NTSTATUS st) {
    return st == (NTSTATUS)0xC0000002u || st == (NTSTATUS)0xC0000003u ||
           st == (NTSTATUS)0xC000000Du || st == (NTSTATUS)0xC0000010u ||
           st == (NTSTATUS)0xC00000BBu;
}

AGT_PRIVATE NTSTATUS agt__win_set_name(HANDLE h, HANDLE dir, const win_name *to, bool replace,
                                       int cls) {
    win_target target;
    memset(&target, 0, sizeof target);
    target.flags = replace ? 1u : 0u;
    target.dir = dir;
    target.bytes = to->bytes;
    memcpy(target.text, to->text, to->bytes);
    size_t size = offsetof(win_target, text) + to->bytes + sizeof(WCHAR);
    if (cls != WIN_RENAME) return win_set(h, &target, size, cls);
    target.flags |= WIN_RENAME_POSIX;
    NTSTATUS st = win_set(h, &target, size, WIN_RENAME_EX);
    if (!win_unknown(st)) return st;
    target.flags = replace ? 1u : 0u;
    return win_set(h, &target, size, WIN_RENAME);
}

/* May a scanner or an editor be what is in the way (4)? Then it is worth another try. */
AGT_PRIVATE bool agt__win_once_more(NTSTATUS st, DWORD *tries) {
    if (st != WIN_DENIED && st != WIN_SHARING && st != WIN_DELETE_PENDING) return false;
    if (++*tries >= WIN_TRIES) return false;
    Sleep(WIN_PAUSE * *tries);
    return true;
}

/* Only the right to write is kept, as the attribute read-only (7). */
AGT_PRIVATE NTSTATUS agt__win_set_fixed(HANDLE h, bool fixed) {
    win_how how = agt__win_to(WIN_LOOK | FILE_WRITE_ATTRIBUTES);
    FILE_BASIC_INFO basic;
    HANDLE again;
    if (!GetFileInformationByHandleEx(h, FileBasicInfo, &basic, sizeof basic)) return WIN_DENIED;
    DWORD was = basic.FileAttributes;
    bool folder = (was & FILE_ATTRIBUTE_DIRECTORY) != 0;
    if (folder || fixed == ((was & FILE_ATTRIBUTE_READONLY) != 0)) return 0;
    NTSTATUS st = agt__win_again(h, &how, &again);
    if (st < 0) return st;
    memset(&basic, 0, sizeof basic); /* a time of 0 is left as it is */
    basic.FileAttributes =
        fixed ? was | FILE_ATTRIBUTE_READONLY : was & ~(DWORD)FILE_ATTRIBUTE_READONLY;
    if (basic.FileAttributes == 0) basic.FileAttributes = FILE_ATTRIBUTE_NORMAL;
    BOOL ok = SetFileInformationByHandle(again, FileBasicInfo, &basic, sizeof basic);
    CloseHandle(again);
    return ok ? 0 : WIN_DENIED;
}

AGT_PRIVATE NTSTATUS agt__win_delete(HANDLE h) {
    ULONG flags = WIN_DELETE_POSIX;
    BOOLEAN yes = TRUE;
    NTSTATUS st = win_set(h, &flags, sizeof flags, WIN_DISPOSITION_EX);
    if (!win_unknown(st)) return st;
    st = win_set(h, &yes, sizeof yes, WIN_DISPOSITION);
    if (st != WIN_CANNOT_DELETE) return st;
    st = agt__win_set_fixed(h, false); /* a read-only file may go where its folder may be changed */
    return st < 0 ? st : win_set(h, &yes, sizeof yes, WIN_DISPOSITION);
}

#endif /* _WIN32 */
