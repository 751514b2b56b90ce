/* The lock among processes on Windows, where there is no fork: this program starts itself again as
 * a contender, by a test that does nothing unless it is told so by the environment. Empty
 * elsewhere.
 *
 * The witness does not stand on the lock: whoever holds it makes a file that must not exist yet,
 * counts one in another file by reading and writing, and deletes the first. Two at once would find
 * the file, or lose a count. A killed one leaves the file behind; what is in it tells whose it is,
 * and whether that process is dead is asked of the system. */
#ifdef _WIN32
#include "../src/lock/lock.h"
#include "store_kit.h"

#define WIN32_LEAN_AND_MEAN 1
#include <windows.h>

enum { CONTENDERS = 4, TAKES = 5000, KILLS = 12 };

typedef struct arena {
    char counter[400], inside[400];
} arena;

static arena arena_at(const char *root) {
    arena a;
    snprintf(a.counter, sizeof a.counter, "%s/counter", root);
    snprintf(a.inside, sizeof a.inside, "%s/inside", root);
    return a;
}

static uint64_t counted(const arena *a) {
    uint64_t n = 0;
    HANDLE h = CreateFileA(a->counter, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                           OPEN_EXISTING, 0, NULL);
    DWORD got = 0;
    if (h == INVALID_HANDLE_VALUE) return 0;
    if (!ReadFile(h, &n, sizeof n, &got, NULL) || got != sizeof n) n = 0;
    CloseHandle(h);
    return n;
}

static bool count_one(const arena *a) {
    uint64_t n = counted(a) + 1;
    HANDLE h = CreateFileA(a->counter, GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                           OPEN_ALWAYS, 0, NULL);
    DWORD put = 0;
    if (h == INVALID_HANDLE_VALUE) return false;
    bool ok = WriteFile(h, &n, sizeof n, &put, NULL) && put == sizeof n;
    return CloseHandle(h) && ok;
}

static bool is_dead(DWORD pid) {
    HANDLE h = OpenProcess(SYNCHRONIZE, FALSE, pid);
    if (!h) return GetLastError() == ERROR_INVALID_PARAMETER;
    bool dead = WaitForSingleObject(h, 0) == WAIT_OBJECT_0;
    CloseHandle(h);
    return dead;
}

