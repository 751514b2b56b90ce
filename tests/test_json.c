/* JSON: the public parsing suite, mutations of valid texts, and round trips of strings. */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* or readdir fails on 32-bit machines with big disks */
#endif
#include "../src/data/data.h"
#include "test.h"

#include <dirent.h>

static agt_status parse(const char *s, size_t n, agt_json *v, agt_error *err) {
    char *exact = malloc(n ? n : 1); /* so that a read past the end is seen */
    if (n) memcpy(exact, s, n);
    agt_status status = agt__json_parse(exact, n, v, err);
    if (status == AGT_OK) v->raw = s + (v->raw - exact);
    free(exact);
    return status;
}

static bool valid(const char *s) {
    agt_json v;
    return parse(s, strlen(s), &v, NULL) == AGT_OK;
}

/* ---- the suite: y_ must be taken, n_ refused, i_ is ours to say ---- */

static const char *const taken_by_choice[] = {
    "i_number_double_huge_neg_exp.json", "i_number_huge_exp.json",
    "i_number_neg_int_huge_exp.json",    "i_number_pos_double_huge_exp.json",
    "i_number_real_neg_overflow.json",   "i_number_real_pos_overflow.json",
    "i_number_real_underflow.json",      "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",     "i_number_very_big_negative_int.json",
};
static const char *const refused_by_choice[] = {
    "i_object_key_lone_2nd_surrogate.json",
    "i_string_1st_surrogate_but_2nd_missing.json",
    "i_string_1st_valid_surrogate_2nd_invalid.json",
    "i_string_UTF-16LE_with_BOM.json",
    "i_string_UTF-8_invalid_sequence.json",
    "i_string_UTF8_surrogate_U+D800.json",
    "i_string_incomplete_surrogate_and_escape_valid.json",
    "i_string_incomplete_surrogate_pair.json",
    "i_string_incomplete_surrogates_escape_valid.json",
    "i_string_invalid_lonely_surrogate.json",
    "i_string_invalid_surrogate.json",
    "i_string_invalid_utf-8.json",
    "i_string_inverted_surrogates_U+1D11E.json",
    "i_string_iso_latin_1.json",
    "i_string_lone_second_surrogate.json",
    "i_string_lone_utf8_continuation_byte.json",
    "i_string_not_in_unicode_range.json",
    "i_string_overlong_sequence_2_bytes.json",
    "i_string_overlong_sequence_6_bytes.json",
    "i_string_overlong_sequence_6_bytes_null.json",
    "i_string_truncated-utf-8.json",
    "i_string_utf16BE_no_BOM.json",
    "i_string_utf16LE_no_BOM.json",
    "i_structure_500_nested_arrays.json",
    "i_structure_UTF-8_BOM_empty_object.json",
};

static bool listed(const char *name, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(name, list[i])) return true;
    return false;
}

static bool suite_wants(const char *name) {
    if (name[0] != 'i') return name[0] == 'y';
    bool taken = listed(name, taken_by_choice, AGT_COUNT(taken_by_choice));
    bool refused = listed(name, refused_by_choice, AGT_COUNT(refused_by_choice));
    if (taken == refused) test_fail(__FILE__, __LINE__, "%s is in no list", name);
    return taken;
}

static void suite_each(void (*each)(const char *name, const char *s, size_t n)) {
    char folder[512], path[1024];
    static const char kinds[] = "yni";
    const char *data = test_data();
    struct dirent *e;
    size_t seen[3] = {0};
    if (!data)
        test_skip("no test data: set AGENT_TRACE_TEST_DATA to the folder that has "
                  "json-test-suite in it");
    snprintf(folder, sizeof folder, "%s/json-test-suite/test_parsing", data);
    DIR *d = opendir(folder);
    if (!d) test_skip("no %s", folder);
    while ((e = readdir(d))) {
        size_t n;
        const char *kind = strchr(kinds, e->d_name[0]);
        if (!kind || e->d_name[1] != '_') continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unsigned char *s = test_read_file(path, &n);
        each(e->d_name, (char *)s, n);
        free(s);
        seen[kind - kinds]++;
    }
    closedir(d);
    CHECK_INT(seen[0], 95);
    CHECK_INT(seen[1], 188);
    CHECK_INT(seen[2], 35);
    test_saw("files", seen[0] + seen[1] + seen[2]);
}

