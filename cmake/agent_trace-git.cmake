# Makes the target agent_trace::git: libgit2 and zlib, wherever they come from. Read by the build, and
# by the installed package of a static library. Without them there is no target, and
# agent_trace_git_missing says what is missing.
if(TARGET agent_trace::git)
    return()
endif()

find_package(ZLIB QUIET)
# Packages of libgit2 name their target in several ways, and most have pkg-config's file only.
find_package(libgit2 CONFIG QUIET)
set(agent_trace_libgit2)
foreach(name libgit2::libgit2package libgit2::libgit2 unofficial::libgit2::libgit2)
    if(TARGET ${name} AND NOT agent_trace_libgit2)
        set(agent_trace_libgit2 ${name})
    endif()
endforeach()
if(NOT agent_trace_libgit2)
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
        pkg_check_modules(AGENT_TRACE_LIBGIT2 QUIET IMPORTED_TARGET libgit2)
    endif()
    if(TARGET PkgConfig::AGENT_TRACE_LIBGIT2)
        set(agent_trace_libgit2 PkgConfig::AGENT_TRACE_LIBGIT2)
    endif()
endif()

if(NOT agent_trace_libgit2)
    set(agent_trace_git_missing "libgit2 was not found, neither by CMake nor by pkg-config")
elseif(NOT TARGET ZLIB::ZLIB)
    set(agent_trace_git_missing "zlib was not found")
else()
    add_library(agent_trace::git INTERFACE IMPORTED)
    set_target_properties(agent_trace::git PROPERTIES
        INTERFACE_LINK_LIBRARIES "${agent_trace_libgit2};ZLIB::ZLIB")
endif()
