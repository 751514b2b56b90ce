/* The event codec: one event, one line. The general reader and the one for canonical lines are
 * compared with each other throughout. */
#include "../src/log/event.h"

#include "machine.h"
#include "test.h"

#define PREV    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MEMBERS 22

static const char golden[] =
    "{\"timestamp\":\"2031-02-03T05:07:00.123Z\",\"session_id\":null,\"agent_name\":\"kestrel\","
    "\"actor\":\"agent:kestrel\",\"action\":\"modify\",\"change_kind\":\"modify\","
    "\"path\":\"roadmap.md\",\"doc_type\":\"plan\",\"summary\":\"roadmap.md: +1 -0\","
    "\"source\":\"cli\",\"detected_by\":\"cli\",\"lines_added\":1,\"lines_removed\":0,\"seq\":17,"
    "\"replica\":\"0011223344556677\",\"version\":3,"
    "\"blob\":\"0123456789abcdef0123456789abcdef01234567\","
    "\"doc\":\"123e4567-e89b-42d3-a456-426614174000\",\"doc_prev\":12,\"prev\":\"" PREV "\"}\n";
#define GOLDEN_MS INT64_C(1927861620123)

/* ---- the kit ---- */

struct codec {
    agt_mem mem;
    agt_buf line, scratch;
    agt_event e;
    agt_error err;
};

static struct codec *new_codec(void) {
    static struct codec c;
    memset(&c, 0, sizeof c);
    c.mem = agt__mem(NULL);
    c.line = c.scratch = agt__buf(&c.mem);
    return &c;
}

static void free_codec(struct codec *c) {
    agt__buf_free(&c->line);
    agt__buf_free(&c->scratch);
}

static agt_status read_line(struct codec *c, const char *line, size_t n) {
    return agt__event_parse(line, n, &c->scratch, &c->e, &c->err);
}

static agt_text text(const char *s) {
    return agt__text(s);
}

static agt_event golden_event(void) {
    agt_event e = AGT_EVENT_INIT;
    e.at_unix_ms = e.recorded_unix_ms = GOLDEN_MS;
    e.agent_name = text("kestrel");
    e.actor = text("agent:kestrel");
    e.action = e.change_kind = text("modify");
    e.path = text("roadmap.md");
    e.doc_type = text("plan");
    e.summary = text("roadmap.md: +1 -0");
    e.source = e.detected_by = text("cli");
    e.lines_added = 1;
    e.seq = 17;
    e.replica = text("0011223344556677");
    e.version = 3;
    e.blob = text("0123456789abcdef0123456789abcdef01234567");
    e.doc = text("123e4567-e89b-42d3-a456-426614174000");
    e.doc_prev = 12;
    e.prev = text(PREV);
    return e;
}

static const size_t text_members[] = {
    offsetof(agt_event, session_id),  offsetof(agt_event, agent_name),
    offsetof(agt_event, actor),       offsetof(agt_event, action),
    offsetof(agt_event, change_kind), offsetof(agt_event, path),
    offsetof(agt_event, doc_type),    offsetof(agt_event, summary),
    offsetof(agt_event, source),      offsetof(agt_event, detected_by),
    offsetof(agt_event, replica),     offsetof(agt_event, blob),
    offsetof(agt_event, doc),         offsetof(agt_event, prev),
    offsetof(agt_event, rejected),
};

static agt_text *text_of(agt_event *e, size_t i) {
    return (agt_text *)(void *)((char *)e + text_members[i]);
}

static const char *difference(agt_event *a, agt_event *b) {
    if (a->seq != b->seq) return "seq";
    if (a->version != b->version) return "version";
    if (a->doc_prev != b->doc_prev) return "doc_prev";
    if (a->at_unix_ms != b->at_unix_ms) return "timestamp";
    if (a->recorded_unix_ms != b->recorded_unix_ms) return "recorded_at";
    if (a->lines_added != b->lines_added) return "lines_added";
    if (a->lines_removed != b->lines_removed) return "lines_removed";
    for (size_t i = 0; i < AGT_COUNT(text_members); i++) {
        agt_text *t = text_of(a, i), *u = text_of(b, i);
        if (!t->data != !u->data || !agt__text_eq(*t, *u)) return "a text";
    }
    return NULL;
}

/* Reads the line as it stands, and once more with a blank behind the brace, which only the general
 * reader takes: both must say the same. */
