#!/usr/bin/env bash
# Every binding over the installed library, on the real model: its tests, its example and its programs in
# docs/bindings.md, whose text must be the same in every language.
#
#     tests/bindings/run.sh MODEL.rasp
#
# On Debian; installs what it needs (packages of Debian's, of PyPI and of npm). Made under target/bindings-test.
set -euo pipefail
cd "$(dirname "$0")/../.."
RASP_TEST_MODEL=$(realpath "$1")
export RASP_TEST_MODEL
work=$PWD/target/bindings-test
rm -rf "$work"
mkdir -p "$work"
cp -r bindings "$work/bindings"

packages=(python3 python3-venv nodejs luajit golang-go gcc g++ pkg-config mono-mcs mono-runtime)
packages+=(default-jdk-headless libjna-java)
# nodejs may come from elsewhere than Debian, and then has npm.
command -v npm > /dev/null || packages+=(npm)
tests/apt.sh "${packages[@]}"

prefix=$work/prefix
PREFIX=$prefix packaging/install.sh install library
# As if the prefix were one the system looks in.
export LD_LIBRARY_PATH=$prefix/lib PKG_CONFIG_PATH=$prefix/lib/pkgconfig
unset RASP_LIBRARY

# An adapter for the model, and a model whose template knows tools.
rasp=$PWD/target/release/rasp
mkdir "$work/models"
python3 tests/bindings/models.py "$work/models"
export RASP_TEST_ADAPTER=$work/models/lora.rasp-adapter RASP_TEST_TOOLS=$work/models/tools.rasp
"$rasp" pack-adapter "$work/models/lora" --base "$work/models/base" -o "$RASP_TEST_ADAPTER" > "$work/pack.txt"
"$rasp" pack "$work/models/tools" --dtype f16 --sparsity "" -o "$RASP_TEST_TOOLS" >> "$work/pack.txt" 2>&1

step() { printf '== %s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# The programs of the page, with the model that they name.
page=$work/page
python3 tests/docs/check.py programs "$page"
ln -s "$RASP_TEST_MODEL" "$page/model.rasp"
on_the_page() { # LANGUAGE NUMBER COMMAND...
    (cd "$page" && "${@:3}" > "$1-$2.txt") || fail "docs/bindings.md: $1, program $2"
    [ -s "$page/$1-$2.txt" ] || fail "docs/bindings.md: $1, program $2 says nothing"
}

version=$(packaging/version.sh package)

step "Python"
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check --quiet "$@"; }
pip install "mypy==2.4.1" "auditwheel==6.8.2" "setuptools>=77" types-setuptools
pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheels" "$work/bindings/python"
pip install --no-index "$work/wheels/librasp-$version-py3-none-any.whl"
cd "$work/bindings/python"
# What is tested is the wheel.
rm -r src/librasp.egg-info build
"$work/venv/bin/mypy"
"$work/venv/bin/python" -m unittest --quiet test_rasp test_chat
"$work/venv/bin/python" example.py "$RASP_TEST_MODEL" | tee "$work/python.txt"
for n in 1 2 3; do on_the_page python $n "$work/venv/bin/python" python-$n.py; done
cd "$work/../.."

# Runs with nothing but what it is given, in a folder of its own; and must say what the others do.
alone() { # NAME COMMAND...
    local name=$1
    shift
    mkdir -p "$work/$name"
    (cd "$work/$name" && env -i HOME="$PWD" PATH="$PATH" "$@" | tee "$work/$name.txt")
}

