#!/bin/sh
# Folders as they are, where it takes root, time or room: 100,000 documents; overlay, tmpfs, ext4, file
# systems in user space and what can only be read; names that clash by case; large files; settings
# of git; other owners; stores that were moved, copied and put back from a backup.
#
#     tests/all_folders.sh [TOPIC...]   of: many layers user_space read_only names large settings owners
#                                       copies; all of them without a TOPIC
#
# It runs in namespaces of its own where it may: mounts end with it, even if it is killed.
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2
PATH=$PATH:/usr/sbin:/sbin
alone='unshare --mount --propagation private --pid --fork --kill-child --mount-proc'
if [ "${1-}" = --inside ]; then
    shift
elif [ "$(id -u)" = 0 ] && $alone true 2>/dev/null; then
    exec $alone sh tests/all_folders.sh --inside "$@"
fi
TOPICS=${*:-many layers user_space read_only names large settings owners copies}
. tests/kit.sh
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH
if ! command -v python3 >/dev/null 2>&1 || ! git --version >/dev/null 2>&1; then
    skip 'folders as they are' 'git and python3 are needed'
    (kit_passed=1 && kit_end)
    exit
fi
# in memory where there is room: what is asked here is no question to a disk
room_mb() { df -Pm "$1" | awk 'NR == 2 { print $4 }'; }
if [ -d /dev/shm ] && [ -w /dev/shm ] && [ -z "${TMPDIR-}" ] && [ "$(room_mb /dev/shm)" -gt 4000 ]; then
    rm -rf "$WORK"
    WORK=$(mktemp -d /dev/shm/agt-folders-XXXXXX) || exit 2
fi
chmod 755 "$WORK"
clean_up() {
    cd /
    for try in 1 2 3; do
        awk -v below="$WORK/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r |
            while read -r point; do umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null; done
    done
    rm -rf --one-file-system "$WORK"
}
trap clean_up EXIT
HOME=$WORK/home GIT_CONFIG_NOSYSTEM=1
export HOME GIT_CONFIG_NOSYSTEM
mkdir "$HOME" "$WORK/probe"
mounts=no
if [ "$(id -u)" = 0 ] && mount -t tmpfs none "$WORK/probe" 2>/dev/null; then
    mounts=yes
    umount "$WORK/probe"
fi
wanted() { case " $TOPICS " in *" $1 "*) ;; *) return 1 ;; esac }
fresh() { # a folder of its own for the case, and a store in it
    rm -rf "$WORK/s" && mkdir "$WORK/s" && cd "$WORK/s" && "$PROGRAM" init --plain >/dev/null
}
exits() { # CODE COMMAND...
    want=$1
    shift
    "$@"
    got=$?
    [ "$got" = "$want" ] && return
    echo "$*: exit code $got, wanted $want"
    return 1
}
# Everything in the store agrees, for three readers: its doctor, git, and the one made from FORMAT.md.
sound() { # FOLDER
    said='it cannot be listed' && "$PROGRAM" -C "$1" ls >/dev/null &&
        said=$(git --git-dir "$1/.agent-trace/git" fsck --full --strict --no-dangling --no-progress 2>&1) && [ -z "$said" ] &&
        "$PROGRAM" -C "$1" doctor --deep >"$WORK/found" && said=$(sed '/^note	served/d' "$WORK/found") && [ -z "$said" ] &&
        said=$(python3 "$ROOT/tests/read_store.py" "$1" 2>&1) && return
    echo "not sound: $1: $said"
    return 1
}
picture() { (cd "$1" && find . -type f -exec sha256sum {} + | LC_ALL=C sort); }
printf 'a\r\nb\r\n' >"$WORK/crlf"
printf 'a\0\377\r\nb\0' >"$WORK/binary"
: >"$WORK/empty"

# All kinds of work in the current folder, which is empty, each result looked at.
fill() { awk -v k="$1" 'BEGIN { for (i = 1; i <= 40; i++) printf "{\"actor\":\"agent:%s\",\"action\":\"create\",\"path\":\"%s/%d.md\",\"content\":\"%d\"}\n", k, k, i, i }'; }
works() {
    "$PROGRAM" init && "$PROGRAM" write crlf.md --file "$WORK/crlf" && "$PROGRAM" write b/binary.md --file "$WORK/binary" &&
        "$PROGRAM" write empty.md --file "$WORK/empty" && "$PROGRAM" write crlf.md --content one &&
        "$PROGRAM" write r.md --content mine --type reference && exits 3 "$PROGRAM" write r.md --content x --actor agent:a &&
        "$PROGRAM" rm b/binary.md && [ ! -e b/binary.md ] && "$PROGRAM" restore b/binary.md 1 && cmp b/binary.md "$WORK/binary" &&
        "$PROGRAM" mv crlf.md c/crlf.md && [ "$(cat c/crlf.md)" = one ] && [ ! -e crlf.md ] || return 1
    [ -z "$("$PROGRAM" status | grep -E '^(pending|modified)')" ] || return 1
    echo edited >c/crlf.md && "$PROGRAM" status | grep -q '^modified *c/crlf.md' && "$PROGRAM" write c/crlf.md --content two &&
        [ "$("$PROGRAM" show c/crlf.md 4)" = edited ] && "$PROGRAM" show c/crlf.md 1 | cmp - "$WORK/crlf" || return 1
    # two at a time, and a leader: its locks hold
    fill x >"$WORK/x" && fill y >"$WORK/y" || return 1
    "$PROGRAM" import --batch 1 "$WORK/x" >"$WORK/x.out" 2>&1 &
    other=$!
    "$PROGRAM" import --batch 1 "$WORK/y" && wait "$other" && grep -q '^40 applied' "$WORK/x.out" &&
        [ "$("$PROGRAM" ls x | wc -l)" = 40 ] && [ "$("$PROGRAM" ls y | wc -l)" = 40 ] || return 1
    exits 5 "$PROGRAM" lock hold -- "$PROGRAM" lock try && "$PROGRAM" lock try || return 1
    "$PROGRAM" replace two three -y && [ "$(cat c/crlf.md)" = three ] && "$PROGRAM" gc &&
        "$PROGRAM" write empty.md --content last && [ "$("$PROGRAM" show empty.md)" = last ] && sound .
}