static agt_status read_both(struct codec *c, const char *line, size_t n) {
    agt_status st = read_line(c, line, n);
    if (st != AGT_OK) CHECK(c->e.seq == 0 && !c->e.actor.data && !c->e.line.data);
    if (st == AGT_OK) CHECK(c->e.line.data == line && c->e.line.len == n);
    if (n >= AGT_MAX_EVENT || line[0] != '{') return st;
    struct codec other = {.mem = agt__mem(NULL)};
    other.line = other.scratch = agt__buf(&other.mem);
    agt__buf_put(&other.line, "{ ", 2);
    agt__buf_put(&other.line, line + 1, n - 1);
    agt_status again = read_line(&other, (const char *)other.line.data, other.line.len);
    if (again != st)
        test_fail(__FILE__, __LINE__, "the readers disagree: %s, and with a blank %s (%s): %.300s",
                  agt_status_name(st), agt_status_name(again), other.err.message, line);
    if (st == AGT_OK) {
        uint64_t seq = 0;
        const char *d = difference(&c->e, &other.e);
        if (d) test_fail(__FILE__, __LINE__, "the readers disagree about %s: %.300s", d, line);
        CHECK(agt__event_seq(line, n, &seq));
        CHECK_INT(seq, c->e.seq);
        CHECK(agt__event_seq((const char *)other.line.data, other.line.len, &seq));
        CHECK_INT(seq, c->e.seq);
    }
    free_codec(&other);
    return st;
}

static agt_status read_text(struct codec *c, const char *line) {
    return read_both(c, line, strlen(line));
}

/* The members of a line `{a,b,...}\n` without nesting; returns how many. */
static size_t split(const char *line, agt_text members[], size_t max) {
    size_t count = 0;
    bool quoted = false;
    const char *from = line + 1, *p = from;
    for (; *p && *p != '\n'; p++) {
        if (quoted && *p == '\\')
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (!quoted && (*p == ',' || *p == '}')) {
            CHECK(count < max);
            members[count++] = (agt_text){from, (size_t)(p - from)};
            from = p + 1;
        }
    }
    return count;
}

static void join(agt_buf *out, const agt_text members[], size_t count, bool blanks) {
    static const char *const blank[] = {"", " ", "\t", "  ", "\r "};
    out->len = 0;
    agt__buf_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i) agt__buf_byte(out, ',');
        if (blanks) agt__buf_text(out, blank[test_random_below(5)]);
        agt__buf_put(out, members[i].data, members[i].len);
        if (blanks) agt__buf_text(out, blank[test_random_below(5)]);
    }
    agt__buf_put(out, "}\n", 2);
}

/* The golden line with the value of one member replaced; NULL leaves the member out. */
static const char *with(struct codec *c, const char *name, const char *value) {
    agt_text m[MEMBERS];
    char whole[700], key[32];
    size_t n = split(golden, m, MEMBERS), found = n;
    snprintf(key, sizeof key, "\"%s\":", name);
    for (size_t i = 0; i < n; i++)
        if (!strncmp(m[i].data, key, strlen(key))) found = i;
    snprintf(whole, sizeof whole, "%s%s", key, value ? value : "");
    if (found == n) n++;
    if (value)
        m[found] = text(whole);
    else
        memmove(m + found, m + found + 1, (--n - found) * sizeof *m);
    join(&c->line, m, n, false);
    agt__buf_byte(&c->line, 0);
    return (const char *)c->line.data;
}

/* ---- random events ---- */

#define PIECES_PLAIN 9 /* the first ones need no escape */
static const char *const pieces[] = {
    "a",
    " ",
    "\x7f",
    "roadmap.md",
    "null",
    "\xc3\xa9",
    "\xe2\x82\xac",
    "\xf0\x9f\x94\x92",
    "\xef\xbf\xbd",
    "\"",
    "\\",
    "/",
    "\b",
    "\f",
    "\n",
    "\r",
    "\t",
    "\x01",
    "\x1f",
    "{\"",
    "},",
    "\",\"seq\":9,",
    "\\u0000",
};

static agt_text random_text(char *room, size_t size, bool plain) {
    size_t n = 0, want = test_random_below(test_random_below(4) ? 40 : size);
    if (test_random_below(5) == 0) return (agt_text){0};
    while (n < want) {
        const char *p = pieces[test_random_below(plain ? PIECES_PLAIN : AGT_COUNT(pieces))];
        size_t len = strlen(p);
        if (n + len > size) break;
        memcpy(room + n, p, len);
        n += len;
        if (!plain && test_random_below(200) == 0 && n < size) room[n++] = 0;
    }
    return (agt_text){room, n};
}

static uint64_t random_number(void) {
    static const uint64_t edges[] = {0, 1, 9, 10, UINT32_MAX, INT64_MAX, UINT64_MAX};
    return test_random_below(3) ? test_random() >> test_random_below(64)
                                : edges[test_random_below(AGT_COUNT(edges))];
}

