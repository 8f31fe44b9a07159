// Package rasp runs language models inside your program, reading only part of the weights for each token, through
// librasp. What each call does is said at the function of its name in rasp.h.
//
// A Model may be used from any goroutine at once. A Session belongs to one at a time, except for Cancel. Both are to be
// closed; a Session keeps what it needs of its Model.
package rasp

/*
#cgo pkg-config: rasp
#include <rasp.h>
#include <stdlib.h>
*/
import "C"

import "unsafe"

// Version is that of the library, such as "0.1.0".
func Version() string { return C.GoString(C.rasp_version()) }

// ABIVersion is that of its binary interface.
func ABIVersion() uint32 { return uint32(C.rasp_abi_version()) }

func flag(set bool, value C.uint32_t) C.uint32_t {
	if set {
		return value
	}
	return 0
}

// The address of the first byte; the library reads none of no bytes.
func bytesOf(text []byte) (*C.char, C.size_t) {
	if len(text) == 0 {
		return nil, 0
	}
	return (*C.char)(unsafe.Pointer(&text[0])), C.size_t(len(text))
}

func idsOf(tokens []uint32) (*C.uint32_t, C.size_t) {
	if len(tokens) == 0 {
		return nil, 0
	}
	return (*C.uint32_t)(unsafe.Pointer(&tokens[0])), C.size_t(len(tokens))
}

// What a call writes to a buffer, asked again with more room if it needs that.
func grown(guess int, fill func(*C.char, C.size_t, *C.size_t, *C.rasp_error) C.rasp_status) ([]byte, error) {
	for {
		buffer := make([]byte, guess+1)
		var length C.size_t
		var e C.rasp_error
		status := fill((*C.char)(unsafe.Pointer(&buffer[0])), C.size_t(len(buffer)), &length, &e)
		if status != C.RASP_ERROR_BUFFER_TOO_SMALL {
			return buffer[:length], check(status, &e)
		}
		guess = int(length)
	}
}
