/* UTF-8 against a decoder that is slow and obvious. */
#include "../src/data/data.h"
#include "test.h"

/* Decodes one character by arithmetic and refuses it if encoding it anew gives other bytes. */
static size_t slow_char(const unsigned char *s, size_t n) {
    for (size_t len = 1; len <= 4 && len <= n; len++) {
        uint32_t code = len == 1 ? s[0] : len == 2 ? s[0] & 31u : len == 3 ? s[0] & 15u : s[0] & 7u;
        unsigned char again[4];
        for (size_t i = 1; i < len; i++)
            code = code * 64 + (s[i] & 63u);
        if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) continue;
        size_t want = code < 128 ? 1 : code < 2048 ? 2 : code < 65536 ? 3 : 4;
        if (want != len) continue;
        again[0] =
            (unsigned char)(len == 1 ? code : (0xf00u >> len & 0xff) | code >> 6 * (len - 1));
        for (size_t i = 1; i < len; i++)
            again[i] = (unsigned char)(0x80 | (code >> 6 * (len - 1 - i) & 63));
        if (memcmp(again, s, len) == 0) return len;
    }
    return 0;
}

static size_t slow_valid(const unsigned char *s, size_t n) {
    size_t at = 0, len;
    while (at < n && (len = slow_char(s + at, n - at)) > 0)
        at += len;
    return at;
}

TEST(utf8, every_code_point_goes_both_ways) {
    size_t seen = 0;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char s[4];
        size_t len = agt__utf8_put(s, code);
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        CHECK(len >= 1 && len <= 4);
        CHECK_INT(agt__utf8_char(s, len), surrogate ? 0 : len);
        CHECK_INT(agt__utf8_valid(s, len), surrogate ? 0 : len);
        CHECK_INT(agt__utf8_char(s, len - 1), 0);
        CHECK(agt__utf8_code(s, len) == code);
        seen += !surrogate;
    }
    CHECK_INT(seen, 0x110000 - 0x800);
}

TEST(utf8, every_sequence_of_four_bytes_is_judged_as_the_slow_decoder_does) {
    static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                          0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                          0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xfe, 0xff};
    const size_t e = AGT_COUNT(edges);
    size_t valid = 0, all = 0;
    for (size_t first = 0; first < 256; first++)
        for (size_t i = 0; i < e * e * e; i++) {
            unsigned char s[4] = {(unsigned char)first, edges[i % e], edges[i / e % e],
                                  edges[i / e / e]};
            size_t want = slow_char(s, 4);
            if (agt__utf8_char((char *)s, 4) != want)
                test_fail(__FILE__, __LINE__, "%02x %02x %02x %02x", s[0], s[1], s[2], s[3]);
            valid += want > 0;
            all++;
        }
    CHECK(valid > all / 4 && valid < all);
    test_saw("sequences", all);
}

TEST(utf8, the_first_bad_byte_is_found_wherever_it_stands) {
    for (int round = 0; round < 20000; round++) {
        size_t n = (size_t)test_random_below(80), at = 0;
        char *s = malloc(n + 4);
        while (at < n) {
            static const uint32_t tops[] = {0x80, 0x80, 0x80, 0x800, 0xd800, 0x110000};
            uint32_t code = (uint32_t)test_random_below(tops[test_random_below(AGT_COUNT(tops))]);
            at += agt__utf8_put(s + at, code >= 0xd800 && code < 0xe000 ? 'x' : code);
        }
        char *exact = malloc(at ? at : 1); /* so that a read past the end is seen */
        memcpy(exact, s, at);
        CHECK_INT(agt__utf8_valid(exact, at), at);
        if (at) {
            exact[test_random_below(at)] = (char)test_random();
            CHECK_INT(agt__utf8_valid(exact, at), slow_valid((unsigned char *)exact, at));
        }
        free(exact);
        free(s);
    }
}
