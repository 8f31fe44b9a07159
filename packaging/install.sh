#!/usr/bin/env bash
# `make install` and `make uninstall`: puts what packaging/build.sh made where PREFIX (default /usr/local), LIBDIR and
# INCLUDEDIR say, below DESTDIR if that is set; or takes it away again.
#
#     packaging/install.sh install|uninstall
set -euo pipefail
here=$(dirname "$(realpath "$0")")
root=$(dirname "$here")
stage=$(realpath -m "${OUT:-$root/target/dist/stage}")

prefix=$(realpath -m -s "${PREFIX:-/usr/local}")
libdir=${LIBDIR:-$prefix/lib}
includedir=${INCLUDEDIR:-$prefix/include}
lib=${DESTDIR:-}$libdir
include=${DESTDIR:-}$includedir

version=$("$here/version.sh" package)
library=$("$here/version.sh" library)
abi=$("$here/version.sh" abi)

headers=(rasp.h rasp.hpp)
libraries=(librasp.so."$library" librasp.so."$abi" librasp.so librasp.a)
cmake=(rasp-config.cmake rasp-config-version.cmake)

# Paths as a .pc file says them, so that pkg-config --define-prefix can move them.
below_prefix() { case $1 in "$prefix"/*) echo "\${prefix}${1#"$prefix"}" ;; *) echo "$1" ;; esac }

fill_in() {
    local libs pointer=8
    libs=$(cat "$stage/private-libs")
    [ "$(od -An -j4 -N1 -tu1 "$stage/librasp.so" | tr -d ' ')" = 2 ] || pointer=4 # ELFCLASS64
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$2|g" -e "s|@INCLUDEDIR@|$3|g" \
        -e "s|@VERSION@|$version|g" -e "s|@LIBRARY_VERSION@|$library|g" -e "s|@ABI@|$abi|g" \
        -e "s|@POINTER_SIZE@|$pointer|g" -e "s|@POINTER_BITS@|$((8 * pointer))|g" \
        -e "s|@INCLUDE_FROM_HERE@|$(realpath -m --relative-to="$libdir/cmake/rasp" "$includedir")|g" \
        -e "s|@PRIVATE_LIBS@|$libs|g" -e "s|@PRIVATE_LIBS_LIST@|${libs// /;}|g" "$here/$1.in"
}

case ${1:-} in
    install)
        install -d "$include" "$lib/pkgconfig" "$lib/cmake/rasp"
        for header in "${headers[@]}"; do
            install -m 0644 "$root/include/$header" "$include/$header"
        done
        install -m 0755 "$stage/librasp.so" "$lib/librasp.so.$library"
        ln -sf "librasp.so.$library" "$lib/librasp.so.$abi"
        ln -sf "librasp.so.$abi" "$lib/librasp.so"
        install -m 0644 "$stage/librasp.a" "$lib/librasp.a"
        fill_in rasp.pc "$(below_prefix "$libdir")" "$(below_prefix "$includedir")" > "$lib/pkgconfig/rasp.pc"
        for file in "${cmake[@]}"; do
            fill_in "$file" "$libdir" "$includedir" > "$lib/cmake/rasp/$file"
        done
        chmod 0644 "$lib/pkgconfig/rasp.pc" "$lib/cmake/rasp/"*
        ;;
    uninstall)
        for file in "${headers[@]}"; do rm -f "$include/$file"; done
        for file in "${libraries[@]}"; do rm -f "$lib/$file"; done
        for file in "${cmake[@]}"; do rm -f "$lib/cmake/rasp/$file"; done
        rm -f "$lib/pkgconfig/rasp.pc"
        rmdir --ignore-fail-on-non-empty "$lib/cmake/rasp" 2> /dev/null || true
        ;;
    *) sed -n 2,5p "$0" >&2; exit 2 ;;
esac