step "Python, a wheel that has the library inside, in an empty environment"
PYTHON=$work/venv/bin/python packaging/wheel.sh
wheel=$(echo target/wheels/librasp-"$version"-py3-none-manylinux_*.whl)
# What decides it independently: whose symbols of glibc the library asks for.
"$work/venv/bin/auditwheel" show "$wheel" > "$work/auditwheel.txt"
tag=${wheel##*-none-}
grep -q "constrains the platform tag to \"${tag%.whl}\"" "$work/auditwheel.txt" || fail "$(cat "$work/auditwheel.txt")"
python3 -m venv "$work/empty-venv"
"$work/empty-venv/bin/pip" --disable-pip-version-check --quiet install --no-index "$wheel"
cp bindings/python/example.py "$work/talk.py"
alone python-whole "$work/empty-venv/bin/python" "$work/talk.py" "$RASP_TEST_MODEL"
# Which library that was, should this system have another.
mapped=$("$work/empty-venv/bin/python" -c 'import rasp; print(open("/proc/self/maps").read())')
[[ $mapped == *"$work/empty-venv/"*/rasp/librasp.so.1* ]] || fail "the wheel uses another library"

step "Node.js"
cd "$work/bindings/node"
npm install --silent --no-audit --no-fund
node --test > "$work/node-test.txt" || { cat "$work/node-test.txt"; exit 1; }
node example.js "$RASP_TEST_MODEL" | tee "$work/node.txt"
cd "$work/../.."

step "Node.js, a package that has the library inside, in an empty folder"
packaging/npm.sh
mkdir "$work/node-whole"
(cd "$work/node-whole" && npm install --silent --no-audit --no-fund "../../npm/rasp-$version.tgz")
sed "s|'./index.js'|'rasp'|" bindings/node/example.js > "$work/node-whole/talk.mjs"
alone node-whole "$(command -v node)" talk.mjs "$RASP_TEST_MODEL"
mapped=$(cd "$work/node-whole" && node -e \
    'import("rasp").then(() => console.log(require("fs").readFileSync("/proc/self/maps", "utf8")))')
[[ $mapped == *"$work/node-whole/node_modules/rasp/librasp.so.1"* ]] || fail "the package uses another library"
ln -s "$work/node-whole/node_modules" "$page/node_modules"
for n in 1 2 3; do on_the_page js $n node js-$n.mjs; done

step "Lua"
cd "$work/bindings/lua"
luajit test.lua "$RASP_TEST_MODEL"
luajit test_chat.lua "$RASP_TEST_MODEL" "$RASP_TEST_ADAPTER" "$RASP_TEST_TOOLS"
luajit example.lua "$RASP_TEST_MODEL" | tee "$work/lua.txt"
for n in 1 2 3; do LUA_PATH="$PWD/?.lua;;" on_the_page lua $n luajit lua-$n.lua; done

step "Go"
cd "$work/bindings/go"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not as gofmt would have it: $unformatted" >&2; exit 1; }
go vet ./...
go test ./...
go run ./example "$RASP_TEST_MODEL" | tee "$work/go.txt"
# In a module of its own.
cd "$page"
go mod init page 2> go-log || fail "$(cat go-log)"
go mod edit -require=github.com/rasp-engine/rasp/bindings/go@v0.0.0
go mod edit -replace=github.com/rasp-engine/rasp/bindings/go=../bindings/go
for n in 1 2 3; do on_the_page go $n go run go-$n.go; done

cd "$work/../.."

step "C#"
grep -q "<Version>$version</Version>" bindings/csharp/Rasp.csproj || fail "Rasp.csproj has another version"
cd "$work/bindings/csharp"
# Of the language as old as the project file says; what every compiler warns of is an error.
csharp() { mcs -langversion:7.2 -warn:4 -warnaserror "$@"; }
csharp -target:library -out:"$page/Rasp.dll" ./*.cs
cp Rasp.dll.config "$page"
csharp -r:"$page/Rasp.dll" -out:"$page/Tests.exe" tests/*.cs
csharp -r:"$page/Rasp.dll" -out:"$page/Example.exe" example/*.cs
RASP_TEST_ABI=$work/../../tests/abi/x86_64-linux-gnu.txt mono --debug "$page/Tests.exe"
mono "$page/Example.exe" "$RASP_TEST_MODEL" | tee "$work/csharp.txt"
cd "$page"
for n in 1 2 3; do
    csharp -r:Rasp.dll csharp-$n.cs
    on_the_page csharp $n mono csharp-$n.exe
done
cd "$work/../.."

step "C#, on .NET Core"
pip install --target "$work/dotnet" --no-deps "dotnetcore2==3.1.23"
dotnet=$work/dotnet/dotnetcore2/bin
core=$work/csharp-core
mkdir "$core"
against=(-nostdlib -noconfig -nowarn:1702)
for part in Private.CoreLib Runtime Runtime.Extensions Console Collections Linq IO.FileSystem \
    Threading.Tasks.Parallel Text.RegularExpressions; do
    against+=(-r:"$(echo "$dotnet"/shared/Microsoft.NETCore.App/*/System.$part.dll)")
