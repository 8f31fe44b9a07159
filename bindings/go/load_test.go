package rasp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/iotest"
	"unsafe"
)

// What the tiny model says, after it is closed.
func answered(t *testing.T, model *Model) []uint32 {
	t.Helper()
	session := must(model.Open(SessionOptions{Context: 64}))(t)
	model.Close()
	found := steps(t, session, []uint32{1, 2, 3})
	ok(t, session.Close())
	return found
}

func TestLoading(t *testing.T) {
	path := os.Getenv("RASP_TEST_TOOLS")
	data := must(os.ReadFile(path))(t)
	expected := answered(t, must(Load(path, LoadOptions{}))(t))

	// Bytes are copied: what becomes of them afterwards does not matter.
	copied := append([]byte(nil), data...)
	model := must(LoadBytes(copied, LoadOptions{Verify: true}))(t)
	for n := range copied {
		copied[n] = 0xff
	}
	block := model.data
	session := must(model.Open(SessionOptions{Context: 64}))(t)
	fork := must(session.Fork(nil))(t)
	if block.shares != 3 || int(block.length) != len(data) {
		t.Fatal(block.shares, block.length)
	}
	model.Close()
	model.Close()
	ok(t, session.Close())
	ok(t, session.Close())
	if found := steps(t, fork, []uint32{1, 2, 3}); !reflect.DeepEqual(found, expected) {
		t.Fatal(found, expected)
	}
	ok(t, fork.Close())
	if block.shares != 0 {
		t.Fatal(block.shares)
	}

	// In the middle of a file, which need not stay open.
	pak := filepath.Join(t.TempDir(), "pak")
	ok(t, os.WriteFile(pak, append(append(make([]byte, 64), data...), "more"...), 0o600))
	file := must(os.Open(pak))(t)
	models := []*Model{
		must(LoadFile(file, 64, uint64(len(data)), LoadOptions{}))(t),
		must(LoadReader(bytes.NewBuffer(data), LoadOptions{}))(t),
		// Readers that do not say how much there is, and give little at a time.
		must(LoadReader(io.NewSectionReader(file, 64, int64(len(data))), LoadOptions{}))(t),
		must(LoadReader(iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(data))), LoadOptions{}))(t),
	}
	if _, err := LoadFile(file, 64, uint64(len(data)+5), LoadOptions{}); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
	if _, err := LoadFile(file, 0, 0, LoadOptions{}); !errors.Is(err, ErrBadFile) {
		t.Fatal(err)
	}
	ok(t, file.Close())
	_, err := LoadFile(file, 0, 0, LoadOptions{})
	fails(t, err, "no open file")
	_, err = LoadFile(nil, 0, 0, LoadOptions{})
	fails(t, err, "no open file")
	for n, model := range models {
		if found := answered(t, model); !reflect.DeepEqual(found, expected) {
			t.Fatal(n, found, expected)
		}
	}
	slow := iotest.TimeoutReader(iotest.HalfReader(bytes.NewReader(data)))
	if _, err := LoadReader(slow, LoadOptions{}); err != iotest.ErrTimeout {
		t.Fatal(err)
	}
	for _, cut := range [][]byte{nil, data[:len(data)-1]} {
		if _, err := LoadBytes(cut, LoadOptions{}); !errors.Is(err, ErrBadFile) {
			t.Fatal(len(cut), err)
		}
	}
	_, err = Load("a\x00b", LoadOptions{})
	fails(t, err, "NUL")
	if _, err := model.Open(SessionOptions{}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// More than the first room, of which nobody says how much it is.
func TestBlocksGrow(t *testing.T) {
	data := make([]byte, 5<<20+3)
	for n := range data {
		data[n] = byte(n * 7)
	}
	block := must(newBlock(io.MultiReader(bytes.NewReader(data))))(t)
	if int(block.length) != len(data) || !bytes.Equal(unsafe.Slice((*byte)(block.memory), len(data)), data) {
		t.Fatal(block.length)
	}
	block.release()
}