static void suite_one(const char *name, const char *s, size_t n) {
    agt_json v;
    agt_error err;
    agt_status status = parse(s, n, &v, &err);
    if ((status == AGT_OK) != suite_wants(name))
        test_fail(__FILE__, __LINE__, "%s: %s", name, status ? err.message : "taken");
    if (status != AGT_OK) CHECK(err.offset >= 0 && err.offset <= (int64_t)n);
}

TEST(json, the_public_suite_is_judged_as_it_says) {
    suite_each(suite_one);
}

/* ---- walking ---- */

/* Visits everything and checks that all slices lie inside their container. */
static size_t walk(const agt_json *v, size_t depth) {
    size_t at = 0, seen = 1;
    agt_json key, value;
    CHECK(v->len > 0 && depth <= AGT_JSON_MAX_DEPTH);
    if (v->kind == AGT_JSON_STRING) {
        char *out = malloc(v->len);
        size_t n = agt__json_unescape(v, out);
        CHECK(n <= v->len - 2);
        CHECK_INT(agt__utf8_valid(out, n), n);
        free(out);
    }
    while (agt__json_next(v, &at, &key, &value)) {
        CHECK(value.raw > v->raw && value.raw + value.len < v->raw + v->len);
        if (v->kind == AGT_JSON_OBJECT) {
            CHECK(key.kind == AGT_JSON_STRING && key.raw + key.len < value.raw);
            seen += walk(&key, depth + 1);
        }
        seen += walk(&value, depth + 1);
    }
    return seen;
}

static const char sample[] =
    " {\"a\" : [1, -2.5e+7, \"x\\ny\\u00e9\\ud83c\\udf32z\", true,false , null, {}, [ ]],\r\n"
    "\t\"long name with \xc3\xa9 in "
    "it\":{\"deep\":{\"er\":[[[\"\"]]]}},\"esc\\u0061ped\":\"\\\\\", "
    "\"a\":2,\"big\":18446744073709551615, \"\":0}\n";

TEST(json, members_and_items_come_in_order_with_their_kinds) {
    agt_json root, v, key, item;
    agt_error err;
    CHECK_OK(agt__json_parse(sample, sizeof sample - 1, &root, &err), err);
    CHECK(root.kind == AGT_JSON_OBJECT && root.raw == sample + 1);
    CHECK_INT(walk(&root, 0), 1 + 6 * 2 + 8 + 2 + 2 + 3);
    CHECK(agt__json_get(&root, "a", &v) && v.kind == AGT_JSON_ARRAY); /* the first of two */
    static const agt_json_kind kinds[] = {AGT_JSON_NUMBER, AGT_JSON_NUMBER, AGT_JSON_STRING,
                                          AGT_JSON_TRUE,   AGT_JSON_FALSE,  AGT_JSON_NULL,
                                          AGT_JSON_OBJECT, AGT_JSON_ARRAY};
    size_t at = 0, i = 0;
    while (agt__json_next(&v, &at, NULL, &item)) {
        CHECK(i < AGT_COUNT(kinds));
        CHECK_INT(item.kind, kinds[i]);
        CHECK_INT(item.escaped, i == 2);
        i++;
    }
    CHECK_INT(i, AGT_COUNT(kinds));
    CHECK(!agt__json_next(&v, &at, NULL, &item)); /* the end stays the end */
    CHECK(agt__json_get(&root, "escaped", &v) && v.kind == AGT_JSON_STRING);
    char out[16];
    CHECK_BYTES(out, agt__json_unescape(&v, out), "\\", 1);
    CHECK(agt__json_get(&root, "", &v) && v.kind == AGT_JSON_NUMBER);
    CHECK(agt__json_get(&root, "long name with \xc3\xa9 in it", &v));
    CHECK(agt__json_get(&v, "deep", &v) && agt__json_get(&v, "er", &v));
    CHECK(!agt__json_get(&v, "er", &v)); /* an array has no members */
    CHECK(!agt__json_get(&root, "b", &v) && !agt__json_get(&root, "esc", &v));
    CHECK(!agt__json_get(&root, "escaped!", &v));
    at = 0;
    key.kind = AGT_JSON_NONE;
    CHECK(agt__json_get(&root, "big", &v));
    CHECK(!agt__json_next(&v, &at, &key, &item)); /* nor has a number items */
}

