/* A person's work: edits behind the store's back, before, during and after an agent's write, by
 * rename and by truncate-and-write, with crashes and recovery. Every edit's bytes are in the
 * history or on disk afterwards; none is lost. */
#include "machine.h"
#include "test.h"

static const char *const root = "/home";
static const agt_caller agent = AGT_CALLER("agent:kestrel");

#define PERSON_DOCS  3
#define PERSON_EDITS 256

static const char *const person_paths[PERSON_DOCS] = {"a.md", "d/b.md", "d/e/c.md"};

typedef struct person {
    machine *m;
    uint64_t seed;
    unsigned percent; /* of the calls at which the person does something */
    char saved[PERSON_EDITS][40];
    bool wanted[PERSON_EDITS];
    int edits;
    machine_edit *open;
    int open_edit;
} person;

static uint64_t person_random(person *p, uint64_t n) {
    p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
    return (p->seed >> 33) % n;
}

static void person_path(int doc, char out[64]) {
    snprintf(out, 64, "%s/%s", root, person_paths[doc]);
}

/* The person destroys what is there: if that is the person's own edit, nobody else lost it. */
static void person_gives_up(person *p, int doc) {
    char path[64];
    person_path(doc, path);
    char *now = machine_get(p->m, path, NULL);
    for (int i = 0; now && i < p->edits; i++)
        if (!strcmp(now, p->saved[i])) p->wanted[i] = false;
    free(now);
}

static int person_new_text(person *p) {
    if (p->edits == PERSON_EDITS) return -1;
    snprintf(p->saved[p->edits], sizeof p->saved[0], "edit %d of the person, %u\n", p->edits,
             (unsigned)person_random(p, 1000000));
    return p->edits++;
}

static void person_step(person *p) {
    char path[64];
    int doc = (int)person_random(p, PERSON_DOCS), edit;
    person_path(doc, path);
    if (p->open) {
        if (p->open_edit < 0) {
            if ((p->open_edit = person_new_text(p)) < 0) {
                machine_edit_close(p->open);
                p->open = NULL;
                return;
            }
            const char *text = p->saved[p->open_edit];
            machine_edit_write(p->open, text, strlen(text));
            p->wanted[p->open_edit] = true;
        } else {
            machine_edit_close(p->open);
            p->open = NULL;
        }
    } else if (person_random(p, 2)) {
        if ((edit = person_new_text(p)) < 0) return;
        person_gives_up(p, doc);
        if (machine_replace(p->m, path, p->saved[edit], strlen(p->saved[edit])) == 0)
            p->wanted[edit] = true;
    } else {
        person_gives_up(p, doc);
        p->open = machine_edit_open(p->m, path);
        p->open_edit = -1;
    }
}

static void person_hook(void *ctx, machine *m, const machine_call *call) {
    person *p = ctx;
    (void)m, (void)call;
    if (person_random(p, 100) < p->percent) person_step(p);
}

static agt_store *person_open(machine_process *p, machine_memory *mem) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.create = 1;
    o.sys = machine_sys(p);
    o.allocator = machine_memory_init(mem);
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    return s;
}

