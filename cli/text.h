/* text: UTF-8 as far as printing and checking need it, and numbers. Pure. */
#ifndef AGENT_TRACE_CLI_TEXT_H
#define AGENT_TRACE_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the character at s (n > 0 bytes). Returns its length, or 0 if the bytes there are not
 * valid UTF-8 (overlong, a surrogate, beyond U+10FFFF, cut short). */
size_t text_next(const char *s, size_t n, uint32_t *code);
bool text_is_utf8(const char *s, size_t n);
/* Terminal columns of a character: 0, 1 or 2. */
int text_columns(uint32_t code);
/* Must not reach a terminal as it is: control characters and those that turn the direction. */
bool text_unsafe(uint32_t code);
/* A decimal number up to `max`; false for anything else, a sign and white space included. */
bool text_number(const char *s, uint64_t max, uint64_t *out);

#endif /* AGENT_TRACE_CLI_TEXT_H */