TEST(json, strings_unescape_to_what_they_say) {
    static const struct {
        const char *json, *text;
        size_t len;
    } known[] = {
        {"\"\"", "", 0},
        {"\"plain\"", "plain", 5},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0000\"", "\0", 1},
        {"\"\\u0041\\u00E9\\u20aC\"", "A\xc3\xa9\xe2\x82\xac", 6},
        {"\"\\uD83C\\uDF32\"", "\xf0\x9f\x8c\xb2", 4},
        {"\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf", 4},
        {"\"a\\\\u0041\"", "a\\u0041", 7},
    };
    for (size_t i = 0; i < AGT_COUNT(known); i++) {
        agt_json v;
        agt_error err;
        char out[64];
        CHECK_OK(agt__json_parse(known[i].json, strlen(known[i].json), &v, &err), err);
        CHECK_BYTES(out, agt__json_unescape(&v, out), known[i].text, known[i].len);
        CHECK_INT(v.escaped, strchr(known[i].json, '\\') != NULL);
    }
}

TEST(json, integers_are_exact_or_refused) {
    static const struct {
        const char *json;
        bool u, i;
        uint64_t uv;
        int64_t iv;
    } known[] = {
        {"0", true, true, 0, 0},
        {"-0", false, true, 0, 0},
        {"1", true, true, 1, 1},
        {"-1", false, true, 0, -1},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", true, false, (uint64_t)INT64_MAX + 1, 0},
        {"-9223372036854775808", false, true, 0, INT64_MIN},
        {"-9223372036854775809", false, false, 0, 0},
        {"18446744073709551615", true, false, UINT64_MAX, 0},
        {"18446744073709551616", false, false, 0, 0},
        {"99999999999999999999999", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"1e0", false, false, 0, 0},
        {"\"1\"", false, false, 0, 0},
        {"true", false, false, 0, 0},
    };
    for (size_t i = 0; i < AGT_COUNT(known); i++) {
        agt_json v;
        agt_error err;
        uint64_t u = 0;
        int64_t n = 0;
        CHECK_OK(agt__json_parse(known[i].json, strlen(known[i].json), &v, &err), err);
        CHECK_INT(agt__json_u64(&v, &u), known[i].u);
        CHECK_INT(agt__json_i64(&v, &n), known[i].i);
        CHECK(u == known[i].uv);
        CHECK_INT(n, known[i].iv);
    }
}

/* ---- refusing ---- */

TEST(json, an_error_names_the_offending_byte) {
    static const struct {
        const char *json;
        int64_t offset;
        const char *words;
    } known[] = {
        {"", 0, "ends too early"},
        {"  ", 2, "ends too early"},
        {"{\"a\":}", 5, "a value is expected"},
        {"[1 2]", 3, "a comma or ]"},
        {"{\"a\" 1}", 5, "a colon"},
        {"{\"a\":1,}", 7, "name in quotes"},
        {"{a:1}", 1, "name in quotes"},
        {"[1,]", 3, "a value is expected"},
        {"[1}", 2, "a comma or ]"},
        {"{\"a\":1]", 6, "a comma or }"},
        {"01", 1, "needless zero"},
        {"1.", 2, "ends too early"},
        {"1.x", 2, "a fraction"},
        {"1e+", 3, "ends too early"},
        {"1ex", 2, "an exponent"},
        {"trux", 3, "a value is expected"},
        {"\"a\nb\"", 2, "control byte"},
        {"\"a\xff\"", 2, "UTF-8"},
        {"\"\\x\"", 1, "escape"},
        {"\"\\u12g4\"", 1, "hexadecimal"},
        {"\"\\ud800x......\"", 1, "surrogates"},
        {"\"\\udc00\\ud800\"", 1, "surrogates"},
        {"\"abc", 4, "ends too early"},
        {"1 1", 2, "something follows"},
        {"{}}", 2, "something follows"},
    };
    for (size_t i = 0; i < AGT_COUNT(known); i++) {
        agt_json v;
        agt_error err;
        CHECK_STATUS(parse(known[i].json, strlen(known[i].json), &v, &err), AGT_INVALID, err);
        if (err.offset != known[i].offset || !strstr(err.message, known[i].words))
            test_fail(__FILE__, __LINE__, "%s: offset %" PRId64 ", %s", known[i].json, err.offset,
                      err.message);
        CHECK_INT(v.kind, AGT_JSON_NONE);
    }
}

