#!/bin/sh
# A wrapper of rustc for fuzzing: what reads what may be hostile tells libFuzzer where it went; arithmetic does not.
case " $* " in
*" --crate-name rasp "* | *" --crate-name rasp_packer "* | *" --crate-name safetensors "* | *" --crate-name serde_json "* | \
	*" --crate-name fuzz "*)
	exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
		-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16
	;;
*) exec "$@" ;;
esac