/* Makes the witness's file, whole or not at all; one that a dead process left is taken over. */
static bool step_in(const arena *a) {
    char mine[420];
    DWORD me = GetCurrentProcessId(), who = 0, n = 0;
    snprintf(mine, sizeof mine, "%s.%lu", a->inside, me);
    HANDLE h = CreateFileA(mine, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    if (h == INVALID_HANDLE_VALUE) return false;
    bool ok = WriteFile(h, &me, sizeof me, &n, NULL) && n == sizeof me;
    if (!CloseHandle(h) || !ok) return false;
    if (MoveFileA(mine, a->inside)) return true;
    h = CreateFileA(a->inside, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (h == INVALID_HANDLE_VALUE) return false;
    bool known = ReadFile(h, &who, sizeof who, &n, NULL) && n == sizeof who;
    CloseHandle(h);
    if (!known || !is_dead(who)) return false;
    return DeleteFileA(a->inside) && MoveFileA(mine, a->inside);
}

enum { WRONG = 0x40000000 };

/* Takes the lock until so many were counted in all. How many of them were its own, or WRONG and
 * what it was. */
static UINT contend(const char *root, uint64_t until) {
    arena a = arena_at(root);
    UINT own = 0;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = AGT_FOREVER;
    for (uint64_t n = 0; n < until;) {
        agt_poll_lock *p;
        if (agt_poll_lock_acquire(&p, root, &o, NULL) != AGT_OK) return WRONG + 1;
        n = counted(&a);
        if (n < until) {
            if (!step_in(&a)) return WRONG + 2;
            if (!count_one(&a)) return WRONG + 3;
            if (!DeleteFileA(a.inside)) return WRONG + 4;
            own++;
        }
        agt_poll_lock_release(p);
    }
    return own;
}

TEST(windows, a_contender_runs_when_it_is_told_to) {
    const char *root = getenv("TEST_CONTENDER"), *until = getenv("TEST_CONTENDER_UNTIL");
    if (root && until) ExitProcess(contend(root, strtoull(until, NULL, 10)));
}

/* All of them end with this process, however that ends. */
static void tie(HANDLE process) {
    static HANDLE job;
    if (!job) {
        JOBOBJECT_EXTENDED_LIMIT_INFORMATION limit;
        memset(&limit, 0, sizeof limit);
        limit.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        CHECK((job = CreateJobObjectA(NULL, NULL)) != NULL);
        CHECK(
            SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limit, sizeof limit));
    }
    CHECK(AssignProcessToJobObject(job, process));
}

static HANDLE start_contender(const char *root, uint64_t until) {
    char self[600], line[800], number[32];
    STARTUPINFOA info = {.cb = sizeof info};
    PROCESS_INFORMATION process;
    CHECK(GetModuleFileNameA(NULL, self, sizeof self) > 0);
    snprintf(line, sizeof line, "\"%s\" --filter windows_a_contender_runs", self);
    snprintf(number, sizeof number, "%" PRIu64, until);
    SetEnvironmentVariableA("TEST_CONTENDER", root);
    SetEnvironmentVariableA("TEST_CONTENDER_UNTIL", number);
    BOOL ok = CreateProcessA(self, line, NULL, NULL, FALSE, 0, NULL, NULL, &info, &process);
    SetEnvironmentVariableA("TEST_CONTENDER", NULL);
    CHECK(ok);
    tie(process.hProcess);
    CloseHandle(process.hThread);
    return process.hProcess;
}

/* How many takes it had. */
static uint64_t ends_well(HANDLE h) {
    DWORD own = 0;
    CHECK(WaitForSingleObject(h, INFINITE) == WAIT_OBJECT_0); /* the suite has a limit */
    CHECK(GetExitCodeProcess(h, &own));
    CloseHandle(h);
    if (own >= WRONG) test_fail(__FILE__, __LINE__, "a contender failed at %d", (int)(own - WRONG));
    return own;
}

TEST(windows, never_two_of_four_processes_hold_the_lock) {
    HANDLE h[CONTENDERS];
    const char *root = test_folder();
    uint64_t takes = test_count("TEST_TAKES", TAKES);
    for (int i = 0; i < CONTENDERS; i++)
        h[i] = start_contender(root, takes);
    uint64_t sum = 0, least = UINT64_MAX;
    for (int i = 0; i < CONTENDERS; i++) {
        uint64_t own = ends_well(h[i]);
        sum += own;
        if (own < least) least = own;
    }
    arena a = arena_at(root);
    CHECK_INT(counted(&a), takes);
    CHECK_INT(sum, takes);
    CHECK(GetFileAttributesA(a.inside) == INVALID_FILE_ATTRIBUTES);
    test_saw("takes", takes);
    test_saw("of the one with the fewest", least);
}

TEST(windows, a_killed_holder_leaves_the_lock_to_the_others) {
    HANDLE h[CONTENDERS];
    agt_error err;
    agt_poll_lock *p;
    const char *root = test_folder();
    arena a = arena_at(root);
    int kills = 0, inside = 0;
    uint64_t takes = test_count("TEST_TAKES", test_all() ? TAKES : TAKES / 5), before = 0;
    for (int i = 0; i < CONTENDERS; i++)
        h[i] = start_contender(root, takes);
    while (kills < KILLS && counted(&a) < takes * 3 / 4) {
        Sleep(100 + (DWORD)test_random_below(300));
        if (counted(&a) == before) continue; /* only while they are at work */
        before = counted(&a);
        int i = (int)test_random_below(CONTENDERS);
        inside += GetFileAttributesA(a.inside) != INVALID_FILE_ATTRIBUTES;
        CHECK(TerminateProcess(h[i], 9));
        CHECK(WaitForSingleObject(h[i], 10000) == WAIT_OBJECT_0);
        CloseHandle(h[i]);
        h[i] = start_contender(root, takes);
        kills++;
    }
    for (int i = 0; i < CONTENDERS; i++)
        ends_well(h[i]);
    CHECK(kills > 0);
    CHECK_INT(counted(&a), takes);
    CHECK_OK(agt_poll_lock_try(&p, root, &err), err);
    agt_poll_lock_release(p);
    test_saw("kills", (uint64_t)kills);
    test_saw("kills while somebody was inside", (uint64_t)inside);
}

TEST(windows, a_leader_in_another_process_is_respected_until_it_dies) {
    agt_error err;
    agt_poll_lock *p = NULL;
    const char *root = test_folder();
    arena a = arena_at(root);
    HANDLE h = start_contender(root, UINT64_MAX);
    for (int i = 0; i < 1000 && counted(&a) < 3; i++)
        Sleep(10);
    CHECK(counted(&a) >= 3);
    int busy = 0;
    for (int i = 0; i < 500; i++) {
        agt_status st = agt_poll_lock_try(&p, root, &err);
        CHECK(st == AGT_OK || st == AGT_BUSY);
        if (st == AGT_BUSY) busy++;
        if (st == AGT_OK) agt_poll_lock_release(p);
    }
    CHECK(busy > 0);
    CHECK(TerminateProcess(h, 9));
    CHECK(WaitForSingleObject(h, 10000) == WAIT_OBJECT_0);
    CloseHandle(h);
    CHECK_OK(agt_poll_lock_try(&p, root, &err), err);
    agt_poll_lock_release(p);
    test_saw("refusals", (uint64_t)busy);
}
#endif
