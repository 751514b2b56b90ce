/* hash: SHA-1 (git's ids), SHA-256 (the chain of the trace), crc32c (records), hexadecimal.
 *
 * Promises
 *  1. One result on every machine. The processor's own instructions are used where agt_cpu says
 *     they are there and the compiler knows them; both ways are tested against each other.
 *  2. Updates may come in pieces of any size; a whole block is hashed where it lies, without a
 * copy.
 *  3. SHA-1 names objects as git does and protects nothing. Where a forged text matters, SHA-256 is
 *     used.
 */
#include "data.h"
#include "crc_table.h"

#include <stdio.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HASH_X86 1
#include <cpuid.h>
#include <immintrin.h>
#else
#define HASH_X86 0
#endif

AGT_PRIVATE agt_cpu agt__cpu(void) {
    agt_cpu cpu = {false, false};
#if HASH_X86
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return cpu;
    bool shuffles = (c >> 9 & 1) && (c >> 19 & 1); /* SSSE3, SSE4.1 */
    cpu.crc32c = c >> 20 & 1;                      /* SSE4.2 */
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) cpu.sha = shuffles && (b >> 29 & 1);
#endif
    return cpu;
}

static uint32_t hash_rotl(uint32_t v, int n) {
    return v << n | v >> (32 - n);
}
static uint32_t hash_rotr(uint32_t v, int n) {
    return v >> n | v << (32 - n);
}

static uint32_t hash_get_be(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void hash_put_be(unsigned char *p, uint32_t v) {
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
}

/* ---- SHA-1 ---- */

/* Word t of the block; word t of the schedule, in the place of the oldest. Rounds are written out,
 * so that every index and constant is the compiler's: twice as fast as in loops. */
#define HASH_SHA1_GIVEN(t) w[t]
#define HASH_SHA1_MADE(t)                                                                          \
    (w[(t) % 16] =                                                                                 \
         hash_rotl(w[((t) + 13) % 16] ^ w[((t) + 8) % 16] ^ w[((t) + 2) % 16] ^ w[(t) % 16], 1))
#define HASH_SHA1_ROUND(a, b, c, d, e, F, k, word)                                                 \
    do {                                                                                           \
        e += (k) + (word);                                                                         \
        e += F(b, c, d);                                                                           \
        e += hash_rotl(a, 5);                                                                      \
        b = hash_rotl(b, 30);                                                                      \
    } while (0)
/* Four rounds more, after the first, bring each variable back to its old place. */
#define HASH_SHA1_REST(F, k, WORD, t)                                                              \
    do {                                                                                           \
        HASH_SHA1_ROUND(e, a, b, c, d, F, k, WORD((t) + 1));                                       \
        HASH_SHA1_ROUND(d, e, a, b, c, F, k, WORD((t) + 2));                                       \
        HASH_SHA1_ROUND(c, d, e, a, b, F, k, WORD((t) + 3));                                       \
        HASH_SHA1_ROUND(b, c, d, e, a, F, k, WORD((t) + 4));                                       \
    } while (0)
#define HASH_SHA1_FIVE(F, k, WORD, t)                                                              \
    do {                                                                                           \
        HASH_SHA1_ROUND(a, b, c, d, e, F, k, WORD(t));                                             \
        HASH_SHA1_REST(F, k, WORD, t);                                                             \
    } while (0)
#define HASH_SHA1_TWENTY(F, k, t)                                                                  \
    do {                                                                                           \
        HASH_SHA1_FIVE(F, k, HASH_SHA1_MADE, t);                                                   \
        HASH_SHA1_FIVE(F, k, HASH_SHA1_MADE, (t) + 5);                                             \
        HASH_SHA1_FIVE(F, k, HASH_SHA1_MADE, (t) + 10);                                            \
        HASH_SHA1_FIVE(F, k, HASH_SHA1_MADE, (t) + 15);                                            \
    } while (0)
#define HASH_CHOOSE(x, y, z)   ((z) ^ ((x) & ((y) ^ (z))))
#define HASH_PARITY(x, y, z)   ((x) ^ (y) ^ (z))
#define HASH_MAJORITY(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))

#define HASH_SHA1_K1 0x5a827999u
#define HASH_SHA1_K2 0x6ed9eba1u
#define HASH_SHA1_K3 0x8f1bbcdcu
#define HASH_SHA1_K4 0xca62c1d6u

static void hash_sha1_plain(uint32_t h[5], const unsigned char *p, size_t blocks) {
    for (; blocks; blocks--, p += 64) {
        uint32_t w[16], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int t = 0; t < 16; t++)
            w[t] = hash_get_be(p + 4 * t);
        HASH_SHA1_FIVE(HASH_CHOOSE, HASH_SHA1_K1, HASH_SHA1_GIVEN, 0);
        HASH_SHA1_FIVE(HASH_CHOOSE, HASH_SHA1_K1, HASH_SHA1_GIVEN, 5);
        HASH_SHA1_FIVE(HASH_CHOOSE, HASH_SHA1_K1, HASH_SHA1_GIVEN, 10);
        HASH_SHA1_ROUND(a, b, c, d, e, HASH_CHOOSE, HASH_SHA1_K1, w[15]);
        HASH_SHA1_REST(HASH_CHOOSE, HASH_SHA1_K1, HASH_SHA1_MADE, 15);
        HASH_SHA1_TWENTY(HASH_PARITY, HASH_SHA1_K2, 20);
        HASH_SHA1_TWENTY(HASH_MAJORITY, HASH_SHA1_K3, 40);
        HASH_SHA1_TWENTY(HASH_PARITY, HASH_SHA1_K4, 60);
        h[0] += a;
        h[1] += b;
        h[2] += c;
        h[3] += d;
        h[4] += e;
    }
}

