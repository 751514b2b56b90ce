# Compiles one object if its key changed: object.sh OUT SOURCE COMPILER FLAG...
# The key is the command, the compiler's version, the source and what it may include.
hash() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum; else cksum; fi | cut -d' ' -f1
}
out=$1
source=$2
shift 2
key=$({
    echo "$source $*"
    "$1" --version | head -n 1
    echo "$HEADERS_KEY"
    cat "$source"
    if [ "$source" = src/agent_trace.c ]; then
        echo "$PARTS_KEY"
    elif grep -q '^#include ".*\.c"' "$source"; then # whoever includes other sources
        echo "$PARTS_KEY"
        cat agent_trace.c cli/*.c 2>/dev/null
    fi
} | hash)
[ -f "$out" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ] && exit 0
mkdir -p "$(dirname "$out")"
rm -f "$out.key"
# Most sources are the same to the compiler in several variants, whatever is defined: compiled once,
# their object is linked into the others' folders.
same=$({
    "$1" --version | head -n 1
    for word; do case $word in -D*) ;; *) echo "$word" ;; esac done
    "$@" -E "$source" 2>/dev/null || echo "$out"
} | hash)
same=$OBJECTS_ALIKE/$same.o
ln "$same" "$out.$$" 2>/dev/null || "$@" -c "$source" -o "$out.$$" || {
    rm -f "$out.$$"
    echo "compiling $source failed: $* -c $source" >&2
    exit 1
}
[ -e "$same" ] || ln "$out.$$" "$same" 2>/dev/null
rm -f "$out" && mv "$out.$$" "$out"
echo "$key" >"$out.key"
