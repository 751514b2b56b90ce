/* What the program reads by itself: JSON lines, times and numbers. Its commands are tested by
 * tests/cli.sh. */
#include "../cli/times.c"

#include "../cli/json.c"
#include "../cli/text.c"

#include "test.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- JSON ---- */

/* Reads a copy that is exactly as long as the text, so that a sanitizer sees one byte too many. */
static bool reads(const char *s, size_t n, json_error *error) {
    json_value value;
    char *copy = malloc(n ? n : 1);
    memcpy(copy, s, n);
    bool good = json_read(copy, n, &value, error);
    free(copy);
    return good;
}
static bool accepts(const char *s) {
    json_error error = {NULL, 0};
    bool good = reads(s, strlen(s), &error);
    if (!good && !error.why) test_fail(__FILE__, __LINE__, "no reason for %s", s);
    return good;
}
static size_t refused_at(const char *s) {
    json_error error = {NULL, 0};
    return reads(s, strlen(s), &error) ? (size_t)-1 : error.offset;
}

TEST(cli_json, every_kind_of_value_is_accepted) {
    static const char *good[] = {"null",
                                 " true ",
                                 "false",
                                 "0",
                                 "-0",
                                 "-1.5e+10",
                                 "1E5",
                                 "\"\"",
                                 "[]",
                                 "{}",
                                 "[[],{}]",
                                 "{\"a\":[1,2,{\"b\":null}],\"c\":\"\"}",
                                 "\"\\u0000\\ud83d\\ude00\\/\"",
                                 "\r\n\t[ 1 , 2 ]\n"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!accepts(good[i])) test_fail(__FILE__, __LINE__, "refused %s", good[i]);
}