# ---- 100,000 documents ----

# Runs the program once and notes processor time and memory; what it printed is in $WORK/said.
measured() { # NAME ARGS...
    python3 - "$size" "$WORK/said" "$WORK/measures" "$PROGRAM" "$@" <<'END'
import os, sys
size, said, measures, program, name, *args = sys.argv[1:]
child = os.fork()
if child == 0:
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    os.execv(program, [program, *args])
_, status, used = os.wait4(child, 0)
with open(measures, "a") as out:
    print(name, size, int(1000 * (used.ru_utime + used.ru_stime)), used.ru_maxrss, file=out)
sys.exit(os.waitstatus_to_exitcode(status))
END
}
make_stream() {
    python3 -c 'import json, sys
for i in range(int(sys.argv[1])):
    print(json.dumps(dict(actor="user", action="create", path=f"d{i//1000}/e{i%1000//100}/n{i}.md", content=f"document {i}\n" * 3)))' "$size" >"$WORK/stream"
}
many() { # SIZE: a store of that many documents, and every command once
    size=$1 n=$(($1 - 1))
    p=d$((n / 1000))/e$((n % 1000 / 100))/n$n.md
    fresh && make_stream && measured import import --batch 1000 "$WORK/stream" && grep "^$size applied" "$WORK/said" &&
        measured ls ls && [ "$(wc -l <"$WORK/said")" = "$size" ] &&
        measured ls_folder ls d3/e4 && [ "$(wc -l <"$WORK/said")" = 100 ] &&
        measured status status && grep "^documents *$size" "$WORK/said" && exits 1 grep '^[a-z]*  *d[0-9]' "$WORK/said" &&
        measured write write "$p" --content two && measured write_new write d3/new.md --content new &&
        measured show show "$p" && [ "$(cat "$WORK/said")" = two ] &&
        measured show_old show "$p" 1 && [ "$(grep -c "^document $n\$" "$WORK/said")" = 3 ] &&
        measured log log && [ "$(wc -l <"$WORK/said")" = 50 ] && measured log_path log "$p" && [ "$(wc -l <"$WORK/said")" = 2 ] &&
        measured log_all log -n 0 && [ "$(wc -l <"$WORK/said")" = $((size + 2)) ] &&
        measured info info "$p" && grep '^version.*2' "$WORK/said" && measured diff diff "$p" 1 2 && grep '^+two' "$WORK/said" &&
        measured trace trace && [ "$(wc -l <"$WORK/said")" = $((size + 2)) ] &&
        measured git git log -1 --format=%s && grep create "$WORK/said" || return 1
    measured mv mv "$p" d3/moved.md && measured rm rm d3/moved.md && measured restore restore d3/moved.md 1 &&
        measured reclassify reclassify d3/new.md plan && measured replace replace "document $((n - 1))" 'seen' -y &&
        grep '^3 matches in 1 document' "$WORK/said" && measured violations violations &&
        measured doctor doctor && [ ! -s "$WORK/said" ] && measured gc gc && measured status_packed status || return 1
    [ "$(git --git-dir .agent-trace/git rev-list --count main)" = $((size + 7)) ] || return 1
    # another boot, and a store that somebody copied
    rm .agent-trace/state && measured reopen show d3/new.md && rm .agent-trace/state && measured recover write d3/new.md --content again &&
        cp .agent-trace/journal "$WORK/journal" && mv "$WORK/journal" .agent-trace/journal &&
        measured copied write d3/new.md --content copied && measured ls_again ls && [ "$(wc -l <"$WORK/said")" = $((size + 1)) ]
}
flat() { # SIZE: as many in one folder, taken in as they lie there
    size=$1
    rm -rf "$WORK/s" && mkdir "$WORK/s" && cd "$WORK/s" &&
        python3 -c 'import sys
for i in range(int(sys.argv[1])):
    open(f"n{i}.md", "w").write(f"document {i}\n")' "$size" || return 1
    measured scan init --plain --scan && grep "took in $size documents" "$WORK/said" && measured flat_ls ls &&
        [ "$(wc -l <"$WORK/said")" = "$size" ] && measured flat_write write n7.md --content seven && measured flat_show show n7.md 1 &&
        measured flat_log log n7.md && [ "$(wc -l <"$WORK/said")" = 2 ] && measured flat_status status
}
# 256 MB for 100,000 documents, 64 MB for 10,000 of them, whatever the command.
memory() {
    awk '{ limit = $2 == 100000 ? 256 : 64; seen++ } $4 > limit * 1024 { print $1, $2, $4 " KB, more than " limit " MB"; bad = 1 }
        END { exit bad || seen != 68 }' "$WORK/measures"
}
# Ten times as many may cost ten times as much, and caches more; what grows with the square costs a hundred.
growth() {
    awk '{ ms[$1, $2] = $3; names[$1] } END { for (n in names) { small = ms[n, 10000] < 20 ? 20 : ms[n, 10000]; big = ms[n, 100000]; seen++
        if (big > 30 * small) { print n ": " small " ms for 10,000, " big " ms for 100,000"; bad = 1 } } exit bad || seen != 34 }' "$WORK/measures"
}
if wanted many; then
    if [ "$(room_mb "$WORK")" -gt 2000 ]; then
        : >"$WORK/measures"
        for size in 10000 100000; do
            case_ "$size documents: every command" many "$size"
            case_ "$size documents in one folder" flat "$size"
        done
        case_ 'no command takes more than 256 MB for 100,000 documents' memory
        case_ 'no command takes more than 30 times as long for ten times as many' growth
        awk '$2 == 100000 { ms += $3; if ($4 > kb) kb = $4; n++ } END { printf "100,000 documents: %d commands, %.1f s of a processor, at most %d MB\n", n, ms / 1000, kb / 1024 }' "$WORK/measures"
        rm -rf "$WORK/s"
    else
        skip '100,000 documents' "there is less than 2 GB of room in $WORK"
    fi
