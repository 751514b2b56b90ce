/* text: UTF-8 as far as printing and checking need it, and numbers. */
#include "text.h"

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

typedef struct text_range {
    uint32_t from, to;
} text_range;

static bool text_in(uint32_t code, const text_range *ranges, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i].from && code <= ranges[i].to) return true;
    return false;
}
#define TEXT_IN(code, ranges) text_in(code, ranges, sizeof(ranges) / sizeof((ranges)[0]))

int text_columns(uint32_t code) {
    static const text_range none[] = {
        {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},    {0x610, 0x61a},   {0x64b, 0x65f},
        {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f},  {0x20d0, 0x20ff}, {0xfe00, 0xfe0f},
        {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef}};
    static const text_range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0x4dbf},
                                      {0x4e00, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},
                                      {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
                                      {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff},
                                      {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
    if (code < 0x300) return 1;
    if (TEXT_IN(code, none)) return 0;
    return TEXT_IN(code, wide) ? 2 : 1;
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
