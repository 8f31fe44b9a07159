#!/bin/sh
# A wrapper of rustc for fuzzing: what reads what may be hostile tells libFuzzer where it went; arithmetic does not. (Nor do
# comparisons of numbers say what they compare: that takes half of the time. Those of strings are seen without.)
case " $* " in
*" --crate-name rasp "* | *" --crate-name rasp_packer "* | *" --crate-name safetensors "* | *" --crate-name serde_json "* | \
	*" --crate-name fuzz "*)
	exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
		-Ccodegen-units=16
	;;
*) exec "$@" ;;
esac
