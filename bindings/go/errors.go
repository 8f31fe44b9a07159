package rasp

/*
#include <rasp.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
)

// Error is what a call failed with: one of the RASP_ERROR_ constants, and words.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string {
	name := C.GoString(C.rasp_status_name(C.rasp_status(e.Code)))
	if e.Message == "" {
		return name
	}
	return name + ": " + e.Message
}

// Is makes errors.Is compare codes.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Errors to compare with.
var (
	ErrInvalidArgument = &Error{Code: C.RASP_ERROR_INVALID_ARGUMENT}
	ErrIO              = &Error{Code: C.RASP_ERROR_IO}
	ErrBadFile         = &Error{Code: C.RASP_ERROR_BAD_FILE}
	ErrOutOfRange      = &Error{Code: C.RASP_ERROR_OUT_OF_RANGE}
	ErrContextFull     = &Error{Code: C.RASP_ERROR_CONTEXT_FULL}
	ErrCancelled       = &Error{Code: C.RASP_ERROR_CANCELLED}
	ErrInvalidState    = &Error{Code: C.RASP_ERROR_INVALID_STATE}
	ErrUnsupported     = &Error{Code: C.RASP_ERROR_UNSUPPORTED}
)

// ErrClosed is returned by everything that was closed.
var ErrClosed = errors.New("rasp: closed")

func check(status C.rasp_status, e *C.rasp_error) error {
	if status >= 0 {
		return nil
	}
	return &Error{int(status), C.GoString(&e.message[0])}
}

func errNUL(text, what string) error {
	if strings.IndexByte(text, 0) >= 0 {
		return fmt.Errorf("a NUL would end %s", what)
	}
	return nil
}
