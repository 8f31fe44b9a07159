#!/usr/bin/env bash
# `make deb`: Debian packages of what `make dist` made, under target/deb. librasp1 is the shared library; librasp-dev
# adds headers, the static library, pkg-config and CMake files, and examples; rasp is the command. Needs dpkg-dev.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/target/deb
version=$(packaging/version.sh package)
abi=$(packaging/version.sh abi)
library=$(packaging/version.sh library)
architecture=$(dpkg-architecture -qDEB_HOST_ARCH)
libdir=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
maintainer=${MAINTAINER:-The rasp authors <rasp-engine@users.noreply.github.com>}
# The same sources give the same packages: times are those of the last commit, or what the caller says.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date +%s)}
export SOURCE_DATE_EPOCH

rm -rf "$out"
mkdir -p "$out/debian"
umask 022
# Where Debian's zsh looks for what packages bring.
PREFIX=/usr BINDIR=/usr/bin LIBDIR=$libdir INCLUDEDIR=/usr/include DATADIR=/usr/share \
    ZSHDIR=/usr/share/zsh/vendor-completions DESTDIR=$out/all packaging/install.sh install

runtime=$out/librasp$abi
development=$out/librasp-dev
mkdir -p "$runtime$libdir"
mv "$out/all" "$development"
mv "$development$libdir/librasp.so.$abi" "$development$libdir/librasp.so.$library" "$runtime$libdir"
objcopy --strip-unneeded -R .comment "$runtime$libdir/librasp.so.$library"
chmod 0644 "$runtime$libdir/librasp.so.$library"
# The command: all that is neither the library's nor its documents.
command=$out/rasp
mkdir -p "$command/usr/share/doc/rasp"
mv "$development/usr/bin" "$command/usr"
for folder in man bash-completion zsh fish; do mv "$development/usr/share/$folder" "$command/usr/share"; done
gzip -9n "$command"/usr/share/man/man1/*.1
installed=$development/usr/share/doc/rasp
for package in rasp librasp-dev; do
    mkdir -p "$out/$package/usr/share/doc/$package"
    cp "$installed/README.md" "$out/$package/usr/share/doc/$package"
    gzip -9nc "$installed/CHANGELOG.md" > "$out/$package/usr/share/doc/$package/changelog.gz"
done
mv "$installed/examples" "$development/usr/share/doc/librasp-dev"
# Of the licences, /usr/share/doc/PACKAGE/copyright has the words.
rm -r "$installed"

# What all have under /usr/share/doc.
documentation() { # TREE PACKAGE
    local doc=$1/usr/share/doc/$2
    mkdir -p "$doc" "$1/DEBIAN"
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
        printf 'Upstream-Name: rasp\nSource: https://github.com/rasp-engine/rasp\n\n'
        printf 'Files: *\nCopyright: 2026 The rasp authors\nLicense: Expat or Apache-2.0\n\n'
        printf 'License: Expat\n'
        sed -e '1,/^Permission/ { /^Permission/!d }' -e 's/^$/./' -e 's/^/ /' LICENSE-MIT
        printf '\nLicense: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n'
    } > "$doc/copyright"
    {
        printf 'rasp (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md of the sources.\n\n' "$version"
        printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9n > "$doc/changelog.Debian.gz"
}
documentation "$runtime" "librasp$abi"
documentation "$development" librasp-dev
documentation "$command" rasp

# dpkg-shlibdeps wants a source tree.
printf 'Source: rasp\n\nPackage: librasp%s\nArchitecture: any\n' "$abi" > "$out/debian/control"
needed() { (cd "$out" && dpkg-shlibdeps -O -e"$1" | sed -n 's/^shlibs:Depends=//p'); }
needs=$(needed "$runtime$libdir/librasp.so.$library")
command_needs=$(needed "$command/usr/bin/rasp")
printf 'librasp %s librasp%s (>= %s)\n' "$abi" "$abi" "$version" > "$runtime/DEBIAN/shlibs"
printf 'activate-noawait ldconfig\n' > "$runtime/DEBIAN/triggers"

control() { # TREE PACKAGE SECTION MULTI-ARCH DEPENDS SYNOPSIS, and the description on stdin
    local size
    size=$(du -k -s --apparent-size --exclude=DEBIAN "$1" | cut -f1)
    {
        printf 'Package: %s\nSource: rasp\nVersion: %s-1\nArchitecture: %s\n' "$2" "$version" "$architecture"
        printf 'Maintainer: %s\nInstalled-Size: %s\nDepends: %s\n' "$maintainer" "$size" "$5"
        printf 'Section: %s\nPriority: optional\nMulti-Arch: %s\n' "$3" "$4"
        printf 'Homepage: https://github.com/rasp-engine/rasp\nDescription: %s\n' "$6"
        sed 's/^/ /'
    } > "$1/DEBIAN/control"
    (cd "$1" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) > "$1/DEBIAN/md5sums"
    find "$1" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --build "$1" "$out" > /dev/null
}
control "$runtime" "librasp$abi" libs same "$needs" "sparse language models for any program that can call C" << END
rasp runs language models on the CPU inside a game, a robot or
any other program. For each token it reads only the weights that matter.
.
This package is the shared library.
END
control "$development" librasp-dev libdevel same "librasp$abi (= $version-1), libc6-dev" \
    "sparse language models for any program that can call C - development" << END
rasp runs language models on the CPU inside a game, a robot or
any other program. For each token it reads only the weights that matter.
.
This package has the headers for C and C++, the static library, files for
pkg-config and CMake, and examples.
END
control "$command" rasp science foreign "$command_needs" "sparse language models - command line" << END
rasp runs language models on the CPU. For each token it reads only the
weights that matter.
.
This package is the command, which packs a checkpoint (GGUF, Hugging Face) into
one file, runs, measures and shows it. It does not need the shared library.
END
rm -rf "$out/debian" "$runtime" "$development" "$command"
ls -l "$out"