TEST(json, a_valid_text_cut_at_any_byte_is_refused_at_its_end) {
    size_t n = sizeof sample - 2; /* without the last line feed */
    for (size_t cut = 0; cut < n; cut++) {
        agt_json v;
        agt_error err;
        CHECK_STATUS(parse(sample, cut, &v, &err), AGT_INVALID, err);
        CHECK(err.offset <= (int64_t)cut && err.offset + 12 >= (int64_t)cut);
    }
    agt_json v;
    agt_error err;
    CHECK_OK(parse(sample, n, &v, &err), err);
}

static void nest(char *s, size_t depth, bool mixed) {
    size_t at = 0;
    for (size_t i = 0; i < depth; i++) {
        if (mixed && i % 3)
            at += (size_t)sprintf(s + at, "{\"k\":");
        else
            s[at++] = '[';
    }
    s[at++] = '0';
    for (size_t i = depth; i-- > 0;)
        s[at++] = mixed && i % 3 ? '}' : ']';
    s[at] = 0;
}

TEST(json, nesting_is_taken_to_the_limit_and_refused_one_past_it) {
    char s[2000];
    agt_json v;
    agt_error err;
    for (int mixed = 0; mixed < 2; mixed++) {
        nest(s, AGT_JSON_MAX_DEPTH, mixed);
        CHECK_OK(parse(s, strlen(s), &v, &err), err);
        size_t seen = 0;
        for (;;) {
            size_t at = 0;
            agt_json key, inner;
            if (!agt__json_next(&v, &at, &key, &inner)) break;
            v = inner;
            seen++;
        }
        CHECK_INT(seen, AGT_JSON_MAX_DEPTH);
        nest(s, AGT_JSON_MAX_DEPTH + 1, mixed);
        CHECK_STATUS(parse(s, strlen(s), &v, &err), AGT_LIMIT, err);
    }
    char *many = malloc(1000000);
    memset(many, '[', 1000000);
    CHECK_STATUS(agt__json_parse(many, 1000000, &v, &err), AGT_LIMIT, err);
    CHECK_INT(err.offset, AGT_JSON_MAX_DEPTH);
    free(many);
}

TEST(json, what_the_grammar_denies_is_refused) {
    static const char *const bad[] = {
        "nul",
        "NULL",
        "True",
        "+1",
        "-",
        ".5",
        "-.5",
        "1.e5",
        "0x10",
        "1_000",
        "Infinity",
        "NaN",
        "'a'",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "[,]",
        "[,1]",
        "[1,,2]",
        "{,}",
        "{\"a\":1,,\"b\":2}",
        "{1:2}",
        "{null:1}",
        "[\"a\":1]",
        "{\"a\",\"b\"}",
        "\"\t\"",
        "\"\\\"",
        "\"\\u\"",
        "\"\\u00\"",
        "\"\\U0041\"",
        "\xef\xbb\xbf{}",
        "// c\n1",
        "1 /* c */",
        "\f1",
        "\v1",
        "\xc2\xa0[]",
        "-01",
        "--1",
        "1-",
        "1e5.5",
        "\"\\ud83c\"",
        "\"\\ud83c\\n\"",
        "\"\\ud83c\\u0041\"",
        "\"\xed\xa0\x80\"",
        "\"\xc0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\x01\"",
        "\"\\\n\"",
        "[1]]",
        "\"a\"\"b\"",
        "truefalse",
        "1 null",
    };
    for (size_t i = 0; i < AGT_COUNT(bad); i++)
        if (valid(bad[i])) test_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
    agt_json v;
    CHECK_INT(parse("1\0", 2, &v, NULL), AGT_INVALID);
    CHECK_INT(parse("\"a\0b\"", 5, &v, NULL), AGT_INVALID);
    CHECK(valid("\"\x7f\"") && valid(" \t\r\n0\t") && valid("-0.0e-0") && valid("1E+2"));
}

/* ---- a second parser, recursive and simple, that must agree on mutated texts ---- */

typedef struct slow {
    const char *s, *end;
} slow;

static void slow_blank(slow *p) {
    while (p->s < p->end && strchr(" \t\r\n", *p->s) && *p->s)
        p->s++;
}

static bool slow_take(slow *p, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(p->end - p->s) < n || memcmp(p->s, word, n) != 0) return false;
    p->s += n;
    return true;
}

static bool slow_digits(slow *p) {
    const char *from = p->s;
    while (p->s < p->end && *p->s >= '0' && *p->s <= '9')
        p->s++;
    return p->s > from;
}

