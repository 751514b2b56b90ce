/* TOML: what config files hold, what is refused, and round trips of strings. */
#include "../src/data/data.h"
#include "test.h"

/* Writes everything that was told as lines "table|key|kind|value". */
typedef struct told {
    char text[8000];
    size_t len, calls, stop_at;
} told;

static agt_status tell(agt_text table, agt_text key, const agt_toml_value *v, agt_error *err,
                       void *ctx) {
    told *t = ctx;
    if (++t->calls == t->stop_at) return agt__fail(err, AGT_DENIED, "enough");
    int n = snprintf(t->text + t->len, sizeof t->text - t->len, "%.*s|%.*s|", (int)table.len,
                     table.data, (int)key.len, key.data);
    t->len += (size_t)n;
    char *out = t->text + t->len;
    size_t room = sizeof t->text - t->len;
    switch (v->kind) {
    case AGT_TOML_STRING:
        n = snprintf(out, room, "s|%.*s\n", (int)v->text.len, v->text.data);
        break;
    case AGT_TOML_INTEGER: n = snprintf(out, room, "i|%" PRId64 "\n", v->integer); break;
    case AGT_TOML_BOOLEAN: n = snprintf(out, room, "b|%d\n", v->boolean); break;
    case AGT_TOML_OTHER: n = snprintf(out, room, "o|%.*s\n", (int)v->text.len, v->text.data); break;
    }
    t->len += (size_t)n;
    return AGT_OK;
}

static agt_status read_toml(const char *s, size_t n, told *t, agt_error *err) {
    char *exact = malloc(n ? n : 1); /* so that a read past the end is seen */
    if (n) memcpy(exact, s, n);
    memset(t, 0, offsetof(told, stop_at));
    t->text[0] = 0;
    agt_status status = agt__toml_read(exact, n, tell, t, err);
    free(exact);
    return status;
}

static const char sample[] = "\xef\xbb\xbf# a comment\r\n"
                             "top = 1\n"
                             "\n"
                             "  [ store ]  # about us\n"
                             "id = \"3f0d6f2e-8a41\"\r\n"
                             "name\t=\t'C:\\harbor'   # literal\n"
                             "\"quoted key\" = \"tab\\tquote\\\" e\\u00e9 \\U0001F332\"\n"
                             "synthesis.model = \"\"\n"
                             "empty = ''\n"
                             "[polling]\n"
                             "enabled = true\n"
                             "off=false\n"
                             "interval_ms = 1_000\n"
                             "neg = -17\n"
                             "hex = 0xDEAD_beef\n"
                             "oct = 0o755\n"
                             "bin = 0b1010\n"
                             "zero = -0\n"
                             "least = -9223372036854775808\n"
                             "temperature = 0.3\n"
                             "big = 6.02e+2_3\n"
                             "infinite = -inf\n"
                             "when = 2031-02-03 04:05:06.789Z\n"
                             "day = 2031-02-03 # a day\n"
                             "hour = 07:32:00\n"
                             "tags = [ \"a]\", 'b', # one\n"
                             "   [1,2], {x = \"}\"} ]\n"
                             "point = { x = 1, y = { z = [2] } }\n"
                             "long = \"\"\"two \"\"lines\\\"\n"
                             "# no comment\"\"\"\"\n"
                             "raw = '''a\\'''\n"
                             "[[document]]\n"
                             "path = \"plan.md\"\n"
                             "[[ document ]]\n"
                             "path = \"log.md\"\n"
                             "[a . 'b' . c]\n"
                             "d . e = 2";

static const char sample_told[] = "|top|i|1\n"
                                  "store|id|s|3f0d6f2e-8a41\n"
                                  "store|name|s|C:\\harbor\n"
                                  "store|quoted key|s|tab\tquote\" e\xc3\xa9 \xf0\x9f\x8c\xb2\n"
                                  "store.synthesis|model|s|\n"
                                  "store|empty|s|\n"
                                  "polling|enabled|b|1\n"
                                  "polling|off|b|0\n"
                                  "polling|interval_ms|i|1000\n"
                                  "polling|neg|i|-17\n"
                                  "polling|hex|i|3735928559\n"
                                  "polling|oct|i|493\n"
                                  "polling|bin|i|10\n"
                                  "polling|zero|i|0\n"
                                  "polling|least|i|-9223372036854775808\n"
                                  "polling|temperature|o|0.3\n"
                                  "polling|big|o|6.02e+2_3\n"
                                  "polling|infinite|o|-inf\n"
                                  "polling|when|o|2031-02-03 04:05:06.789Z\n"
                                  "polling|day|o|2031-02-03\n"
                                  "polling|hour|o|07:32:00\n"
                                  "polling|tags|o|[ \"a]\", 'b', # one\n"
                                  "   [1,2], {x = \"}\"} ]\n"
                                  "polling|point|o|{ x = 1, y = { z = [2] } }\n"
                                  "polling|long|o|\"\"\"two \"\"lines\\\"\n"
                                  "# no comment\"\"\"\"\n"
                                  "polling|raw|o|'''a\\'''\n"
                                  "document||o|[[document]]\n"
                                  "document|path|s|plan.md\n"
                                  "document||o|[[ document ]]\n"
                                  "document|path|s|log.md\n"
                                  "a.b.c.d|e|i|2\n";

