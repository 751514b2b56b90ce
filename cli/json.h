/* json: reading JSON (RFC 8259), strictly: valid UTF-8, no lone surrogates, nothing behind the
 * value, at most JSON_MAX_DEPTH levels. Values are slices of the input; nothing is allocated. */
#ifndef AGENT_TRACE_CLI_JSON_H
#define AGENT_TRACE_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_MAX_DEPTH 128

typedef enum json_kind {
    JSON_NULL = 1,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_kind;

typedef struct json_value {
    json_kind kind;
    char *raw; /* the value's own bytes, quotes and brackets included */
    size_t len;
} json_value;

/* Why and where it is no JSON. `why` is never NULL after a failure. */
typedef struct json_error {
    const char *why;
    size_t offset;
} json_error;

/* Checks that the n bytes are exactly one JSON text, with white space around it allowed. */
bool json_read(char *s, size_t n, json_value *out, json_error *error);

/* Walks the members of an object, or the items of an array (key may be NULL), that json_read
 * accepted. Start with *at = 0; false at the end. json_text may be called on what it hands out. */
bool json_next(const json_value *container, size_t *at, json_value *key, json_value *value);

/* The text of a string, unescaped in place and NUL-terminated where the quote was. The value is
 * used up: call it once. */
char *json_text(json_value *string, size_t *len);

#endif /* AGENT_TRACE_CLI_JSON_H */