fi

# ---- one file system on another ----

in_memory() { # COMMAND: in a tmpfs of its own
    mkdir -p "$WORK/t" && mount -t tmpfs -o size=400m none "$WORK/t" && cd "$WORK/t" && "$@"
    code=$?
    cd "$WORK" && umount "$WORK/t"
    return "$code"
}
image() { # MKFS-ARGUMENTS: an ext4 of its own in $WORK/disk
    rm -f "$WORK/disk" && truncate -s 120M "$WORK/disk" && mkfs.ext4 -q -F "$@" "$WORK/disk"
}
loop_device() { image && mount -o loop "$WORK/disk" "$WORK/probe" && umount "$WORK/probe"; }
on_a_disk() {
    mkdir -p "$WORK/e" && image && mount -o loop "$WORK/disk" "$WORK/e" && mkdir "$WORK/e/s" && cd "$WORK/e/s" && works
    code=$?
    cd "$WORK" && umount "$WORK/e"
    return "$code"
}
too_small() { # room runs out within a large document; what was there is there, and the store goes on
    mkdir -p "$WORK/t" && mount -t tmpfs -o size=24m none "$WORK/t" && cd "$WORK/t" && "$PROGRAM" init --plain &&
        "$PROGRAM" write a.md --content one && head -c 30000000 /dev/zero >"$WORK/zeros" && picture . >"$WORK/was" &&
        exits 1 "$PROGRAM" write a.md --file "$WORK/zeros" 2>"$WORK/err" && cat "$WORK/err" && grep -q 'no space left' "$WORK/err" &&
        picture . >"$WORK/is" && cmp "$WORK/was" "$WORK/is" && "$PROGRAM" write a.md --content two && [ "$("$PROGRAM" show a.md 1)" = one ] &&
        { cat "$WORK/zeros" >filler 2>/dev/null || true; } && exits 1 "$PROGRAM" doctor >"$WORK/out" && grep '^warning	space' "$WORK/out" &&
        rm filler && sound .
    code=$?
    cd "$WORK" && umount "$WORK/t"
    return "$code"
}
lay() { # the overlay: lower and upper in file systems of their own, or both in one
    mount -t overlay -o "lowerdir=$WORK/o/lower/l,upperdir=$WORK/o/upper/u,workdir=$WORK/o/upper/w" overlay "$WORK/o/m"
}
layers_begin() { # one|two
    mkdir -p "$WORK/o" && mount -t tmpfs none "$WORK/o" && mkdir "$WORK/o/lower" "$WORK/o/upper" "$WORK/o/m" || return 1
    if [ "$1" = two ]; then
        mount -t tmpfs none "$WORK/o/lower" && mount -t tmpfs none "$WORK/o/upper" || return 1
    fi
    mkdir "$WORK/o/lower/l" "$WORK/o/upper/u" "$WORK/o/upper/w"
}
layers_end() {
    cd "$WORK" || return
    for point in m upper lower; do umount "$WORK/o/$point" 2>/dev/null; done
    umount "$WORK/o"
}
through_layers() { # a store in the lower layer; what is written goes to the upper one
    cd "$WORK/o/lower/l" && "$PROGRAM" init && "$PROGRAM" write a.md --content one && "$PROGRAM" write b.md --file "$WORK/crlf" &&
        "$PROGRAM" write a.md --content two --publish manual && picture . >"$WORK/lower" && lay && cd "$WORK/o/m" || return 1
    # somebody reads since before anything was copied up
    "$PROGRAM" trace --follow >"$WORK/followed" 2>"$WORK/err" &
    reader=$!
    for i in 1 2 3 4 5 6 7 8 9; do [ "$(wc -l <"$WORK/followed")" -ge 3 ] || sleep 0.2; done
    [ "$("$PROGRAM" show a.md)" = two ] && "$PROGRAM" write a.md --content three && "$PROGRAM" write n/new.md --content new &&
        "$PROGRAM" mv b.md c.md && [ ! -e b.md ] && "$PROGRAM" rm n/new.md && [ ! -e n/new.md ] && echo edited >a.md &&
        "$PROGRAM" write a.md --content five && [ "$("$PROGRAM" show a.md 4)" = edited ] && "$PROGRAM" gc && [ "$("$PROGRAM" show a.md 1)" = one ] &&
        "$PROGRAM" show c.md 1 | cmp - "$WORK/crlf" && sound .
    code=$?
    for i in 1 2 3 4 5 6 7 8 9; do grep -q '"seq":10,' "$WORK/followed" || sleep 0.2; done
    kill "$reader"
    grep -q '"seq":10,' "$WORK/followed" || { echo 'who read on did not see it' && tail -n 2 "$WORK/followed" "$WORK/err" && code=1; }
    picture "$WORK/o/lower/l" | cmp "$WORK/lower" - && [ "$code" = 0 ] || return 1
    # laid again it is the same store; without what was written, the old one
    cd "$WORK" && umount "$WORK/o/m" && lay && [ "$("$PROGRAM" -C "$WORK/o/m" show a.md 5)" = five ] && "$PROGRAM" -C "$WORK/o/m" write a.md --content six &&
        sound "$WORK/o/m" && umount "$WORK/o/m" && rm -rf "$WORK/o/upper/u" "$WORK/o/upper/w" && mkdir "$WORK/o/upper/u" "$WORK/o/upper/w" && lay &&
        [ "$("$PROGRAM" -C "$WORK/o/m" show a.md)" = two ] && "$PROGRAM" -C "$WORK/o/m" write a.md --content other && sound "$WORK/o/m"
}
layered() { # one|two COMMAND
    layers_begin "$1" && shift && "$@"
    code=$?
    layers_end
    return "$code"
}
works_in_layers() { lay && cd "$WORK/o/m" && works; }
if wanted layers; then
    if [ "$mounts" = yes ]; then
        case_ 'all kinds of work on a tmpfs' in_memory works
        case_ 'a tmpfs that is too small says so, and nothing is lost' too_small
        if (layered one lay) >/dev/null 2>&1; then
            case_ 'all kinds of work on an overlay' layered one works_in_layers
            case_ 'a store in the lower layer is written through the upper one' layered one through_layers
            case_ 'the same with the layers on two file systems' layered two through_layers
        else
            skip 'overlay' 'this kernel mounts none here'
        fi
        if (loop_device) >/dev/null 2>&1; then
            case_ 'all kinds of work on ext4' on_a_disk
        else
            skip 'ext4' 'no loop device, or no mkfs.ext4'
        fi
    else
        for what in tmpfs overlay ext4; do skip "$what" 'only root may mount'; done
    fi
