/* message: the commit messages of agent-trace 0.1.0.
 *
 *     [agent-trace] <action> <type of the first file>: <its path>
 *                                                 an empty line
 *     summary: <one line>
 *     actor: user, system or agent:<name>
 *     agent: <name>                               maybe
 *     session: <id>                               maybe
 *     file:<TAB><path><TAB><action><TAB><type>    one a file
 *
 * Its writer escaped nothing, so a file name or a replaced text with line breaks in it could add
 * lines that say somebody else did it. What such a text adds breaks the order of the lines or makes
 * one stand twice: a message that is not exactly this is not plain, and nothing but the beginning
 * of its summary is taken from it. */
#include "old.h"

#define MESSAGE_TAG "[agent-trace] "

/* The next line without its end; false at the end of the text. */
static bool message_line(agt_text text, size_t *at, agt_text *line) {
    if (*at >= text.len) return false;
    const char *p = text.data + *at, *end = memchr(p, '\n', text.len - *at);
    line->data = p;
    line->len = end ? (size_t)(end - p) : text.len - *at;
    *at += line->len + (end != NULL);
    return true;
}

/* Is the line "<label><rest>"? */
static bool message_label(agt_text line, const char *label, agt_text *rest) {
    size_t n = strlen(label);
    if (line.len < n || memcmp(line.data, label, n) != 0) return false;
    *rest = (agt_text){line.data + n, line.len - n};
    return true;
}

static agt_text message_word(agt_text word, const char *const *known, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (agt__text_is(word, known[i])) return word;
    return agt__text("");
}

static agt_text message_action(agt_text word) {
    static const char *const known[] = {"create",  "modify",    "delete", "rename",
                                        "restore", "violation", "init",   "unknown"};
    return message_word(word, known, AGT_COUNT(known));
}

static bool message_row(agt_text line, agt_old_row *out) {
    static const char *const types[] = {"plan", "context", "log", "reference", "scratch"};
    agt_text rest;
    if (!message_label(line, "file:\t", &rest)) return false;
    const char *end = rest.data + rest.len, *one = memchr(rest.data, '\t', rest.len);
    const char *two = one ? memchr(one + 1, '\t', (size_t)(end - one - 1)) : NULL;
    if (!two || one == rest.data || memchr(two + 1, '\t', (size_t)(end - two - 1))) return false;
    out->path = (agt_text){rest.data, (size_t)(one - rest.data)};
    out->action = message_action((agt_text){one + 1, (size_t)(two - one - 1)});
    out->type = message_word((agt_text){two + 1, (size_t)(end - two - 1)}, types, AGT_COUNT(types));
    return out->action.len && out->type.len;
}

AGT_PRIVATE bool agt__old_row_next(agt_text rows, size_t *at, agt_old_row *out) {
    agt_text line;
    return message_line(rows, at, &line) && message_row(line, out);
}

/* The lines behind the empty one, in their order; true if there is nothing else. */
static bool message_body(agt_text text, size_t at, agt_old_message *out) {
    agt_text line;
    agt_old_row row;
    bool more = message_line(text, &at, &line);
    if (!more || !message_label(line, "summary: ", &out->summary)) return false;
    more = message_line(text, &at, &line);
    if (!more || !message_label(line, "actor: ", &out->actor)) return false;
    size_t begin = at;
    more = message_line(text, &at, &line);
    if (more && message_label(line, "agent: ", &out->agent)) {
        begin = at;
        more = message_line(text, &at, &line);
    }
    if (more && message_label(line, "session: ", &out->session)) {
        begin = at;
        more = message_line(text, &at, &line);
    }
    out->rows = (agt_text){text.data + begin, text.len - begin};
    for (; more; more = message_line(text, &at, &line))
        if (!message_row(line, &row)) return false;
    return true;
}

/* The subject names the first row. */
static bool message_subject(agt_text rest, const agt_old_message *m) {
    agt_old_row row;
    size_t at = 0, n = m->action.len;
    if (!agt__old_row_next(m->rows, &at, &row)) return rest.len == n;
    size_t want = n + 1 + row.type.len + 2 + row.path.len;
    const char *p = rest.data + n;
    return rest.len == want && p[0] == ' ' && memcmp(p + 1, row.type.data, row.type.len) == 0 &&
           memcmp(p + 1 + row.type.len, ": ", 2) == 0 &&
           memcmp(p + 3 + row.type.len, row.path.data, row.path.len) == 0;
}

/* The first line that begins with "summary: ", or nothing. */
static agt_text message_summary(agt_text text) {
    agt_text line, rest;
    for (size_t at = 0; message_line(text, &at, &line);)
        if (message_label(line, "summary: ", &rest)) return rest;
    return agt__text("");
}

AGT_PRIVATE void agt__old_message(agt_text message, agt_old_message *out) {
    agt_text line, rest, empty;
    size_t at = 0, n = 0;
    memset(out, 0, sizeof *out);
    while (message.len && message.data[message.len - 1] == '\n')
        message.len--;
    if (!message_line(message, &at, &line) || !message_label(line, MESSAGE_TAG, &rest)) {
        out->action = agt__text("unknown");
        out->summary = message;
        return;
    }
    while (n < rest.len && rest.data[n] != ' ')
        n++;
    out->action = message_action((agt_text){rest.data, n});
    bool known = out->action.len > 0;
    out->plain = known && message_line(message, &at, &empty) && !empty.len &&
                 message_body(message, at, out) && message_subject(rest, out);
    if (!known) out->action = agt__text("unknown");
    if (out->plain) return;
    out->actor = out->agent = out->session = out->rows = (agt_text){NULL, 0};
    out->summary = message_summary(message);
}
