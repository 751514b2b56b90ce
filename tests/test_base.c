/* What every part stands on: statuses, errors, memory, buffers, options. */
#include "../src/base/base.h"
#include "test.h"

/* An allocator that counts, checks the old sizes, and fails the n-th call. */
typedef struct counted {
    size_t live, calls, fail_at, wrong;
} counted;

typedef struct counted_head {
    size_t size, pad;
} counted_head;

static void *counted_resize(void *ctx, void *p, size_t old_size, size_t new_size) {
    counted *c = ctx;
    counted_head *head = p ? (counted_head *)p - 1 : NULL;
    c->calls++;
    if ((head ? head->size : 0) != old_size) c->wrong++;
    if (new_size == 0) {
        c->live -= old_size;
        free(head);
        return NULL;
    }
    if (c->calls == c->fail_at) return NULL;
    head = realloc(head, sizeof *head + new_size);
    head->size = new_size;
    c->live += new_size - old_size;
    return head + 1;
}

static agt_mem counted_mem(counted *c) {
    agt_allocator a = {c, counted_resize};
    return agt__mem(&a);
}

TEST(base, every_status_has_one_name_one_text_and_a_pinned_value) {
    static const struct {
        agt_status status;
        int value;
        const char *name;
        int is_error;
    } want[] = {
        {AGT_OK, 0, "OK", 0},
        {AGT_BUSY, -1, "BUSY", 0},
        {AGT_DENIED, -2, "DENIED", 0},
        {AGT_NEEDS_CONFIRMATION, -3, "NEEDS_CONFIRMATION", 0},
        {AGT_NOT_FOUND, -4, "NOT_FOUND", 0},
        {AGT_CONFLICT, -5, "CONFLICT", 0},
        {AGT_END, -6, "END", 0},
        {AGT_INVALID, -10, "INVALID", 1},
        {AGT_NOMEM, -11, "NOMEM", 1},
        {AGT_IO, -12, "IO", 1},
        {AGT_CORRUPT, -13, "CORRUPT", 1},
        {AGT_LIMIT, -14, "LIMIT", 1},
        {AGT_UNSUPPORTED, -15, "UNSUPPORTED", 1},
        {AGT_GIT, -16, "GIT", 1},
    };
    for (size_t i = 0; i < AGT_COUNT(want); i++) {
        CHECK_INT(want[i].status, want[i].value);
        CHECK_STR(agt_status_name(want[i].status), want[i].name);
        CHECK_INT(agt_status_is_error(want[i].status), want[i].is_error);
        CHECK(strlen(agt_status_text(want[i].status)) > 3);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(agt_status_text(want[i].status), agt_status_text(want[j].status)) != 0);
    }
    size_t known = 0;
    for (int v = -100; v <= 100; v++) {
        if (strcmp(agt_status_name((agt_status)v), "UNKNOWN") != 0)
            known++;
        else
            CHECK_INT(agt_status_is_error((agt_status)v), 1);
        CHECK(agt_status_text((agt_status)v) != NULL);
    }
    CHECK_INT(known, AGT_COUNT(want));
}

TEST(base, the_compiled_version_is_the_headers) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", AGENT_TRACE_VERSION_MAJOR,
             AGENT_TRACE_VERSION_MINOR, AGENT_TRACE_VERSION_PATCH);
    CHECK_STR(agt_version(), version);
    CHECK_STR(AGENT_TRACE_VERSION, version);
}

TEST(base, an_error_is_filled_as_a_whole) {
    agt_error err;
    memset(&err, 0x5a, sizeof err);
    CHECK_INT(agt__fail(&err, AGT_DENIED, "no %s for %d", "pudding", 7), AGT_DENIED);
    CHECK_INT(err.status, AGT_DENIED);
    CHECK_INT(err.sys, 0);
    CHECK_INT(err.outcome_unknown, 0);
    CHECK_INT(err.offset, -1);
    CHECK_STR(err.message, "no pudding for 7");
    CHECK_INT(agt__fail_at(&err, AGT_CORRUPT, 4096, "bad record"), AGT_CORRUPT);
    CHECK_INT(err.offset, 4096);
    CHECK_INT(agt__nomem(&err), AGT_NOMEM);
    CHECK_STR(err.message, "out of memory");
    CHECK_INT(agt__fail(NULL, AGT_BUSY, "nobody %s", "listens"), AGT_BUSY);
    CHECK_INT(agt__fail_at(NULL, AGT_BUSY, 1, "nobody %s", "listens"), AGT_BUSY);
    CHECK_INT(agt__fail_io(NULL, AGT_SYS_ERR(AGT_SYS_NOENT, 2), "nobody listens"), AGT_IO);
}