fi

# ---- file systems in user space ----

user_space() { # KIND COMMAND
    rm -rf "$WORK/below" "$WORK/f" && mkdir "$WORK/below" "$WORK/f" && "$WORK/folders_fuse" "$WORK/below" "$WORK/f" "$1" 2>"$WORK/served" &
    server=$!
    for i in 1 2 3 4 5 6 7 8 9 10; do mountpoint -q "$WORK/f" 2>/dev/null || sleep 0.2; done
    shift
    mountpoint -q "$WORK/f" && cd "$WORK/f" && "$@"
    code=$?
    cd "$WORK" && { umount "$WORK/f" || umount -l "$WORK/f"; }
    wait "$server"
    return "$code"
}
works_below() { # and who reaches it another way takes it for a copy, and goes on
    works && "$PROGRAM" doctor | grep '^note	served' && cd "$WORK" && "$PROGRAM" -C "$WORK/below" write empty.md --content below && sound "$WORK/below"
}
cases_clash() { # each name leads to the same file as another spelling of it
    "$PROGRAM" init --plain && "$PROGRAM" write Plan.md --content one && "$PROGRAM" write d/E.md --content two && mkdir .git && : >.git/config || return 1
    [ "$(cat plan.MD)" = one ] || { echo 'case counts here' && return 1; }
    picture . >"$WORK/was"
    for name in plan.md PLAN.MD D/e.md d/e.md D/E.md .AGENT-TRACE/config.toml .Agent-Trace/x.md .GIT/config .Git/x.md; do
        exits 2 "$PROGRAM" write "$name" --content bad 2>"$WORK/err" && [ "$(wc -l <"$WORK/err")" = 1 ] || return 1
        exits 2 "$PROGRAM" add scratch "$name" 2>"$WORK/err" || return 1
        exits 2 "$PROGRAM" mv d/E.md "$name" 2>"$WORK/err" || [ "$name" = d/e.md ] || [ "$name" = D/e.md ] || [ "$name" = D/E.md ] || return 1
    done
    return 0
}
if wanted user_space; then
    why=
    [ "$mounts" = yes ] || why='only root may mount'
    [ -c /dev/fuse ] || why='there is no /dev/fuse'
    pkg-config --exists fuse3 2>/dev/null || why='libfuse3-dev is needed'
    if [ -z "$why" ]; then
        "$CC" -std=gnu11 -O1 -Wall -Wextra $(pkg-config --cflags fuse3) "$ROOT/tests/folders_fuse.c" $(pkg-config --libs fuse3) -o "$WORK/folders_fuse" || exit 1
        (user_space plain true) >/dev/null 2>&1 || why='nothing can be mounted with FUSE here'
    fi
    if [ -z "$why" ]; then
        case_ 'all kinds of work in user space' user_space plain works_below
        case_ 'the same without links, careful renames, reserved room and steady inodes' user_space poor works_below
        case_ 'the same where case does not count' user_space nocase works_below
        case_ 'where case does not count no name leads around the rules' user_space nocase cases_clash
    else
        skip 'file systems in user space' "$why"
    fi
fi

# ---- what can only be read ----

