#!/bin/sh
# Mutants of src/lock: each takes one promise out of a copy of one part; the tests of the locks must
# then fail. One that survives means that a promise is tested by nothing. The first six are those that
# the protocol of the sentinel is known to break by. Ends with the line "N passed, N failed, N skipped".
# With an argument: only mutants whose name contains it.
set -eu
root=${AGENT_TRACE_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}
out=${AGENT_TRACE_BUILD:-$root/build}/mutants_lock
cc=${CC:-cc}
only=${1:-}
passed=0 failed=0
TEST_ROUNDS=${TEST_ROUNDS:-150}
export TEST_ROUNDS

rm -rf "$out"
mkdir -p "$out/parts" "$out/tests"
cd "$root"
flags="-std=gnu11 -O1 -w -D_GNU_SOURCE -DAGT_PRIVATE=extern $(pkg-config --cflags libgit2 zlib)"
libs="$(pkg-config --libs libgit2 zlib) -pthread"

# Parts compile alone: a mutant is one part compiled anew, and linked with the others.
for f in src/*/*.c; do
    case $f in */win32.c | */none.c) continue ;; esac
    # shellcheck disable=SC2086
    $cc $flags -c "$f" -o "$out/parts/$(echo "$f" | tr / _).o"
done
for name in main machine test_lock test_liveness test_epoch test_wait test_sentinel test_rounds \
    test_lock_odd; do
    # shellcheck disable=SC2086
    $cc $flags -c "tests/$name.c" -o "$out/tests/$name.o"
done

run() { # PROGRAM TOPIC: is everything of the topic right? A crash, and taking forever, are not.
    timeout 120 "$1" --seed 1 --first --filter "$2" >"$out/log" 2>&1 </dev/null
}

