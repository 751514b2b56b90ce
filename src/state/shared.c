/* shared: encoding of .agent-trace/state; see shared.h. Each copy is 320 bytes at 0 and at 512. */
#include "shared.h"

#define SHARED_MAGIC 0x32545354u /* "TST2" as stored */
#define SHARED_BYTES 320u
#define SHARED_STEP  512u

static void shared_encode(const agt_shared *s, agt_cpu cpu, unsigned char *p) {
    memset(p, 0, SHARED_BYTES);
    agt__put32(p, SHARED_MAGIC);
    agt__put64(p + 8, s->flip);
    memcpy(p + 16, s->boot, 40);
    agt__put64(p + 56, s->generation);
    agt__put64(p + 64, s->dev);
    agt__put64(p + 72, s->ino);
    agt__put64(p + 80, s->next_seq);
    agt__put64(p + 88, s->end);
    agt__put64(p + 96, s->synced);
    agt__put64(p + 104, s->applied);
    agt__put64(p + 112, s->applied_seq);
    agt__put32(p + 120, s->applied_chain);
    agt__put32(p + 124, s->chain);
    agt__put64(p + 128, s->trace.segment);
    agt__put64(p + 136, s->trace.offset);
    memcpy(p + 144, s->trace.prev, 32);
    agt__put64(p + 176, s->published_seq);
    agt__put64(p + 184, s->packed_seq);
    memcpy(p + 192, s->head.id, 20);
    memcpy(p + 212, s->packed_head.id, 20);
    agt__put32(p + 232, s->failed);
    agt__put32(p + 236, s->git_clean);
    agt__put32(p + 240, s->refused_waits);
    agt__put32(p + SHARED_BYTES - 4, agt__crc32c(cpu, 0, p, SHARED_BYTES - 4));
}

static bool shared_decode(agt_shared *s, agt_cpu cpu, const unsigned char *p) {
    if (agt__get32(p) != SHARED_MAGIC) return false;
    if (agt__get32(p + SHARED_BYTES - 4) != agt__crc32c(cpu, 0, p, SHARED_BYTES - 4)) return false;
    memset(s, 0, sizeof *s);
    s->flip = agt__get64(p + 8);
    memcpy(s->boot, p + 16, 39);
    s->generation = agt__get64(p + 56);
    s->dev = agt__get64(p + 64);
    s->ino = agt__get64(p + 72);
    s->next_seq = agt__get64(p + 80);
    s->end = agt__get64(p + 88);
    s->synced = agt__get64(p + 96);
    s->applied = agt__get64(p + 104);
    s->applied_seq = agt__get64(p + 112);
    s->applied_chain = agt__get32(p + 120);
    s->chain = agt__get32(p + 124);
    s->trace.segment = agt__get64(p + 128);
    s->trace.offset = agt__get64(p + 136);
    memcpy(s->trace.prev, p + 144, 32);
    s->published_seq = agt__get64(p + 176);
    s->packed_seq = agt__get64(p + 184);
    memcpy(s->head.id, p + 192, 20);
    memcpy(s->packed_head.id, p + 212, 20);
    s->failed = agt__get32(p + 232);
    s->git_clean = agt__get32(p + 236);
    s->refused_waits = agt__get32(p + 240);
    return s->trace.offset < AGT_SEGMENT_LONGEST;
}

AGT_PRIVATE agt_status agt__shared_read(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *out,
                                        agt_error *err) {
    unsigned char bytes[SHARED_STEP + SHARED_BYTES];
    agt_shared copy[2];
    memset(bytes, 0, sizeof bytes);
    int64_t n = agt__read_all(sys, fd, bytes, sizeof bytes, 0);
    if (n < 0) return agt__fail_io(err, n, "cannot read .agent-trace/state");
    bool a = shared_decode(&copy[0], cpu, bytes);
    bool b = shared_decode(&copy[1], cpu, bytes + SHARED_STEP);
    if (!a && !b) return AGT_END;
    *out = b && (!a || copy[1].flip > copy[0].flip) ? copy[1] : copy[0];
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__shared_write(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *s,
                                         agt_error *err) {
    unsigned char p[SHARED_BYTES];
    s->flip++;
    shared_encode(s, cpu, p);
    int rc = agt__write_all(sys, fd, p, sizeof p, (s->flip & 1) * SHARED_STEP);
    if (rc < 0) return agt__fail_io(err, rc, "cannot write .agent-trace/state");
    return AGT_OK;
}
