# rasp for vcpkg, as an overlay port: vcpkg install rasp --overlay-ports=packaging/vcpkg
#
# NOT RUN HERE: there is no vcpkg on the machines that test rasp. Written by the maintainers' guide
# (learn.microsoft.com/vcpkg/maintainers). It needs cargo (Rust 1.95) on PATH, which vcpkg does not bring, and fetches
# crates while it builds. SHA512 is that of the release's archive: vcpkg says the right one when it finds another.

vcpkg_from_github(
    OUT_SOURCE_PATH SOURCE_PATH
    REPO rasp-engine/rasp
    REF "v${VERSION}"
    SHA512 0
    HEAD_REF main
)
find_program(CARGO cargo REQUIRED)

# One optimised library serves debug builds too: the interface is C's.
set(VCPKG_BUILD_TYPE release)
set(VCPKG_POLICY_DLLS_IN_STATIC_LIBRARY enabled) # rasp::rasp is shared, rasp::static is not, for every triplet

set(stage "${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-stage")
if(VCPKG_TARGET_ARCHITECTURE STREQUAL "arm64")
    set(target aarch64-unknown-linux-gnu)
else()
    set(target x86_64-unknown-linux-gnu)
endif()
set(environment
    "CARGO=${CARGO}"
    "CARGO_BUILD_TARGET=${target}"
    "CARGO_TARGET_DIR=${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-target"
    "OUT=${stage}"
    "PREFIX=${CURRENT_PACKAGES_DIR}"
    "CMAKEDIR=${CURRENT_PACKAGES_DIR}/share/${PORT}"
)
vcpkg_execute_required_process(
    COMMAND "${CMAKE_COMMAND}" -E env ${environment} packaging/build.sh library
    WORKING_DIRECTORY "${SOURCE_PATH}"
    LOGNAME "build-${TARGET_TRIPLET}"
)
vcpkg_execute_required_process(
    COMMAND "${CMAKE_COMMAND}" -E env ${environment} packaging/install.sh install library
    WORKING_DIRECTORY "${SOURCE_PATH}"
    LOGNAME "install-${TARGET_TRIPLET}"
)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/doc")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE-MIT" "${SOURCE_PATH}/LICENSE-APACHE")
