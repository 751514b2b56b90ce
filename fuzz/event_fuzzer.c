/* Any bytes as a line of the trace. What is accepted is written and read again with the same
 * fields, its seq is found alone, and the reader of canonical lines and the general one agree: the
 * general one gets the line with a blank behind the brace. */
#include "../src/log/event.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int c) {
    if (!c) abort();
}

static void same_text(agt_text a, agt_text b) {
    must(!a.data == !b.data && agt__text_eq(a, b));
}

static void same(const agt_event *a, const agt_event *b) {
    must(a->seq == b->seq && a->version == b->version && a->doc_prev == b->doc_prev);
    must(a->at_unix_ms == b->at_unix_ms && a->recorded_unix_ms == b->recorded_unix_ms);
    must(a->lines_added == b->lines_added && a->lines_removed == b->lines_removed);
    same_text(a->actor, b->actor);
    same_text(a->agent_name, b->agent_name);
    same_text(a->session_id, b->session_id);
    same_text(a->action, b->action);
    same_text(a->change_kind, b->change_kind);
    same_text(a->path, b->path);
    same_text(a->doc_type, b->doc_type);
    same_text(a->summary, b->summary);
    same_text(a->source, b->source);
    same_text(a->detected_by, b->detected_by);
    same_text(a->replica, b->replica);
    same_text(a->blob, b->blob);
    same_text(a->doc, b->doc);
    same_text(a->prev, b->prev);
    same_text(a->rejected, b->rejected);
}

static void check_again(const agt_mem *mem, agt_event *e) {
    agt_buf line = agt__buf(mem), scratch = agt__buf(mem), twice = agt__buf(mem);
    agt_event again;
    agt_status st = agt__event_format(&line, e, NULL);
    /* what others wrote shorter than we do may be too long for us */
    must(st == AGT_OK || (st == AGT_LIMIT && line.len == 0 && e->line.len > AGT_MAX_EVENT / 8));
    if (st == AGT_OK) {
        must(line.len <= AGT_MAX_EVENT);
        must(agt__event_parse((const char *)line.data, line.len, &scratch, &again, NULL) == AGT_OK);
        same(e, &again);
        must(agt__event_format(&twice, &again, NULL) == AGT_OK);
        must(twice.len == line.len && memcmp(twice.data, line.data, line.len) == 0);
    }
    agt__buf_free(&line);
    agt__buf_free(&scratch);
    agt__buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *line = (const char *)data;
    agt_mem mem = agt__mem(NULL);
    agt_buf scratch = agt__buf(&mem), blank = agt__buf(&mem), other = agt__buf(&mem);
    agt_event e, general;
    agt_error err;
    uint64_t seq = 0;
    agt_status st = agt__event_parse(line, size, &scratch, &e, &err);
    bool found = agt__event_seq(line, size, &seq);
    must(st == AGT_OK || st == AGT_CORRUPT);
    if (st == AGT_OK) {
        must(e.line.data == line && e.line.len == size && e.seq > 0);
        must(found && seq == e.seq);
        check_again(&mem, &e);
    } else {
        must(err.status == AGT_CORRUPT && err.offset >= 0 && (uint64_t)err.offset <= size);
        must(memchr(err.message, 0, sizeof err.message) && !strchr(err.message, '\n'));
    }
    if (size && size < AGT_MAX_EVENT && line[0] == '{') {
        agt__buf_put(&blank, "{ ", 2);
        agt__buf_put(&blank, line + 1, size - 1);
        must(agt__event_parse((const char *)blank.data, blank.len, &other, &general, NULL) == st);
        if (st == AGT_OK) same(&e, &general);
    }
    agt__buf_free(&scratch);
    agt__buf_free(&blank);
    agt__buf_free(&other);
    return 0;
}
