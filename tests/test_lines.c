/* Counted lines against a plain table of longest common subsequences. */
#include "../src/data/data.h"
#include "test.h"

#include <time.h>

#define MAX_LINES 220

static size_t split(const char *s, size_t n, const char *lines[MAX_LINES], size_t lens[MAX_LINES]) {
    size_t count = 0;
    for (size_t at = 0; at < n; count++) {
        size_t end = at;
        while (end < n && s[end] != '\n')
            end++;
        if (end < n) end++;
        CHECK(count < MAX_LINES);
        lines[count] = s + at;
        lens[count] = end - at;
        at = end;
    }
    return count;
}

/* The model: n x m table. */
static void slow_changed(const char *a, size_t alen, const char *b, size_t blen, int64_t *added,
                         int64_t *removed) {
    static const char *x[MAX_LINES], *y[MAX_LINES];
    static size_t xlen[MAX_LINES], ylen[MAX_LINES];
    static int64_t lcs[MAX_LINES + 1][MAX_LINES + 1];
    size_t n = split(a, alen, x, xlen), m = split(b, blen, y, ylen);
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0)
                lcs[i][j] = 0;
            else if (xlen[i - 1] == ylen[j - 1] && !memcmp(x[i - 1], y[j - 1], xlen[i - 1]))
                lcs[i][j] = lcs[i - 1][j - 1] + 1;
            else
                lcs[i][j] = lcs[i - 1][j] > lcs[i][j - 1] ? lcs[i - 1][j] : lcs[i][j - 1];
        }
    *added = (int64_t)m - lcs[n][m];
    *removed = (int64_t)n - lcs[n][m];
}

static void check_counts(const agt_mem *m, const char *a, size_t alen, const char *b, size_t blen,
                         int64_t added, int64_t removed) {
    char *x = malloc(alen ? alen : 1), *y = malloc(blen ? blen : 1);
    int64_t plus = -1, minus = -1;
    if (alen) memcpy(x, a, alen); /* exact, so that a read past the end is seen */
    if (blen) memcpy(y, b, blen);
    agt__lines_changed(m, x, alen, y, blen, &plus, &minus);
    free(x);
    free(y);
    if (plus != added || minus != removed)
        test_fail(__FILE__, __LINE__,
                  "+%" PRId64 " -%" PRId64 ", wanted +%" PRId64 " -%" PRId64 " for\n%.*s\n->\n%.*s",
                  plus, minus, added, removed, (int)alen, a, (int)blen, b);
}

TEST(lines, known_changes_have_known_counts) {
    static const struct {
        const char *old, *now;
        int64_t added, removed;
    } known[] = {
        {"", "", 0, 0},
        {"", "a", 1, 0},
        {"", "a\nb\n", 2, 0},
        {"a\nb\n", "", 0, 2},
        {"a\n", "a\n", 0, 0},
        {"a", "a", 0, 0},
        {"a", "a\n", 1, 1},
        {"a\nb", "a\nb\n", 1, 1},
        {"a\nb", "a\nb\nc", 2, 1},
        {"a\nb\n", "a\nb\nc\n", 1, 0},
        {"b\n", "a\nb\n", 1, 0},
        {"xb\n", "b\n", 1, 1},
        {"x\nb\n", "b\n", 0, 1},
        {"ab\n", "b\n", 1, 1},
        {"a\nx\nc\n", "a\ny\nc\n", 1, 1},
        {"a\nb\nc\nd\n", "d\na\nb\nc\n", 1, 1},
        {"\n\n\n", "\n\n", 0, 1},
        {"a\r\nb\r\n", "a\nb\n", 2, 2},
        {"a\nb\na\nb\n", "b\na\nb\na\n", 1, 1},
        {"1\n2\n3\n4\n5\n", "5\n4\n3\n2\n1\n", 4, 4},
    };
    agt_mem m = agt__mem(NULL);
    for (size_t i = 0; i < AGT_COUNT(known); i++)
        check_counts(&m, known[i].old, strlen(known[i].old), known[i].now, strlen(known[i].now),
                     known[i].added, known[i].removed);
    check_counts(&m, "a\0b\n", 4, "a\n", 2, 0, 0);
    check_counts(&m, "a\n", 2, "a\n\0", 3, 0, 0);
    int64_t added, removed;
    agt__lines_changed(&m, NULL, 0, NULL, 0, &added, &removed);
    CHECK(added == 0 && removed == 0);
}

static size_t random_text(char *out, size_t lines, uint64_t alphabet, bool long_lines) {
    size_t n = 0;
    for (size_t i = 0; i < lines; i++) {
        if (long_lines && test_random_below(2)) {
            memcpy(out + n, "the same beginning of a longer line, then ", 42);
            n += 42;
        }
        for (uint64_t k = test_random_below(3); k; k--)
            out[n++] = (char)('a' + test_random_below(alphabet));
        if (i + 1 < lines || test_random_below(3)) out[n++] = '\n';
    }
    return n;
}