judge() { # NAME TOPIC PART: the part's object stands in $out/mutant.o
    objects=
    for o in "$out"/parts/*.o; do
        [ "$o" = "$out/parts/src_lock_$3.c.o" ] || objects="$objects $o"
    done
    # shellcheck disable=SC2086
    $cc $objects "$out/mutant.o" "$out"/tests/*.o $libs -o "$out/tests.bin"
    if run "$out/tests.bin" "$2"; then
        echo "FAILED  $1: survived the tests of $2"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

mutant() { # NAME TOPIC PART OLD NEW: OLD must stand exactly once
    case $1 in *"$only"*) ;; *) return 0 ;; esac
    if ! python3 - "src/lock/$3.c" "$out/mutant.c" "$4" "$5" <<'PY'
import sys
name, to, old, new = sys.argv[1:]
text = open(name).read()
if text.count(old) != 1:
    sys.exit("%s: the text to change stands there %d times: %s" % (name, text.count(old), old))
open(to, "w").write(text.replace(old, new))
PY
    then
        echo "FAILED  $1: the mutant does not fit the source"
        failed=$((failed + 1))
        return 0
    fi
    verdict=0
    # shellcheck disable=SC2086
    $cc $flags -I"$root/src/lock" -c "$out/mutant.c" -o "$out/mutant.o" || verdict=1
    if [ $verdict = 0 ]; then
        judge "$1" "$2" "$3"
    else
        echo "FAILED  $1: does not compile"
        failed=$((failed + 1))
    fi
}

# What is not mutated must pass, or nothing is proved by what fails.
# shellcheck disable=SC2086
$cc "$out"/parts/*.o "$out"/tests/*.o $libs -o "$out/tests.bin"
for topic in sentinel_ liveness_ epoch_ lock_ wait_; do
    if ! run "$out/tests.bin" $topic || ! grep -q '[1-9][0-9]* passed' "$out/log"; then
        echo "FAILED  the tests of $topic fail without a mutant:"
        tail -n 5 "$out/log"
        echo "0 passed, 1 failed, 0 skipped"
        exit 1
    fi
done

# ---- the sentinel's six ----
taking_over='        if (st == AGT_OK) st = sentinel_clear(s, SENTINEL_OWNER, &h, 1, err);
        if'
mutant unlink_without_claim sentinel_ sentinel "$taking_over" \
    'if (st == AGT_OK) (void)s->sys->remove(s->sys->ctx, s->dir, SENTINEL_OWNER);
        if'
mutant rename_aside sentinel_ sentinel "$taking_over" \
    'if (st == AGT_OK) {
        (void)s->sys->rename(s->sys->ctx, s->dir, SENTINEL_OWNER, s->dir, "aside", 0);
        if (sentinel_has(s->sys, s->dir, "aside", h.token))
            (void)s->sys->remove(s->sys->ctx, s->dir, "aside");
        else
            (void)s->sys->rename(s->sys->ctx, s->dir, "aside", s->dir, SENTINEL_OWNER, 1);
    }
    if'
mutant claim_not_reread sentinel_ sentinel \
    'if (!sentinel_has(s->sys, s->dir, name, dead->token)) return AGT_OK; /* (3) */' ''
mutant claim_without_token sentinel_ sentinel \
    'sentinel_name(claim, SENTINEL_REAP, dead->token);' 'sentinel_name(claim, SENTINEL_REAP, "0");'
mutant release_without_token sentinel_ sentinel \
    'if (agt__sentinel_still(s)) (void)s->sys->remove' 'if (s->held) (void)s->sys->remove'
mutant publish_not_atomic sentinel_ sentinel \
    'rc = sentinel_move(sys, dir, tmp, name);' 'rc = AGT_SYS_ERR(AGT_SYS_NOSYS, 0);'

# ---- the sentinel, the rest ----
mutant uncertain_is_dead sentinel_ sentinel \
    'agt__liveness_ask(s->sys, s->dir, h, &why) == AGT_DEAD' \
    'agt__liveness_ask(s->sys, s->dir, h, &why) != AGT_ALIVE'
mutant empty_at_once sentinel_ sentinel 'if (same && now - s->seen_ns >= SENTINEL_EMPTY)' 'if (1)'
mutant empty_never sentinel_ sentinel 'if (same && now - s->seen_ns >= SENTINEL_EMPTY)' 'if (0)'
mutant rubbish_is_a_record sentinel_ sentinel \
    'agt__holder_format(out, same) == n &&
           memcmp(text, same, n) == 0' '1'
mutant no_reaping sentinel_ sentinel \
    'int rc = s->sys->remove(s->sys->ctx, s->dir, name);
    if (rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;' 'return AGT_OK; int rc = 0;'
mutant claim_stays sentinel_ sentinel '(void)s->sys->remove(s->sys->ctx, s->dir, claim);' ''
mutant temporary_stays sentinel_ sentinel '    (void)sys->remove(sys->ctx, dir, tmp);
    if (rc >= 0)' '    if (rc >= 0)'
mutant one_claim_deep sentinel_ sentinel 'depth > SENTINEL_DEPTH' 'depth > 1'
mutant done_but_told_failed sentinel_ sentinel \
    '} else if (sentinel_has(sys, dir, name, h->token))
        return AGT_OK;' '}'
mutant still_is_held sentinel_ sentinel \
    'return s->held && sentinel_has(s->sys, s->dir, SENTINEL_OWNER, s->self.token);' \
    'return s->held;'
mutant links_are_not_tried sentinel_ sentinel \
    'rc = sys->link(sys->ctx, dir, tmp, dir, name);' 'rc = AGT_SYS_ERR(AGT_SYS_EXIST, 0);'

mutant uncertain_claim_goes sentinel_ sentinel \
    'if (st == AGT_OK) st = sentinel_judge(s, claim, &theirs, found, err);' ''
mutant a_link_moves_what_is_there sentinel_ sentinel \
    'rename(sys->ctx, dir, tmp, dir, name, AGT_RENAME_NOREPLACE)' 'rename(sys->ctx, dir, tmp, dir, name, 0)'
mutant seen_is_never_new sentinel_ sentinel 'if (!same) s->seen_ns = now;' ''
mutant any_file_is_a_record sentinel_ sentinel 'if (st.kind != AGT_FILE_REGULAR)' 'if (0)'
mutant a_look_counts_the_dead lock_odd_ sentinel \
    '*held = found != SENTINEL_RECORD || agt__liveness_ask(sys, dir, out, NULL) != AGT_DEAD;' '*held = 1;'
mutant a_look_forgets_rubbish lock_odd_ sentinel \
    '*held = found != SENTINEL_RECORD || ' '*held = found == SENTINEL_RECORD && '
mutant token_of_any_length lock_odd_ sentinel 'return n == 32 && !token[n];' 'return !token[n];'
mutant longer_than_a_record lock_odd_ sentinel \
    'if (st.size > (uint64_t)n || !sentinel_all_nul(text, (size_t)n)) return AGT_OK;' \
    'if (!sentinel_all_nul(text, (size_t)n)) return AGT_OK;'

# ---- the sweep ----
mutant no_sweep sentinel_ poll_lock \
    'if (p->by_file || p->owner.took_over) agt__sentinel_sweep' 'if (0) agt__sentinel_sweep'
mutant no_sweep_by_flock sentinel_ poll_lock 'if (p->by_file || p->owner.took_over)' 'if (p->by_file)'
mutant a_sweep_always sentinel_ poll_lock 'if (p->by_file || p->owner.took_over)' 'if (1)'
mutant unbounded_sweep sentinel_ poll_lock 'true, POLL_SWEEPS' 'true, 0'
mutant sweeps_the_living sentinel_ sentinel \
    'return agt__liveness_ask(s->sys, s->dir, h, NULL) == AGT_DEAD;' \
    'return agt__liveness_ask(s->sys, s->dir, h, NULL) != AGT_UNCERTAIN;'
mutant sweeps_the_uncertain sentinel_ sentinel \
    'return agt__liveness_ask(s->sys, s->dir, h, NULL) == AGT_DEAD;' \
    'return agt__liveness_ask(s->sys, s->dir, h, NULL) != AGT_ALIVE;'
mutant sweeps_another_name sentinel_ sentinel ' || (tmp && strcmp(tmp, h->token) != 0)' ''
mutant sweeps_no_claims sentinel_ sentinel \
    'if (!sentinel_name_token(name, SENTINEL_TMP) && !sentinel_name_token(name, SENTINEL_REAP))' \
    'if (!sentinel_name_token(name, SENTINEL_TMP))'
mutant a_look_sweeps sentinel_ sentinel 'bool gone = left && clear &&' 'bool gone = left &&'
mutant one_batch sentinel_ sentinel 'while (l.count == SENTINEL_BATCH &&' 'while (0 &&'
mutant the_same_batch_again sentinel_ sentinel 'l.skip = stay;' 'l.skip = 0;'

# ---- liveness ----
mutant any_host liveness_ liveness 'if (!h->host[0] || strcmp(h->host, w->self.host) != 0)' 'if (0)'
mutant no_host liveness_ liveness '!h->host[0] || ' ''
mutant any_boot liveness_ liveness 'if (known && strcmp(h->boot, w->self.boot) != 0)' 'if (0)'
mutant boot_anywhere liveness_ liveness \
    'if (w->local) return liveness_say(AGT_DEAD, "ended when' \
    'if (1) return liveness_say(AGT_DEAD, "ended when'
mutant no_boot_anywhere liveness_ liveness 'if (!known && !w->local)' 'if (0)'
mutant any_ids liveness_ liveness 'if (strcmp(h->pid_space, w->self.pid_space) != 0)' 'if (0)'
mutant any_time liveness_ liveness 'if (strcmp(h->time_space, w->self.time_space) != 0)' 'if (0)'
mutant pid_zero liveness_ liveness 'if (h->pid <= 0 || h->pid > INT32_MAX) return' \
    'if (h->pid < 0 || h->pid > INT32_MAX) return'
mutant pid_huge liveness_ liveness 'if (h->pid <= 0 || h->pid > INT32_MAX) return' \
    'if (h->pid <= 0) return'
mutant ended_is_alive liveness_ liveness 'if (p->state == AGT_PEER_ENDED)' 'if (0)'
mutant inner_is_alive liveness_ liveness \
    'if (p->pid_space[0] && h->pid_space[0] && strcmp(p->pid_space, h->pid_space) != 0)' 'if (0)'
mutant no_start liveness_ liveness '!p->start || !h->start' '!h->start'
mutant no_start_told liveness_ liveness '!p->start || !h->start' '!p->start'
mutant no_unit liveness_ liveness ' || !p->per_second' ''
mutant less_than_a_second liveness_ liveness 'apart > p->per_second' 'apart >= p->per_second'
mutant one_way_apart liveness_ liveness \
    'p->start > h->start ? p->start - h->start : h->start - p->start' 'p->start - h->start'
mutant any_start liveness_ liveness 'if (apart > p->per_second)' 'if (0)'
mutant unknown_volume_is_local liveness_ liveness 'sys->volume && sys->volume(sys->ctx' \
    '!sys->volume || sys->volume(sys->ctx'

# ---- the epoch ----
mutant same_epoch epoch_ epoch 'epoch_floor(sys, locks, lines.newest)) + 1' \
    'epoch_floor(sys, locks, lines.newest)) + 0'
mutant epoch_twice epoch_ epoch '(lines.whole ? lines.newest : epoch_floor(sys, locks, lines.newest))' \
    'lines.newest'
mutant no_info epoch_ epoch 'h.epoch > newest && h.epoch < EPOCH_MAX ? h.epoch : newest' 'newest'
mutant no_time epoch_ epoch 'if (!newest && now > 0' 'if (0 && now > 0'
mutant always_time epoch_ epoch 'if (!newest && now > 0' 'if (now > 0'
mutant older_may epoch_ epoch 'if (status != AGT_OK || newest == epoch)' \
    'if (status != AGT_OK || newest >= epoch)'
mutant lost_may epoch_ epoch 'if (status != AGT_OK || newest == epoch)' \
    'if (status != AGT_OK || newest <= epoch)'
mutant heals_backward epoch_ epoch 'if (next && lines.newest > next)' 'if (0)'
mutant no_healing epoch_ epoch 'if (next && lines.newest == next) return AGT_OK;' \
    'if (next) return AGT_OK;'
mutant half_a_line epoch_ epoch 'number <= EPOCH_MAX && memcmp(line, same, EPOCH_LINE) == 0' \
    'number <= EPOCH_MAX'
mutant no_largest epoch_ epoch 'if (next > EPOCH_MAX)' 'if (0)'
mutant folder_as_epoch epoch_ epoch 'st.kind != AGT_FILE_REGULAR || st.links > 1' 'st.links > 1'

# ---- the poll lock ----
mutant the_other_kind sentinel_ poll_lock 'agt_status status = poll_alone(p, err);
    if (status == AGT_OK) status = agt__epoch_lead' 'agt_status status = agt__epoch_lead'
mutant epoch_in_a_child epoch_ poll_lock \
    'return lock->sys->pid(lock->sys->ctx) == lock->pid ? lock->owner.self.epoch : 0;' \
    'return lock->owner.self.epoch;'
mutant check_in_a_child epoch_ poll_lock 'if (lock->sys->pid(lock->sys->ctx) != lock->pid)' 'if (0)'
mutant check_without_file epoch_ poll_lock 'if (!poll_still(lock)) return poll_retake(lock, err);' ''
mutant retake_whoever_led epoch_ poll_lock \
    'status = agt__epoch_lead(p->sys, p->locks, &fresh.owner.self.epoch, err);' ''
mutant release_in_a_child lock_ poll_lock \
    'if (sys->pid(sys->ctx) == lock->pid) poll_let_go(lock);' 'poll_let_go(lock);'
mutant no_such_backend sentinel_ poll_lock 'o.backend > AGT_LOCK_SENTINEL' '0'

mutant four_claims_deep lock_odd_ sentinel 'depth > SENTINEL_DEPTH' 'depth > SENTINEL_DEPTH + 1'
mutant not_removed_is_removed lock_odd_ sentinel \
    'return rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT;' 'return true;'
mutant no_guard_of_the_epoch lock_odd_ epoch \
    'if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS) return AGT_OK;' 'return AGT_OK;'
mutant told_as_flock sentinel_ poll_lock 'out->backend = AGT_LOCK_SENTINEL;' 'out->backend = AGT_LOCK_FLOCK;'
mutant free_has_a_backend sentinel_ poll_lock 'if (out->held) out->backend' 'out->backend'
mutant writes_behind_a_longer_name lock_ poll_lock \
    'if (st.size > n && sys->truncate(sys->ctx, fd, 0) < 0) return;' ''
mutant a_link_is_written lock_ poll_lock 'st.kind != AGT_FILE_REGULAR || st.links > 1' \
    'st.kind != AGT_FILE_REGULAR'

# ---- flock ----
mutant any_inode lock_ flock 'return st.dev == l->dev && st.ino == l->ino;' 'return true;'
mutant hard_links lock_ flock 'if (file.links > 1)' 'if (0)'
mutant fifos lock_ flock 'if (file.kind != AGT_FILE_REGULAR)' 'if (0)'
mutant anybodys_file lock_ flock 'if (!flock_owner_fits(&file, &folder))' 'if (0)'
mutant no_looks lock_ flock 'i < FLOCK_LOOKS && rc < 0' '0 && rc < 0'
mutant unlocked_success lock_ flock 'if (rc < 0 && !busy)' 'if (0)'
mutant held_twice lock_ flock 'agt_status status = l->held ? AGT_BUSY : flock_try(l, err);' \
    'agt_status status = flock_try(l, err);'
mutant no_deadline lock_ flock 'if (left <= 0) return AGT_BUSY;' 'if (left < 0) return AGT_BUSY;'
mutant deaf wait_ flock 'sys->watch(sys->ctx, l->fd);' 'AGT_FD_NONE;'
mutant watch_outlives_its_file wait_ flock \
    'if (l->watch != AGT_FD_NONE) l->sys->close(l->sys->ctx, l->watch); /* last: see (9) */
    l->fd = l->watch = AGT_FD_NONE;' 'l->fd = AGT_FD_NONE;'

# ---- the record ----
mutant half_a_record lock_ holder \
    'agt__text_eq(token, end);' 'true;'
mutant another_pid lock_ holder 'holder_value_number(s, n, "pid") == pid &&' ''
mutant pid_is_not_compared lock_ holder 'return pid > 0 && holder_value_number' \
    'return holder_value_number'
mutant cut_in_a_character lock_ holder 'for (int i = 0; i < 3 && n &&' 'for (int i = 0; i < 0 && n &&'
mutant any_key lock_ holder ' && memcmp(s, key, key_len) == 0' ''
mutant a_huge_time lock_ holder 'if (out->since_unix_ms > AGT_TIME_MAX) out->since_unix_ms = 0;' ''
mutant a_huge_pid lock_ holder 'v > 0 && v <= INT32_MAX ? v : 0' 'v > 0 ? v : 0'
mutant controls lock_ holder 'if (c < 0x20u || c == 0x7fu)' 'if (c < 0x20u)'

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