#if HASH_X86
/* The next four words of the schedule take the place of the oldest four. */
#define HASH_SHA1_NEXT(w0, w1, w2, w3)                                                             \
    w0 = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(w0, w1), w2), w3)
/* Four rounds with the words w; `last` is what abcd was four rounds before. */
#define HASH_SHA1_FOUR(w, f)                                                                       \
    do {                                                                                           \
        __m128i e_ = _mm_sha1nexte_epu32(last, w);                                                 \
        last = abcd;                                                                               \
        abcd = _mm_sha1rnds4_epu32(abcd, e_, f);                                                   \
    } while (0)
/* Sixteen rounds, each four behind a step of the schedule. */
#define HASH_SHA1_16(f0, f1, f2, f3)                                                               \
    do {                                                                                           \
        HASH_SHA1_NEXT(w0, w1, w2, w3);                                                            \
        HASH_SHA1_FOUR(w0, f0);                                                                    \
        HASH_SHA1_NEXT(w1, w2, w3, w0);                                                            \
        HASH_SHA1_FOUR(w1, f1);                                                                    \
        HASH_SHA1_NEXT(w2, w3, w0, w1);                                                            \
        HASH_SHA1_FOUR(w2, f2);                                                                    \
        HASH_SHA1_NEXT(w3, w0, w1, w2);                                                            \
        HASH_SHA1_FOUR(w3, f3);                                                                    \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) static __m128i hash_load_swapped(const void *p,
                                                                             __m128i order) {
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p), order);
}