TEST(toml, every_kind_of_line_is_told_with_its_table) {
    told t = {.stop_at = 0};
    agt_error err;
    CHECK_OK(read_toml(sample, sizeof sample - 1, &t, &err), err);
    CHECK_STR(t.text, sample_told);
    CHECK_OK(read_toml("", 0, &t, &err), err);
    CHECK_OK(read_toml("\n\r\n # x\n[t]", 11, &t, &err), err);
    CHECK_INT(t.calls, 0);
}

TEST(toml, an_answer_of_the_callback_stops_the_reading_and_gets_the_place) {
    told t = {.stop_at = 3};
    agt_error err;
    CHECK_STATUS(read_toml(sample, sizeof sample - 1, &t, &err), AGT_DENIED, err);
    CHECK_INT(t.calls, 3);
    CHECK_STR(err.message, "enough");
    CHECK(memcmp(sample + err.offset, "name\t=", 6) == 0);
    CHECK_INT(agt__toml_read(sample, sizeof sample - 1, tell, &t, NULL), AGT_OK);
}

TEST(toml, what_is_no_toml_is_refused_at_its_byte) {
    static const struct {
        const char *text;
        int64_t offset;
    } bad[] = {
        {"a", 1},
        {"a =", 3},
        {"a = \n", 4},
        {"= 1", 0},
        {"a b = 1", 2},
        {"a. = 1", 3},
        {".a = 1", 0},
        {"\"\" = 1", 0},
        {"a = 1 2", 4},
        {"a = 1 b = 2", 4},
        {"a = 1; b", 5},
        {"a = hello", 4},
        {"a = ture", 4},
        {"a = True", 4},
        {"a = \"x\" y", 8},
        {"a = \"x", 4},
        {"a = 'x\n'", 4},
        {"a = \"x\r\"", 4},
        {"a = \"\x01\"", 5},
        {"a = \"\\x41\"", 5},
        {"a = \"\\u12\"", 5},
        {"a = \"\\ud800\"", 5},
        {"a = \"\\U00110000\"", 5},
        {"a = \"\\", 5},
        {"a = 01", 4},
        {"a = +", 4},
        {"a = 1__0", 4},
        {"a = _1", 4},
        {"a = 1_", 4},
        {"a = 0x", 4},
        {"a = 0xg", 4},
        {"a = +0x1", 4},
        {"a = 0b2", 4},
        {"a = 9223372036854775808", 4},
        {"a = -9223372036854775809", 4},
        {"a = 0xffffffffffffffffff", 4},
        {"a = 1.", 4},
        {"a = .5", 4},
        {"a = 1e", 4},
        {"a = 00.5", 4},
        {"a = 2031-2-3", 4},
        {"a = [1", 4},
        {"a = [1}", 6},
        {"a = {x = 1]", 10},
        {"a = {x = 1\n}", 4},
        {"a = [\"x]", 5},
        {"a = \"\"\"x", 4},
        {"a = '''x''", 4},
        {"a = \"\"\"\x01\"\"\"", 7},
        {"[a", 2},
        {"[]", 1},
        {"[a] x", 4},
        {"[[a]", 3},
        {"[a]]", 3},
        {"[a.]", 3},
        {"[a b]", 3},
        {"# \x01", 2},
        {"a = 1 # \x7f", 8},
        {"a = 1\rb = 2", 5},
        {"a = \"\xff\"", 5},
        {"\x80 = 1", 0},
    };
    for (size_t i = 0; i < AGT_COUNT(bad); i++) {
        told t = {.stop_at = 0};
        agt_error err;
        agt_status status = read_toml(bad[i].text, strlen(bad[i].text), &t, &err);
        if (status != AGT_INVALID || err.offset != bad[i].offset)
            test_fail(__FILE__, __LINE__, "%zu: \"%s\": %s, offset %" PRId64 " %s", i, bad[i].text,
                      agt_status_name(status), status ? err.offset : -1,
                      status ? err.message : t.text);
    }
    CHECK(AGT_COUNT(bad) > 50);
    told t = {.stop_at = 0};
    agt_error err;
    CHECK_STATUS(read_toml("a = 1\nb = 2\nc = x", 17, &t, &err), AGT_INVALID, err);
    CHECK(strstr(err.message, "line 3") != NULL);
}

