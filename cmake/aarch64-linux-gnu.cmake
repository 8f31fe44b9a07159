# CMake toolchain file: C and C++ for 64-bit ARM Linux, from Debian's cross compiler on another machine.
#
#     cmake -S examples-c -B BUILD --toolchain $PWD/cmake/aarch64-linux-gnu.cmake -DRASP_LIBRARY=.../librasp.so
#
# Programs are run under qemu, by ctest for one. -DRASP_EMULATOR=... gives another command, or none if empty.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# Programs are this machine's; headers and libraries the target's, in the cross compiler's folder or in Debian's for
# foreign architectures, which the compiler knows itself.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# No -L /usr/aarch64-linux-gnu: qemu must find libc6:arm64, see tests/aarch64/run.sh.
set(RASP_EMULATOR qemu-aarch64-static -cpu max CACHE STRING "Runs the target's programs here")
set(CMAKE_CROSSCOMPILING_EMULATOR ${RASP_EMULATOR})
# Trial projects of CMake's own read this file again, without the cache.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RASP_EMULATOR)
