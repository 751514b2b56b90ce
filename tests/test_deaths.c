/* Deaths in a row, in the machine in memory: a writer dies, then the next one while it finishes
 * what was left. Nobody edited anything, so nothing may be kept aside as somebody's edit. */
#include "oracle.h"

static const char *const root = "/home";

static void deaths_write(agt_store *s, const char *path, const char *text) {
    agt_error err;
    agt_caller me = AGT_CALLER("user");
    CHECK_OK(agt_write(s, &me, path, text, strlen(text), NULL, NULL, &err), err);
}

static void deaths_batch(agt_store *s) {
    agt_error err;
    agt_caller me = AGT_CALLER("user");
    agt_change c[3] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    static const char *const paths[3] = {"a.md", "b.md", "c.md"};
    for (int i = 0; i < 3; i++) {
        c[i].path = paths[i];
        c[i].bytes = "changed in the batch";
        c[i].len = 20;
    }
    CHECK_OK(agt_batch(s, &me, c, 3, 0, NULL, &err), err);
}

static machine *deaths_start(void) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    agt_store *s = oracle_open(machine_process_new(m, "maker"), root, NULL, AGT_OK);
    deaths_write(s, "a.md", "first a");
    deaths_write(s, "b.md", "first b");
    deaths_write(s, "d.md", "first d");
    agt_close(s, NULL);
    return m;
}

static void deaths_check(machine *m) {
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_store *s = oracle_open(machine_process_new(m, "checker"), root, NULL, AGT_OK);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.edits_kept_aside, 0);
    oracle_check_trace(s);
    agt_close(s, NULL);
}

/* The first dies in the work, each of the others in its recovery, at every change. Returns in how
 * many ways. */
static uint64_t deaths_in_a_row(const machine *from, uint64_t row, void (*work)(agt_store *)) {
    uint64_t ways = 0;
    for (uint64_t n = 1;; n++) {
        machine *m = machine_clone(from);
        bool died = oracle_until(m, root, n, work);
        if (died && row > 1) {
            ways += deaths_in_a_row(m, row - 1, NULL);
        } else {
            deaths_check(m);
            ways++;
        }
        machine_free(m);
        if (!died) return ways;
    }
}

TEST(deaths, two_in_a_row_keep_nothing_aside) {
    machine *start = deaths_start();
    uint64_t ways = deaths_in_a_row(start, test_count("TEST_DEATHS", 2), deaths_batch);
    machine_free(start);
    test_saw("ways to die in a row", ways);
    CHECK(ways > 60);
}

/* The half of a batch that was never recorded lies in tmp/ under numbers that others get. */
TEST(deaths, a_write_that_died_half_is_never_taken_for_an_edit) {
    machine *start = deaths_start();
    uint64_t deaths = 0;
    for (uint64_t n = 1;; n++) {
        agt_error err;
        agt_caller me = AGT_CALLER("user");
        machine *m = machine_clone(start);
        bool died = oracle_until(m, root, n, deaths_batch);
        agt_store *s = oracle_open(machine_process_new(m, "next"), root, NULL, AGT_OK);
        deaths_write(s, "e.md", "1");
        CHECK_OK(agt_remove(s, &me, "d.md", NULL, NULL, &err), err);
        CHECK_INT(machine_put_text(m, "/home/e.md", "edited"), 0);
        deaths_write(s, "e.md", "2"); /* records the edit first */
        agt_close(s, NULL);
        machine_cut cut = {.mode = MACHINE_CUT_KEEP, .seed = test_random()};
        machine_power_cut(m, &cut); /* another boot: the whole recovery */
        deaths_check(m);
        machine_free(m);
        deaths += died;
        if (!died) break;
    }
    machine_free(start);
    test_saw("deaths", deaths);
    CHECK(deaths > 10);
}