TEST(base, a_message_may_be_built_from_the_message_before_it) {
    agt_error err;
    agt__fail(&err, AGT_IO, "the disk is gone");
    agt__fail(&err, AGT_GIT, "cannot publish: %s", err.message);
    CHECK_STR(err.message, "cannot publish: the disk is gone");
}

TEST(base, a_message_is_one_line_and_always_terminated) {
    char text[2000];
    agt_error err;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    agt__fail(&err, AGT_INVALID, "%s", text);
    CHECK_INT(strlen(err.message), sizeof err.message - 1);
    agt__fail(&err, AGT_INVALID, "a\nb\tc\x1b[31m\x7f\xc2\x9bz");
    CHECK_STR(err.message, "a?b?c?[31m???z");
    for (size_t pad = 500; pad < 515; pad++) { /* the cut never splits a character */
        memset(text, 'x', pad);
        memcpy(text + pad, "\xf0\x9f\x8c\xb2\xf0\x9f\x8c\xb2", 9);
        agt__fail(&err, AGT_INVALID, "%s", text);
        size_t n = strlen(err.message);
        CHECK(n < sizeof err.message);
        CHECK_INT((n - (pad < n ? pad : n)) % 4, 0);
    }
}

TEST(base, a_system_failure_maps_to_a_status_and_names_its_code) {
    static const struct {
        int cls;
        agt_status status;
    } want[] = {
        {AGT_SYS_NOENT, AGT_NOT_FOUND}, {AGT_SYS_EXIST, AGT_INVALID},
        {AGT_SYS_NOTDIR, AGT_INVALID},  {AGT_SYS_ISDIR, AGT_INVALID},
        {AGT_SYS_LOOP, AGT_INVALID},    {AGT_SYS_ACCESS, AGT_IO},
        {AGT_SYS_NOSPC, AGT_IO},        {AGT_SYS_BUSY, AGT_BUSY},
        {AGT_SYS_XDEV, AGT_IO},         {AGT_SYS_NOTEMPTY, AGT_INVALID},
        {AGT_SYS_NAME, AGT_INVALID},    {AGT_SYS_NOSYS, AGT_UNSUPPORTED},
        {AGT_SYS_NOMEM, AGT_NOMEM},     {AGT_SYS_FILES, AGT_IO},
        {AGT_SYS_IO, AGT_IO},
    };
    agt_error err;
    for (size_t i = 0; i < AGT_COUNT(want); i++) {
        int64_t rc = AGT_SYS_ERR(want[i].cls, 77);
        CHECK_STATUS(agt__fail_sys(&err, rc, "cannot open %s", "x"), want[i].status, err);
        CHECK_INT(err.status, want[i].status);
        CHECK_INT(err.sys, 77);
        CHECK(strncmp(err.message, "cannot open x: ", 15) == 0);
        /* a number is named only where it says more than the words */
        CHECK(!strstr(err.message, "(system code 77)") == (want[i].cls != AGT_SYS_IO));
        CHECK_STATUS(agt__fail_io(&err, rc, "cannot open %s", "x"), AGT_IO, err);
        CHECK_INT(err.sys, 77);
    }
    CHECK_STATUS(agt__fail_sys(&err, AGT_SYS_ERR(999, 1), "odd"), AGT_IO, err);
    CHECK_STATUS(agt__fail_sys(&err, AGT_SYS_ERR(AGT_SYS_LOOP, 0), "x"), AGT_INVALID, err);
    CHECK_STR(err.message, "x: it is a symbolic link; move it away");
    CHECK_INT(err.sys, 0);
    char text[2000];
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = 0;
    agt__fail_sys(&err, AGT_SYS_ERR(AGT_SYS_IO, 5), "%s", text);
    CHECK(strstr(err.message, "yyy: input or output failed (system code 5)") != NULL);
    CHECK_INT(strlen(err.message), sizeof err.message - 1);
}

TEST(base, a_long_path_is_shortened_in_the_middle) {
    char out[64], path[1024];
    CHECK_STR(agt__show_path(out, 16, "notes/plan.md", 13), "notes/plan.md");
    CHECK_STR(agt__show_path(out, 16, "0123456789abcdefghij", 20), "012345...efghij");
    CHECK_STR(agt__show_path(out, 16, "a\nb\x7f\xff", 5), "a?b??");
    for (size_t len = 0; len < 300; len++) {
        for (size_t i = 0; i < len; i++)
            path[i] = "\xe2\x82\xac"[i % 3]; /* the euro sign, perhaps cut at the end */
        for (size_t size = 16; size < 40; size++) {
            agt__show_path(out, size, path, len);
            CHECK(strlen(out) < size);
            if (len % 3 == 0) CHECK(strchr(out, '?') == NULL);
            if (len >= size) CHECK(strstr(out, "...") != NULL);
        }
    }
}

