module github.com/rasp-engine/rasp/bindings/go

go 1.19
