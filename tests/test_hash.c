/* Hashes against the published vectors, and the processor's instructions against plain C. */
#include "../src/data/data.h"
#include "../src/data/crc_table.h"
#include "test.h"

static const agt_cpu plain = {false, false};

static void check_hex(const unsigned char *got, size_t n, const char *want) {
    char text[65] = {0};
    agt__hex(got, n, text);
    CHECK_STR(text, want);
}

static void sha1_in_pieces(agt_cpu cpu, const void *data, size_t n, size_t piece,
                           unsigned char out[20]) {
    agt_sha1_state s;
    agt__sha1_init(&s);
    for (size_t at = 0; at < n; at += piece)
        agt__sha1_update(&s, cpu, (const char *)data + at, n - at < piece ? n - at : piece);
    agt__sha1_update(&s, cpu, NULL, 0);
    agt__sha1_final(&s, cpu, out);
}

static void sha256_in_pieces(agt_cpu cpu, const void *data, size_t n, size_t piece,
                             unsigned char out[32]) {
    agt_sha256_state s;
    agt__sha256_init(&s);
    for (size_t at = 0; at < n; at += piece)
        agt__sha256_update(&s, cpu, (const char *)data + at, n - at < piece ? n - at : piece);
    agt__sha256_update(&s, cpu, NULL, 0);
    agt__sha256_final(&s, cpu, out);
}

static const struct {
    const char *text, *sha1, *sha256;
} published[] = {
    {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmno"
     "pqrsmnopqrstnopqrstu",
     "a49b2446a02c645bf419f995b67091253a04a259",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

TEST(hash, sha1_and_sha256_give_the_published_answers_on_both_paths) {
    unsigned char out[32];
    agt_cpu paths[2] = {plain, agt__cpu()};
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    for (size_t path = 0; path < 2; path++) {
        for (size_t i = 0; i < AGT_COUNT(published); i++) {
            size_t n = strlen(published[i].text);
            sha1_in_pieces(paths[path], published[i].text, n, n + 1, out);
            check_hex(out, 20, published[i].sha1);
            agt__sha256(paths[path], published[i].text, n, out);
            check_hex(out, 32, published[i].sha256);
        }
        sha1_in_pieces(paths[path], million, 1000000, 777, out);
        check_hex(out, 20, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
        sha256_in_pieces(paths[path], million, 1000000, 777, out);
        check_hex(out, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    free(million);
}

TEST(hash, the_processors_instructions_agree_with_plain_c_at_every_length) {
    agt_cpu cpu = agt__cpu();
    unsigned char data[1024], a[32], b[32];
    test_saw("of 2 fast paths", (uint64_t)cpu.sha + (uint64_t)cpu.crc32c);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)test_random();
    for (size_t n = 0; n <= 400; n++) {
        const unsigned char *p = data + test_random_below(64);
        size_t piece = 1 + (size_t)test_random_below(130);
        sha1_in_pieces(plain, p, n, n + 1, a);
        sha1_in_pieces(cpu, p, n, piece, b);
        CHECK_BYTES(a, 20, b, 20);
        sha256_in_pieces(plain, p, n, piece, a);
        agt__sha256(cpu, p, n, b);
        CHECK_BYTES(a, 32, b, 32);
        size_t cut = (size_t)test_random_below(n + 1);
        uint32_t whole = agt__crc32c(plain, 0, p, n);
        CHECK(agt__crc32c(cpu, 0, p, n) == whole);
        CHECK(agt__crc32c(cpu, agt__crc32c(plain, 0, p, cut), p + cut, n - cut) == whole);
        CHECK(agt__crc32c(plain, agt__crc32c(cpu, 0, p, cut), p + cut, n - cut) == whole);
    }
}

TEST(hash, crc32c_gives_the_answers_of_rfc_3720) {
    unsigned char data[32];
    agt_cpu paths[2] = {plain, agt__cpu()};
    for (size_t path = 0; path < 2; path++) {
        agt_cpu cpu = paths[path];
        CHECK(agt__crc32c(cpu, 0, NULL, 0) == 0);
        CHECK(agt__crc32c(cpu, 0, "123456789", 9) == 0xe3069283u);
        memset(data, 0, sizeof data);
        CHECK(agt__crc32c(cpu, 0, data, 32) == 0x8a9136aau);
        memset(data, 0xff, sizeof data);
        CHECK(agt__crc32c(cpu, 0, data, 32) == 0x62a8ab43u);
        for (size_t i = 0; i < 32; i++)
            data[i] = (unsigned char)i;
        CHECK(agt__crc32c(cpu, 0, data, 32) == 0x46dd794eu);
        for (size_t i = 0; i < 32; i++)
            data[i] = (unsigned char)(31 - i);
        CHECK(agt__crc32c(cpu, 0, data, 32) == 0x113fdb5cu);
    }
}

TEST(hash, the_tables_of_crc32c_are_what_the_polynomial_says) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
        CHECK(hash_crc_table[0][i] == c);
        for (size_t k = 1; k < 8; k++) {
            c = c >> 8 ^ hash_crc_table[0][c & 0xff];
            CHECK(hash_crc_table[k][i] == c);
        }
    }
}

TEST(hash, objects_get_the_ids_that_git_gives_them) {
    unsigned char out[20];
    agt_cpu cpu = agt__cpu();
    agt__git_id(cpu, "blob", "", 0, out);
    check_hex(out, 20, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    agt__git_id(cpu, "tree", NULL, 0, out);
    check_hex(out, 20, "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    agt__git_id(cpu, "blob", "hello\n", 6, out);
    check_hex(out, 20, "ce013625030ba8dba906f756967f9e9ca394464a");
}

TEST(hash, hexadecimal_goes_both_ways_and_nothing_else_is_taken) {
    unsigned char data[256], back[256];
    char hex[512];
    for (size_t i = 0; i < 256; i++)
        data[i] = (unsigned char)i;
    agt__hex(data, 256, hex);
    CHECK(memcmp(hex, "000102", 6) == 0 && memcmp(hex + 506, "fdfeff", 6) == 0);
    CHECK(agt__unhex(hex, 512, back, 256));
    CHECK_BYTES(back, 256, data, 256);
    CHECK(agt__unhex("", 0, back, 0));
    CHECK(!agt__unhex("ab", 2, back, 2));
    CHECK(!agt__unhex("abc", 3, back, 1));
    CHECK(!agt__unhex("abcd", 4, back, 1));
    size_t taken = 0;
    for (int c = 0; c < 256; c++) {
        char pair[2] = {'0', (char)c}, other[2] = {(char)c, '0'};
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        CHECK_INT(agt__unhex(pair, 2, back, 1), good);
        CHECK_INT(agt__unhex(other, 2, back, 1), good);
        taken += good;
    }
    CHECK_INT(taken, 16);
}
