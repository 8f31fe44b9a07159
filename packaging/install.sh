#!/usr/bin/env bash
# `make install` and `make uninstall`: puts what packaging/build.sh made where PREFIX (default /usr/local), BINDIR,
# LIBDIR, INCLUDEDIR, DATADIR and CMAKEDIR say, below DESTDIR if that is set; or takes it away again.
#
#     packaging/install.sh install|uninstall [all|library]
#
# `library` leaves the command, its manual pages and its completions where they are. ZSHDIR is where zsh looks.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
root=$(dirname "$here")
stage=$(realpath -m "${OUT:-$root/target/dist/stage}")

prefix=$(realpath -m -s "${PREFIX:-/usr/local}")
libdir=${LIBDIR:-$prefix/lib}
includedir=${INCLUDEDIR:-$prefix/include}
cmakedir=${CMAKEDIR:-$libdir/cmake/rasp}
data=${DESTDIR:-}${DATADIR:-$prefix/share}
bin=${DESTDIR:-}${BINDIR:-$prefix/bin}
lib=${DESTDIR:-}$libdir
include=${DESTDIR:-}$includedir
man=$data/man/man1
doc=$data/doc/rasp
bash=$data/bash-completion/completions
zsh=${DESTDIR:-}${ZSHDIR:-${DATADIR:-$prefix/share}/zsh/site-functions}
fish=$data/fish/vendor_completions.d

version=$("$here/version.sh" package)
library=$("$here/version.sh" library)
abi=$("$here/version.sh" abi)

headers=(rasp.h rasp.hpp)
libraries=(librasp.so."$library" librasp.so."$abi" librasp.so librasp.a)
cmake=(rasp-config.cmake rasp-config-version.cmake)

documents=(README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE)
examples=("$root"/examples-c/*.c "$root"/examples-c/*.cpp)

# Paths as a .pc file says them, so that pkg-config --define-prefix can move them.
below_prefix() { case $1 in "$prefix"/*) echo "\${prefix}${1#"$prefix"}" ;; *) echo "$1" ;; esac }

fill_in() {
    local libs pointer=8
    libs=$(cat "$stage/private-libs")
    [ "$(od -An -j4 -N1 -tu1 "$stage/librasp.so" | tr -d ' ')" = 2 ] || pointer=4 # ELFCLASS64
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$2|g" -e "s|@INCLUDEDIR@|$3|g" \
        -e "s|@VERSION@|$version|g" -e "s|@LIBRARY_VERSION@|$library|g" -e "s|@ABI@|$abi|g" \
        -e "s|@POINTER_SIZE@|$pointer|g" -e "s|@POINTER_BITS@|$((8 * pointer))|g" \
        -e "s|@INCLUDE_FROM_HERE@|$(realpath -m --relative-to="$cmakedir" "$includedir")|g" \
        -e "s|@LIB_FROM_HERE@|$(realpath -m --relative-to="$cmakedir" "$libdir")|g" \
        -e "s|@PRIVATE_LIBS@|$libs|g" -e "s|@PRIVATE_LIBS_LIST@|${libs// /;}|g" "$here/$1.in"
}

install_library() {
    install -d "$include" "$lib/pkgconfig" "${DESTDIR:-}$cmakedir" "$doc/examples"
    for header in "${headers[@]}"; do
        install -m 0644 "$root/include/$header" "$include/$header"
    done
    install -m 0755 "$stage/librasp.so" "$lib/librasp.so.$library"
    ln -sf "librasp.so.$library" "$lib/librasp.so.$abi"
    ln -sf "librasp.so.$abi" "$lib/librasp.so"
    install -m 0644 "$stage/librasp.a" "$lib/librasp.a"
    fill_in rasp.pc "$(below_prefix "$libdir")" "$(below_prefix "$includedir")" > "$lib/pkgconfig/rasp.pc"
    for file in "${cmake[@]}"; do
        fill_in "$file" "$libdir" "$includedir" > "${DESTDIR:-}$cmakedir/$file"
    done
    chmod 0644 "$lib/pkgconfig/rasp.pc" "${DESTDIR:-}$cmakedir/"*
    for file in "${documents[@]}"; do
        install -m 0644 "$root/$file" "$doc/$file"
    done
    install -m 0644 "${examples[@]}" "$doc/examples"
    install -m 0644 "$here/examples.mk" "$doc/examples/Makefile"
}

# The pages that are ours, which the name alone does not say.
remove_pages() {
    local page
    for page in "$man"/rasp.1 "$man"/rasp-*.1; do
        if [ -f "$page" ] && grep -qF '"rasp manual"' "$page"; then rm "$page"; fi
    done
}

install_command() {
    install -d "$bin" "$man" "$bash" "$zsh" "$fish"
    install -m 0755 "$stage/rasp" "$bin/rasp"
    # One that an older version had is no page of this one's.
    remove_pages
    install -m 0644 "$stage"/man/*.1 "$man"
    install -m 0644 "$stage/completions/rasp.bash" "$bash/rasp"
    install -m 0644 "$stage/completions/_rasp" "$zsh/_rasp"
    install -m 0644 "$stage/completions/rasp.fish" "$fish/rasp.fish"
}

uninstall_library() {
    for file in "${headers[@]}"; do rm -f "$include/$file"; done
    for file in "${libraries[@]}"; do rm -f "$lib/$file"; done
    for file in "${cmake[@]}"; do rm -f "${DESTDIR:-}$cmakedir/$file"; done
    for file in "${documents[@]}"; do rm -f "$doc/$file"; done
    for file in "${examples[@]##*/}" Makefile; do rm -f "$doc/examples/$file"; done
    rm -f "$lib/pkgconfig/rasp.pc"
    # Not what others have put there.
    rmdir --ignore-fail-on-non-empty "${DESTDIR:-}$cmakedir" "$doc/examples" "$doc" 2> /dev/null || true
}

uninstall_command() {
    rm -f "$bin/rasp" "$bash/rasp" "$zsh/_rasp" "$fish/rasp.fish"
    remove_pages
}

usage() { sed -n 5p "$0" >&2; exit 2; }
case ${2:-all} in all | library) ;; *) usage ;; esac
case ${1:-} in
    install | uninstall) "$1_library" ;;
    *) usage ;;
esac
[ "${2:-all}" = library ] || "$1_command"
