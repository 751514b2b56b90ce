# Compiles one object if its key changed: object.sh OUT SOURCE COMPILER FLAG...
# The key is the command, the compiler's version, the source and what it may include.
out=$1
source=$2
shift 2
key=$({
    echo "$source $*"
    "$1" --version | head -n 1
    echo "$HEADERS_KEY"
    cat "$source"
    case $source in
    src/agent_trace.c) echo "$PARTS_KEY" ;;
    agent_trace.c) ;;
    *) # whoever includes the library itself
        if grep -q 'include.*agent_trace\.c"' "$source"; then cat agent_trace.c; fi
        ;;
    esac
} | if command -v sha256sum >/dev/null 2>&1; then sha256sum; else cksum; fi | cut -d' ' -f1)
[ -f "$out" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ] && exit 0
mkdir -p "$(dirname "$out")"
rm -f "$out.key"
"$@" -c "$source" -o "$out.$$" || {
    rm -f "$out.$$"
    echo "compiling $source failed: $* -c $source" >&2
    exit 1
}
mv "$out.$$" "$out"
echo "$key" >"$out.key"
