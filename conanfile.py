"""The recipe for Conan 2: `conan create .` builds and packages it with CMakeLists.txt."""
import os
import re

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir


class AgentTrace(ConanFile):
    name = "agent_trace"
    description = "A memory for AI agents: documents under typed permissions, a trace, a leader lock"
    license = "MIT"
    package_type = "library"
    settings = "os", "compiler", "build_type", "arch"
    options = {"shared": [True, False], "fPIC": [True, False], "git": [True, False], "program": [True, False]}
    default_options = {"shared": False, "fPIC": True, "git": True, "program": False}
    implements = ["auto_shared_fpic"]
    exports_sources = (
        "agent_trace.[ch]", "cli/*", "CMakeLists.txt", "cmake/*", "build.d/agent_trace.pc.in", "build.d/pages.sh", "*.md", "LICENSE",
    )

    def set_version(self):  # it stands in the header and nowhere else
        header = load(self, os.path.join(self.recipe_folder, "agent_trace.h"))
        self.version = re.search(r'^#define AGENT_TRACE_VERSION +"(.*)"', header, re.M).group(1)

    def configure(self):
        # C only: the package is the same whatever C++ its user has
        self.settings.rm_safe("compiler.cppstd")
        self.settings.rm_safe("compiler.libcxx")

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        if self.options.git:  # the header names neither of them
            self.requires("libgit2/[>=1.5 <2]")
            self.requires("zlib/[>=1.2.11 <2]")

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["AGENT_TRACE_SHARED"] = bool(self.options.shared)
        toolchain.cache_variables["AGENT_TRACE_NO_GIT"] = not self.options.git
        toolchain.cache_variables["AGENT_TRACE_PROGRAM"] = bool(self.options.program)
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        # Conan writes these itself, for the dependencies that the user's own graph has
        rmdir(self, os.path.join(self.package_folder, "lib", "cmake"))
        rmdir(self, os.path.join(self.package_folder, "lib", "pkgconfig"))

    def package_info(self):
        self.cpp_info.libs = ["agent_trace"]
        self.cpp_info.set_property("cmake_file_name", "agent_trace")
        self.cpp_info.set_property("cmake_target_name", "agent_trace::agent_trace")
        self.cpp_info.set_property("pkg_config_name", "agent_trace")
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["pthread"]