to_read() { # a store with all that can be read in it, some of it not published
    "$PROGRAM" init --plain && "$PROGRAM" write a.md --content one && "$PROGRAM" write a.md --content two && "$PROGRAM" write e.md --content e &&
        "$PROGRAM" write r.md --content mine --type reference && exits 3 "$PROGRAM" write r.md --content x --actor agent:a &&
        "$PROGRAM" write a.md --content three --publish manual && echo edited >e.md
}
readings='ls
ls --json
log
log a.md
log --json
show a.md
show a.md 1
show a.md 3
diff a.md 1 3
diff e.md
info a.md
violations
violations show 5
trace
lock status'
writings='write a.md --content x
write new.md --content x
add scratch new.md
rm a.md -y
mv a.md b.md
restore a.md 1
reclassify a.md plan -y
untrack a.md
replace three four -y
unlock r.md --for agent:a
init --scan
import STREAM --strict
gc
repair
lock hold true
lock try'
read_all() { # to FILE
    echo "$readings" | while read -r line; do
        echo "== $line"
        # shellcheck disable=SC2086
        $AS "$PROGRAM" $line 2>&1 || echo "exit code $?"
    done >"$1"
}
# Reads as before, and every write says what is wrong.
only_read() { # WORDS
    read_all "$WORK/read" && diff "$WORK/could" "$WORK/read" && exits 1 grep 'exit code' "$WORK/read" && $AS "$PROGRAM" status >"$WORK/out" &&
        grep '^modified *e.md' "$WORK/out" && grep 'not published yet' "$WORK/out" && picture . >"$WORK/was" || return 1
    # rights that let others in are another warning, and git reads no repository of somebody else
    [ -n "$AS" ] || { exits 1 "$PROGRAM" doctor >"$WORK/out" && grep '^warning	read_only' "$WORK/out" && "$PROGRAM" git log -1 >/dev/null; } || return 1
    echo '{"actor":"user","action":"create","path":"i.md","content":"i"}' >"$WORK/STREAM"
    echo "$writings" | sed "s|STREAM|$WORK/STREAM|" | while read -r line; do
        # shellcheck disable=SC2086
        exits 1 $AS "$PROGRAM" $line >"$WORK/out" 2>"$WORK/err" </dev/null || { cat "$WORK/out" "$WORK/err" && exit 1; }
        grep -q "^agent-trace: .*$1" "$WORK/err" || { echo "$line says: $(cat "$WORK/err")" && exit 1; }
    done && picture . | cmp "$WORK/was" -
}
AS= # who does it, if not who runs the script
bound() {
    fresh && to_read && read_all "$WORK/could" && : >new.md && mkdir -p "$WORK/b" && mount --bind "$WORK/s" "$WORK/b" && mount -o remount,bind,ro "$WORK/b" && cd "$WORK/b" && only_read 'read-only file system' &&
        cd "$WORK" && umount "$WORK/b" && cd "$WORK/s" && "$PROGRAM" write a.md --content four && sound .
    code=$?
    cd "$WORK"
    mountpoint -q "$WORK/b" && umount "$WORK/b"
    return "$code"
}
medium() { # a disk that cannot be written at all
    mkdir -p "$WORK/e" && image && mount -o loop "$WORK/disk" "$WORK/e" && cd "$WORK/e" && to_read && read_all "$WORK/could" && : >new.md && cd "$WORK" && umount "$WORK/e" &&
        chmod a-w "$WORK/disk" && mount -o ro,loop "$WORK/disk" "$WORK/e" && cd "$WORK/e" && only_read 'read-only file system'
    code=$?
    cd "$WORK" && umount "$WORK/e"
    return "$code"
}
another_user() { # may read all of it and write none
    fresh && to_read && read_all "$WORK/could" && : >new.md && chmod -R a+rX,go-w "$WORK/s" &&
        AS='setpriv --reuid 65534 --regid 65534 --clear-groups' &&
        only_read 'permission denied'
}
none_may_enter() { # whoever may not even look is told so, and finds no other store
    fresh && "$PROGRAM" write a.md --content one && mkdir sub && chmod 755 . && picture . >"$WORK/was" || return 1
    for line in 'ls' 'log' 'status' 'doctor' 'write a.md --content x' '-C sub ls' 'init' 'repair'; do
        # shellcheck disable=SC2086
        exits 1 setpriv --reuid 65534 --regid 65534 --clear-groups "$PROGRAM" $line 2>"$WORK/err" && grep -q 'permission denied' "$WORK/err" || { echo "$line: $(cat "$WORK/err")" && return 1; }
    done
    picture . | cmp "$WORK/was" -
}
if wanted read_only; then
    if [ "$mounts" = yes ]; then
        case_ 'a read-only bind mount is read as before; each write says why not' bound
        if (loop_device) >/dev/null 2>&1; then
            case_ 'so is a read-only medium' medium
        else
            skip 'a read-only medium' 'no loop device, or no mkfs.ext4'
        fi
    else
        skip 'read-only mounts' 'only root may mount'
    fi
    if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1; then
        case_ 'a folder of somebody else that may be read' another_user
        case_ 'a folder of somebody else that may not even be read' none_may_enter
    else
        skip 'folders of somebody else' 'only root can be another user'
    fi
fi

# ---- names: case, depth ----

casefold() { # ext4 that takes no heed of case, in one folder
    mkdir -p "$WORK/e" && image -O casefold && mount -o loop "$WORK/disk" "$WORK/e" || return 1
    mkdir "$WORK/e/s" && chattr +F "$WORK/e/s" && cd "$WORK/e/s" && "$@"
    code=$?
    cd "$WORK" && umount "$WORK/e"
    return "$code"
}
cases_count() { # two files that differ in case alone: one may be a document, and both stay as they are
    fresh && echo one >Plan.md && echo two >plan.md && "$PROGRAM" add scratch Plan.md && exits 2 "$PROGRAM" add scratch plan.md 2>"$WORK/err" &&
        grep -q 'upper and lower case' "$WORK/err" && exits 2 "$PROGRAM" write plan.md --content x && [ "$(cat plan.md)" = two ] &&
        [ "$(cat Plan.md)" = one ] && [ "$("$PROGRAM" ls | wc -l)" = 1 ] && "$PROGRAM" mv Plan.md other.md && "$PROGRAM" add scratch plan.md && sound .
}
deep() {
    d=1/2/3/4/5/6/7/8/9/10/11/12/13/14/15
    fresh && mkdir -p "$d" && echo 'deep text' >"$d/there.md" && "$PROGRAM" init --scan --plain && "$PROGRAM" write "$d/a.md" --content 'one text' --type plan &&
        (cd "$d" && "$PROGRAM" write b.md --content two && [ "$("$PROGRAM" show b.md)" = two ] && "$PROGRAM" write ../up.md --content up) &&
        [ "$("$PROGRAM" ls "$d" | wc -l)" = 3 ] && "$PROGRAM" mv "$d/b.md" b.md && "$PROGRAM" mv b.md "$d/16/17/b.md" && echo x >"$d/16/new.md" &&
        "$PROGRAM" status | grep "$d/16/new.md" && "$PROGRAM" replace text words 1 -y && [ "$(cat "$d/there.md")" = 'deep words' ] &&
        "$PROGRAM" rm "$d/a.md" -y && rm -rf 1 && "$PROGRAM" status | grep "^deleted" && "$PROGRAM" status | grep " $d/there.md\$" && "$PROGRAM" restore "$d/a.md" 1 && "$PROGRAM" restore "$d/there.md" 1 &&
        [ "$(cat "$d/a.md")" = 'one text' ] && "$PROGRAM" restore "$d/16/17/b.md" 1 && "$PROGRAM" restore "${d%/15}/up.md" 1 -y && "$PROGRAM" gc && sound . || return 1
    most=$(printf 'd/%.0s' $(seq 64)) && "$PROGRAM" write "${most}a.md" --content deepest && [ "$("$PROGRAM" show "${most}a.md")" = deepest ] &&
        exits 2 "$PROGRAM" write "${most}d/a.md" --content x && [ ! -e "${most}d" ] && sound .
}
if wanted names; then
    case_ 'names that differ in case alone, where case counts' cases_count
    if [ "$mounts" = yes ] && (casefold true) >/dev/null 2>&1; then
        case_ 'all kinds of work on an ext4 that takes no heed of case' casefold works
        case_ 'no name leads around the rules there' casefold cases_clash
    else
        skip 'an ext4 that takes no heed of case' 'this kernel has none, or nothing can be mounted'
    fi
    case_ '15 folders deep, every command; 64 is the most' deep
