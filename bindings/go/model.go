package rasp

/*
#include <rasp.h>
#include <stdlib.h>
*/
import "C"

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"unsafe"
)

// Model is a loaded model.
type Model struct {
	handle *C.rasp_model
	// Bytes that it was loaded from.
	data *block
}

// LoadOptions say how a model is loaded.
type LoadOptions struct {
	Verify bool // read every weight and refuse damaged ones
	Lock   bool // keep the file in memory
	// LargePages read the file into memory of this process's own, in pages of 2 MB where there are some.
	LargePages bool
}

type loading func(options *C.rasp_load_options, model **C.rasp_model, e *C.rasp_error) C.rasp_status

func loaded(options LoadOptions, load loading) (*Model, error) {
	var o C.rasp_load_options
	C.rasp_load_options_init(&o)
	o.verify, o.lock, o.large_pages = flag(options.Verify, 1), flag(options.Lock, 1), flag(options.LargePages, 1)
	var handle *C.rasp_model
	var e C.rasp_error
	if err := check(load(&o, &handle, &e), &e); err != nil {
		return nil, err
	}
	return &Model{handle: handle}, nil
}

// Load maps a .rasp file.
func Load(path string, options LoadOptions) (*Model, error) {
	if err := errNUL(path, "the path"); err != nil {
		return nil, err
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	return loaded(options, func(o *C.rasp_load_options, model **C.rasp_model, e *C.rasp_error) C.rasp_status {
		return C.rasp_load(name, o, model, e)
	})
}

// LoadFile maps a model inside a file that is open: length bytes from offset on, or 0 for all that follow. The file
// need not stay open.
func LoadFile(file *os.File, offset, length uint64, options LoadOptions) (*Model, error) {
	defer runtime.KeepAlive(file)
	descriptor := C.int64_t(file.Fd())
	return loaded(options, func(o *C.rasp_load_options, model **C.rasp_model, e *C.rasp_error) C.rasp_status {
		return C.rasp_load_fd(descriptor, C.uint64_t(offset), C.uint64_t(length), o, model, e)
	})
}

// LoadReader reads all that r gives, the bytes of a file, into memory that the model and its sessions hold.
func LoadReader(r io.Reader, options LoadOptions) (*Model, error) {
	data, err := newBlock(r)
	if err != nil {
		return nil, err
	}
	load := func(o *C.rasp_load_options, model **C.rasp_model, e *C.rasp_error) C.rasp_status {
		return C.rasp_load_bytes(data.memory, data.length, o, model, e)
	}
	m, err := loaded(options, load)
	if err != nil {
		data.release()
		return nil, err
	}
	m.data = data
	return m, nil
}

// LoadBytes uses the bytes of a file, of which it takes a copy.
func LoadBytes(data []byte, options LoadOptions) (*Model, error) {
	return LoadReader(bytes.NewReader(data), options)
}

// Close gives the model back; open sessions go on.
func (m *Model) Close() {
	C.rasp_free(m.handle)
	m.data.release()
	m.handle, m.data = nil, nil
}

// Info is what a model is; sizes in bytes.
type Info struct {
	Architecture, Name                       string
	VocabSize, HiddenSize, IntermediateSize  uint32
	NumLayers, NumHeads, NumKVHeads, HeadDim uint32
	ContextLength                            uint32
	MaxSparsity, DefaultSparsity             float32
	NumRungs                                 uint32
	BOSToken                                 int32 // -1 if there is none
	FileSize, LinearBytes, HeadBytes         uint64
}

// Info tells what the model is.
func (m *Model) Info() (Info, error) {
	if m.handle == nil {
		return Info{}, ErrClosed
	}
	var i C.rasp_model_info
	var e C.rasp_error
	C.rasp_model_info_init(&i)
	if err := check(C.rasp_model_get_info(m.handle, &i, &e), &e); err != nil {
		return Info{}, err
	}
	return Info{
		Architecture: C.GoString(&i.architecture[0]), Name: C.GoString(&i.name[0]),
		VocabSize: uint32(i.vocab_size), HiddenSize: uint32(i.hidden_size),
		IntermediateSize: uint32(i.intermediate_size), NumLayers: uint32(i.num_layers),
		NumHeads: uint32(i.num_heads), NumKVHeads: uint32(i.num_kv_heads), HeadDim: uint32(i.head_dim),
		ContextLength: uint32(i.context_length), MaxSparsity: float32(i.max_sparsity), BOSToken: int32(i.bos_token),
		DefaultSparsity: float32(i.default_sparsity), NumRungs: uint32(i.num_rungs),
		FileSize: uint64(i.file_size), LinearBytes: uint64(i.linear_bytes), HeadBytes: uint64(i.head_bytes),
	}, nil
}

// Flags of Tokenize and Detokenize.
const (
	AddSpecial   = C.RASP_TOKENIZE_ADD_SPECIAL
	ParseSpecial = C.RASP_TOKENIZE_PARSE_SPECIAL
	SkipSpecial  = C.RASP_DETOKENIZE_SKIP_SPECIAL
)

// Tokenize turns text into tokens; flags: AddSpecial, ParseSpecial.
func (m *Model) Tokenize(text string, flags uint32) ([]uint32, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	data, length := bytesOf([]byte(text))
	// A token has at least one byte, but special ones may be added.
	tokens := make([]uint32, len(text)+8)
	var count C.size_t
	var e C.rasp_error
	status := C.rasp_tokenize(m.handle, data, length, C.uint32_t(flags), (*C.uint32_t)(unsafe.Pointer(&tokens[0])),
		C.size_t(len(tokens)), &count, &e)
	if err := check(status, &e); err != nil {
		return nil, err
	}
	return tokens[:count], nil
}

// Detokenize turns tokens into bytes, which may end inside a character; flags: SkipSpecial.
func (m *Model) Detokenize(tokens []uint32, flags uint32) ([]byte, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	ids, count := idsOf(tokens)
	return grown(16*len(tokens), func(text *C.char, room C.size_t, length *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_detokenize(m.handle, ids, count, C.uint32_t(flags), text, room, length, e)
	})
}

// IsEnd tells whether a token ends generation.
func (m *Model) IsEnd(token uint32) bool {
	return C.rasp_token_is_end(m.handle, C.uint32_t(token)) != 0
}

// IsSpecial tells whether a token is not part of plain text.
func (m *Model) IsSpecial(token uint32) bool {
	return C.rasp_token_is_special(m.handle, C.uint32_t(token)) != 0
}
