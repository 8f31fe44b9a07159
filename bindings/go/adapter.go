package rasp

/*
#include <rasp.h>
#include <stdlib.h>
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"
)

// Adapter is a loaded LoRA adapter. Any number of sessions may use it; they keep what they need of it when it is
// closed.
type Adapter struct {
	handle *C.rasp_adapter
	data   *block
}

// AdapterInfo is what an adapter is: its largest rank, how many linears it adds to, and the bytes that every token
// reads.
type AdapterInfo struct {
	Name          string
	Rank, Linears uint32
	Bytes         uint64
}

// Adapter maps an adapter's file, which `rasp pack-adapter` made, for this model and others of its shape.
func (m *Model) Adapter(path string) (*Adapter, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	if err := errNUL(path, "the path"); err != nil {
		return nil, err
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var a Adapter
	var e C.rasp_error
	if err := check(C.rasp_adapter_load(m.handle, name, &a.handle, &e), &e); err != nil {
		return nil, err
	}
	return &a, nil
}

// AdapterBytes uses the bytes of an adapter's file, of which it takes a copy.
func (m *Model) AdapterBytes(data []byte) (*Adapter, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	if len(data) == 0 {
		return nil, errors.New("an adapter of no bytes")
	}
	copied, err := newBlock(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	a := Adapter{data: copied}
	var e C.rasp_error
	status := C.rasp_adapter_load_bytes(m.handle, copied.memory, copied.length, &a.handle, &e)
	if err := check(status, &e); err != nil {
		copied.release()
		return nil, err
	}
	return &a, nil
}

// AdapterFile maps an adapter inside a file that is open: length bytes from offset on, or 0 for all that follow. The
// file need not stay open.
func (m *Model) AdapterFile(file *os.File, offset, length uint64) (*Adapter, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	var a Adapter
	var e C.rasp_error
	status := C.rasp_adapter_load_fd(m.handle, C.int64_t(file.Fd()), C.uint64_t(offset), C.uint64_t(length), &a.handle,
		&e)
	runtime.KeepAlive(file)
	if err := check(status, &e); err != nil {
		return nil, err
	}
	return &a, nil
}

// Info tells what the adapter is.
func (a *Adapter) Info() (AdapterInfo, error) {
	if a.handle == nil {
		return AdapterInfo{}, ErrClosed
	}
	var i C.rasp_adapter_info
	var e C.rasp_error
	C.rasp_adapter_info_init(&i)
	err := check(C.rasp_adapter_get_info(a.handle, &i, &e), &e)
	return AdapterInfo{C.GoString(&i.name[0]), uint32(i.rank), uint32(i.linears), uint64(i.bytes)}, err
}

// Close gives the adapter back; sessions that have it set go on.
func (a *Adapter) Close() {
	C.rasp_adapter_free(a.handle)
	a.data.release()
	a.handle, a.data = nil, nil
}

// SetAdapters has tokens pass with these adapters from now on, each times its scale (nil: 1 for all), in the place of
// those before; none: the model alone. What has passed stays as it is.
func (s *Session) SetAdapters(adapters []*Adapter, scales []float32) error {
	if s.handle == nil {
		return ErrClosed
	}
	count := len(adapters)
	if scales != nil && len(scales) != count {
		return fmt.Errorf("%d adapters have %d scales", count, len(scales))
	}
	handles := (*[1 << 16]*C.rasp_adapter)(C.calloc(C.size_t(count+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
	defer C.free(unsafe.Pointer(handles))
	var data []*block
	for n, adapter := range adapters {
		if adapter.handle == nil {
			return ErrClosed
		}
		handles[n] = adapter.handle
		data = append(data, adapter.data)
	}
	var numbers *C.float
	if count > 0 && scales != nil {
		numbers = (*C.float)(unsafe.Pointer(&scales[0]))
	}
	var e C.rasp_error
	status := C.rasp_session_set_adapters(s.handle, &handles[0], numbers, C.size_t(count), &e)
	if err := check(status, &e); err != nil {
		return err
	}
	s.keep(data)
	return nil
}

// Holds the bytes of adapters in the place of those before.
func (s *Session) keep(data []*block) {
	for _, one := range data {
		one.share()
	}
	for _, one := range s.adapters {
		one.release()
	}
	s.adapters = data
}