static int slow_unit(slow *p) {
    char text[5] = {0};
    if (p->end - p->s < 4) return -1;
    memcpy(text, p->s, 4);
    for (int i = 0; i < 4; i++)
        if (!text[i] || !strchr("0123456789abcdefABCDEF", text[i])) return -1;
    p->s += 4;
    return (int)strtol(text, NULL, 16);
}

static bool slow_string(slow *p) {
    if (!slow_take(p, "\"")) return false;
    while (p->s < p->end) {
        if (slow_take(p, "\"")) return true;
        if (slow_take(p, "\\u")) {
            int a = slow_unit(p), b;
            if (a < 0 || (a >= 0xdc00 && a < 0xe000)) return false;
            if (a < 0xd800 || a >= 0xe000) continue;
            if (!slow_take(p, "\\u") || (b = slow_unit(p)) < 0xdc00 || b > 0xdfff) return false;
        } else if (slow_take(p, "\\")) {
            if (p->s == p->end || !*p->s || !strchr("\"\\/bfnrt", *p->s)) return false;
            p->s++;
        } else {
            size_t n = agt__utf8_char(p->s, (size_t)(p->end - p->s));
            if (n == 0 || (unsigned char)*p->s < 0x20) return false;
            p->s += n;
        }
    }
    return false;
}

static bool slow_number(slow *p) {
    slow_take(p, "-");
    if (!slow_take(p, "0") && !slow_digits(p)) return false;
    if (slow_take(p, ".") && !slow_digits(p)) return false;
    if (!slow_take(p, "e") && !slow_take(p, "E")) return true;
    if (!slow_take(p, "+")) slow_take(p, "-");
    return slow_digits(p);
}

static bool slow_value(slow *p, int depth) {
    if (p->s == p->end) return false;
    char open = *p->s;
    if (open == '"') return slow_string(p);
    if (slow_take(p, "true") || slow_take(p, "false") || slow_take(p, "null")) return true;
    if (!slow_take(p, "{") && !slow_take(p, "[")) return slow_number(p);
    const char *close = open == '{' ? "}" : "]";
    if (depth == AGT_JSON_MAX_DEPTH) return false;
    slow_blank(p);
    if (slow_take(p, close)) return true;
    for (;;) {
        slow_blank(p);
        if (open == '{') {
            if (!slow_string(p)) return false;
            slow_blank(p);
            if (!slow_take(p, ":")) return false;
            slow_blank(p);
        }
        if (!slow_value(p, depth + 1)) return false;
        slow_blank(p);
        if (slow_take(p, close)) return true;
        if (!slow_take(p, ",")) return false;
    }
}

static bool slow_valid(const char *s, size_t n) {
    slow p = {s, s + n};
    slow_blank(&p);
    if (!slow_value(&p, 0)) return false;
    slow_blank(&p);
    return p.s == p.end;
}

static size_t mutants_taken, mutants_refused;

static void mutate_and_compare(const char *s, size_t n, int rounds) {
    static const char alphabet[] =
        "{}[]\",:\\u0019eE+-. \n\ttrfnd8\xc3\xa9\xf0\x9f\x8c\xb2\xed\xff\x01/b";
    char m[600];
    if (n == 0 || n > sizeof m - 8) return;
    for (int round = 0; round < rounds; round++) {
        size_t len = n;
        memcpy(m, s, n);
        for (uint64_t edits = 1 + test_random_below(3); edits && len; edits--) {
            size_t at = (size_t)test_random_below(len);
            char c = alphabet[test_random_below(sizeof alphabet - 1)];
            switch (test_random_below(4)) {
            case 0: m[at] = c; break;
            case 1: memmove(m + at, m + at + 1, --len - at); break;
            case 2:
                memmove(m + at + 1, m + at, len++ - at);
                m[at] = c;
                break;
            default: m[at] = m[test_random_below(len)]; break;
            }
        }
        agt_json v;
        bool ours = parse(m, len, &v, NULL) == AGT_OK;
        if (ours != slow_valid(m, len))
            test_fail(__FILE__, __LINE__, "judged otherwise (%d): %.*s", ours, (int)len, m);
        if (ours) walk(&v, 0);
        *(ours ? &mutants_taken : &mutants_refused) += 1;
    }
}

