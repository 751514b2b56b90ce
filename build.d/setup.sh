# setup [WHAT...]: everything the commands at hand need; without WHAT, what build and test need.
command_setup() {
    [ $# -ne 0 ] || set -- test
    for what; do
        case $what in
        build) need $NEED_BUILD ;;
        test) need $NEED_TEST ;;
        check) need $NEED_CHECK ;;
        fuzz) need $NEED_FUZZ afl-clang-fast ;;
        all) need $NEED_ALL ;;
        *) usage_error "setup: $what is none of build, test, check, fuzz, all" ;;
        esac
    done
}
