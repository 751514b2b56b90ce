#!/bin/sh
# Mutants: each takes one promise out of a copy of the sources; the tests of power cuts and faults
# must then fail. One that survives means that a promise is tested by nothing. Ends with the line
# "N passed, N failed, N skipped".
set -eu
root=${AGENT_TRACE_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}
out=${AGENT_TRACE_BUILD:-$root/build}/mutants
cc=${CC:-cc} jobs=${JOBS:-$(nproc 2>/dev/null || echo 1)}
passed=0 failed=0

rm -rf "$out"
mkdir -p "$out"

compile="$cc -std=gnu11 -O1 -w -D_FILE_OFFSET_BITS=64 -D_GNU_SOURCE -DAGT_PRIVATE=extern $(pkg-config --cflags libgit2 zlib)"

# Everything is built once: a mutant changes one part of the library and no header, so it is that part
# compiled anew, and all the others as they are.
build_once() {
    mkdir -p "$out/tests" "$out/parts"
    {
        for name in main machine test_power test_faults test_person test_side test_mend test_manage_power; do
            echo "$root/tests/$name.c $out/tests/$name.o"
        done
        sed -n 's/^#include "\(.*\.c\)"$/\1/p' "$root/src/agent_trace.c" | grep -vx git/none.c | while read -r part; do
            echo "$root/src/$part $(object_of "src/$part")"
        done
    } | xargs -P "$jobs" -L 1 sh -c "$compile -c \"\$1\" -o \"\$2\"" -
}
object_of() { # src/FOLDER/PART.c
    echo "$out/parts/$(echo "${1#src/}" | tr / _).o"
}
build() { # FOLDER [PART]
    set -- "$1" "${2-}" "$out"/tests/*.o "$out"/parts/*.o
    dir_=$1 part_=$2
    shift 2
    if [ -n "$part_" ]; then
        (cd "$dir_" && $compile -c "$part_" -o mutant.o) || return 1
        was=$(object_of "$part_")
        for object_; do
            shift
            [ "$object_" = "$was" ] || set -- "$@" "$object_"
        done
        set -- "$@" "$dir_/mutant.o"
    fi
    $cc "$@" $(pkg-config --libs libgit2 zlib) -pthread -o "$dir_/tests.bin"
}

# There are as many lanes as processors; each takes every so-manieth mutant and judges it with one job.
number=0
mutant() { # NAME TOPIC FILE OLD NEW: TOPIC found it before, so it is tried first; OLD must stand exactly once
    number=$((number + 1))
    [ $((number % jobs)) = "$lane" ] || return 0
    dir=$out/$1
    mkdir -p "$dir"
    cp -r "$root/src" "$root/agent_trace.h" "$dir/"
    if ! python3 - "$dir/$3" "$4" "$5" <<'PY'
import sys
name, old, new = sys.argv[1:]
text = open(name).read()
if text.count(old) != 1:
    sys.exit("%s: the text to change stands there %d times" % (name, text.count(old)))
open(name, "w").write(text.replace(old, new))
PY
    then
        echo "FAILED  $1: the mutant does not fit the source"
        failed=$((failed + 1))
        return
    fi
    if ! build "$dir" "$3" 2>"$dir/log"; then
        echo "FAILED  $1: does not compile"
        failed=$((failed + 1))
        return
    fi
    verdict=0
    judge "$dir" 1 "$2" || verdict=$?
    case $verdict in
    0)
        echo "FAILED  $1: survived"
        failed=$((failed + 1))
        ;;
    1)
        echo "ok      $1, by $(cat "$dir/topic"): $(grep -m1 -A1 FAILED "$dir/log" | tail -n 1 | sed 's/^ *//' | cut -c1-80)"
        passed=$((passed + 1))
        ;;
    *)
        echo "FAILED  $1: nothing found it in time"
        failed=$((failed + 1))
        ;;
    esac
    rm -rf "$dir"
}

# The tests of a build: 0 they pass, 1 one of them failed, 2 they took too long.
judge() { # FOLDER JOBS TOPIC [OPTION]
    for topic in $3 mend side manage power faults person; do
        rc=0
        echo "$topic" >"$1/topic"
        (cd "$1" && timeout 600 ./tests.bin --jobs "$2" ${4-} --first --filter "${topic}_") >"$1/log" 2>&1 || rc=$?
        case $rc in
        0) continue ;;
        124 | 137) return 2 ;;
        *) return 1 ;; # an assertion that failed counts, too
        esac
    done
    return 0
}

# What is not changed passes: else a failure below would say nothing.
control=$out/control
mkdir -p "$control"
if build_once 2>"$control/log" && build "$control" 2>>"$control/log" && judge "$control" "$jobs" '' --quick; then
    echo "ok      the sources as they are pass"
    passed=$((passed + 1))
else
    echo "FAILED  the sources as they are do not pass"
    tail -n 20 "$control/log"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
