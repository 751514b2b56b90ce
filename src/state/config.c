/* config: reads and writes .agent-trace/config.toml. Unknown tables and keys are left alone and
 * mean nothing, so that a later version's file opens here as long as its format is ours. */
#include "config.h"

#define CONFIG_NAME "config.toml"
#define CONFIG_MAX  65536u

AGT_PRIVATE agt_status agt__uuid(const agt_sys *sys, char out[40], agt_error *err) {
    unsigned char r[16];
    char hex[32];
    int rc = sys->random(sys->ctx, r, sizeof r);
    if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    agt__hex(r, 16, hex);
    static const unsigned char cut[5] = {8, 4, 4, 4, 12};
    size_t at = 0, to = 0;
    for (int i = 0; i < 5; i++) {
        memcpy(out + to, hex + at, cut[i]);
        at += cut[i];
        to += cut[i];
        out[to++] = i < 4 ? '-' : 0;
    }
    return AGT_OK;
}

static agt_status config_value(agt_text table, agt_text key, const agt_toml_value *v,
                               agt_error *err, void *ctx) {
    agt_config *c = ctx;
    if (agt__text_is(table, "store") && agt__text_is(key, "id") && v->kind == AGT_TOML_STRING) {
        if (!agt__copy_text(c->id, sizeof c->id, v->text.data, v->text.len))
            return agt__fail(err, AGT_CORRUPT, "store.id is no UUID");
    } else if (agt__text_is(table, "store") && agt__text_is(key, "name")) {
        (void)agt__copy_text(c->name, sizeof c->name, v->text.data, v->text.len);
    } else if (agt__text_is(table, "store") && agt__text_is(key, "format")) {
        if (v->kind != AGT_TOML_INTEGER)
            return agt__fail(err, AGT_CORRUPT, "store.format is no integer");
        c->format = v->integer;
    } else if (agt__text_is(table, "polling") && agt__text_is(key, "interval_ms")) {
        if (v->kind == AGT_TOML_INTEGER && v->integer > 0) c->interval_ms = v->integer;
    } else if (agt__text_is(table, "polling") && agt__text_is(key, "enabled")) {
        if (v->kind == AGT_TOML_BOOLEAN) c->polling = v->boolean;
    }
    return AGT_OK;
}

/* Nothing but blanks, or the zeros that some file systems leave after a power cut. */
static bool config_blank(const agt_buf *text) {
    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] && !strchr(" \t\r\n", text->data[i])) return false;
    return true;
}

AGT_PRIVATE agt_status agt__config_read(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_config *out, agt_error *err) {
    agt_error inner;
    agt_buf text = agt__buf(mem);
    memset(out, 0, sizeof *out);
    memset(&inner, 0, sizeof inner);
    out->interval_ms = 1000;
    out->polling = true;
    agt_status st = agt__read_file(sys, dir, CONFIG_NAME, CONFIG_MAX, &text, err);
    if (st == AGT_OK && config_blank(&text))
        st = agt__fail(err, AGT_CORRUPT,
                       ".agent-trace/config.toml is empty; run 'agent-trace repair'");
    if (st == AGT_OK) {
        st = agt__toml_read((const char *)text.data, text.len, config_value, out, &inner);
        if (st != AGT_OK && st != AGT_NOMEM)
            st = agt__fail_at(err, AGT_CORRUPT, inner.offset,
                              ".agent-trace/config.toml: %.200s; mend the file by hand, or "
                              "run 'agent-trace repair'",
                              inner.message);
        else if (st != AGT_OK)
            st = agt__nomem(err);
    }
    agt__buf_free(&text);
    if (st != AGT_OK) return st;
    if (out->format == 0)
        return agt__fail(err, AGT_UNSUPPORTED,
                         "this store was made by agent-trace 0.1.0 and has another format");
    if (out->format != AGT_STORE_FORMAT)
        return agt__fail(err, AGT_UNSUPPORTED,
                         "the store has format %lld, this library knows %d; use a newer "
                         "agent_trace",
                         (long long)out->format, AGT_STORE_FORMAT);
    if (!out->id[0]) return agt__fail(err, AGT_CORRUPT, ".agent-trace/config.toml has no store.id");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__config_write(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         const agt_config *config, agt_error *err) {
    char now[AGT_TIME_TEXT];
    agt_buf b = agt__buf(mem);
    agt__time_format(sys->now_unix_ms(sys->ctx), now);
    agt__buf_text(&b, "[store]\nid = ");
    agt__toml_put_string(&b, config->id, strlen(config->id));
    agt__buf_text(&b, "\nname = ");
    agt__toml_put_string(&b, config->name, strlen(config->name));
    agt__buf_text(&b, "\ncreated = ");
    agt__toml_put_string(&b, now, strlen(now));
    agt__buf_text(&b, "\nagent_trace_version = \"" AGENT_TRACE_VERSION "\"\nformat = ");
    agt__buf_u64(&b, AGT_STORE_FORMAT);
    agt__buf_text(&b, "\n\n[polling]\ninterval_ms = ");
    agt__buf_u64(&b, (uint64_t)config->interval_ms);
    agt__buf_text(&b, config->polling ? "\nenabled = true\n" : "\nenabled = false\n");
    agt_status st = b.failed ? agt__nomem(err)
                             : agt__write_file(sys, dir, CONFIG_NAME, b.data, b.len, true, err);
    agt__buf_free(&b);
    return st;
}