fi

# ---- large files ----

large() { # MB FILE
    size=$1 file=$2
    fresh && measured large_write write l.bin --file "$file" && cmp l.bin "$file" && measured large_small write l.bin --content small && measured large_restore restore l.bin 1 &&
        cmp l.bin "$file" && measured large_show show l.bin 1 && cmp "$WORK/said" "$file" && measured large_ls ls && measured large_status status && exits 1 grep '^modified' "$WORK/said" &&
        measured large_diff diff l.bin 1 2 && "$PROGRAM" git cat-file -s main:l.bin && measured large_log log && [ "$(wc -l <"$WORK/said")" = 3 ] &&
        measured large_info info l.bin && [ "$(git --git-dir .agent-trace/git rev-list --count main)" = 3 ] &&
        awk -v mb="$size" '$2 == mb { seen++ } $2 == mb && $4 > (4 * mb + 64) * 1024 { print; bad = 1 } END { exit bad || seen < 8 }' "$WORK/measures"
}
too_large() { # a GiB and a byte
    fresh && "$PROGRAM" write a.md --content one && truncate -s 1073741825 "$WORK/most" && picture . >"$WORK/was" && size=1025 && : >"$WORK/measures" &&
        exits 2 measured too_large write a.md --file "$WORK/most" 2>"$WORK/err" && cat "$WORK/err" "$WORK/measures" && [ "$(wc -l <"$WORK/err")" = 1 ] &&
        grep -q 1073741824 "$WORK/err" && awk '{ exit $4 > 1100000 }' "$WORK/measures" && picture . | cmp "$WORK/was" - && mv "$WORK/most" there.md &&
        exits 2 "$PROGRAM" add scratch there.md && "$PROGRAM" status && "$PROGRAM" init --scan 2>&1 | grep 'more than 1073741824' && [ "$("$PROGRAM" ls | wc -l)" = 1 ]
}
if wanted large; then
    if [ "$(room_mb "$WORK")" -gt 3000 ]; then
        : >"$WORK/measures"
        head -c 67108864 /dev/urandom >"$WORK/large" && case_ '64 MiB, random: every byte comes back, in four times the memory' large 64 "$WORK/large"
        yes "$(head -c 30000 /dev/urandom | od -An -v -tx1 | tr -d '\n ')" | head -c 314572800 >"$WORK/large" && case_ '300 MiB' large 300 "$WORK/large"
        rm -f "$WORK/large"
        case_ 'more than the largest document is refused, and nothing changes' too_large
        rm -rf "$WORK/s"
    else
        skip 'large files' "there is less than 3 GB of room in $WORK"
    fi
fi

# ---- settings of git, and its conversions in the user's own repository ----