static agt_event random_event(char room[][600]) {
    static const char *const prevs[] = {
        PREV, "0000000000000000000000000000000000000000000000000000000000000000",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"};
    agt_event e = AGT_EVENT_INIT;
    bool plain = test_random_below(3) == 0;
    for (size_t i = 0; i < AGT_COUNT(text_members); i++)
        *text_of(&e, i) = random_text(room[i], 600, plain);
    if (!e.actor.data) e.actor = text("user");
    if (!e.action.data) e.action = text("");
    e.prev = text(prevs[test_random_below(3)]);
    e.seq = random_number();
    if (!e.seq) e.seq = 1;
    e.doc_prev = random_number();
    e.version = (uint32_t)random_number();
    e.lines_added = (int64_t)random_number();
    e.lines_removed = (int64_t)random_number();
    e.at_unix_ms = (int64_t)test_random_below(AGT_TIME_MAX + 1);
    e.recorded_unix_ms =
        test_random_below(2) ? e.at_unix_ms : (int64_t)test_random_below(AGT_TIME_MAX + 1);
    return e;
}

/* ---- writing ---- */

TEST(event, an_event_is_written_as_the_format_says) {
    struct codec *c = new_codec();
    agt_event e = golden_event();
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    CHECK_BYTES(c->line.data, c->line.len, golden, sizeof golden - 1);
    CHECK_OK(read_text(c, golden), c->err);
    CHECK(!difference(&e, &c->e));
    free_codec(c);
}

TEST(event, a_line_is_appended_behind_what_stands_in_the_buffer) {
    struct codec *c = new_codec();
    agt_event e = golden_event();
    agt__buf_text(&c->line, "before");
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    CHECK_INT(c->line.len, 6 + 2 * (sizeof golden - 1));
    CHECK_BYTES(c->line.data, 6, "before", 6);
    CHECK_BYTES(c->line.data + 6, sizeof golden - 1, golden, sizeof golden - 1);
    CHECK_BYTES(c->line.data + 5 + sizeof golden, sizeof golden - 1, golden, sizeof golden - 1);
    free_codec(c);
}

TEST(event, recorded_at_and_rejected_stand_only_where_they_are_needed) {
    struct codec *c = new_codec();
    agt_event e = golden_event();
    e.recorded_unix_ms = GOLDEN_MS + 1;
    e.rejected = text(PREV);
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    static const char tail[] =
        ",\"recorded_at\":\"2031-02-03T05:07:00.124Z\",\"rejected\":\"" PREV "\"}\n";
    size_t n = sizeof golden - 3;
    CHECK_BYTES(c->line.data, n, golden, n);
    CHECK_BYTES(c->line.data + n, c->line.len - n, tail, sizeof tail - 1);
    CHECK_OK(read_both(c, (const char *)c->line.data, c->line.len), c->err);
    CHECK(!difference(&e, &c->e));
    free_codec(c);
}

TEST(event, texts_that_are_absent_are_null_and_empty_ones_are_empty) {
    struct codec *c = new_codec();
    agt_event e = AGT_EVENT_INIT;
    e.seq = 1;
    e.actor = text("user");
    e.action = text("");
    e.prev = text(PREV);
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    static const char want[] =
        "{\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"session_id\":null,\"agent_name\":null,"
        "\"actor\":\"user\",\"action\":\"\",\"change_kind\":null,\"path\":null,\"doc_type\":null,"
        "\"summary\":null,\"source\":null,\"detected_by\":null,\"lines_added\":0,"
        "\"lines_removed\":0,\"seq\":1,\"replica\":null,\"version\":0,\"blob\":null,\"doc\":null,"
        "\"doc_prev\":0,\"prev\":\"" PREV "\"}\n";
    CHECK_BYTES(c->line.data, c->line.len, want, sizeof want - 1);
    CHECK_OK(read_text(c, want), c->err);
    CHECK(!difference(&e, &c->e));
    free_codec(c);
}

TEST(event, every_byte_below_a_blank_is_escaped_in_its_one_way) {
    static const char *const want[32] = {
        [8] = "\\b", [9] = "\\t", [10] = "\\n", [12] = "\\f", [13] = "\\r"};
    struct codec *c = new_codec();
    for (int b = 0; b < 128; b++) {
        agt_event e = golden_event();
        char one = (char)b, esc[8];
        snprintf(esc, sizeof esc, "\\u00%02x", (unsigned)b);
        if (b < 32 && want[b]) snprintf(esc, sizeof esc, "%s", want[b]);
        if (b >= 32) snprintf(esc, sizeof esc, b == '"' || b == '\\' ? "\\%c" : "%c", b);
        e.summary = (agt_text){&one, 1};
        c->line.len = 0;
        CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
        agt__buf_byte(&c->line, 0);
        const char *at = strstr((const char *)c->line.data, "\"summary\":\"") + 11;
        CHECK_BYTES(at, strlen(esc), esc, strlen(esc));
        CHECK_BYTES(at + strlen(esc), 2, "\",", 2);
        CHECK_OK(read_both(c, (const char *)c->line.data, c->line.len - 1), c->err);
        CHECK(!difference(&e, &c->e));
    }
    free_codec(c);
}

TEST(event, bytes_that_are_no_utf_8_are_written_as_the_replacement_character) {
    struct codec *c = new_codec();
    agt_event e = golden_event();
    e.summary = text("a\xff\xc3z");
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    CHECK_OK(read_both(c, (const char *)c->line.data, c->line.len), c->err);
    CHECK_BYTES(c->e.summary.data, c->e.summary.len, "a\xef\xbf\xbd\xef\xbf\xbdz", 8);
    free_codec(c);
}

TEST(event, times_outside_the_calendar_are_written_as_its_first_or_last) {
    struct codec *c = new_codec();
    agt_event e = golden_event();
    e.at_unix_ms = -5;
    e.recorded_unix_ms = 0;
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    agt__buf_byte(&c->line, 0);
    CHECK(!strstr((const char *)c->line.data, "recorded_at"));
    CHECK_OK(read_both(c, (const char *)c->line.data, c->line.len - 1), c->err);
    CHECK_INT(c->e.at_unix_ms, 0);
    c->line.len = 0;
    e.at_unix_ms = INT64_MAX;
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    CHECK_OK(read_both(c, (const char *)c->line.data, c->line.len), c->err);
    CHECK_INT(c->e.at_unix_ms, AGT_TIME_MAX);
    CHECK_INT(c->e.recorded_unix_ms, 0);
    free_codec(c);
}

TEST(event, random_events_come_back_as_they_were_and_give_the_same_bytes_again) {
    static char room[AGT_COUNT(text_members)][600];
    struct codec *c = new_codec();
    agt_buf again = agt__buf(&c->mem);
    uint64_t escaped = 0, plain = 0;
    for (int i = 0; i < (test_all() ? 200000 : 10000); i++) {
        agt_event e = random_event(room);
        c->line.len = again.len = 0;
        CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
        CHECK(memchr(c->line.data, '\n', c->line.len) == c->line.data + c->line.len - 1);
        CHECK_OK(read_both(c, (const char *)c->line.data, c->line.len), c->err);
        const char *d = difference(&e, &c->e);
        if (d) test_fail(__FILE__, __LINE__, "%s differs", d);
        if (c->scratch.len)
            escaped++;
        else
            plain++;
        CHECK_OK(agt__event_format(&again, &c->e, &c->err), c->err);
        CHECK_BYTES(again.data, again.len, c->line.data, c->line.len);
    }
    test_saw("events with escapes", escaped);
    test_saw("events without", plain);
    CHECK(escaped > 1000 && plain > 1000);
    agt__buf_free(&again);
    free_codec(c);
}

/* ---- limits ---- */

static void check_limit(char fill, size_t bytes_each) {
    static char big[AGT_MAX_EVENT], path[64];
    struct codec *c = new_codec();
    agt_event e = golden_event();
    memset(big, fill, sizeof big);
    memset(path, 'p', sizeof path);
    e.path.data = path;
    e.summary.len = 0;
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    size_t left = AGT_MAX_EVENT - c->line.len;
    e.path.len += left % bytes_each; /* fills what the escapes leave over */
    e.summary = (agt_text){big, left / bytes_each};
    c->line.len = 0;
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    CHECK_INT(c->line.len, AGT_MAX_EVENT);
    CHECK_OK(read_both(c, (const char *)c->line.data, c->line.len), c->err);
    CHECK_INT(c->e.summary.len, fill == '\xff' ? e.summary.len * 3 : e.summary.len);

    e.path.len++;
    agt__buf_byte(&c->line, 'x');
    CHECK_STATUS(agt__event_format(&c->line, &e, &c->err), AGT_LIMIT, c->err);
    CHECK_INT(c->line.len, AGT_MAX_EVENT + 1); /* what was there stays */
    CHECK(!c->line.failed);
    free_codec(c);
}

TEST(event, a_line_of_the_greatest_length_is_written_and_read_and_one_byte_more_is_refused) {
    check_limit('x', 1);
    check_limit('"', 2);
    check_limit('\x01', 6);
    check_limit('\xff', 3);
}

TEST(event, a_text_longer_than_any_line_is_refused_without_asking_for_memory) {
    machine_memory memory;
    agt_mem mem = agt__mem(machine_memory_init(&memory));
    agt_buf line = agt__buf(&mem);
    agt_event e = golden_event();
    agt_error err;
    e.summary = (agt_text){golden, SIZE_MAX};
    CHECK_STATUS(agt__event_format(&line, &e, &err), AGT_LIMIT, err);
    e.path = (agt_text){golden, SIZE_MAX};
    CHECK_STATUS(agt__event_format(&line, &e, &err), AGT_LIMIT, err);
    CHECK_INT(memory.calls, 0);
}

TEST(event, a_line_one_byte_too_long_is_refused_when_read) {
    struct codec *c = new_codec();
    size_t n = AGT_MAX_EVENT + 1;
    char *line = malloc(n);
    memset(line, ' ', n);
    memcpy(line, golden, sizeof golden - 3);
    line[n - 2] = '}';
    line[n - 1] = '\n';
    CHECK_STATUS(read_line(c, line, n), AGT_CORRUPT, c->err);
    CHECK_INT(c->err.offset, AGT_MAX_EVENT);
    line[n - 3] = '}';
    line[n - 2] = '\n';
    CHECK_OK(read_line(c, line, n - 1), c->err);
    free(line);
    free_codec(c);
}

/* ---- reading ---- */

TEST(event, fields_are_taken_in_any_order_and_with_blanks) {
    struct codec *c = new_codec();
    agt_text m[MEMBERS];
    agt_event e = golden_event();
    e.recorded_unix_ms++;
    e.rejected = text(PREV);
    e.summary = text("a \"quote\", {a brace} and \\");
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    agt__buf_byte(&c->line, 0);
    agt_buf mixed = agt__buf(&c->mem);
    size_t n = split((const char *)c->line.data, m, MEMBERS);
    CHECK_INT(n, MEMBERS);
    for (int round = 0; round < 2000; round++) {
        for (size_t i = n - 1; i > 0; i--) {
            size_t j = test_random_below(i + 1);
            agt_text t = m[i];
            m[i] = m[j];
            m[j] = t;
        }
        join(&mixed, m, n, round % 2);
        CHECK_OK(read_both(c, (const char *)mixed.data, mixed.len), c->err);
        const char *d = difference(&e, &c->e);
        if (d) test_fail(__FILE__, __LINE__, "%s differs", d);
    }
    agt__buf_free(&mixed);
    free_codec(c);
}

TEST(event, unknown_fields_are_skipped_wherever_they_stand) {
    static const char *const unknown[] = {
        "\"x\":1",
        "\"seqs\":5",
        "\"\":null",
        "\"SEQ\":6",
        "\"nested\":{\"a\":0,\"seq\":7,\"prev\":1}",
        "\"list\":[{\"a\":0,\"seq\":8},[],\"]\"]",
        "\"se\\\"q\":9",
        "\"float\":-1.5e300",
        "\"text\":\"\\ud83d\\udd12,\\\"seq\\\":3\"",
        "\"a_name_that_is_much_longer_than_that_of_any_field_and_its_escapes_too\":[[[[]]]]",
    };
    struct codec *c = new_codec();
    agt_text m[MEMBERS + 1];
    agt_event e = golden_event();
    agt_buf line = agt__buf(&c->mem);
    int saw = 0;
    for (size_t u = 0; u < AGT_COUNT(unknown); u++)
        for (size_t at = 0;; at++) {
            size_t n = split(golden, m, MEMBERS);
            if (at > n) break;
            memmove(m + at + 1, m + at, (n - at) * sizeof *m);
            m[at] = text(unknown[u]);
            join(&line, m, n + 1, false);
            CHECK_OK(read_both(c, (const char *)line.data, line.len), c->err);
            CHECK(!difference(&e, &c->e));
            saw++;
        }
    CHECK_INT(saw, 10 * 21);
    agt__buf_free(&line);
    free_codec(c);
}

TEST(event, what_is_required_must_be_there_and_the_rest_may_be_missing) {
    static const char *const required[] = {"timestamp", "actor", "action", "seq", "prev"};
    static const char *const others[] = {
        "session_id", "agent_name", "change_kind", "path",        "doc_type",
        "summary",    "source",     "detected_by", "lines_added", "lines_removed",
        "replica",    "version",    "blob",        "doc",         "doc_prev"};
    struct codec *c = new_codec();
    for (size_t i = 0; i < AGT_COUNT(required); i++) {
        CHECK_STATUS(read_text(c, with(c, required[i], NULL)), AGT_CORRUPT, c->err);
        CHECK(strstr(c->err.message, required[i]));
        CHECK_STATUS(read_text(c, with(c, required[i], "null")), AGT_CORRUPT, c->err);
    }
    for (size_t i = 0; i < AGT_COUNT(others); i++) {
        CHECK_OK(read_text(c, with(c, others[i], NULL)), c->err);
        CHECK_INT(c->e.seq, 17);
    }
    CHECK_STATUS(read_text(c, with(c, "seq", "0")), AGT_CORRUPT, c->err);
    CHECK_STATUS(read_text(c, "{}\n"), AGT_CORRUPT, c->err);
    free_codec(c);
}

TEST(event, prev_must_be_64_digits_in_lower_case) {
    static const char *const bad[] = {
        "\"\"",
        "\"0123\"",
        "\"" PREV "0\"",
        "\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"",
        "\"g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
        "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\"",
        "0"};
    struct codec *c = new_codec();
    for (size_t i = 0; i < AGT_COUNT(bad); i++)
        CHECK_STATUS(read_text(c, with(c, "prev", bad[i])), AGT_CORRUPT, c->err);
    free_codec(c);
}

TEST(event, a_field_that_stands_twice_is_refused) {
    struct codec *c = new_codec();
    agt_text m[MEMBERS + 1];
    agt_buf line = agt__buf(&c->mem);
    size_t n = split(golden, m, MEMBERS);
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at <= n; at++) {
            split(golden, m, MEMBERS);
            agt_text again = m[i];
            memmove(m + at + 1, m + at, (n - at) * sizeof *m);
            m[at] = again;
            join(&line, m, n + 1, false);
            CHECK_STATUS(read_both(c, (const char *)line.data, line.len), AGT_CORRUPT, c->err);
            CHECK(strstr(c->err.message, "twice") && c->err.offset > 0);
        }
    /* a name with escapes is the same name */
    join(&line, m, split(golden, m, MEMBERS), false);
    line.len -= 2;
    agt__buf_text(&line, ",\"\\u0073\\u0065q\":18}\n");
    CHECK_STATUS(read_both(c, (const char *)line.data, line.len), AGT_CORRUPT, c->err);
    agt__buf_free(&line);
    free_codec(c);
}