TEST(json, mutated_texts_are_judged_as_by_a_simple_second_parser) {
    mutants_taken = mutants_refused = 0;
    mutate_and_compare(sample, sizeof sample - 1, 30000);
    mutate_and_compare("[1,2.5e-3,\"\\u00e9\\ud83c\\udf32\",{\"a\":true}]", 43, 30000);
    mutate_and_compare("\"\\u0041\xc3\xa9\"", 10, 10000);
    mutate_and_compare("-10.25E+3", 9, 10000);
    CHECK(mutants_taken > 2000 && mutants_refused > 20000);
    test_saw("mutants taken", mutants_taken);
}

static void suite_mutants(const char *name, const char *s, size_t n) {
    (void)name;
    mutate_and_compare(s, n, 100);
}

TEST(json, mutants_of_the_public_suite_are_judged_as_by_the_second_parser) {
    mutants_taken = mutants_refused = 0;
    suite_each(suite_mutants);
    CHECK(mutants_taken > 1000 && mutants_refused > 10000);
}

/* ---- writing ---- */

TEST(json, a_written_string_is_read_back_byte_for_byte) {
    agt_mem m = agt__mem(NULL);
    for (int round = 0; round < 30000; round++) {
        static const uint32_t tops[] = {0x20, 0x60, 0x80, 0x80, 0x80, 0x800, 0x10000, 0x110000};
        char text[400], out[2000];
        size_t n = 0, want = (size_t)test_random_below(round % 50 ? 40 : 390);
        while (n < want) {
            uint32_t code = (uint32_t)test_random_below(tops[test_random_below(AGT_COUNT(tops))]);
            n += agt__utf8_put(text + n, code >= 0xd800 && code < 0xe000 ? '"' : code);
        }
        char *exact = malloc(n ? n : 1);
        memcpy(exact, text, n);
        agt_buf b = agt__buf(&m);
        agt_json v;
        agt_error err;
        agt__json_put_string(&b, exact, n);
        free(exact);
        CHECK_OK(agt__json_parse((char *)b.data, b.len, &v, &err), err);
        CHECK(v.kind == AGT_JSON_STRING && v.len == b.len && v.len <= sizeof out);
        CHECK_BYTES(out, agt__json_unescape(&v, out), text, n);
        agt__buf_free(&b);
    }
}

TEST(json, strings_are_written_as_rfc_8785_says) {
    static const struct {
        const char *text;
        size_t len;
        const char *json;
    } known[] = {
        {"", 0, "\"\""},
        {"/a\x7f", 3, "\"/a\x7f\""},
        {"\"\\\b\t\n\f\r", 7, "\"\\\"\\\\\\b\\t\\n\\f\\r\""},
        {"\0\x01\x1f", 3, "\"\\u0000\\u0001\\u001f\""},
        {"\xe2\x82\xac", 3, "\"\xe2\x82\xac\""},
        {"a\xff"
         "b",
         3,
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"12345678\n12345678901", 20, "\"12345678\\n12345678901\""},
    };
    agt_mem m = agt__mem(NULL);
    for (size_t i = 0; i < AGT_COUNT(known); i++) {
        agt_buf b = agt__buf(&m);
        agt__json_put_string(&b, known[i].text, known[i].len);
        CHECK_BYTES(b.data, b.len, known[i].json, strlen(known[i].json));
        agt__buf_free(&b);
    }
}

TEST(json, any_bytes_at_all_are_written_as_a_valid_string) {
    agt_mem m = agt__mem(NULL);
    size_t replaced = 0;
    for (int round = 0; round < 20000; round++) {
        char text[64], out[400];
        size_t n = (size_t)test_random_below(sizeof text), at = 0, to = 0;
        char model[400];
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(test_random_below(3) ? test_random() : test_random_below(128));
        while (at < n) { /* the model: one U+FFFD for each byte that is in no character */
            size_t len = agt__utf8_char(text + at, n - at);
            memcpy(model + to, len ? text + at : "\xef\xbf\xbd", len ? len : 3);
            to += len ? len : 3;
            at += len ? len : 1;
            replaced += !len;
        }
        agt_buf b = agt__buf(&m);
        agt_json v;
        agt_error err;
        agt__json_put_string(&b, text, n);
        CHECK_OK(agt__json_parse((char *)b.data, b.len, &v, &err), err);
        CHECK_BYTES(out, agt__json_unescape(&v, out), model, to);
        agt__buf_free(&b);
    }
    CHECK(replaced > 1000);
}
