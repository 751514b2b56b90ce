#!/bin/sh
# tests/model/sentinel.pml by spin: the protocol holds, and each of its six mutations is found. Ends
# with the line "N passed, N failed, N skipped".
set -eu
root=${AGENT_TRACE_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}
out=${AGENT_TRACE_BUILD:-$root/build}/model
cc=${CC:-cc}
passed=0 failed=0

if ! command -v spin >/dev/null; then
    echo "spin is not installed"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
rm -rf "$out"

search() { # NAME WANTED MODEL-FLAGS COMPILER-FLAGS SEARCH-FLAGS: WANTED is right or wrong
    dir=$out/$1
    mkdir -p "$dir"
    # shellcheck disable=SC2086
    (cd "$dir" && spin -a $3 "$root/tests/model/sentinel.pml" >spin.log 2>&1 &&
        $cc -O2 -w -DMEMLIM=2000 $4 -o pan pan.c && ./pan -m400000 $5 >pan.log 2>&1) || true
    errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$dir/pan.log" 2>/dev/null || true)
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$dir/pan.log" 2>/dev/null || true)
    # a search that was cut short proves nothing
    whole=yes
    if grep -q -e 'max search depth too small' -e 'out of memory' "$dir/pan.log"; then whole=no; fi
    case $2-${errors:-none}-$whole in
    right-0-yes | wrong-[1-9]*)
        echo "ok      $1: $states states"
        passed=$((passed + 1))
        ;;
    *)
        echo "FAILED  $1: ${errors:-no} errors, wanted $2 (whole: $whole; see $dir)"
        failed=$((failed + 1))
        ;;
    esac
}
safe() { search "$1" "$2" "$3" -DSAFETY ''; }
live() { search "$1" "$2" "-DLIVE $3" "-DNFAIR=4" '-a -f'; }

safe never_two_leaders right '-DN=3 -DCRASHES=2'
safe only_its_own_file_is_released right '-DPERSON -DN=3 -DCRASHES=0'
live a_dead_leader_is_replaced right '-DN=2 -DCRASHES=1'
live a_dead_claimant_is_replaced right '-DN=3 -DCRASHES=2'
safe unlink_without_claim wrong '-DUNLINK -DN=3 -DCRASHES=2'
safe rename_aside wrong '-DASIDE -DN=3 -DCRASHES=2'
safe claim_not_reread wrong '-DNOT_REREAD -DN=3 -DCRASHES=2'
safe release_without_token wrong '-DPERSON -DRELEASE -DN=3 -DCRASHES=0'
live claim_without_token wrong '-DNO_TOKEN -DN=3 -DCRASHES=2'
live publish_not_atomic wrong '-DTORN -DN=2 -DCRASHES=1'

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