hooks='applypatch-msg pre-commit post-commit commit-msg prepare-commit-msg post-checkout post-merge pre-push post-rewrite pre-auto-gc reference-transaction post-index-change push-to-checkout update'
hostile_home() { # settings that would change bytes, names, places, ids, or run something
    mkdir -p "$HOME/hooks" "$HOME/template/hooks" "$HOME/template/info" && for hook in $hooks; do
        printf '#!/bin/sh\necho %s >>%s/ran\nexit 1\n' "$hook" "$WORK" >"$HOME/hooks/$hook"
        chmod +x "$HOME/hooks/$hook" && cp "$HOME/hooks/$hook" "$HOME/template/hooks/"
    done
    printf '* filter=shout text eol=crlf ident working-tree-encoding=UTF-16\n' >"$HOME/attributes" && cp "$HOME/attributes" "$HOME/template/info/attributes"
    printf '*\n' >"$HOME/excludes" && cat >"$HOME/.gitconfig" <<END
[core]
    autocrlf = true
    safecrlf = true
    eol = crlf
    attributesFile = $HOME/attributes
    excludesFile = $HOME/excludes
    hooksPath = $HOME/hooks
    fsmonitor = $HOME/hooks/pre-commit
    ignoreCase = true
    bigFileThreshold = 1
    worktree = /
    sharedRepository = world
    compression = 0
    alternateRefsCommand = $HOME/hooks/update
    editor = $HOME/hooks/update
[filter "shout"]
    clean = $HOME/hooks/pre-commit
    smudge = $HOME/hooks/pre-commit
    required = true
[init]
    templateDir = $HOME/template
    defaultBranch = odd
[user]
    name = Mallory
    email = mallory@example.org
[commit]
    gpgSign = true
[gpg]
    program = $HOME/hooks/update
[diff]
    external = $HOME/hooks/update
    noprefix = true
[extensions]
    objectFormat = sha256
[safe]
    bareRepository = explicit
END
}
git_variables() {
    GIT_DIR=/nowhere GIT_WORK_TREE=/ GIT_COMMON_DIR=/nowhere GIT_INDEX_FILE=/nowhere/i GIT_OBJECT_DIRECTORY=/nowhere/o GIT_ALTERNATE_OBJECT_DIRECTORIES=/nowhere/a
    GIT_CEILING_DIRECTORIES=/ GIT_NAMESPACE=n GIT_CONFIG=/nowhere/c GIT_CONFIG_PARAMETERS="'core.autocrlf'='true'" GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.eol GIT_CONFIG_VALUE_0=crlf
    GIT_DEFAULT_HASH=sha256 GIT_DEFAULT_REF_FORMAT=reftable GIT_SHALLOW_FILE=/nowhere/s GIT_GRAFT_FILE=/nowhere/g GIT_REPLACE_REF_BASE=refs/heads/ GIT_TEMPLATE_DIR=$HOME/template
    GIT_AUTHOR_NAME=Mallory GIT_AUTHOR_EMAIL=mallory@example.org GIT_AUTHOR_DATE='1 +0000' GIT_COMMITTER_NAME=Mallory GIT_COMMITTER_EMAIL=mallory@example.org GIT_COMMITTER_DATE='1 +0000'
    GIT_EXTERNAL_DIFF=$HOME/hooks/update GIT_ATTR_SOURCE=HEAD GIT_LITERAL_PATHSPECS=1 GIT_QUARANTINE_PATH=/nowhere/q GIT_OPTIONAL_LOCKS=1
    for name in $(set | sed -n 's/^\(GIT_[A-Z0-9_]*\)=.*/\1/p'); do export "${name?}"; done
}
hostile() {
    rm -rf "$HOME" "$WORK/ran" && mkdir "$HOME" && hostile_home || return 1
    # the store lives in it; who looks at it afterwards does not
    (git_variables && mkdir -p "$WORK/h" && cd "$WORK/h" && cp "$HOME/attributes" .gitattributes && "$PROGRAM" init && "$PROGRAM" write crlf.md --file "$WORK/crlf" &&
        "$PROGRAM" write binary.md --file "$WORK/binary" && "$PROGRAM" write crlf.md --content one && "$PROGRAM" diff crlf.md 1 2 | grep '^+one' && "$PROGRAM" restore crlf.md 1 && cmp crlf.md "$WORK/crlf" &&
        "$PROGRAM" mv binary.md b.md && "$PROGRAM" rm b.md -y && "$PROGRAM" restore b.md 1 && cmp b.md "$WORK/binary" && "$PROGRAM" log crlf.md && "$PROGRAM" info crlf.md &&
        "$PROGRAM" status && "$PROGRAM" gc && "$PROGRAM" show crlf.md 1 | cmp - "$WORK/crlf" && "$PROGRAM" doctor --deep && rm .agent-trace/state && "$PROGRAM" write crlf.md --content two && "$PROGRAM" repair) || return 1
    HOME=$WORK/s
    ls "$WORK/h/.agent-trace/git" "$WORK/h/.agent-trace/git/"*
    [ ! -e "$WORK/ran" ] && [ ! -e "$WORK/h/.agent-trace/git/hooks" ] && [ ! -e "$WORK/h/.agent-trace/git/info" ] && sound "$WORK/h" || return 1
    git --git-dir "$WORK/h/.agent-trace/git" log --format='%an %ae %cn %ce' main >"$WORK/who" && [ -s "$WORK/who" ] && exits 1 grep -i 'mallory' "$WORK/who" &&
        git --git-dir "$WORK/h/.agent-trace/git" cat-file blob main:b.md | cmp - "$WORK/binary"
}
conversions() { # git changes the line ends of a document in the user's work tree; the store has its own
    rm -rf "$HOME" "$WORK/s" && mkdir "$HOME" "$WORK/s" && cd "$WORK/s" && git init -q && git config user.name n && git config user.email n@example.org &&
        git config core.autocrlf true && printf '* text=auto\n' >.gitattributes && "$PROGRAM" init --plain && "$PROGRAM" write crlf.md --file "$WORK/crlf" &&
        printf 'a\nb\n' >"$WORK/lf" && "$PROGRAM" write lf.md --file "$WORK/lf" && "$PROGRAM" write binary.md --file "$WORK/binary" &&
        "$PROGRAM" show crlf.md | cmp - "$WORK/crlf" && cmp crlf.md "$WORK/crlf" && cmp lf.md "$WORK/lf" && git add -A 2>/dev/null && git commit -qm docs && git ls-files | sort >"$WORK/out" || return 1
    printf '.gitattributes\nbinary.md\ncrlf.md\nlf.md\n' | cmp - "$WORK/out" || return 1
    exits 1 grep '^modified' <<END || return 1
$("$PROGRAM" status)
END
    rm lf.md crlf.md && git checkout -q -- lf.md crlf.md && cmp crlf.md "$WORK/crlf" && ! cmp -s lf.md "$WORK/lf" && "$PROGRAM" status | grep '^modified *lf.md' &&
        [ "$("$PROGRAM" show lf.md 1 | od -c)" = "$(od -c <"$WORK/lf")" ] && "$PROGRAM" restore lf.md 1 && cmp lf.md "$WORK/lf" && "$PROGRAM" show lf.md 2 >"$WORK/out" && printf 'a\r\nb\r\n' | cmp - "$WORK/out" && sound .
}
if wanted settings; then
    case_ 'no setting, template, hook, filter or variable of git changes or runs anything' hostile
    case_ 'what git converts in the user'"'"'s work tree comes back to the byte' conversions
    HOME=$WORK/home
    rm -rf "$HOME" && mkdir "$HOME"
fi

# ---- owners ----