TEST(cli_json, what_is_no_json_is_refused_where_it_goes_wrong) {
    static const struct {
        const char *text;
        size_t at;
    } bad[] = {{"", 0},
               {"  ", 2},
               {"nul", 0},
               {"truex", 4},
               {"01", 0},
               {"-", 0},
               {"1.", 0},
               {"1e", 0},
               {".5", 0},
               {"+1", 0},
               {"\"a", 0},
               {"\"a\n\"", 2},
               {"\"\\x\"", 1},
               {"\"\\u12g4\"", 1},
               {"\"\\ud800\"", 1},
               {"\"\\ud800\\u0041\"", 1},
               {"\"\\udc00\"", 1},
               {"\"\xff\"", 1},
               {"\"\xed\xa0\x80\"", 1},
               {"\"\xc0\x80\"", 1},
               {"[1,]", 3},
               {"[1 2]", 3},
               {"[", 1},
               {"]", 0},
               {"{\"a\"}", 4},
               {"{\"a\":}", 5},
               {"{\"a\":1,}", 7},
               {"{a:1}", 1},
               {"{\"a\":1]", 6},
               {"1 2", 2},
               {"\xef\xbb\xbf{}", 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t at = refused_at(bad[i].text);
        if (at != bad[i].at)
            test_fail(__FILE__, __LINE__, "%s: %zd, wanted %zu", bad[i].text, (ssize_t)at,
                      bad[i].at);
    }
}

TEST(cli_json, the_depth_is_bounded_at_its_limit) {
    char text[2 * JSON_MAX_DEPTH + 4];
    for (size_t depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++) {
        json_error error = {NULL, 0};
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        CHECK_INT(reads(text, 2 * depth, &error), depth == JSON_MAX_DEPTH);
    }
}

TEST(cli_json, every_prefix_of_a_text_is_refused_and_never_read_beyond) {
    const char *text = "{\"a\":[1.5e3,\"\\ud83d\\ude00\xe2\x82\xac\",{\"b\":true}],\"c\":null}";
    json_error error;
    size_t n = strlen(text);
    CHECK(reads(text, n, &error));
    for (size_t i = 0; i < n; i++)
        if (reads(text, i, &error)) test_fail(__FILE__, __LINE__, "%zu bytes were accepted", i);
}

TEST(cli_json, members_are_walked_and_strings_unescaped_in_place) {
    char text[] =
        " {\"a\\u0062\" : \"x\\n\\u20ac\\ud83d\\ude00\\u0000y\" , \"n\":-12.5,\"o\":{\"a\":"
        "[1]},\"l\":[true,null],\"z\":\"\"} ";
    json_value root, key, value;
    json_error error;
    size_t at = 0, len;
    CHECK(json_read(text, strlen(text), &root, &error));
    CHECK_INT(root.kind, JSON_OBJECT);
    CHECK(json_next(&root, &at, &key, &value));
    CHECK_STR(json_text(&key, &len), "ab");
    const char *s = json_text(&value, &len);
    CHECK_BYTES(s, len, "x\n\xe2\x82\xac\xf0\x9f\x98\x80\0y", 11);
    CHECK(json_next(&root, &at, &key, &value) && value.kind == JSON_NUMBER);
    CHECK_BYTES(value.raw, value.len, "-12.5", 5);
    CHECK(json_next(&root, &at, &key, &value) && value.kind == JSON_OBJECT);
    CHECK_BYTES(value.raw, value.len, "{\"a\":[1]}", 9);
    CHECK(json_next(&root, &at, &key, &value) && value.kind == JSON_ARRAY);
    json_value item;
    size_t in = 0;
    CHECK(json_next(&value, &in, NULL, &item) && item.kind == JSON_TRUE);
    CHECK(json_next(&value, &in, NULL, &item) && item.kind == JSON_NULL);
    CHECK(!json_next(&value, &in, NULL, &item));
    CHECK(json_next(&root, &at, &key, &value) && value.kind == JSON_STRING);
    CHECK_STR(json_text(&value, &len), "");
    CHECK(!json_next(&root, &at, &key, &value));
}

/* A string of random characters, written with random escapes, comes back as it was. */
TEST(cli_json, random_strings_come_back_as_they_were) {
    static const char *plain[] = {"a",  "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\n",
                                  "\"", "\\"};
    static const char *written[][2] = {{"a", "\\u0061"},
                                       {"\xc3\xa9", "\\u00E9"},
                                       {"\xe2\x82\xac", "\\u20ac"},
                                       {"\xf0\x9f\x98\x80", "\\uD83D\\uDE00"},
                                       {"\\n", "\\u000a"},
                                       {"\\\"", "\\u0022"},
                                       {"\\\\", "\\u005c"}};
    for (int round = 0; round < 2000; round++) {
        char want[256] = "", text[1024] = "[\"";
        for (uint64_t n = test_random_below(40); n > 0; n--) {
            uint64_t c = test_random_below(7);
            strcat(want, plain[c]);
            strcat(text, written[c][test_random_below(2)]);
        }
        strcat(text, "\"]");
        json_value root, value;
        json_error error;
        size_t at = 0, len;
        CHECK(json_read(text, strlen(text), &root, &error));
        CHECK(json_next(&root, &at, NULL, &value));
        const char *got = json_text(&value, &len);
        CHECK_BYTES(got, len, want, strlen(want));
    }
}

/* The public suite: y_ must be accepted, n_ refused, i_ is up to the reader (and must not crash).
 */
TEST(cli_json, the_public_suite_is_answered_as_it_says) {
    char folder[512], path[1024];
    uint64_t good = 0, bad = 0, free_choice = 0;
    if (!test_data()) test_skip("no test data (AGENT_TRACE_TEST_DATA)");
    snprintf(folder, sizeof folder, "%s/json-test-suite/test_parsing", test_data());
    DIR *d = opendir(folder);
    if (!d) test_skip("no %s", folder);
    for (struct dirent *e; (e = readdir(d));) {
        char kind = e->d_name[0];
        size_t len;
        json_error error;
        if (!strstr(e->d_name, ".json")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unsigned char *text = test_read_file(path, &len);
        bool got = reads((char *)text, len, &error);
        free(text);
        if (kind == 'y' && !got) test_fail(__FILE__, __LINE__, "refused %s", e->d_name);
        if (kind == 'n' && got) test_fail(__FILE__, __LINE__, "accepted %s", e->d_name);
        good += kind == 'y';
        bad += kind == 'n';
        free_choice += kind == 'i';
    }
    closedir(d);
    test_saw("texts", good + bad + free_choice);
    CHECK(good >= 90 && bad >= 180 && free_choice >= 30);
}

/* ---- times ---- */

static int64_t parsed(const char *s) {
    int64_t ms;
    return time_parse(s, strlen(s), &ms) ? ms : -1;
}
static int64_t seconds(const char *s) {
    int64_t ms;
    return time_parse_seconds(s, strlen(s), &ms) ? ms : -1;
}
static int64_t since(const char *s) {
    int64_t ms;
    return time_parse_since(s, INT64_C(1800000000000), &ms) ? ms : -1;
}

TEST(cli_time, every_day_is_printed_and_read_back) {
    char text[CLI_TIME_TEXT];
    int64_t days = 0;
    for (int64_t ms = 0; ms <= TIME_MAX_MS; ms += INT64_C(86400000) * 13 + 12345678, days++) {
        time_rfc3339(ms, text);
        if (parsed(text) != ms) test_fail(__FILE__, __LINE__, "%s", text);
    }
    test_saw("days", (uint64_t)days);
    CHECK(days > 200000);
    CHECK_STR(time_rfc3339(TIME_MAX_MS, text), "9999-12-31T23:59:59.999Z");
    CHECK_STR(time_rfc3339(INT64_C(1733179244000), text), "2024-12-02T22:40:44.000Z");
    CHECK_STR(time_exact(INT64_C(1733179244999), text), "2024-12-02T22:40:44Z");
}

TEST(cli_time, a_relative_time_is_what_people_say_in_their_time_zone) {
    char text[CLI_TIME_TEXT];
    int64_t at = INT64_C(1733179244999), hour = INT64_C(3600000);
    CHECK(setenv("TZ", "EAST-2", 1) == 0); /* two hours east: 2024-12-03 00:40:44 */
    tzset();
    CHECK_STR(time_relative(at, at, text), "now");
    CHECK_STR(time_relative(at, at + 1000, text), "1 s ago");
    CHECK_STR(time_relative(at, at + 59999, text), "59 s ago");
    CHECK_STR(time_relative(at, at + 60000, text), "1 min ago");
    CHECK_STR(time_relative(at, at + hour - 1, text), "59 min ago");
    CHECK_STR(time_relative(at, at + hour, text), "today 00:40");
    CHECK_STR(time_relative(at, at + 23 * hour, text), "today 00:40");
    CHECK_STR(time_relative(at, at + 24 * hour, text), "yesterday 00:40");
    CHECK_STR(time_relative(at, at + 48 * hour, text), "2024-12-03");
    CHECK_STR(time_relative(at, at - hour / 2, text), "today 00:40"); /* a clock that is behind */
    CHECK_STR(time_relative(at, at - 24 * hour, text), "tomorrow 00:40");
    CHECK_STR(time_relative(at, at - 48 * hour, text), "2024-12-03");
    CHECK(setenv("TZ", "UTC", 1) == 0);
    tzset();
    CHECK_STR(time_relative(at, at + 3 * hour, text), "yesterday 22:40");
    CHECK_STR(time_relative(0, at, text), "1970-01-01");
}

TEST(cli_time, rfc_3339_is_read_with_offsets_and_fractions) {
    CHECK_INT(parsed("1970-01-01T00:00:00Z"), 0);
    CHECK_INT(parsed("2024-12-02T23:40:44+01:00"), INT64_C(1733179244000));
    CHECK_INT(parsed("2024-12-02t22:40:44.1239z"), INT64_C(1733179244123));
    CHECK_INT(parsed("2016-12-31T23:59:60Z"), INT64_C(1483228799999));
    static const char *bad[] = {"",
                                "2024-12-02",
                                "2024-12-02T22:40Z",
                                "2024-12-02T22:40:44",
                                "2024-12-02T22:40:44.Z",
                                "2024-12-02T24:00:00Z",
                                "2024-13-02T00:00:00Z",
                                "2023-02-29T00:00:00Z",
                                "1900-02-29T00:00:00Z",
                                "2024-12-02T22:40:44Zx",
                                "2024-12-02T22:40:44+24:00",
                                "1969-12-31T23:59:59Z",
                                "9999-12-31T23:59:59-00:01",
                                "24-12-02T22:40:44Z"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parsed(bad[i]) != -1) test_fail(__FILE__, __LINE__, "accepted %s", bad[i]);
}

TEST(cli_time, unix_seconds_are_read_exactly) {
    CHECK_INT(seconds("0"), 0);
    CHECK_INT(seconds("1733179244"), INT64_C(1733179244000));
    CHECK_INT(seconds("1733179244.5"), INT64_C(1733179244500));
    CHECK_INT(seconds("1733179244.0019"), INT64_C(1733179244001));
    CHECK_INT(seconds("253402300799.999"), TIME_MAX_MS);
    static const char *bad[] = {"",    "-1",   "253402300800",           "1.",
                                "1e9", "0x10", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (seconds(bad[i]) != -1) test_fail(__FILE__, __LINE__, "accepted %s", bad[i]);
}

TEST(cli_time, since_takes_what_people_type) {
    int64_t now = INT64_C(1800000000000);
    CHECK_INT(since("now"), now);
    CHECK_INT(since("90s"), now - 90000);
    CHECK_INT(since("30m"), now - 1800000);
    CHECK_INT(since("2h"), now - 7200000);
    CHECK_INT(since("3d"), now - 3 * INT64_C(86400000));
    CHECK_INT(since("1w"), now - 7 * INT64_C(86400000));
    CHECK_INT(since("2024-12-02"), INT64_C(1733097600000));
    CHECK_INT(since("2024-12-02 22:40"), INT64_C(1733179200000));
    CHECK_INT(since("2024-12-02 22:40:44"), INT64_C(1733179244000));
    CHECK_INT(since("2024-12-02T22:40:44Z"), INT64_C(1733179244000));
    CHECK_INT(since("@1733179244"), INT64_C(1733179244000));
    static const char *bad[] = {"",          "yesterday",       "h", "-2h", "2 h",
                                "2024-12-2", "2024-12-02 9:00", "@", "2y"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (since(bad[i]) != -1) test_fail(__FILE__, __LINE__, "accepted %s", bad[i]);
}

/* ---- text ---- */

TEST(cli_text, numbers_stop_at_their_limit) {
    uint64_t n = 0;
    CHECK(text_number("0", 0, &n) && n == 0);
    CHECK(text_number("18446744073709551615", UINT64_MAX, &n) && n == UINT64_MAX);
    CHECK(!text_number("18446744073709551616", UINT64_MAX, &n));
    CHECK(text_number("1024", 1024, &n) && !text_number("1025", 1024, &n));
    CHECK(!text_number("9", 5, &n));
    CHECK(!text_number("", 5, &n) && !text_number("-1", 5, &n) && !text_number(" 1", 5, &n) &&
          !text_number("1x", 5, &n));
}

TEST(cli_text, every_character_is_decoded_and_nothing_else) {
    uint64_t seen = 0;
    for (uint32_t code = 0; code <= 0x10ffff; code += code < 0x3000 ? 1 : 37) {
        char bytes[4];
        uint32_t back = 0;
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        size_t n = json_encode(bytes, code);
        size_t got = text_next(bytes, n, &back);
        if (surrogate ? got != 0 : got != n || back != code)
            test_fail(__FILE__, __LINE__, "U+%04X", code);
        for (size_t cut = 1; cut < n; cut++)
            CHECK_INT(text_next(bytes, cut, &back), 0);
        seen++;
    }
    CHECK(seen > 12000);
    CHECK(!text_is_utf8("\xc0\xaf", 2) && !text_is_utf8("\xf4\x90\x80\x80", 4) &&
          !text_is_utf8("a\x80", 2) && text_is_utf8("a\xc3\xa9", 3));
}

TEST(cli_text, what_could_fool_a_terminal_is_known) {
    CHECK(text_unsafe(0x1b) && text_unsafe('\n') && text_unsafe(0x7f) && text_unsafe(0x9b));
    CHECK(text_unsafe(0x202e) && text_unsafe(0x2066) && !text_unsafe(0xe9) && !text_unsafe(' '));
    CHECK_INT(text_columns('a'), 1);
    CHECK_INT(text_columns(0x301), 0);
    CHECK_INT(text_columns(0x4e2d), 2);
    CHECK_INT(text_columns(0x1f600), 2);
    CHECK_INT(text_columns(0xe01), 1); /* Thai: a consonant, and a vowel above it */
    CHECK_INT(text_columns(0xe34), 0);
    CHECK_INT(text_columns(0x5bf), 0);  /* a Hebrew point */
    CHECK_INT(text_columns(0x1100), 2); /* Hangul: an initial, and a vowel that joins it */
    CHECK_INT(text_columns(0x1161), 0);
    CHECK_INT(text_columns(0x200d), 0); /* joins what stands beside it */
    CHECK_INT(text_columns(0xff21), 2);
    CHECK_INT(text_columns(0xe0100), 0);
    CHECK_INT(text_columns(0x2fffd), 2);
    CHECK_INT(text_columns(0x10ffff), 1);
}