done
csharp "${against[@]}" -target:library -out:"$core/Rasp.dll" "$work"/bindings/csharp/*.cs
csharp "${against[@]}" -r:"$core/Rasp.dll" -out:"$core/Tests.dll" "$work"/bindings/csharp/tests/*.cs
cat > "$core/Tests.runtimeconfig.json" << end
{"runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
    "configProperties": {"System.Globalization.Invariant": true}}}
end
chmod +x "$dotnet/dotnet"
RASP_TEST_ABI=$PWD/tests/abi/x86_64-linux-gnu.txt "$dotnet/dotnet" "$core/Tests.dll"

step "Java"
grep -q "<version>$version</version>" bindings/java/pom.xml || fail "pom.xml has another version"
cd "$work/bindings/java"
# Of the language as old as the project file says; what the compiler warns of is an error.
jna=/usr/share/java/jna.jar
compiled() { # FOLDER CLASSES PATH
    find "$1" -name '*.java' -print0 | xargs -0 javac --release 8 -Xlint:all -Werror -cp "$3" -d "$2"
}
compiled src/main "$work/classes" "$jna"
jar --create --file "$work/rasp.jar" -C "$work/classes" .
compiled src/test "$work/test-classes" "$work/rasp.jar:$jna"
RASP_TEST_ABI=$work/../../tests/abi/x86_64-linux-gnu.txt java -cp "$work/test-classes:$work/rasp.jar:$jna" \
    io.github.raspengine.rasp.Tests
java -cp "$work/rasp.jar:$jna" example/Example.java "$RASP_TEST_MODEL" | tee "$work/java.txt"
for n in 1 2 3; do on_the_page java $n java -cp "$work/rasp.jar:$jna" java-$n.java; done
cd "$work/../.."

step "Zig"
pip install "ziglang==0.17.1"
zig() { "$work/venv/bin/python" -m ziglang "$@"; }
cd "$page"
zig translate-c -lc "-I$prefix/include" "$prefix/include/rasp.h" > rasp.zig
for n in 1 2; do
    zig build-exe "zig-$n.zig" -lc "-I$prefix/include" "-L$prefix/lib" -lrasp --cache-dir "$work/zig" \
        --global-cache-dir "$work/zig"
    on_the_page zig $n "./zig-$n"
done
cd "$work/../.."

step "C++"
cd "$page"
for n in 1 2; do
    # shellcheck disable=SC2046 # several words
    c++ -std=c++17 -Wall -Wextra -Werror -pedantic cpp-$n.cpp $(pkg-config --cflags --libs rasp) -o cpp-$n
    on_the_page cpp $n "./cpp-$n"
done

for language in python-whole node node-whole lua go csharp java; do
    diff "$work/python.txt" "$work/$language.txt" || { echo "$language says something else than python" >&2; exit 1; }
done
grep -q Paris "$work/python.txt"
for language in js lua go csharp java zig cpp; do
    for n in 1 2; do
        diff "$page/python-$n.txt" "$page/$language-$n.txt" || fail "docs/bindings.md: $language-$n says something else"
    done
done
for language in js lua go csharp java; do
    diff "$page/python-3.txt" "$page/$language-3.txt" || fail "docs/bindings.md: $language-3 says something else"
done
grep -q Paris "$page/python-1.txt"
grep -q Rome "$page/python-3.txt"
cat "$page"/python-?.txt
printf 'ok\n'