somebody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$PROGRAM" "$@"; }
foreign() { # root works in the store of somebody else, which git would refuse: all of it stays theirs
    fresh && "$PROGRAM" write a.md --content one && "$PROGRAM" write a.md --content two && "$PROGRAM" gc && chown -R 65534:65534 "$WORK/s" || return 1
    somebody write a.md --content three && [ "$("$PROGRAM" show a.md 1)" = one ] && "$PROGRAM" diff a.md 1 2 | grep '^+two' && "$PROGRAM" log && "$PROGRAM" git log -1 &&
        "$PROGRAM" write a.md --content root && "$PROGRAM" write b.md --content root && "$PROGRAM" gc && GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' && export GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0 && sound . || return 1
    for line in ls log 'show a.md' 'write a.md --content x' doctor status; do
        # shellcheck disable=SC2086
        somebody $line || { echo "$line" && return 1; }
    done
    [ -z "$(find . ! -user 65534)" ] && somebody write a.md --content five && [ "$(somebody show a.md 4)" = root ] && sound .
}
roots() { # a store that is root's, in files that were root's all along: nobody else may do anything
    fresh && "$PROGRAM" write a.md --content one && "$PROGRAM" gc && chown 65534:65534 "$WORK/s" "$WORK/s/.agent-trace" && picture . >"$WORK/was" || return 1
    for line in ls log 'show a.md' 'write a.md --content x' doctor status; do
        # shellcheck disable=SC2086
        exits 1 somebody $line 2>"$WORK/err" && grep -q 'permission denied' "$WORK/err" || { echo "$line: $(cat "$WORK/err")" && return 1; }
    done
    picture . | cmp "$WORK/was" - && exits 1 "$PROGRAM" doctor >"$WORK/out" && grep -q 'chown -R 65534 .agent-trace' "$WORK/out" && "$PROGRAM" doctor --fix &&
        somebody write a.md --content two && sound .
}
if wanted owners; then
    if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1; then
        case_ 'root in a store of somebody else, which stays theirs' foreign
        case_ 'a store in which all parts are root'"'"'s, and the way back' roots
    else
        skip 'owners' 'only root can give files away'
    fi
fi

# ---- moved, copied, put back ----

versions() { # FOLDER N [REST]: a.md has N versions, each with its text, the last ones with REST
    for i in 1 2 3; do [ "$("$PROGRAM" -C "$1" show a.md $i)" = "v$i" ] || return 1; done
    [ "$("$PROGRAM" -C "$1" info a.md | awk '/^version/ { print $2 }')" = "$2" ] || { echo "$1: not $2 versions" && "$PROGRAM" -C "$1" log && return 1; }
}
three() { fresh && for i in 1 2 3; do "$PROGRAM" write a.md --content "v$i" || return 1; done; }
goes_on() { # FOLDER N: the next change there is version N
    "$PROGRAM" -C "$1" write a.md --content "v$2 in $1" && versions "$1" "$2" && [ "$("$PROGRAM" -C "$1" show a.md "$2")" = "v$2 in $1" ] && sound "$1"
}
moved() {
    three && cd "$WORK" && rm -rf other && mkdir -p other/place && mv s other/place/s && goes_on "$WORK/other/place/s" 4 && mv other/place/s s && goes_on "$WORK/s" 5
}
diverge() { # HOW: a copy, and then each goes its own way
    three && cd "$WORK" && rm -rf copy && cp "$1" s copy && goes_on "$WORK/copy" 4 && goes_on "$WORK/s" 4 && "$PROGRAM" -C copy mv a.md b.md && "$PROGRAM" -C s gc && goes_on "$WORK/s" 5 && "$PROGRAM" -C copy gc &&
        [ "$(cat s/a.md)" = "v5 in $WORK/s" ] && [ ! -e copy/a.md ] && [ "$("$PROGRAM" -C copy show b.md 4)" = "v4 in $WORK/copy" ] && sound copy &&
        replica() { "$PROGRAM" -C "$1" trace | tail -n 1 | sed 's/.*"replica":"\([^"]*\)".*/\1/'; } && [ "$(replica s)" != "$(replica copy)" ]
}
backup_over() { # tar|cp PACKED: an older backup is put over newer files, which it does not know of
    three && tar -C "$WORK/s" -cf "$WORK/backup.tar" . && rm -rf "$WORK/backup" && cp -a "$WORK/s" "$WORK/backup" && for i in 4 5 6 7; do "$PROGRAM" write a.md --content "later $i" || return 1; done
    "$PROGRAM" write later.md --content later && { [ "$2" = loose ] || "$PROGRAM" gc; } && "$PROGRAM" write a.md --content 'later 8' || return 1
    if [ "$1" = tar ]; then tar -C "$WORK/s" -xf "$WORK/backup.tar"; else cp -r "$WORK/backup/." "$WORK/s"; fi || return 1
    versions . 3 && [ "$(cat a.md)" = v3 ] && goes_on "$WORK/s" 4 && [ "$(cat later.md)" = later ] && exits 4 "$PROGRAM" show later.md 1 && "$PROGRAM" add scratch later.md && "$PROGRAM" gc && goes_on "$WORK/s" 5
}
only_the_store() { # of the backup, under newer documents: they are edits
    three && cp -a .agent-trace "$WORK/older" && "$PROGRAM" write a.md --content newer && rm -rf .agent-trace && mv "$WORK/older" .agent-trace && "$PROGRAM" status | grep '^modified *a.md' &&
        "$PROGRAM" write a.md --content after && [ "$("$PROGRAM" show a.md 4)" = newer ] && versions . 5 && sound .
}
newer_over() { # what was saved later, over a store that is older
    three && cp -a "$WORK/s" "$WORK/early" && goes_on "$WORK/s" 4 && "$PROGRAM" gc && goes_on "$WORK/s" 5 && tar -C "$WORK/s" -cf "$WORK/late.tar" . && cd "$WORK" && "$PROGRAM" -C early write a.md --content elsewhere &&
        tar -C early -xf late.tar && versions early 5 && goes_on "$WORK/early" 6
    code=$?
    rm -rf "$WORK/early"
    return "$code"
}
if wanted copies; then
    case_ 'moved while nobody has it open, and back' moved
    case_ 'copied with cp -a, then each goes its own way' diverge -a
    case_ 'copied with cp -r, then each goes its own way' diverge -r
    for how in tar cp; do
        for packed in loose packed; do
            case_ "an older backup over newer files, with $how, $packed" backup_over "$how" "$packed"
        done
    done
    case_ 'an older .agent-trace under newer documents' only_the_store
    case_ 'a newer backup over an older store' newer_over
fi
kit_end