TEST(event, names_and_values_may_be_escaped_in_any_way) {
    struct codec *c = new_codec();
    agt_event e = golden_event();
    const char *line = with(c, "seq", NULL);
    agt_buf b = agt__buf(&c->mem);
    agt__buf_put(&b, line, strlen(line) - 2);
    agt__buf_text(&b, ",\"\\u0073\\u0065\\u0071\":17}\n");
    CHECK_OK(read_both(c, (const char *)b.data, b.len), c->err);
    CHECK(!difference(&e, &c->e));
    CHECK_OK(read_text(c, with(c, "path", "\"\\u0072oadmap\\u002emd\"")), c->err);
    CHECK(!difference(&e, &c->e));
    CHECK_OK(read_text(c, with(c, "summary", "\"\\ud83d\\udd12\\/\\u00e9\\u0000\"")), c->err);
    CHECK_BYTES(c->e.summary.data, c->e.summary.len, "\xf0\x9f\x94\x92/\xc3\xa9\0", 8);
    agt__buf_free(&b);
    free_codec(c);
}

TEST(event, a_line_cut_at_any_byte_is_refused_with_and_without_a_newline) {
    struct codec *c = new_codec();
    agt_event e = golden_event();
    e.summary = text("\xc3\xa9 \"\x01 \xf0\x9f\x94\x92");
    e.recorded_unix_ms++;
    e.rejected = text(PREV);
    CHECK_OK(agt__event_format(&c->line, &e, &c->err), c->err);
    for (size_t n = 0; n < c->line.len; n++) {
        char *cut = malloc(n + 1); /* of that size, so that a sanitizer sees a read behind it */
        memcpy(cut, c->line.data, n);
        CHECK_STATUS(read_line(c, cut, n), AGT_CORRUPT, c->err);
        cut[n] = '\n';
        if (n < c->line.len - 1) CHECK_STATUS(read_both(c, cut, n + 1), AGT_CORRUPT, c->err);
        CHECK(c->err.offset >= 0 && c->err.offset <= (int64_t)n + 1);
        free(cut);
    }
    free_codec(c);
}