__attribute__((target("sha,sse4.1,ssse3"))) static void
hash_sha1_x86(uint32_t h[5], const unsigned char *p, size_t blocks) {
    const __m128i order = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0x1b);
    __m128i e = _mm_set_epi32((int)h[4], 0, 0, 0);
    for (; blocks; blocks--, p += 64) {
        __m128i abcd_before = abcd, e_before = e, last = abcd;
        __m128i w0 = hash_load_swapped(p, order), w1 = hash_load_swapped(p + 16, order);
        __m128i w2 = hash_load_swapped(p + 32, order), w3 = hash_load_swapped(p + 48, order);
        abcd = _mm_sha1rnds4_epu32(abcd, _mm_add_epi32(e, w0), 0);
        HASH_SHA1_FOUR(w1, 0);
        HASH_SHA1_FOUR(w2, 0);
        HASH_SHA1_FOUR(w3, 0);
        HASH_SHA1_16(0, 1, 1, 1);
        HASH_SHA1_16(1, 1, 2, 2);
        HASH_SHA1_16(2, 2, 2, 3);
        HASH_SHA1_16(3, 3, 3, 3);
        e = _mm_sha1nexte_epu32(last, e_before);
        abcd = _mm_add_epi32(abcd, abcd_before);
    }
    _mm_storeu_si128((__m128i *)h, _mm_shuffle_epi32(abcd, 0x1b));
    h[4] = (uint32_t)_mm_extract_epi32(e, 3);
}
#endif

static void hash_sha1_blocks(uint32_t h[5], agt_cpu cpu, const unsigned char *p, size_t blocks) {
#if HASH_X86
    if (cpu.sha) {
        hash_sha1_x86(h, p, blocks);
        return;
    }
#endif
    (void)cpu;
    hash_sha1_plain(h, p, blocks);
}

AGT_PRIVATE void agt__sha1_init(agt_sha1_state *s) {
    static const uint32_t first[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(s->h, first, sizeof first);
    s->len = 0;
}

/* How many of the n bytes complete the block that is begun (with `have` bytes in it); copies
 * them. */
static size_t hash_fill(unsigned char block[64], size_t have, const unsigned char *p, size_t n) {
    size_t take = 64 - have < n ? 64 - have : n;
    memcpy(block + have, p, take);
    return take;
}

AGT_PRIVATE void agt__sha1_update(agt_sha1_state *s, agt_cpu cpu, const void *data, size_t n) {
    const unsigned char *p = data;
    size_t have = (size_t)(s->len % 64);
    if (n == 0) return;
    s->len += n;
    if (have) {
        size_t take = hash_fill(s->block, have, p, n);
        p += take;
        n -= take;
        if (have + take < 64) return;
        hash_sha1_blocks(s->h, cpu, s->block, 1);
    }
    if (n >= 64) hash_sha1_blocks(s->h, cpu, p, n / 64);
    if (n % 64) memcpy(s->block, p + n / 64 * 64, n % 64);
}

/* The padding behind `len` bytes: a one bit, zeros, and the length in bits. Returns its length. */
static size_t hash_padding(uint64_t len, unsigned char pad[72]) {
    size_t have = (size_t)(len % 64), n = (have < 56 ? 56 : 120) - have;
    memset(pad, 0, n);
    pad[0] = 0x80;
    hash_put_be(pad + n, (uint32_t)(len >> 29));
    hash_put_be(pad + n + 4, (uint32_t)(len << 3));
    return n + 8;
}

AGT_PRIVATE void agt__sha1_final(agt_sha1_state *s, agt_cpu cpu, unsigned char out[20]) {
    unsigned char pad[72];
    agt__sha1_update(s, cpu, pad, hash_padding(s->len, pad));
    for (int i = 0; i < 5; i++)
        hash_put_be(out + 4 * i, s->h[i]);
}

AGT_PRIVATE void agt__git_id(agt_cpu cpu, const char *kind, const void *data, size_t n,
                             unsigned char out[20]) {
    agt_sha1_state s;
    char head[64];
    int len = snprintf(head, sizeof head, "%.32s %zu", kind, n);
    agt__sha1_init(&s);
    agt__sha1_update(&s, cpu, head, (size_t)len + 1); /* with its NUL */
    agt__sha1_update(&s, cpu, data, n);
    agt__sha1_final(&s, cpu, out);
}

/* ---- SHA-256 ---- */

static const uint32_t hash_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* Round t, with the eight variables turned by i places instead of moved. */
#define HASH_SHA256_ROUND(i)                                                                       \
    do {                                                                                           \
        uint32_t a_ = v[-(i)&7], e_ = v[(4 - (i)) & 7], *d_ = &v[(3 - (i)) & 7];                   \
        uint32_t *h_ = &v[(7 - (i)) & 7];                                                          \
        *h_ += (hash_rotr(e_, 6) ^ hash_rotr(e_, 11) ^ hash_rotr(e_, 25)) +                        \
               HASH_CHOOSE(e_, v[(5 - (i)) & 7], v[(6 - (i)) & 7]) + hash_sha256_k[t + (i)] +      \
               w[t + (i)];                                                                         \
        *d_ += *h_;                                                                                \
        *h_ += (hash_rotr(a_, 2) ^ hash_rotr(a_, 13) ^ hash_rotr(a_, 22)) +                        \
               HASH_MAJORITY(a_, v[(1 - (i)) & 7], v[(2 - (i)) & 7]);                              \
    } while (0)

static void hash_sha256_plain(uint32_t h[8], const unsigned char *p, size_t blocks) {
    for (; blocks; blocks--, p += 64) {
        uint32_t w[64], v[8];
        for (int t = 0; t < 16; t++)
            w[t] = hash_get_be(p + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + w[t - 7] + (hash_rotr(x, 7) ^ hash_rotr(x, 18) ^ x >> 3) +
                   (hash_rotr(y, 17) ^ hash_rotr(y, 19) ^ y >> 10);
        }
        memcpy(v, h, sizeof v);
        for (int t = 0; t < 64; t += 8) {
            HASH_SHA256_ROUND(0);
            HASH_SHA256_ROUND(1);
            HASH_SHA256_ROUND(2);
            HASH_SHA256_ROUND(3);
            HASH_SHA256_ROUND(4);
            HASH_SHA256_ROUND(5);
            HASH_SHA256_ROUND(6);
            HASH_SHA256_ROUND(7);
        }
        for (int i = 0; i < 8; i++)
            h[i] += v[i];
    }
}

#if HASH_X86
#define HASH_SHA256_NEXT(w0, w1, w2, w3)                                                           \
    w0 = _mm_sha256msg2_epu32(                                                                     \
        _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3)
#define HASH_SHA256_FOUR(w, t)                                                                     \
    do {                                                                                           \
        __m128i m_ = _mm_add_epi32(w, _mm_loadu_si128((const __m128i *)(hash_sha256_k + (t))));    \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, m_);                                              \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(m_, 0x0e));                     \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) static void
