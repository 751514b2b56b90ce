/* commit: what a commit of ours says: its author, and its message, made of the events' lines.
 *
 *     [agent-trace] <action> <type>: <path>
 *
 *     summary: <text>
 *     actor: <actor>
 *     agent: <name>                      an agent's only
 *     session: <session>                 where there is one
 *     file:<TAB><path><TAB><action><TAB><type>       one a document
 *
 *     event: <the line of the trace>     one an event */
#include "store.h"

AGT_PRIVATE agt_commit_text agt__commit_text(const agt_mem *mem) {
    agt_commit_text c;
    memset(&c, 0, sizeof c);
    c.message = c.files = c.events = c.name = agt__buf(mem);
    return c;
}

AGT_PRIVATE void agt__commit_free(agt_commit_text *c) {
    agt__buf_free(&c->message);
    agt__buf_free(&c->files);
    agt__buf_free(&c->events);
    agt__buf_free(&c->name);
}

static void commit_author(agt_commit_text *c, const agt_event *e) {
    agt_buf *name = &c->name;
    agt_text agent = agt__actor_agent(e->actor);
    name->len = 0;
    if (agent.data) {
        agt__buf_text(name, "Agent: ");
        agt__buf_put(name, agent.data, agent.len);
        c->who.email = agt__text("agent@agent-trace");
    } else if (agt__text_is(e->actor, "system")) {
        agt__buf_text(name, "agent-trace");
        c->who.email = agt__text("system@agent-trace");
    } else {
        agt__buf_text(name, "User");
        c->who.email = agt__text("user@agent-trace");
    }
    c->who.name = (agt_text){(const char *)name->data, name->len};
    c->who.unix_s = e->at_unix_ms / 1000;
}

static void commit_put(agt_buf *b, agt_text t) {
    agt__buf_put(b, t.data, t.len);
}

static void commit_line(agt_buf *b, const char *label, agt_text text) {
    if (!text.data) return;
    agt__buf_text(b, label);
    commit_put(b, text);
    agt__buf_byte(b, '\n');
}

/* The header lines come from the record's first event. */
static void commit_head(agt_buf *m, const agt_event *e) {
    agt__buf_text(m, "[agent-trace] ");
    commit_put(m, e->action);
    if (e->path.data) {
        agt__buf_byte(m, ' ');
        commit_put(m, e->doc_type.data ? e->doc_type : agt__text("scratch"));
        agt__buf_text(m, ": ");
        commit_put(m, e->path);
    }
    agt__buf_text(m, "\n\n");
    commit_line(m, "summary: ", e->summary);
    commit_line(m, "actor: ", e->actor);
    commit_line(m, "agent: ", e->agent_name);
    commit_line(m, "session: ", e->session_id);
}

AGT_PRIVATE void agt__commit_event(agt_commit_text *c, bool first, const agt_event *e,
                                   const void *line, size_t len) {
    if (first) {
        c->message.len = c->files.len = c->events.len = 0;
        commit_head(&c->message, e);
        commit_author(c, e);
    }
    if (e->path.data) {
        agt__buf_text(&c->files, "file:\t");
        commit_put(&c->files, e->path);
        agt__buf_byte(&c->files, '\t');
        commit_put(&c->files, e->change_kind.data ? e->change_kind : e->action);
        agt__buf_byte(&c->files, '\t');
        commit_put(&c->files, e->doc_type.data ? e->doc_type : agt__text("scratch"));
        agt__buf_byte(&c->files, '\n');
    }
    agt__buf_text(&c->events, "event: ");
    agt__buf_put(&c->events, line, len);
}

AGT_PRIVATE agt_status agt__commit_make(agt_commit_text *c, agt_git *git, int64_t recorded_ms,
                                        agt_oid *out, agt_error *err) {
    agt__buf_put(&c->message, c->files.data, c->files.len);
    agt__buf_byte(&c->message, '\n');
    agt__buf_put(&c->message, c->events.data, c->events.len);
    if (c->message.failed || c->files.failed || c->events.failed || c->name.failed)
        return agt__nomem(err);
    agt_text message = {(const char *)c->message.data, c->message.len};
    return agt__git_commit(git, &c->who, recorded_ms / 1000, message, out, err);
}