/* What is believed after one byte changed must at least be an event that can be written again. */
TEST(event, a_line_with_one_byte_changed_is_refused_or_read_the_same_by_both_readers) {
    struct codec *c = new_codec();
    agt_buf line = agt__buf(&c->mem), again = agt__buf(&c->mem);
    uint64_t refused = 0, taken = 0;
    agt_event e = golden_event();
    e.summary = text("\xc3\xa9 \"\x01 \xf0\x9f\x94\x92");
    CHECK_OK(agt__event_format(&line, &e, &c->err), c->err);
    for (size_t at = 0; at < line.len; at++)
        for (unsigned x = 1; x < 256; x = test_all() ? x + 1 : x * 2) {
            line.data[at] ^= (unsigned char)x;
            agt_status st = read_both(c, (const char *)line.data, line.len);
            again.len = 0;
            if (st == AGT_OK) CHECK_OK(agt__event_format(&again, &c->e, &c->err), c->err);
            line.data[at] ^= (unsigned char)x;
            if (st == AGT_OK)
                taken++;
            else
                refused++;
        }
    test_saw("changed lines refused", refused);
    test_saw("changed lines read", taken);
    CHECK(refused > 1000 && taken > 100);
    agt__buf_free(&line);
    agt__buf_free(&again);
    free_codec(c);
}

