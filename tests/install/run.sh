#!/usr/bin/env bash
# The library as its users get it: installed to a prefix of its own, packed as .deb, and used from empty folders by
# CMake, by pkg-config and by plain compilers; shared and static; with gcc and clang, as C and C++. And the command, with
# its manual pages and completions.
#
#     tests/install/run.sh MODEL.rasp CHECKPOINT
#
# On Debian; installs what it needs. Everything is made under target/install-test.
set -euo pipefail
cd "$(dirname "$0")/../.."
model=$(realpath "$1")
checkpoint=$(realpath "$2")
work=$PWD/target/install-test
prefix=$work/prefix
rm -rf "$work"
mkdir -p "$work"

packages=(gcc g++ clang cmake make pkg-config dpkg-dev valgrind man-db zsh fish)
tests/apt.sh "${packages[@]}"
warnings=(-Wall -Wextra -Werror -pedantic)
abi=$(packaging/version.sh abi)

step() { printf '== %s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# A new empty folder, which becomes the current one.
empty_folder() { rm -rf "${work:?}/$1"; mkdir -p "$work/$1"; cd "$work/$1"; }

# Runs a built hello; it must answer from the library in the folder given, if one is.
says_paris() { # PROGRAM [FOLDER]
    local needs
    needs=$(ldd "$1" 2>&1 || true) # No dynamic program at all is an error for ldd.
    if [ $# -gt 1 ]; then
        [[ $needs == *"librasp.so.$abi => $2/"* ]] || fail "$1 does not use $2/librasp.so.$abi: $needs"
    else
        [[ $needs != *librasp* ]] || fail "$1 wants the shared library"
    fi
    "$1" "$model" "The capital of France is" 8 > "$1.txt"
    grep -q Paris "$1.txt" || fail "$1 says: $(cat "$1.txt")"
}

step "make install"
PREFIX=$prefix packaging/install.sh install
(cd "$prefix" && find . ! -type d | LC_ALL=C sort) | tee "$work/installed"

step "the command, from an empty folder, with nothing of this one's around it"
empty_folder command
alone() { env -i HOME="$PWD" PATH=/usr/bin:/bin "$@"; }
rasp=$prefix/bin/rasp
version=$("$work/../../packaging/version.sh" package)
[ "$(alone "$rasp" --version)" = "rasp $version" ] || fail "rasp --version"
[[ $(readelf -SW "$rasp") != *.symtab* ]] || fail "rasp is not stripped"
alone "$rasp" pack "$checkpoint" -o packed.rasp > pack.txt
[[ $(alone "$rasp" run packed.rasp "What is the capital of France?" -n 16) == *Paris* ]] || fail "rasp run packed.rasp"
# Packs it to the cache below $HOME first.
[[ $(alone "$rasp" run "$checkpoint" "What is the capital of France?" -n 16) == *Paris* ]] || fail "rasp run CHECKPOINT"
compgen -G '.cache/rasp/*.rasp' > /dev/null || fail "nothing in the cache"

step "manual pages"
commands=$(alone "$rasp" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -vx help)
[ "$(wc -l <<< "$commands")" -ge 7 ] || fail "the commands of --help are $commands"
for name in rasp $(sed 's/^/rasp-/' <<< "$commands"); do
    [ -s "$prefix/share/man/man1/$name.1" ] || fail "no page $name(1)"
done
pages_are_clean() { # PAGE...
    local page
    for page in "$@"; do
        man --warnings -E UTF-8 -l "$page" > page.txt 2> warnings.txt || fail "man $page"
        [ ! -s warnings.txt ] || fail "$page: $(cat warnings.txt)"
        grep -q '^SYNOPSIS' page.txt || fail "$page has no synopsis"
    done
}
pages_are_clean "$prefix"/share/man/man1/*.1
[[ $(MANPATH=$prefix/share/man man -w rasp-pack) == "$prefix"/* ]] || fail "man does not find rasp-pack"

step "completions of bash, zsh and fish"
# A shell each, with nothing of the user's, asked what comes after "rasp eval".
complete_bash='. "$1"; COMP_WORDS=(rasp eval ""); COMP_CWORD=2; _rasp rasp "" eval; echo "${COMPREPLY[*]}"
    complete -p rasp'
bash --norc -euc "$complete_bash" bash "$prefix/share/bash-completion/completions/rasp" > bash.txt 2>&1 ||
    fail "$(cat bash.txt)"
grep -qw ppl bash.txt || fail "bash completes: $(cat bash.txt)"
complete_zsh='fpath=($1 $fpath); autoload -Uz compinit && compinit -D -u && echo $_comps[rasp]
    autoload +X _rasp && functions _rasp'
zsh -f -euc "$complete_zsh" zsh "$prefix/share/zsh/site-functions" > zsh.txt 2>&1 || fail "$(cat zsh.txt)"
[ "$(head -1 zsh.txt)" = _rasp ] && grep -qw ppl zsh.txt || fail "zsh completes: $(cat zsh.txt)"
complete_fish='source $argv[1]; complete -C "rasp eval "'
HOME=$PWD fish --no-config -c "$complete_fish" "$prefix/share/fish/vendor_completions.d/rasp.fish" > fish.txt 2>&1 ||
    fail "$(cat fish.txt)"
grep -qw ppl fish.txt || fail "fish completes: $(cat fish.txt)"

step "the examples that are installed"
empty_folder examples
cp "$prefix"/share/doc/rasp/examples/* .
PKG_CONFIG_PATH=$prefix/lib/pkgconfig make RPATH="$prefix/lib" CFLAGS="${warnings[*]}" CXXFLAGS="${warnings[*]}" \
    > log 2>&1 || fail "$(cat log)"
for program in hello hello-cpp; do says_paris ./$program "$prefix/lib"; done
for source in *.c *.cpp; do [ -x "${source%.c*}" ] || [ -x "${source%.c*}-cpp" ] || fail "$source is not built"; done
cd "$work/../.."

step "what the library shows"
library=$prefix/lib/librasp.so
[ "$(readlink "$library")" = "librasp.so.$abi" ] || fail "librasp.so is no link to librasp.so.$abi"
readelf -dW "$library" > "$work/dynamic"
grep -q "soname: \[librasp.so.$abi\]" "$work/dynamic" || fail "soname"
grep -q NODELETE "$work/dynamic" || fail "not linked with -z nodelete"
grep -q SYMBOLIC "$work/dynamic" || fail "not linked with -Bsymbolic"
lean=target/dist/lean
for file in "nm -D --defined-only $library" "nm -g --defined-only $prefix/lib/librasp.a" \
    "nm -D --defined-only $lean/librasp.so" "nm -g --defined-only $lean/librasp.a"; do
    # All must have every function of the header and nothing else.
    diff <($file | awk 'NF == 3 { print $3 }' | LC_ALL=C sort) \
        <(sed -n 's/^[a-z].* \**\(rasp_[a-z_0-9]*\)(.*/\1/p' include/rasp.h | LC_ALL=C sort) || fail "$file"
done
weighs_at_most() { # BYTES FILE
    local bytes
    bytes=$(stat -L -c %s "$2")
    [ "$bytes" -le "$1" ] || fail "$2 has $bytes bytes, more than $1"
    echo "$2: $bytes bytes"
}
# The interface with constraints, and without (docs/design.md says what they weigh).
weighs_at_most 4650000 "$library"
weighs_at_most 3000000 "$lean/librasp.so"
weighs_at_most 8400000 "$prefix/lib/librasp.a"
weighs_at_most 5100000 "$lean/librasp.a"
# As the pages say.
python3 tests/docs/sizes.py "$library" "$lean/librasp.so"

step "constraints, from the shared library and the static one, and from a lean one"
empty_folder constraints
tested() { # NAME WITH|WITHOUT COMPILER'S WORDS...
    gcc -std=c11 -O1 "${warnings[@]}" -Wno-unused-parameter -I"$prefix/include" "$work/../../tests/c/constraint.c" "${@:3}" \
        -o "$1"
    [ "$("./$1" "$model" "$2")" = ok ] || fail "$1"
}
read -ra libraries < "$work/../../$lean/private-libs"
tested shared with "$library" -Wl,-rpath,"$prefix/lib"
tested static with "$prefix/lib/librasp.a" "${libraries[@]}"
tested lean-static without "$work/../../$lean/librasp.a" "${libraries[@]}"
PREFIX=$work/lean OUT=$work/../../$lean "$work/../../packaging/install.sh" install library
tested lean without "$work/lean/lib/librasp.so" -Wl,-rpath,"$work/lean/lib"
cd "$work/../.."

step "a thousand times dlopen and dlclose, under valgrind"
gcc -std=c11 -O1 -g "${warnings[@]}" -Iinclude tests/c/unload.c -o "$work/unload" -ldl -pthread
"$work/unload" "$library" "$model" 1000 5 > /dev/null
for times in 2 1000; do
    valgrind --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect \
        --error-exitcode=1 --log-file="$work/valgrind-$times" "$work/unload" "$library" "$model" $times 0 > /dev/null ||
        fail "$(cat "$work/valgrind-$times")"
    grep -o "in use at exit: .*" "$work/valgrind-$times" > "$work/in-use-$times"
done
# What the first time leaves behind (tables of filters of chat templates) the last one has found again.
diff "$work/in-use-2" "$work/in-use-1000" || fail "memory grows"
cat "$work/in-use-1000"

step "each header alone and twice"
empty_folder headers
for header in "$prefix"/include/*; do
    name=$(basename "$header")
    printf '#include <%s>\n' "$name" > once.c
    printf '#include <%s>\n#include <%s>\n' "$name" "$name" > twice.c
    for compiler in gcc clang; do
        for file in once twice; do
            if [[ $name == *.h ]]; then
                $compiler -std=c11 "${warnings[@]}" -I"$prefix/include" -c $file.c -o $file.o
            fi
            $compiler -x c++ -std=c++17 "${warnings[@]}" -I"$prefix/include" -c $file.c -o $file.o
        done
    done
done

# The same project for every way of finding the library.
cmake_project() { # TARGET
    cp "$work/../../examples-c/hello.c" .
    cat > CMakeLists.txt << END
cmake_minimum_required(VERSION 3.16)
project(host LANGUAGES C)
find_package(rasp 0.1 REQUIRED)
add_executable(hello hello.c)
target_link_libraries(hello PRIVATE $1)
END
}

for target in rasp::rasp rasp::static; do
    step "CMake, $target"
    empty_folder "cmake-${target#*::}"
    cmake_project $target
    cmake -S . -B build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS="${warnings[*]}" > log || fail "$(cat log)"
    cmake --build build > log 2>&1 || fail "$(cat log)"
    if [ $target = rasp::rasp ]; then says_paris build/hello "$prefix/lib"; else says_paris build/hello; fi
done
step "CMake refuses a version that is too new"
sed -i 's/rasp 0.1/rasp 99.0/' CMakeLists.txt
if cmake -S . -B build-99 -DCMAKE_PREFIX_PATH="$prefix" > log 2>&1; then fail "version 99.0 was found"; fi

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
for compiler in gcc clang; do
    step "pkg-config, $compiler"
    empty_folder "pkg-config-$compiler"
    cp "$work/../../examples-c/hello.c" .
    # shellcheck disable=SC2046 # several words
    $compiler -std=c11 "${warnings[@]}" hello.c $(pkg-config --cflags --libs rasp) -Wl,-rpath,"$prefix/lib" -o hello
    says_paris ./hello "$prefix/lib"
    step "the first program of docs/embedding.md, $compiler"
    sed -n '/^## The first token/,/^```$/p' "$work/../../docs/embedding.md" | sed -n '/^```c/,/^```$/{ /^```/d; p; }' > first.c
    # shellcheck disable=SC2046
    $compiler -std=c11 "${warnings[@]}" first.c $(pkg-config --cflags --libs rasp) -Wl,-rpath,"$prefix/lib" -o first
    ln -sf "$model" smollm2.rasp
    [ "$(./first)" = " Paris" ] || fail "first.c does not say Paris"
    step "pkg-config, $compiler, the static library, and a program that is static all through"
    # shellcheck disable=SC2046
    $compiler -std=c11 "${warnings[@]}" hello.c $(pkg-config --cflags rasp) -Wl,-Bstatic $(pkg-config --libs rasp) \
        -Wl,-Bdynamic $(pkg-config --static --libs rasp | sed 's/-lrasp//') -o hello-static
    says_paris ./hello-static
    # shellcheck disable=SC2046
    $compiler -std=c11 "${warnings[@]}" -static hello.c $(pkg-config --static --cflags --libs rasp) -o hello-all-static
    says_paris ./hello-all-static
done
unset PKG_CONFIG_PATH

step "an installation that has been moved"
mv "$prefix" "$work/moved"
empty_folder moved-cmake
cmake_project rasp::rasp
cmake -S . -B build -DCMAKE_PREFIX_PATH="$work/moved" > log || fail "$(cat log)"
cmake --build build > log 2>&1 || fail "$(cat log)"
says_paris build/hello "$work/moved/lib"
flags=$(PKG_CONFIG_PATH=$work/moved/lib/pkgconfig pkg-config --define-prefix --cflags rasp)
[[ $flags == *"$work/moved/include"* ]] || fail "pkg-config --define-prefix"
mv "$work/moved" "$prefix"

step "the CMake package in another folder, as vcpkg has it"
PREFIX=$work/elsewhere CMAKEDIR=$work/elsewhere/share/rasp "$work/../../packaging/install.sh" install library
[ ! -e "$work/elsewhere/lib/cmake" ] || fail "CMAKEDIR is not heeded"
empty_folder elsewhere-cmake
cmake_project rasp::rasp
cmake -S . -B build -DCMAKE_PREFIX_PATH="$work/elsewhere" > log || fail "$(cat log)"
cmake --build build > log 2>&1 || fail "$(cat log)"
says_paris build/hello "$work/elsewhere/lib"

step "make uninstall"
cd "$work/../.."
PREFIX=$prefix packaging/install.sh uninstall
left=$(find "$prefix" ! -type d)
[ -z "$left" ] || fail "left behind: $left"

step "the library alone, and what others have put beside it"
PREFIX=$prefix DESTDIR=$work/alone packaging/install.sh install library
diff <(cd "$work/alone$prefix" && find . ! -type d | LC_ALL=C sort) \
    <(grep -vE '^\./(bin|share/(man|zsh|fish|bash-completion))/' "$work/installed") || fail "the library alone"
touch "$work/alone$prefix/lib/cmake/rasp/theirs" "$work/alone$prefix/share/doc/rasp/theirs"
mkdir -p "$work/alone$prefix/share/man/man1"
echo theirs > "$work/alone$prefix/share/man/man1/rasp-theirs.1"
PREFIX=$prefix DESTDIR=$work/alone packaging/install.sh uninstall
left=$(find "$work/alone" ! -type d | sed 's,.*/,,' | LC_ALL=C sort | paste -sd ' ')
[ "$left" = "rasp-theirs.1 theirs theirs" ] || fail "left: $left"

step "make deb"
packaging/deb.sh
empty_folder deb
mkdir tree
for package in "$work"/../deb/*.deb; do
    dpkg-deb --extract "$package" tree
    dpkg-deb --field "$package" Package Version Depends
done
[ "$(alone tree/usr/bin/rasp --version)" = "rasp $version" ] || fail "rasp --version of the package"
[[ $(alone tree/usr/bin/rasp run "$model" "What is the capital of France?" -n 16) == *Paris* ]] || fail "the package's rasp"
pages_are_clean tree/usr/share/man/man1/*.1.gz
for package in librasp"$abi" librasp-dev rasp; do
    [ -s "tree/usr/share/doc/$package/copyright" ] || fail "$package has no copyright"
done
[ -s tree/usr/share/zsh/vendor-completions/_rasp ] || fail "no completions of zsh"
libdir=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
cp "$work/../../examples-c/hello.c" .
# shellcheck disable=SC2046
PKG_CONFIG_SYSROOT_DIR=$PWD/tree PKG_CONFIG_LIBDIR=$PWD/tree$libdir/pkgconfig PKG_CONFIG_SYSTEM_INCLUDE_PATH=/none \
    PKG_CONFIG_SYSTEM_LIBRARY_PATH=/none pkg-config --cflags --libs rasp > flags
# shellcheck disable=SC2046
gcc -std=c11 "${warnings[@]}" hello.c $(cat flags) -o hello
LD_LIBRARY_PATH=$PWD/tree$libdir says_paris ./hello "$PWD/tree$libdir"
cmake_project rasp::rasp
cmake -S . -B build -DCMAKE_PREFIX_PATH="$PWD/tree/usr" > log || fail "$(cat log)"
cmake --build build > log 2>&1 || fail "$(cat log)"
says_paris build/hello "$PWD/tree$libdir"

printf 'ok\n'
