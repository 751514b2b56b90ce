/* What the parts of sys for Windows share: the kernel's calls that take a name relative to an open
 * folder, which Win32 does not offer, and names and answers in our words. win32.c says how they are
 * used. Only where _WIN32 is defined is anything here. */
#ifndef AGT_WIN32_H
#define AGT_WIN32_H
#ifdef _WIN32

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN 1
#endif
#ifndef NOMINMAX
#define NOMINMAX 1
#endif
#if !defined(_WIN32_WINNT) || _WIN32_WINNT < 0x0602
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0602
#endif

#include "sys.h"

#include "../base/base.h"

#include <windows.h>
#include <winternl.h>

#ifdef _MSC_VER
#pragma comment(lib, "ntdll")
#pragma comment(lib, "advapi32")
#endif

#define WIN_NAME 255u /* UTF-16 units in one name */
#define WIN_UTF8 (WIN_NAME * 3 + 1)
#define WIN_PATH 32767u

#define WIN_SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
#define WIN_LOOK      (FILE_READ_ATTRIBUTES | SYNCHRONIZE)
#define WIN_FOLDER    (FILE_LIST_DIRECTORY | FILE_TRAVERSE | WIN_LOOK)

/* rename and remove: tries, and the first pause in ms; the n-th is n times as long */
#define WIN_TRIES 10u
#define WIN_PAUSE 25u

/* Answers of the kernel that Win32 does not tell apart. */
#define WIN_IS_FOLDER      ((NTSTATUS)0xC00000BAu)
#define WIN_NO_FOLDER      ((NTSTATUS)0xC0000103u)
#define WIN_DELETE_PENDING ((NTSTATUS)0xC0000056u)
#define WIN_SHARING        ((NTSTATUS)0xC0000043u)
#define WIN_DENIED         ((NTSTATUS)0xC0000022u)

/* One name in an open folder; empty: the folder itself. */
typedef struct win_name {
    WCHAR text[WIN_NAME + 1];
    USHORT bytes;
} win_name;

/* How something is opened. */
typedef struct win_how {
    ACCESS_MASK access;
    ULONG share, disposition, options, attributes;
} win_how;

/* ---- answers: an AGT_SYS class, or 0 or a negative AGT_SYS_ERR ---- */

AGT_PRIVATE int agt__win_class(DWORD e);
AGT_PRIVATE int agt__win_error(DWORD e);
AGT_PRIVATE int agt__win_result(BOOL ok); /* of a call that sets GetLastError */
AGT_PRIVATE int agt__win_status(NTSTATUS st);

/* ---- names ---- */

/* UTF-16 of at most `max` units and a NUL; the count, or -1. */
AGT_PRIVATE int agt__win_wide(const char *s, WCHAR *out, size_t max);
/* The way back; the count of bytes before the NUL, or -1 if they do not fit. */
AGT_PRIVATE int agt__win_narrow(const WCHAR *s, size_t n, char *out, size_t size);
/* One component, or "."; false if the kernel or Win32 would read it as something else. */
AGT_PRIVATE bool agt__win_component(const char *name, win_name *out);
/* A path as the kernel wants it: absolute, without the limit of 260; empty if it is none. NULL when
 * out of memory; the caller frees *size bytes. */
AGT_PRIVATE WCHAR *agt__win_long_path(const agt_mem *mem, const char *path, size_t *size);

/* ---- opening ---- */

/* What exists, with these rights, shared with everybody. */
AGT_PRIVATE win_how agt__win_to(ACCESS_MASK access);
/* The name in the open folder; a reparse point is opened itself. */
AGT_PRIVATE NTSTATUS agt__win_at(HANDLE dir, win_name *name, const win_how *how, HANDLE *out);
/* The same file or folder once more, with other rights. */
AGT_PRIVATE NTSTATUS agt__win_again(HANDLE h, const win_how *how, HANDLE *out);
AGT_PRIVATE bool agt__win_tag(HANDLE h, FILE_ATTRIBUTE_TAG_INFO *out);
AGT_PRIVATE bool agt__win_is_link(HANDLE h); /* any reparse point */
AGT_PRIVATE bool agt__win_is_folder(HANDLE h);

/* ---- what is set of an open file ---- */

enum { WIN_RENAME = 10, WIN_LINK = 11 };
/* Gives it a name in `dir`, instead of its own or beside it. */
AGT_PRIVATE NTSTATUS agt__win_set_name(HANDLE h, HANDLE dir, const win_name *to, bool replace,
                                       int cls);
/* Deletes it, also when it is read-only. */
AGT_PRIVATE NTSTATUS agt__win_delete(HANDLE h);
/* Sets or clears the attribute read-only; that of a folder means something else and stays. */
AGT_PRIVATE NTSTATUS agt__win_set_fixed(HANDLE h, bool fixed);
/* Slept, and is another try worth it after that answer? A scanner or an editor may be in the way.
 */
AGT_PRIVATE bool agt__win_once_more(NTSTATUS st, DWORD *tries);

#endif /* _WIN32 */
#endif /* AGT_WIN32_H */
