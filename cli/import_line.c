/* import_line: one line of an import.
 *
 * The line is an object. Known members have one type each, may stand once, and are checked before
 * anything is done; unknown members are only checked to be JSON. */
#include "import_line.h"

#include "json.h"

#include <stdio.h>
#include <string.h>

typedef enum line_member {
    LINE_ACTOR = 0,
    LINE_ACTION,
    LINE_PATH,
    LINE_CONTENT,
    LINE_TYPE,
    LINE_TS,
    LINE_SESSION,
    LINE_MEMBERS
} line_member;

static const char *const line_names[LINE_MEMBERS] = {"actor", "action", "path",   "content",
                                                     "type",  "ts",     "session"};

typedef struct line_fields {
    bool seen[LINE_MEMBERS];
    json_kind kind[LINE_MEMBERS]; /* 0: missing or null */
    char *text[LINE_MEMBERS];     /* of strings and numbers */
    size_t len[LINE_MEMBERS];
} line_fields;

static bool line_keep(line_fields *f, line_member m, json_value *value, char *why, size_t size) {
    bool wanted = value->kind == JSON_STRING || (m == LINE_TS && value->kind == JSON_NUMBER);
    if (f->seen[m]) {
        (void)snprintf(why, size, "\"%s\" stands twice", line_names[m]);
        return false;
    }
    f->seen[m] = true;
    if (value->kind == JSON_NULL) return true;
    if (!wanted) {
        (void)snprintf(why, size, "\"%s\" must be a string%s", line_names[m],
                       m == LINE_TS ? " or a number" : "");
        return false;
    }
    f->kind[m] = value->kind;
    f->text[m] = value->raw;
    f->len[m] = value->len;
    if (value->kind == JSON_STRING) f->text[m] = json_text(value, &f->len[m]);
    if (m == LINE_CONTENT || !memchr(f->text[m], 0, f->len[m])) return true;
    (void)snprintf(why, size, "\"%s\" has a NUL byte in it", line_names[m]);
    return false;
}

static bool line_fields_read(line_fields *f, char *text, size_t len, char *why, size_t size) {
    json_value root, key, value;
    json_error error;
    size_t at = 0, name_len;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        (void)snprintf(why, size, "a byte order mark stands in front; write UTF-8 without one");
        return false;
    }
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        (void)snprintf(why, size, "this is UTF-16; write it as UTF-8");
        return false;
    }
    if (!json_read(text, len, &root, &error)) {
        (void)snprintf(why, size, "no valid JSON: %s (byte %zu)", error.why, error.offset);
        return false;
    }
    if (root.kind != JSON_OBJECT) {
        (void)snprintf(why, size, "not a JSON object");
        return false;
    }
    while (json_next(&root, &at, &key, &value)) {
        const char *name = json_text(&key, &name_len);
        for (int m = 0; m < LINE_MEMBERS; m++)
            if (strlen(line_names[m]) == name_len && memcmp(line_names[m], name, name_len) == 0 &&
                !line_keep(f, (line_member)m, &value, why, size))
                return false;
    }
    return true;
}

static bool line_time(const line_fields *f, agt_write_options *o, char *why, size_t size) {
    const char *s = f->text[LINE_TS];
    size_t n = f->len[LINE_TS];
    if (!f->kind[LINE_TS]) return true;
    bool good = f->kind[LINE_TS] == JSON_NUMBER ? time_parse_seconds(s, n, &o->at_unix_ms)
                                                : time_parse(s, n, &o->at_unix_ms);
    o->has_time = 1;
    if (!good)
        (void)snprintf(why, size,
                       "\"ts\" must be unix seconds or an RFC 3339 time, from 1970 to 9999");
    return good;
}

/* "create" and "modify" both write. */
static bool line_action(const line_fields *f, agt_change *change, char *why, size_t size) {
    const char *action = f->text[LINE_ACTION];
    bool writes = action && (strcmp(action, "create") == 0 || strcmp(action, "modify") == 0);
    bool removes = action && strcmp(action, "delete") == 0;
    if (removes) change->kind = AGT_CHANGE_REMOVE;
    if (!action)
        (void)snprintf(why, size, "\"action\" is missing");
    else if (!writes && !removes)
        (void)snprintf(why, size, "\"action\" must be create, modify or delete, not \"%.40s\"",
                       action);
    else if (!f->text[LINE_PATH])
        (void)snprintf(why, size, "\"path\" is missing");
    else if (writes && !f->text[LINE_CONTENT])
        (void)snprintf(why, size, "\"content\" is missing; only a delete goes without");
    else
        return true;
    return false;
}

static bool line_actor(const line_fields *f, import_line *line, char *why, size_t size) {
    if (f->text[LINE_ACTOR]) line->caller.actor = f->text[LINE_ACTOR];
    const char *actor = line->caller.actor;
    if (!actor)
        (void)snprintf(why, size, "\"actor\" is missing");
    else if (agt_permission(actor, AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, NULL) == AGT_INVALID)
        (void)snprintf(why, size, "\"actor\" must be user, system or agent:NAME, not \"%.80s\"",
                       actor);
    else
        return true;
    return false;
}

bool import_line_read(import_line *line, size_t len, const agt_caller *fallback, char *why,
                      size_t size) {
    const agt_write_options options = AGT_WRITE_OPTIONS_INIT;
    const agt_change change = AGT_CHANGE_INIT;
    line_fields f;
    memset(&f, 0, sizeof f);
    line->caller = *fallback;
    line->options = options;
    line->change = change;
    if (!line_fields_read(&f, line->text, len, why, size)) return false;
    if (!line_action(&f, &line->change, why, size) || !line_actor(&f, line, why, size) ||
        !line_time(&f, &line->options, why, size))
        return false;
    if (f.text[LINE_TYPE]) {
        line->options.type = agt_type_from_name(f.text[LINE_TYPE]);
        if (!line->options.type) {
            (void)snprintf(why, size,
                           "\"type\" must be plan, context, log, reference or scratch, not "
                           "\"%.40s\"",
                           f.text[LINE_TYPE]);
            return false;
        }
    }
    line->caller.session = f.text[LINE_SESSION];
    line->change.caller = &line->caller;
    line->change.options = &line->options;
    line->change.path = f.text[LINE_PATH];
    line->change.bytes = f.text[LINE_CONTENT];
    line->change.len = f.text[LINE_CONTENT] ? f.len[LINE_CONTENT] : 0;
    return true;
}