/* Copies `s` with some lines dropped, doubled, changed or moved in. */
static size_t random_edit(char *out, const char *s, size_t n, uint64_t rarity) {
    size_t to = 0, at = 0;
    while (at < n) {
        size_t end = at;
        while (end < n && s[end] != '\n')
            end++;
        if (end < n) end++;
        uint64_t what = test_random_below(rarity);
        if (what == 1) to += (size_t)sprintf(out + to, "new %d\n", (int)test_random_below(5));
        if (what != 0) {
            memcpy(out + to, s + at, end - at);
            to += end - at;
        }
        if (what == 2 && to) out[to - 1] = (char)('\n' + test_random_below(2) * 50);
        at = end;
    }
    return to;
}

TEST(lines, counts_are_those_of_a_longest_common_subsequence) {
    agt_mem m = agt__mem(NULL);
    static char a[16000], b[16000];
    size_t changed = 0;
    for (int round = 0; round < 12000; round++) {
        static const size_t sizes[] = {3, 8, 30, 60, 90};
        size_t top = sizes[test_random_below(AGT_COUNT(sizes))], alen, blen;
        uint64_t alphabet = 1 + test_random_below(26);
        int64_t added, removed;
        bool wide = test_random_below(2);
        alen = random_text(a, (size_t)test_random_below(top), alphabet, wide);
        blen = test_random_below(3)
                   ? random_edit(b, a, alen, 3 + test_random_below(30))
                   : random_text(b, (size_t)test_random_below(top), alphabet, wide);
        slow_changed(a, alen, b, blen, &added, &removed);
        check_counts(&m, a, alen, b, blen, added, removed);
        check_counts(&m, b, blen, a, alen, removed, added);
        changed += added + removed > 0;
    }
    CHECK(changed > 5000);
    test_saw("changes", changed);
}

static void *fail_resize(void *ctx, void *p, size_t old_size, size_t new_size) {
    (void)old_size;
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    size_t *calls = ctx;
    return --*calls == 0 ? NULL : realloc(p, new_size);
}

TEST(lines, out_of_memory_and_past_the_limits_the_middle_counts_as_a_whole) {
    enum { LINES = 3000 };
    char *a = malloc(LINES * 8), *b = malloc(LINES * 8), *end_a = a, *end_b = b;
    agt_mem malloced = agt__mem(NULL);
    for (int i = 0; i < LINES; i++) {
        end_a += sprintf(end_a, "%d\n", i);
        end_b += sprintf(end_b, "%d\n", (i * 7 + 1) % LINES); /* the same lines, well shuffled */
    }
    int64_t added, removed;
    size_t alen = (size_t)(end_a - a), blen = (size_t)(end_b - b);
    agt__lines_changed(&malloced, a, alen, b, blen, &added, &removed);
    CHECK_INT(added, LINES);
    CHECK_INT(removed, LINES);
    for (size_t fail = 1; fail <= 3; fail++) { /* the table, the row, and no failure */
        size_t calls = fail;
        agt_allocator failing = {&calls, fail_resize};
        agt_mem m = agt__mem(&failing);
        char text[2000], other[2000];
        size_t n = 0, k = 0;
        for (int i = 0; i < 90; i++) {
            n += (size_t)sprintf(text + n, "%d\n", i);
            k += (size_t)sprintf(other + k, "%d\n", i ^ 1);
        }
        agt__lines_changed(&m, text, n, other, k, &added, &removed);
        CHECK_INT(added, fail == 3 ? 45 : 90);
        CHECK_INT(removed, added);
        CHECK_INT(calls, fail == 3 ? 1 : 0);
    }
    free(a);
    free(b);
}

TEST(lines, a_hostile_pair_of_texts_takes_bounded_time) {
    enum { LINES = 120000 };
    agt_mem m = agt__mem(NULL);
    char *a = malloc(LINES * 3), *b = malloc(LINES * 3);
    size_t alen = 0, blen = 0;
    for (int i = 0; i < LINES; i++) { /* long runs match on every diagonal */
        a[alen++] = (char)('a' + (i % 601 == 0));
        a[alen++] = '\n';
        b[blen++] = (char)('a' + (i % 599 == 7));
        b[blen++] = '\n';
    }
    int64_t added, removed;
    clock_t begin = clock();
    agt__lines_changed(&m, a, alen, b, blen, &added, &removed);
    CHECK((clock() - begin) / CLOCKS_PER_SEC < 2);
    CHECK(added > 0 && added <= LINES && removed > 0 && removed <= LINES);
    free(a);
    free(b);
}
