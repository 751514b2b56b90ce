/* text: UTF-8 as far as printing and checking need it, and numbers. */
#include "text.h"

#include "width_table.h"

size_t text_next(const char *s, size_t n, uint32_t *code) {
    const unsigned char *p = (const unsigned char *)s;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = p[0];
    if (c < 0x80) {
        *code = c;
        return 1;
    }
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || len > n) return 0;
    c &= 0x7fu >> len;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0u) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
    *code = c;
    return len;
}

bool text_is_utf8(const char *s, size_t n) {
    uint32_t code;
    for (size_t i = 0, len; i < n; i += len)
        if ((len = text_next(s + i, n - i, &code)) == 0) return false;
    return true;
}

/* The ranges are in order. */
static bool text_in(uint32_t code, const text_range *ranges, size_t count) {
    while (count > 0) {
        size_t half = count / 2;
        if (code < ranges[half].from) {
            count = half;
        } else if (code > ranges[half].to) {
            ranges += half + 1;
            count -= half + 1;
        } else {
            return true;
        }
    }
    return false;
}
#define TEXT_IN(code, ranges) text_in(code, ranges, sizeof(ranges) / sizeof((ranges)[0]))

int text_columns(uint32_t code) {
    if (code < 0x300) return 1;
    if (TEXT_IN(code, text_none)) return 0;
    return TEXT_IN(code, text_wide) ? 2 : 1;
}

bool text_unsafe(uint32_t code) {
    static const text_range unsafe[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},
                                        {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};
    return TEXT_IN(code, unsafe);
}

bool text_number(const char *s, uint64_t max, uint64_t *out) {
    uint64_t value = 0;
    if (!*s) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
        uint64_t digit = (uint64_t)(*s - '0');
        if (digit > max || value > (max - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}
