#!/bin/sh
# The one entry. Everything it makes is under build/; what it needs it installs first (as root, from
# Debian's packages), or says how to. The commands are in build.d/, one file each.
set -eu
cd "$(dirname "$0")"

usage() {
    cat <<'EOF'
usage: ./build.sh COMMAND

  setup [WHAT...]           install what the commands need (WHAT: build test check all fuzz)
  build                     the program build/agent-trace, its manual pages and the library, static
                            and shared
  demo                      a store of real documents in a temporary folder, and what can be done with it
  test [FILTER]             the tests; with FILTER only the unit tests whose topic_name contains it
  test --VARIANT [FILTER]   one build of them: shipped nogit plain asan tsan valgrind s390x armhf
  test --windows [--git] [FILTER]
                            the unit tests as a Windows program, run by Wine; with --git on libgit2,
                            which is compiled from Debian's sources for it
  test --all                also sanitizers, valgrind, fuzzing, other processors and the long scripts
  test --release            the very long sweeps
  fuzz NAME SECONDS [--afl] fuzz/NAME_fuzzer.c from its corpus; findings are in build/fuzz/findings
  bench [TOPIC [OPT...]] [--json]
                            bench/bench_TOPIC.c on the shipped file; OPT goes to it
  check [NAME...]           everything that is compared rather than run
  amalgamate [--check]      make agent_trace.c from src/
  install --prefix P [--destdir D]
                            program, manual pages, completion of shells, header, libraries, pkg-config
                            file and documents, below D if given
  uninstall --prefix P [--destdir D]
                            removes what install put there, and nothing else

Settings, from the environment: CC, CFLAGS, JOBS, AGENT_TRACE_BUILD (instead of build).
EOF
}

. build.d/common.sh

command=${1-help}
[ $# -eq 0 ] || shift
case $command in
setup | build | demo | test | fuzz | bench | check | install)
    . "build.d/$command.sh"
    "command_$command" "$@"
    ;;
uninstall)
    . build.d/install.sh
    command_uninstall "$@"
    ;;
amalgamate) exec ./amalgamate "$@" ;;
help | -h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