TEST(toml, limits_are_kept_to_and_refused_one_past_them) {
    static told t;
    static char s[20000];
    agt_error err;
    for (int past = 0; past < 2; past++) {
        agt_status want = past ? AGT_LIMIT : AGT_OK;
        size_t name = 511 - 2 + (size_t)past, n;
        memcpy(s, "[t]\n", 4);
        memset(s + 4, 'k', name);
        memcpy(s + 4 + name, "=1", 3);
        CHECK_STATUS(read_toml(s, 4 + name + 2, &t, &err), want, err);
        memset(s, '[', 200);
        memset(s + 64, ']', 64);
        memcpy(s + 128, "\n", 2);
        memmove(s + 4 + (size_t)past, s, 129);
        memcpy(s, "a = [", 4 + (size_t)past);
        CHECK_STATUS(read_toml(s, 4 + 128 + 2 * (size_t)past, &t, &err), want, err);
        for (size_t lead = 8180; lead < 8200; lead++) { /* one escape at the front or at the end */
            for (int front = 0; front < 2; front++) {
                n = (size_t)sprintf(s, "a = \"%s", front ? "\\n" : "");
                memset(s + n, 'x', lead);
                strcpy(s + n + lead, front ? "\"" : "\\n\"");
                agt_status got = read_toml(s, strlen(s), &t, &err);
                if (lead <= 8188) CHECK_OK(got, err);
                if (lead > 8191) CHECK_STATUS(got, AGT_LIMIT, err);
            }
        }
    }
    memcpy(s, "a = '", 5); /* without escapes there is no limit */
    memset(s + 5, 'x', 15000);
    s[15005] = '\'';
    t.stop_at = 1;
    CHECK_STATUS(read_toml(s, 15006, &t, &err), AGT_DENIED, err);
}

static agt_status keep(agt_text table, agt_text key, const agt_toml_value *v, agt_error *err,
                       void *ctx) {
    agt_buf *b = ctx;
    (void)table;
    (void)err;
    CHECK(v->kind == AGT_TOML_STRING && agt__text_is(key, "k"));
    agt__buf_put(b, v->text.data, v->text.len);
    return AGT_OK;
}

TEST(toml, a_written_string_is_read_back_as_the_same_text) {
    agt_mem m = agt__mem(NULL);
    for (int round = 0; round < 20000; round++) {
        static const uint32_t tops[] = {0x20, 0x60, 0x80, 0x80, 0x800, 0x10000, 0x110000};
        char text[200];
        size_t n = 0, want = (size_t)test_random_below(60);
        while (n < want) {
            uint32_t code = (uint32_t)test_random_below(tops[test_random_below(AGT_COUNT(tops))]);
            n += agt__utf8_put(text + n, code >= 0xd800 && code < 0xe000 ? 0x7f : code);
        }
        agt_buf b = agt__buf(&m), back = agt__buf(&m);
        agt_error err;
        agt__buf_text(&b, "k = ");
        agt__toml_put_string(&b, text, n);
        CHECK_OK(agt__toml_read((char *)b.data, b.len, keep, &back, &err), err);
        CHECK_BYTES(back.data, back.len, text, n);
        agt__buf_free(&b);
        agt__buf_free(&back);
    }
    agt_buf b = agt__buf(&m);
    agt__toml_put_string(&b, "\b\t\n\f\r\"\\\0\x1f\x7f\xff", 11);
    CHECK_BYTES(b.data, b.len, "\"\\b\\t\\n\\f\\r\\\"\\\\\\u0000\\u001f\\u007f\xef\xbf\xbd\"", 37);
    agt__buf_free(&b);
}

TEST(toml, mutated_texts_never_lead_past_the_end) {
    size_t taken = 0, refused = 0;
    told *t = calloc(1, sizeof *t);
    for (int round = 0; round < 60000; round++) {
        static const char alphabet[] = "[]{}\"'\\=.#\n\r_-+0x1ab \tuU\xc3\xa9\x01:eT";
        char s[sizeof sample];
        size_t from = (size_t)test_random_below(sizeof sample - 40), n = sizeof sample - 1 - from;
        if (n > 120 && test_random_below(4)) n = 120;
        memcpy(s, sample + from, n);
        for (uint64_t edits = test_random_below(4); edits; edits--)
            s[test_random_below(n)] = alphabet[test_random_below(sizeof alphabet - 1)];
        agt_error err;
        t->stop_at = 0;
        if (read_toml(s, n, t, &err) == AGT_OK) {
            taken++;
        } else {
            CHECK(err.offset >= 0 && err.offset <= (int64_t)n);
            refused++;
        }
    }
    free(t);
    CHECK(taken > 200 && refused > 5000);
    test_saw("taken", taken);
}
