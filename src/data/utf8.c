/* utf8: what is valid UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing past U+10FFFF.
 *
 * The second byte decides everything that the first leaves open:
 *
 *     C2..DF  80..BF                 F0      90..BF 80..BF 80..BF
 *     E0      A0..BF 80..BF          F1..F3  80..BF 80..BF 80..BF
 *     E1..EC  80..BF 80..BF          F4      80..8F 80..BF 80..BF
 *     ED      80..9F 80..BF
 *     EE..EF  80..BF 80..BF          everything else begins no character
 */
#include "data.h"

static bool utf8_tail(unsigned char c) {
    return (c & 0xc0) == 0x80;
}

AGT_PRIVATE size_t agt__utf8_char(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0) return 0;
    if (s[0] < 0x80) return 1;
    if (n < 2 || s[0] < 0xc2 || !utf8_tail(s[1])) return 0;
    if (s[0] < 0xe0) return 2;
    if (n < 3 || !utf8_tail(s[2])) return 0;
    if (s[0] < 0xf0) {
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
        return 3;
    }
    if (n < 4 || s[0] > 0xf4 || !utf8_tail(s[3])) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return 4;
}

AGT_PRIVATE uint32_t agt__utf8_code(const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    if (len == 1) return s[0];
    uint32_t code = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (s[i] & 0x3fu);
    return code;
}

AGT_PRIVATE size_t agt__utf8_put(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)((0xf00u >> len & 0xf0) | code);
    return len;
}

AGT_PRIVATE size_t agt__utf8_valid(const char *s, size_t n) {
    const uint64_t high = 0x8080808080808080u;
    size_t at = 0, len;
    while (at < n) {
        for (uint64_t a, b; n - at >= 16; at += 16) {
            memcpy(&a, s + at, 8);
            memcpy(&b, s + at + 8, 8);
            if ((a | b) & high) break;
        }
        while (at < n && (unsigned char)s[at] < 0x80)
            at++;
        while (at < n && (unsigned char)s[at] >= 0x80) {
            len = agt__utf8_char(s + at, n - at);
            if (len == 0) return at;
            at += len;
        }
    }
    return n;
}
