package rasp

/*
#include <rasp.h>
#include <stdlib.h>
*/
import "C"

import "unsafe"

// SetSparsity sets how sparse decoded tokens are: 0 is dense, up to Info.MaxSparsity.
func (s *Session) SetSparsity(sparsity float32) error {
	return s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_session_set_sparsity(s.handle, C.float(sparsity), e)
	})
}

// SetConstraint has every answer from now on obey a constraint of this session's model; nil ends that. An answer begins
// with this call, and anew with each Prefill and Reset.
func (s *Session) SetConstraint(constraint *Constraint) error {
	var handle *C.rasp_constraint
	if constraint != nil {
		if constraint.handle == nil {
			return ErrClosed
		}
		handle = constraint.handle
	}
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_session_set_constraint(s.handle, handle, e) })
}

// SetStop sets what ends an answer of Generate, besides the model; it is not part of the text.
func (s *Session) SetStop(strings ...string) error {
	list := C.calloc(C.size_t(len(strings)+1), C.size_t(unsafe.Sizeof(uintptr(0))))
	defer C.free(list)
	places := unsafe.Slice((**C.char)(list), len(strings)+1)
	for n, text := range strings {
		if err := errNUL(text, "a stop string"); err != nil {
			return err
		}
		places[n] = C.CString(text)
		defer C.free(unsafe.Pointer(places[n]))
	}
	return s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_session_set_stop(s.handle, &places[0], C.size_t(len(strings)), e)
	})
}

// SetLogitBias sets what is added to the logits of tokens from now on; negative infinity forbids one, none clear all.
func (s *Session) SetLogitBias(biases map[uint32]float32) error {
	raw := make([]C.rasp_logit_bias, 0, len(biases)+1)
	for token, bias := range biases {
		raw = append(raw, C.rasp_logit_bias{token: C.uint32_t(token), bias: C.float(bias)})
	}
	return s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_session_set_logit_bias(s.handle, &raw[:1][0], C.size_t(len(biases)), e)
	})
}

// DraftKinds are what the next tokens are guessed by.
type DraftKinds uint32

// The kinds of drafts: what stood after an earlier match of the last tokens, what a constraint leaves no choice of, and
// what the model says at a sparser level, for dense sessions in 16 bits.
const (
	DraftsLookup DraftKinds = C.RASP_DRAFTS_LOOKUP
	DraftsForced DraftKinds = C.RASP_DRAFTS_FORCED
	DraftsSelf   DraftKinds = C.RASP_DRAFTS_SELF
)

// SetDrafts sets what the next tokens are guessed by, at most so many at a time, of which SessionOptions.Drafts made
// room for; text are tokens of what answers may quote, looked into beside the context.
func (s *Session) SetDrafts(kinds DraftKinds, most uint32, text []uint32) error {
	ids, count := idsOf(text)
	return s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_session_set_drafts(s.handle, C.uint32_t(kinds), C.uint32_t(most), ids, count, e)
	})
}