rm -rf "$control"

mutants() {
    mutant no-journal-sync mend src/store/txn.c \
        'int rc = s->sys->sync(s->sys->ctx, s->journal.fd);' 'int rc = 0;'
    mutant adopt-unsynced power src/store/store.c \
        'int rc = s->sys->sync(s->sys->ctx, s->journal.fd);' 'int rc = 0;'
    mutant trust-state-after-reboot mend src/store/store.c \
        'return strcmp(now->boot, s->self.boot) == 0;' 'return now->boot[0] || s->self.boot[0];'
    mutant keep-loose-objects power src/store/publish.c \
        'if (st == AGT_OK && run->mend) st = agt__git_clean(s->git, err);' ''
    mutant checkpoint-syncs-no-document power src/store/checkpoint.c \
        'if (row->last_seq <= after) continue;' 'if (row->last_seq >= after) continue;'
    mutant checkpoint-syncs-no-trace power src/store/checkpoint.c \
        'return st == AGT_OK ? checkpoint_sync_trace(s, err) : st;' 'return st;'
    mutant catalog-not-named-by-header mend src/store/checkpoint.c \
        'h.catalog = h.generation;' 'h.catalog = s->journal.header.catalog;'
    mutant header-not-synced mend src/log/journal.c \
        'if (rc == 0) rc = j->sys->sync(j->sys->ctx, j->fd);' ''
    mutant header-in-the-same-slot power src/log/journal.c \
        'int rc = agt__write_all(j->sys, j->fd, slot, sizeof slot, (1 - j->slot) * AGT_JOURNAL_SLOT);' \
        'int rc = agt__write_all(j->sys, j->fd, slot, sizeof slot, j->slot * AGT_JOURNAL_SLOT); j->slot = 1 - j->slot;'
    mutant records-not-chained power src/log/journal.c \
        'record->crc = agt__crc32c(cpu, seed, p + 8, n - 8);' 'record->crc = agt__crc32c(cpu, (uint32_t)(seed * 0), p + 8, n - 8);'
    mutant recovery-syncs-no-journal power src/store/recover.c \
        'int rc = s->sys->sync(s->sys->ctx, s->journal.fd); /* (1) */' 'int rc = 0;'
    mutant main-goes-back mend src/store/publish.c \
        'return run->ahead ? AGT_OK : publish_name(run, pack, err);' 'return publish_name(run, pack, err);'
    mutant a-pack-on-loose-commits mend src/store/publish.c \
        '(!last || run->commits > PUBLISH_LOOSE_MAX)' '(run->commits > PUBLISH_LOOSE_MAX)'
    mutant unpublished-not-kept mend src/store/checkpoint.c \
        'if (r.first_seq + r.entries - 1 > s->shared.packed_seq) {' 'if (r.first_seq + r.entries - 1 > s->shared.published_seq) {'
    mutant torn-documents-are-edits power src/store/recover.c \
        'if (!recover_is_torn_version(run, row->path, row->path_len, &s->old)) return AGT_OK;' 'return AGT_OK;'
    mutant failed-sync-forgotten faults src/store/txn.c \
        's->shared.failed = 1; /* finding: after a failed sync neither reads nor later syncs tell */' ''
    mutant side-file-not-synced side src/store/txn.c \
        'return agt__write_file(t->s->sys, t->s->unpublished, name, bytes, len, true, err);' \
        'return agt__write_file(t->s->sys, t->s->unpublished, name, bytes, len, t->full, err);'
    mutant side-file-of-a-record-removed side src/store/txn.c \
        'p->place.seq >= t->flushed.next_seq) { /* no record names it */' '1) {'
    mutant edits-not-looked-for person src/store/write.c \
        'if (!pending) return write_add_edit(t, p, look, now, err);' 'if (!pending) return AGT_OK;'
    mutant replaced-file-not-checked person src/store/apply.c \
        'if (now.size != seen->size) return false;' 'return true;'
    mutant untracked-not-synced manage src/store/manage.c \
        'return agt__sync_document(t->s, p->path, p->path_len, err);' 'return AGT_OK;'
    mutant untracked-is-removed manage src/store/recover.c 'if (row->untracked) return AGT_OK; /* (5) */' ''
    mutant old-path-forgotten manage src/state/catalog.c '    from->last_seq = e->seq;' ''
    echo "$passed $failed" >"$out/lane.$lane"
}
lane=0
while [ "$lane" -lt "$jobs" ]; do
    (passed=0 failed=0; mutants) &
    lane=$((lane + 1))
done
wait
lane=0
while [ "$lane" -lt "$jobs" ]; do
    read -r good bad <"$out/lane.$lane" || bad=1
    passed=$((passed + ${good:-0})) failed=$((failed + bad)) good=
    lane=$((lane + 1))
done
rm -rf "$out/tests" "$out/parts" "$out"/lane.*
rmdir "$out" 2>/dev/null || true
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