TEST(base, the_allocator_hears_the_old_size_and_gets_all_back) {
    counted c = {0};
    agt_mem m = counted_mem(&c);
    void *none = agt__alloc(&m, 0);
    CHECK(none != NULL);
    unsigned char *p = agt__zalloc(&m, 100);
    for (int i = 0; i < 100; i++)
        CHECK_INT(p[i], 0);
    p = agt__realloc(&m, p, 100, 5000);
    p = agt__realloc(&m, p, 5000, 0);
    CHECK(p != NULL);
    agt__free(&m, p, 0);
    agt__free(&m, none, 0);
    agt__free(&m, NULL, 17);
    p = agt__realloc(&m, NULL, 0, 3);
    agt__free(&m, p, 3);
    CHECK_INT(c.live, 0);
    CHECK_INT(c.wrong, 0);
    c.fail_at = c.calls + 1;
    CHECK(agt__alloc(&m, 1) == NULL);
}

TEST(base, sizes_are_checked_for_overflow) {
    size_t n = 0;
    CHECK(agt__add_size(SIZE_MAX - 1, 1, &n) && n == SIZE_MAX);
    CHECK(!agt__add_size(SIZE_MAX, 1, &n));
    CHECK(agt__mul_size(SIZE_MAX / 3, 3, &n) && n == SIZE_MAX / 3 * 3);
    CHECK(!agt__mul_size(SIZE_MAX / 3 + 1, 3, &n));
    CHECK(agt__mul_size(SIZE_MAX, 0, &n) && n == 0);
    CHECK(agt__mul_size(0, SIZE_MAX, &n) && n == 0);
}

TEST(base, a_buffer_holds_what_was_put_in_it) {
    counted c = {0};
    agt_mem m = counted_mem(&c);
    agt_buf b = agt__buf(&m);
    CHECK(b.data == NULL);
    char model[20000];
    size_t n = 0;
    while (n < sizeof model - 200) {
        char piece[100];
        size_t len = (size_t)test_random_below(sizeof piece);
        for (size_t i = 0; i < len; i++)
            piece[i] = (char)test_random();
        memcpy(model + n, piece, len);
        n += len;
        agt__buf_put(&b, piece, len);
        agt__buf_byte(&b, 'q');
        model[n++] = 'q';
        agt__buf_zero(&b, len % 5);
        memset(model + n, 0, len % 5);
        n += len % 5;
    }
    CHECK_BYTES(b.data, b.len, model, n);
    CHECK(c.calls < 20); /* it doubles */
    agt__buf_free(&b);
    agt__buf_text(&b, "n=");
    agt__buf_u64(&b, 0);
    agt__buf_byte(&b, ' ');
    agt__buf_u64(&b, UINT64_MAX);
    CHECK_BYTES(b.data, b.len, "n=0 18446744073709551615", 24);
    agt__buf_free(&b);
    agt__buf_free(&b);
    CHECK_INT(c.live, 0);
    CHECK_INT(c.wrong, 0);
}

TEST(base, a_buffer_that_failed_stays_failed_and_keeps_its_bytes) {
    size_t failures = 0;
    for (size_t at = 1;; at++) {
        counted c = {0};
        agt_mem m = counted_mem(&c);
        agt_buf b = agt__buf(&m);
        agt_bytes bytes;
        agt_error err;
        c.fail_at = at;
        for (int i = 0; i < 300; i++)
            agt__buf_put(&b, "0123456789", 10);
        CHECK_INT(b.len % 10, 0);
        if (b.failed) {
            size_t len = b.len;
            agt__buf_text(&b, "more");
            agt__buf_zero(&b, 1);
            agt__buf_u64(&b, 1);
            agt__buf_byte(&b, 1);
            CHECK(!agt__buf_reserve(&b, 1));
            CHECK_INT(b.len, len);
        }
        agt_status status = agt__buf_give(&b, &bytes, &err);
        if (c.calls >= at) {
            failures++;
            CHECK_STATUS(status, AGT_NOMEM, err);
            CHECK(bytes.data == NULL && bytes.len == 0);
        } else {
            CHECK_OK(status, err);
            CHECK_INT(bytes.len, 3000);
        }
        agt_bytes_free(&bytes);
        CHECK_INT(c.live, 0);
        CHECK_INT(c.wrong, 0);
        if (c.calls < at) break;
    }
    CHECK(failures >= 5);
    agt_mem m = agt__mem(NULL);
    agt_buf b = agt__buf(&m);
    agt__buf_byte(&b, 1);
    CHECK(!agt__buf_reserve(&b, SIZE_MAX)); /* the sum overflows */
    CHECK(b.failed && b.len == 1);
    agt__buf_free(&b);
}