hash_sha256_x86(uint32_t h[8], const unsigned char *p, size_t blocks) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(badc, efgh, 8), cdgh = _mm_blend_epi16(efgh, badc, 0xf0);
    for (; blocks; blocks--, p += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w0 = hash_load_swapped(p, order), w1 = hash_load_swapped(p + 16, order);
        __m128i w2 = hash_load_swapped(p + 32, order), w3 = hash_load_swapped(p + 48, order);
        HASH_SHA256_FOUR(w0, 0);
        HASH_SHA256_FOUR(w1, 4);
        HASH_SHA256_FOUR(w2, 8);
        HASH_SHA256_FOUR(w3, 12);
        for (int t = 16; t < 64; t += 16) {
            HASH_SHA256_NEXT(w0, w1, w2, w3);
            HASH_SHA256_FOUR(w0, t);
            HASH_SHA256_NEXT(w1, w2, w3, w0);
            HASH_SHA256_FOUR(w1, t + 4);
            HASH_SHA256_NEXT(w2, w3, w0, w1);
            HASH_SHA256_FOUR(w2, t + 8);
            HASH_SHA256_NEXT(w3, w0, w1, w2);
            HASH_SHA256_FOUR(w3, t + 12);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#endif

static void hash_sha256_blocks(uint32_t h[8], agt_cpu cpu, const unsigned char *p, size_t blocks) {
#if HASH_X86
    if (cpu.sha) {
        hash_sha256_x86(h, p, blocks);
        return;
    }
#endif
    (void)cpu;
    hash_sha256_plain(h, p, blocks);
}

AGT_PRIVATE void agt__sha256_init(agt_sha256_state *s) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, first, sizeof first);
    s->len = 0;
}

