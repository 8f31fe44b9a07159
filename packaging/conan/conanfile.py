"""rasp for Conan 2: conan create packaging/conan

NOT RUN HERE by any test; once by hand (2026-11-29, Conan 2.34, x86_64), on an archive of this repository in place of a
release's, shared and static, and a CMake project over each. It needs cargo (Rust 1.95) and binutils on PATH, and
fetches crates while it builds. conandata.yml has the archive of a release and its checksum.
"""

import os

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.files import copy, get, rm, rmdir
from conan.tools.layout import basic_layout

required_conan_version = ">=2.0"

TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "armv8": "aarch64-unknown-linux-gnu"}


class RaspConan(ConanFile):
    name = "rasp"
    version = "0.1.0"
    description = "Language models inside any program, reading only part of the weights for each token"
    license = "MIT OR Apache-2.0"
    homepage = "https://github.com/rasp-engine/rasp"
    url = "https://github.com/rasp-engine/rasp"
    topics = ("llm", "inference", "sparsity", "gguf", "embedded")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": True}

    def validate(self):
        if self.settings.os != "Linux" or str(self.settings.arch) not in TARGETS:
            raise ConanInvalidConfiguration("this recipe builds rasp for Linux on x86_64 and armv8")

    def package_id(self):
        # Its interface is C's and it is always optimised.
        self.info.settings.rm_safe("compiler")
        self.info.settings.rm_safe("build_type")

    def layout(self):
        basic_layout(self, src_folder="src")

    def source(self):
        get(self, **self.conan_data["sources"][self.version], strip_root=True)

    def _run(self, script):
        variables = {
            "CARGO_BUILD_TARGET": TARGETS[str(self.settings.arch)],
            "CARGO_TARGET_DIR": os.path.join(self.build_folder, "target"),
            "OUT": os.path.join(self.build_folder, "stage"),
            "PREFIX": self.package_folder or "/nowhere",
        }
        words = " ".join(f'{name}="{value}"' for name, value in variables.items())
        self.run(f"env {words} packaging/{script}", cwd=self.source_folder)

    def build(self):
        self._run("build.sh library")

    def package(self):
        self._run("install.sh install library")
        library = os.path.join(self.package_folder, "lib")
        # Conan writes files of its own for CMake and pkg-config.
        rmdir(self, os.path.join(library, "cmake"))
        rmdir(self, os.path.join(library, "pkgconfig"))
        rmdir(self, os.path.join(self.package_folder, "share"))
        rm(self, "librasp.a" if self.options.shared else "librasp.so*", library)
        copy(self, "LICENSE-*", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.libs = ["rasp"]
        self.cpp_info.set_property("cmake_file_name", "rasp")
        self.cpp_info.set_property("cmake_target_name", "rasp::rasp" if self.options.shared else "rasp::static")
        self.cpp_info.set_property("pkg_config_name", "rasp")
        if not self.options.shared:
            self.cpp_info.system_libs = ["pthread", "m", "dl", "rt", "util"]