static void person_agent_works(person *who, agt_store *s, int round) {
    agt_error err;
    char text[64], other[64];
    for (int i = 0; i < 5; i++) {
        int doc = (int)person_random(who, PERSON_DOCS);
        snprintf(text, sizeof text, "agent %d.%d\n", round, i);
        snprintf(other, sizeof other, "agent too %d.%d\n", round, i);
        agt_change c[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
        c[0].path = person_paths[doc], c[0].bytes = text, c[0].len = strlen(text);
        c[1].path = person_paths[(doc + 1) % PERSON_DOCS], c[1].bytes = other;
        c[1].len = strlen(other);
        agt_status st;
        switch (person_random(who, 5)) {
        case 0: st = agt_batch(s, &agent, c, 2, 0, NULL, &err); break;
        case 1: st = agt_remove(s, &agent, person_paths[doc], NULL, NULL, &err); break;
        case 2: st = agt_checkpoint(s, &err); break;
        default: st = agt_write(s, &agent, c[0].path, text, strlen(text), NULL, NULL, &err);
        }
        if (st == AGT_NOT_FOUND) continue;
        CHECK_STATUS(st, AGT_OK, err);
    }
}

static bool person_in_history(agt_store *s, const char *text) {
    agt_error err;
    agt_bytes b;
    for (int d = 0; d < PERSON_DOCS; d++) {
        agt_document doc = AGT_DOCUMENT_INIT;
        if (agt_document_get(s, person_paths[d], &doc, &err) != AGT_OK) continue;
        for (uint32_t v = doc.version; v > 0; v--) {
            if (agt_read_version(s, person_paths[d], v, &b, &err) != AGT_OK) continue;
            bool found = !strcmp((char *)b.data, text);
            agt_bytes_free(&b);
            if (found) return true;
        }
    }
    return false;
}

static bool person_on_disk(machine *m, const char *text) {
    char *tree = machine_tree(m, root), path[256];
    bool found = false;
    for (char *line = tree; line && *line && !found;) {
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        char *name = line;
        for (int spaces = 0; *name && spaces < 4; name++)
            spaces += *name == ' ';
        snprintf(path, sizeof path, "%s/%s", root, name);
        if (*line == 'f' && !strstr(name, ".agent-trace/journal")) {
            char *bytes = machine_get(m, path, NULL);
            found = bytes && !strcmp(bytes, text);
            free(bytes);
        }
        line = end ? end + 1 : NULL;
    }
    free(tree);
    return found;
}

static void person_check(person *who, uint64_t *edits) {
    machine_memory mem;
    machine_process *p = machine_process_new(who->m, "checker");
    agt_store *s = person_open(p, &mem);
    for (int i = 0; i < who->edits; i++) {
        if (!who->wanted[i]) continue;
        ++*edits;
        if (!person_in_history(s, who->saved[i]) && !person_on_disk(who->m, who->saved[i]))
            test_fail(__FILE__, __LINE__, "lost: %s", who->saved[i]);
    }
    agt_close(s, NULL);
    CHECK_INT(mem.live_blocks, 0);
    machine_process_free(p);
}

static void person_round(uint64_t seed, unsigned crashes, uint64_t *edits, uint64_t *deaths) {
    machine_settings set = {.seed = seed, .call_ns = 2000, .tick_ns = seed & 1 ? 4000000 : 1};
    person who = {.m = machine_new(&set), .seed = seed, .percent = 4 + (unsigned)(seed % 9)};
    machine_make_folder(who.m, "/home");
    if (seed % 3 == 0) machine_mount(who.m, "/home/d"); /* another device */
    machine_make_folder(who.m, "/home/d/e");
    for (unsigned run = 0; run <= crashes; run++) {
        machine_memory mem;
        machine_process *p = machine_process_new(who.m, "agent");
        machine_memory_init(&mem);
        machine_on_call(who.m, person_hook, &who);
        if (run < crashes)
            machine_crash_at(who.m, 1 + person_random(&who, 400), MACHINE_CHANGES,
                             (machine_when)person_random(&who, 3));
        if (setjmp(*machine_crash_point(who.m)) == 0) {
            agt_store *s = person_open(p, &mem);
            person_agent_works(&who, s, (int)run);
            agt_close(s, NULL);
        } else {
            ++*deaths;
        }
        machine_crash_at(who.m, 0, 0, MACHINE_AFTER);
        machine_on_call(who.m, NULL, NULL);
        machine_memory_release(&mem);
        machine_process_free(p);
        for (int i = 0; i < 3 && person_random(&who, 2); i++)
            person_step(&who);
    }
    while (who.open)
        person_step(&who);
    person_check(&who, edits);
    machine_free(who.m);
}

TEST(person, no_edit_is_lost_in_a_thousand_interleavings) {
    uint64_t edits = 0, deaths = 0;
    uint64_t rounds = test_count("TEST_PERSONS", test_all() ? 5000 : test_some(1000));
    for (uint64_t i = 0; i < rounds; i++)
        person_round(test_random(), 0, &edits, &deaths);
    test_saw("interleavings", rounds);
    test_saw("edits", edits);
    CHECK(edits > rounds * 3);
}

TEST(person, no_edit_is_lost_when_agents_crash_meanwhile) {
    uint64_t edits = 0, deaths = 0;
    uint64_t rounds = test_count("TEST_PERSONS", test_all() ? 5000 : test_some(1000));
    for (uint64_t i = 0; i < rounds; i++)
        person_round(test_random(), 3, &edits, &deaths);
    test_saw("interleavings", rounds);
    test_saw("edits", edits);
    test_saw("deaths", deaths);
    CHECK(edits > rounds * 3);
    CHECK(deaths > rounds);
}