TEST(event, numbers_are_taken_up_to_their_limits_and_no_further) {
    static const struct {
        const char *name, *value;
        bool good;
    } cases[] = {
        {"seq", "18446744073709551615", true},
        {"seq", "18446744073709551616", false},
        {"seq", "184467440737095516150", false},
        {"seq", "1", true},
        {"seq", "-1", false},
        {"seq", "1.0", false},
        {"seq", "1e2", false},
        {"seq", "01", false},
        {"seq", "+1", false},
        {"seq", "\"17\"", false},
        {"seq", "true", false},
        {"seq", "[17]", false},
        {"seq", "", false},
        {"doc_prev", "18446744073709551615", true},
        {"doc_prev", "18446744073709551616", false},
        {"doc_prev", "-0", false},
        {"doc_prev", "null", false},
        {"version", "4294967295", true},
        {"version", "4294967296", false},
        {"version", "-", false},
        {"lines_added", "9223372036854775807", true},
        {"lines_added", "9223372036854775808", false},
        {"lines_added", "-9223372036854775808", true},
        {"lines_added", "-9223372036854775809", false},
        {"lines_removed", "-0", true},
        {"lines_removed", "-01", false},
        {"lines_removed", "--1", false},
        {"lines_removed", "1-1", false},
        {"lines_removed", "{}", false},
        {"path", "1", false},
        {"path", "[]", false},
        {"path", "nul", false},
        {"path", "nulll", false},
    };
    struct codec *c = new_codec();
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        agt_status st = read_text(c, with(c, cases[i].name, cases[i].value));
        if ((st == AGT_OK) != cases[i].good)
            test_fail(__FILE__, __LINE__, "%s %s is %s", cases[i].name, cases[i].value,
                      agt_status_name(st));
        if (st != AGT_OK) CHECK_INT(st, AGT_CORRUPT);
    }
    CHECK_OK(read_text(c, with(c, "seq", "18446744073709551615")), c->err);
    CHECK(c->e.seq == UINT64_MAX);
    CHECK_OK(read_text(c, with(c, "lines_added", "-9223372036854775808")), c->err);
    CHECK(c->e.lines_added == INT64_MIN);
    free_codec(c);
}