AGT_PRIVATE void agt__sha256_update(agt_sha256_state *s, agt_cpu cpu, const void *data, size_t n) {
    const unsigned char *p = data;
    size_t have = (size_t)(s->len % 64);
    if (n == 0) return;
    s->len += n;
    if (have) {
        size_t take = hash_fill(s->block, have, p, n);
        p += take;
        n -= take;
        if (have + take < 64) return;
        hash_sha256_blocks(s->h, cpu, s->block, 1);
    }
    if (n >= 64) hash_sha256_blocks(s->h, cpu, p, n / 64);
    if (n % 64) memcpy(s->block, p + n / 64 * 64, n % 64);
}

AGT_PRIVATE void agt__sha256_final(agt_sha256_state *s, agt_cpu cpu, unsigned char out[32]) {
    unsigned char pad[72];
    agt__sha256_update(s, cpu, pad, hash_padding(s->len, pad));
    for (int i = 0; i < 8; i++)
        hash_put_be(out + 4 * i, s->h[i]);
}

AGT_PRIVATE void agt__sha256(agt_cpu cpu, const void *data, size_t n, unsigned char out[32]) {
    agt_sha256_state s;
    agt__sha256_init(&s);
    agt__sha256_update(&s, cpu, data, n);
    agt__sha256_final(&s, cpu, out);
}

/* ---- crc32c ---- */

static uint32_t hash_crc_plain(uint32_t crc, const unsigned char *p, size_t n) {
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a = crc ^ agt__get32(p), b = agt__get32(p + 4);
        crc = hash_crc_table[7][a & 0xff] ^ hash_crc_table[6][a >> 8 & 0xff] ^
              hash_crc_table[5][a >> 16 & 0xff] ^ hash_crc_table[4][a >> 24] ^
              hash_crc_table[3][b & 0xff] ^ hash_crc_table[2][b >> 8 & 0xff] ^
              hash_crc_table[1][b >> 16 & 0xff] ^ hash_crc_table[0][b >> 24];
    }
    for (; n; n--)
        crc = crc >> 8 ^ hash_crc_table[0][(crc ^ *p++) & 0xff];
    return crc;
}

#if HASH_X86
__attribute__((target("sse4.2"))) static uint32_t hash_crc_x86(uint32_t crc, const unsigned char *p,
                                                               size_t n) {
    uint64_t word, wide = crc;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n; n--)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

AGT_PRIVATE uint32_t agt__crc32c(agt_cpu cpu, uint32_t seed, const void *data, size_t n) {
#if HASH_X86
    if (cpu.crc32c) return ~hash_crc_x86(~seed, data, n);
#endif
    (void)cpu;
    return ~hash_crc_plain(~seed, data, n);
}

/* ---- hexadecimal ---- */

AGT_PRIVATE uint64_t agt__fnv(uint64_t seed, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        seed = (seed ^ p[i]) * 0x100000001b3u;
    return seed;
}

AGT_PRIVATE void agt__hex(const unsigned char *data, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
}

/* Each digit's value and one: what is not listed is 0, and no digit. */
static const unsigned char hash_digits[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

AGT_PRIVATE bool agt__unhex(const char *hex, size_t len, unsigned char *out, size_t n) {
    if (len % 2 || len / 2 != n) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned high = hash_digits[(unsigned char)hex[2 * i]];
        unsigned low = hash_digits[(unsigned char)hex[2 * i + 1]];
        if (!high || !low) return false;
        out[i] = (unsigned char)((high - 1) << 4 | (low - 1));
    }
    return true;
}