TEST(base, given_bytes_end_with_a_nul_and_outlive_the_handle_they_came_from) {
    counted c = {0};
    for (size_t n = 0; n < 600; n++) {
        agt_mem *m = malloc(sizeof *m);
        *m = counted_mem(&c);
        agt_buf b = agt__buf(m);
        agt_error err;
        agt_bytes bytes;
        char model[600];
        for (size_t i = 0; i < n; i++)
            model[i] = (char)test_random();
        if (n % 2) agt__buf_reserve(&b, n + n % 7 * 40);
        agt__buf_put(&b, model, n);
        CHECK_OK(agt__buf_give(&b, &bytes, &err), err);
        memset(m, 0x5a, sizeof *m);
        free(m);
        CHECK_BYTES(bytes.data, bytes.len, model, n);
        CHECK_INT(bytes.data[n], 0);
        CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
        agt_bytes_free(&bytes);
        CHECK(bytes.data == NULL && bytes.len == 0 && bytes.owner_ == NULL);
        agt_bytes_free(&bytes);
        CHECK_INT(c.live, 0);
    }
    CHECK_INT(c.wrong, 0);
}

TEST(base, text_is_compared_and_copied_by_length) {
    char out[4];
    CHECK(agt__text(NULL).data == NULL && agt__text(NULL).len == 0);
    CHECK(agt__text_is(agt__text("plan"), "plan"));
    CHECK(!agt__text_is(agt__text("plan"), "plans"));
    CHECK(!agt__text_is(agt__text("plan"), "plam"));
    CHECK(agt__text_eq(agt__text(""), agt__text(NULL)));
    CHECK(agt__copy_text(out, sizeof out, "abc", 3));
    CHECK_STR(out, "abc");
    CHECK(!agt__copy_text(out, sizeof out, "wxyz", 4));
    CHECK_STR(out, "wxy");
    CHECK(agt__copy_text(out, sizeof out, NULL, 0));
    CHECK_STR(out, "");
    CHECK(!agt__copy_text(out, 0, "", 0));
}

TEST(base, stored_numbers_are_little_endian) {
    unsigned char p[8];
    agt__put32(p, 0x01020304u);
    CHECK_BYTES(p, 4, "\x04\x03\x02\x01", 4);
    agt__put64(p, 0x0102030405060708u);
    CHECK_BYTES(p, 8, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = test_random();
        agt__put64(p, v);
        CHECK(agt__get64(p) == v);
        agt__put32(p, (uint32_t)v);
        CHECK(agt__get32(p) == (uint32_t)v);
    }
}

typedef struct newer_options {
    uint32_t size, a, b, c;
} newer_options;

TEST(base, options_of_older_and_newer_callers_are_understood_or_refused) {
    struct {
        uint32_t size, a, b;
    } known;
    newer_options in = {sizeof in, 1, 2, 0};
    agt_error err;
    CHECK_OK(agt__options(&known, sizeof known, NULL, "options", &err), err);
    CHECK(known.size == 0 && known.a == 0 && known.b == 0);
    CHECK_OK(agt__options(&known, sizeof known, &in, "options", &err), err);
    CHECK(known.a == 1 && known.b == 2);
    in.size = 8; /* an older caller: b is not there */
    CHECK_OK(agt__options(&known, sizeof known, &in, "options", &err), err);
    CHECK(known.size == 8 && known.a == 1 && known.b == 0);
    in.size = sizeof in;
    in.c = 0x01000000;
    CHECK_STATUS(agt__options(&known, sizeof known, &in, "options", &err), AGT_INVALID, err);
    CHECK(err.offset >= 12 && err.offset < 16);
    static const uint32_t none[] = {0, 1, 3, 4097, UINT32_MAX};
    for (size_t i = 0; i < AGT_COUNT(none); i++) {
        in.size = none[i];
        CHECK_STATUS(agt__options(&known, sizeof known, &in, "options", &err), AGT_INVALID, err);
        CHECK(strstr(err.message, "_INIT") != NULL);
    }
}