TEST(event, times_may_have_any_offset_and_up_to_nine_digits_of_fraction) {
    static const char *const bad[] = {"\"\"",
                                      "\"2031-02-30T05:07:00Z\"",
                                      "\"2031-02-03 05:07:00\"",
                                      "\"1969-12-31T23:59:59Z\"",
                                      "\"2031-02-03T05:07:00.123Z \"",
                                      "1927861620123"};
    struct codec *c = new_codec();
    CHECK_OK(read_text(c, with(c, "timestamp", "\"2031-02-03T05:07:00.123000000+00:00\"")), c->err);
    CHECK_INT(c->e.at_unix_ms, GOLDEN_MS);
    CHECK_INT(c->e.recorded_unix_ms, GOLDEN_MS);
    CHECK_OK(read_text(c, with(c, "recorded_at", "\"2031-02-03T07:07:00.124+02:00\"")), c->err);
    CHECK_INT(c->e.at_unix_ms, GOLDEN_MS);
    CHECK_INT(c->e.recorded_unix_ms, GOLDEN_MS + 1);
    for (size_t i = 0; i < AGT_COUNT(bad); i++) {
        CHECK_STATUS(read_text(c, with(c, "timestamp", bad[i])), AGT_CORRUPT, c->err);
        CHECK_STATUS(read_text(c, with(c, "recorded_at", bad[i])), AGT_CORRUPT, c->err);
    }
    free_codec(c);
}

TEST(event, text_that_is_no_utf_8_is_refused_in_every_field) {
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xe0\x80\xaf",
                                      "\xe2\x82",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x80\x80\xaf",
                                      "\xf0\x9f\x94",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "\\ud800",
                                      "\\udc00",
                                      "\\ud800\\ud800",
                                      "\\uD83D",
                                      "\\u12g4",
                                      "\\x41",
                                      "\x01",
                                      "\x1f",
                                      "\\",
                                      "\t"};
    static const char *const names[] = {"path", "summary", "actor", "unknown", "session_id"};
    struct codec *c = new_codec();
    int saw = 0;
    for (size_t i = 0; i < AGT_COUNT(bad); i++)
        for (size_t n = 0; n < AGT_COUNT(names); n++)
            for (int place = 0; place < 3; place++) {
                char value[40];
                snprintf(value, sizeof value, "\"%s%s%s\"", place ? "abcdefgh" : "", bad[i],
                         place == 2 ? "" : "hgfe");
                CHECK_STATUS(read_text(c, with(c, names[n], value)), AGT_CORRUPT, c->err);
                saw++;
            }
    CHECK_INT(saw, 25 * 5 * 3);
    free_codec(c);
}

