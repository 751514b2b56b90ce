/* Times against a calendar that counts day by day, and texts that are no time. */
#include "../src/data/data.h"
#include "test.h"

static bool parse(const char *s, int64_t *ms) {
    return agt__time_parse(s, strlen(s), ms);
}

TEST(time, known_moments_have_known_texts) {
    static const struct {
        int64_t ms;
        const char *text;
    } known[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868799999, "2000-02-29T23:59:59.999Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1000000000000, "2001-09-09T01:46:40.000Z"},
        {1709164800123, "2024-02-29T00:00:00.123Z"},
        {2147483647000, "2038-01-19T03:14:07.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {AGT_TIME_MAX, "9999-12-31T23:59:59.999Z"},
    };
    char out[AGT_TIME_TEXT];
    int64_t ms;
    for (size_t i = 0; i < AGT_COUNT(known); i++) {
        agt__time_format(known[i].ms, out);
        CHECK_STR(out, known[i].text);
        CHECK(parse(known[i].text, &ms));
        CHECK_INT(ms, known[i].ms);
    }
    agt__time_format(-1, out);
    CHECK_STR(out, "1970-01-01T00:00:00.000Z");
    agt__time_format(INT64_MAX, out);
    CHECK_STR(out, "9999-12-31T23:59:59.999Z");
}

TEST(time, every_day_until_9999_is_the_day_after_the_one_before) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y = 1970, m = 1, d = 1;
    int64_t days = 0;
    while (y < 10000) {
        char want[64], out[AGT_TIME_TEXT];
        int64_t ms = days * 86400000 + (int64_t)test_random_below(86400000), back;
        snprintf(want, sizeof want, "%04d-%02d-%02dT", y, m, d);
        agt__time_format(ms, out);
        CHECK(memcmp(out, want, 11) == 0);
        CHECK(agt__time_parse(out, 24, &back));
        CHECK_INT(back, ms);
        int leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        days++;
        if (++d > lengths[m - 1] + (m == 2 && leap)) {
            d = 1;
            if (++m > 12) {
                m = 1;
                y++;
            }
        }
    }
    CHECK_INT(days, 2932897);
    test_saw("days", (uint64_t)days);
}

TEST(time, offsets_and_fractions_are_understood) {
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T23:00:00-01:00", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T00:00:00.1Z", 100},
        {"1970-01-01T00:00:00.12Z", 120},
        {"1970-01-01T00:00:00.1239Z", 123},
        {"1970-01-01T00:00:00.999999999Z", 999},
        {"1970-01-01T00:00:00.000999999+00:00", 0},
        {"1985-04-12T23:20:50.52Z", 482196050520},
        {"1996-12-19T16:39:57-08:00", 851042397000},
        {"1990-12-31T23:59:60Z", 662687999999},
        {"1990-12-31T15:59:60.5-08:00", 662687999999},
        {"1937-01-01T12:00:27.87+00:20", -1},
        {"9999-12-31T23:59:59.999999999Z", AGT_TIME_MAX},
        {"9999-12-31T23:59:59-00:01", -1},
        {"1970-01-01T00:00:00+00:01", -1},
        {"2024-01-02T03:04:05.678901234+23:59", 1704078305678},
    };
    for (size_t i = 0; i < AGT_COUNT(good); i++) {
        int64_t ms = -1;
        CHECK_INT(parse(good[i].text, &ms), good[i].ms >= 0);
        CHECK_INT(ms, good[i].ms);
    }
}

TEST(time, what_is_no_time_is_refused) {
    static const char *bad[] = {
        "",
        "2024",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z",
        "2024-01-01T00:00Z",
        "2024-01-01 00:00:00Z",
        " 2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00Z ",
        "2024-01-01T00:00:00ZZ",
        "2024-01-01T00:00:00+1:00",
        "2024-01-01T00:00:00+0100",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+00:60",
        "2024-01-01T00:00:00 00:00",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-00-01T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "2024-01-32T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2024-04-31T00:00:00Z",
        "24-01-01T00:00:00Z00",
        "2024-1-1T00:00:00.0Z",
        "-024-01-01T00:00:00Z",
        "+024-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "2024/01/01T00:00:00Z",
        "2024-01-01T00.00.00Z",
        "2024-01-01T0x:00:00Z",
        "2024-01-01T00:00:00,5Z",
    };
    for (size_t i = 0; i < AGT_COUNT(bad); i++) {
        int64_t ms = 42;
        if (parse(bad[i], &ms)) test_fail(__FILE__, __LINE__, "taken: \"%s\"", bad[i]);
        CHECK_INT(ms, 42);
    }
    CHECK(AGT_COUNT(bad) > 30);
}

TEST(time, a_text_changed_in_one_byte_never_parses_to_what_its_format_denies) {
    size_t taken = 0, refused = 0;
    for (int i = 0; i < 200000; i++) {
        char text[AGT_TIME_TEXT], again[AGT_TIME_TEXT], *s;
        int64_t ms;
        size_t n = 24 - (size_t)test_random_below(3) / 2;
        agt__time_format((int64_t)(test_random() % (AGT_TIME_MAX + 1)), text);
        text[test_random_below(24)] = (char)test_random_below(128);
        s = malloc(n); /* so that a read past the end is seen */
        memcpy(s, text, n);
        if (agt__time_parse(s, n, &ms)) {
            taken++;
            agt__time_format(ms, again);
            CHECK(ms >= 0 && ms <= AGT_TIME_MAX);
            if (n == 24 && memcmp(s + 17, "60", 2) != 0) {
                for (size_t k = 0; k < 19; k++)
                    CHECK((s[k] | 0x20) == (again[k] | 0x20));
            }
        } else {
            refused++;
        }
        free(s);
    }
    CHECK(taken > 1000 && refused > 1000);
}
