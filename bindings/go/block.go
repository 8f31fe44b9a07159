package rasp

/*
#include <rasp.h>
#include <stdlib.h>
*/
import "C"

import (
	"io"
	"sync/atomic"
	"unsafe"
)

// Bytes in memory of C's, which the library reads in place: what was made of them holds a share, and so does every
// session that uses it.
type block struct {
	memory unsafe.Pointer
	length C.size_t
	shares int32
}

func (b *block) share() *block {
	if b != nil {
		atomic.AddInt32(&b.shares, 1)
	}
	return b
}

func (b *block) release() {
	if b != nil && atomic.AddInt32(&b.shares, -1) == 0 {
		C.free(b.memory)
	}
}

// All that r gives, with one share of it. A reader that knows how much is left, as of bytes, wants no more room.
func newBlock(r io.Reader) (*block, error) {
	room := 1 << 20
	if known, ok := r.(interface{ Len() int }); ok {
		room = known.Len() + 1 // In which the end is found.
	}
	b := &block{C.malloc(C.size_t(room)), 0, 1}
	for {
		n, err := r.Read(unsafe.Slice((*byte)(b.memory), room)[b.length:])
		b.length += C.size_t(n)
		if err == io.EOF {
			return b, nil
		}
		if err == nil && int(b.length) == room {
			room *= 2
			if larger := C.realloc(b.memory, C.size_t(room)); larger != nil {
				b.memory = larger
			} else {
				err = &Error{C.RASP_ERROR_OUT_OF_MEMORY, "the reader gives too much"}
			}
		}
		if err != nil {
			b.release()
			return nil, err
		}
	}
}