TEST(event, what_is_no_single_object_on_one_line_is_refused) {
    static const char *const bad[] = {"\n",   " \n",     "null\n", "[]\n",
                                      "17\n", "\"a\"\n", "{\n",    "}\n"};
    struct codec *c = new_codec();
    char line[2 * sizeof golden];
    for (size_t i = 0; i < AGT_COUNT(bad); i++)
        CHECK_STATUS(read_text(c, bad[i]), AGT_CORRUPT, c->err);
    CHECK_STATUS(read_line(c, "", 0), AGT_CORRUPT, c->err);
    /* a newline that JSON would allow */
    snprintf(line, sizeof line, "{\n%s", golden + 1);
    CHECK_STATUS(read_line(c, line, strlen(line)), AGT_CORRUPT, c->err);
    CHECK_INT(c->err.offset, 1);
    snprintf(line, sizeof line, "%s\n", golden);
    CHECK_STATUS(read_line(c, line, strlen(line)), AGT_CORRUPT, c->err);
    /* two in one */
    snprintf(line, sizeof line, "%.*s%s", (int)sizeof golden - 2, golden, golden);
    CHECK_STATUS(read_text(c, line), AGT_CORRUPT, c->err);
    /* a NUL before, inside and behind */
    for (size_t at = 0; at < sizeof golden - 1; at++) {
        memcpy(line, golden, at);
        line[at] = 0;
        memcpy(line + at + 1, golden + at, sizeof golden - 1 - at);
        CHECK_STATUS(read_both(c, line, sizeof golden), AGT_CORRUPT, c->err);
    }
    free_codec(c);
}

TEST(event, the_seq_alone_is_found_without_reading_the_rest) {
    uint64_t seq = 0;
    static const char *const none[] = {"\n",
                                       "{}\n",
                                       "{\"a\":0,\"seq\":0}\n",
                                       "{\"seq\":0}\n",
                                       "{\"a\":0,\"seq\":-1}\n",
                                       "{\"a\":0,\"seq\":018}\n",
                                       "{\"a\":0,\"seq\":18446744073709551616}\n",
                                       "{\"a\":0,\"seq\":1.5}\n",
                                       "{\"a\":0,\"seq\":\"5\"}\n",
                                       "{\"a\":0,\"seq\":5",
                                       "{\"a\":0,\"seq\":",
                                       "{\"a\":0,\"seq\"",
                                       "{\"x\":{\"a\":0,\"seq\":5}}\n",
                                       "{\"a\":\",\\\"seq\\\":5,\"}\n",
                                       "[{\"a\":0,\"seq\":5}]\n",
                                       ",,,,,,,,,,,,,,,,,,,,\n"};
    for (size_t i = 0; i < AGT_COUNT(none); i++)
        if (agt__event_seq(none[i], strlen(none[i]), &seq))
            test_fail(__FILE__, __LINE__, "a seq was found in %s", none[i]);
    CHECK(!agt__event_seq("", 0, &seq));
    /* damage elsewhere does not hide it */
    static const char damaged[] = "{\"actor\":oops\x01\xff,\"seq\":4711,\"prev\"???\n";
    CHECK(agt__event_seq(damaged, sizeof damaged - 1, &seq));
    CHECK_INT(seq, 4711);
    static const char first[] = "{\"seq\":12}\n";
    static const char max[] = "{\"a\":{},\"seq\":18446744073709551615}\n";
    CHECK(agt__event_seq(first, sizeof first - 1, &seq));
    CHECK_INT(seq, 12);
    CHECK(agt__event_seq(max, sizeof max - 1, &seq));
    CHECK(seq == UINT64_MAX);
}

/* ---- memory ---- */

TEST(event, running_out_of_memory_is_said_and_changes_nothing) {
    static char quotes[3000];
    machine_memory memory;
    agt_mem mem = agt__mem(machine_memory_init(&memory));
    agt_event e = golden_event(), read;
    agt_error err;
    uint64_t failures = 0;
    memset(quotes, '"', sizeof quotes);
    e.summary = (agt_text){quotes, sizeof quotes}; /* needs more room than was guessed */
    for (uint64_t at = 1;; at++) {
        agt_buf line = agt__buf(&mem), scratch = agt__buf(&mem);
        agt__buf_text(&line, "before");
        machine_memory_fail_at(&memory, at, false);
        agt_status st = agt__event_format(&line, &e, &err);
        if (st != AGT_OK) {
            CHECK_STATUS(st, AGT_NOMEM, err);
            CHECK_INT(line.len, 6);
            CHECK(line.failed);
            line.failed = false;
            CHECK_OK(agt__event_format(&line, &e, &err), err);
        }
        bool reading = memory.failed == 0;
        st = agt__event_parse((const char *)line.data + 6, line.len - 6, &scratch, &read, &err);
        if (st != AGT_OK) {
            CHECK(reading);
            CHECK_STATUS(st, AGT_NOMEM, err);
            CHECK(!read.actor.data && !scratch.failed);
            st = agt__event_parse((const char *)line.data + 6, line.len - 6, &scratch, &read, &err);
            CHECK_OK(st, err);
        }
        CHECK(!difference(&e, &read));
        failures += memory.failed;
        bool last = memory.failed == 0;
        agt__buf_free(&line);
        agt__buf_free(&scratch);
        CHECK_INT(memory.live_blocks, 0);
        if (last) break;
    }
    CHECK(failures >= 3);
}
