package rasp

/*
#include <rasp.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

// SetStop sets what ends an answer of Generate, besides the model; it is not part of the text.
func (s *Session) SetStop(strings ...string) error {
	if s.handle == nil {
		return ErrClosed
	}
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
	var e C.rasp_error
	return check(C.rasp_session_set_stop(s.handle, &places[0], C.size_t(len(strings)), &e), &e)
}

// Rewind keeps the first tokens and forgets those after them.
func (s *Session) Rewind(tokens int) error {
	if s.handle == nil {
		return ErrClosed
	}
	if tokens < 0 {
		return fmt.Errorf("%d tokens to keep", tokens)
	}
	var e C.rasp_error
	return check(C.rasp_session_rewind(s.handle, C.size_t(tokens), &e), &e)
}

// Save is what the session holds, for Restore into one of the same model.
func (s *Session) Save() ([]byte, error) {
	if s.handle == nil {
		return nil, ErrClosed
	}
	return grown(0, func(state *C.char, room C.size_t, size *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_session_save(s.handle, unsafe.Pointer(state), room, size, e)
	})
}

// Restore makes the session hold what was saved, and go on as the saved one would have.
func (s *Session) Restore(state []byte) error {
	if s.handle == nil {
		return ErrClosed
	}
	data, size := bytesOf(state)
	var e C.rasp_error
	return check(C.rasp_session_restore(s.handle, unsafe.Pointer(data), size, &e), &e)
}

// Pooling is what a text's vector is: the mean of the tokens', or the last one's.
type Pooling uint32

// The kinds of pooling.
const (
	PoolMean Pooling = C.RASP_POOL_MEAN
	PoolLast Pooling = C.RASP_POOL_LAST
)

// Embed is one vector of the tokens, scaled to a length of 1 if normalise. The session must hold no tokens, and holds
// none afterwards.
func (s *Session) Embed(tokens []uint32, pooling Pooling, normalise bool) ([]float32, error) {
	if s.handle == nil {
		return nil, ErrClosed
	}
	ids, count := idsOf(tokens)
	for room := 0; ; {
		vector := make([]float32, room+1)
		var size C.size_t
		var e C.rasp_error
		status := C.rasp_embed(s.handle, ids, count, C.uint32_t(pooling), flag(normalise, C.RASP_EMBED_NORMALISE),
			(*C.float)(unsafe.Pointer(&vector[0])), C.size_t(len(vector)), &size, &e)
		if status != C.RASP_ERROR_BUFFER_TOO_SMALL {
			return vector[:size], check(status, &e)
		}
		room = int(size)
	}
}

// Logits are a copy of those after the last token that passed, one a token of the vocabulary.
func (s *Session) Logits() ([]float32, error) {
	if s.handle == nil {
		return nil, ErrClosed
	}
	var logits *C.float
	var count C.size_t
	var e C.rasp_error
	if err := check(C.rasp_logits(s.handle, &logits, &count, &e), &e); err != nil {
		return nil, err
	}
	return append([]float32(nil), unsafe.Slice((*float32)(unsafe.Pointer(logits)), int(count))...), nil
}

// SetLogitBias sets what is added to the logits of tokens from now on; negative infinity forbids one, none clear all.
func (s *Session) SetLogitBias(biases map[uint32]float32) error {
	if s.handle == nil {
		return ErrClosed
	}
	raw := make([]C.rasp_logit_bias, 0, len(biases)+1)
	for token, bias := range biases {
		raw = append(raw, C.rasp_logit_bias{token: C.uint32_t(token), bias: C.float(bias)})
	}
	var e C.rasp_error
	return check(C.rasp_session_set_logit_bias(s.handle, &raw[:1][0], C.size_t(len(biases)), &e), &e)
}

func nanoseconds(budget time.Duration) (C.uint64_t, error) {
	if budget < 0 {
		return 0, fmt.Errorf("%v is no budget", budget)
	}
	return C.uint64_t(budget.Nanoseconds()), nil
}

// PrefillBegin appends prompt tokens, which pass with the calls after this: PrefillWithin, StepWithin or Step.
func (s *Session) PrefillBegin(tokens []uint32) error {
	if s.handle == nil {
		return ErrClosed
	}
	ids, count := idsOf(tokens)
	var e C.rasp_error
	return check(C.rasp_prefill_begin(s.handle, ids, count, &e), &e)
}

// PrefillWithin goes on with such a prompt for about so long; done tells whether all of it has passed.
func (s *Session) PrefillWithin(budget time.Duration) (done bool, err error) {
	if s.handle == nil {
		return false, ErrClosed
	}
	ns, err := nanoseconds(budget)
	if err != nil {
		return false, err
	}
	var e C.rasp_error
	status := C.rasp_prefill_within(s.handle, ns, &e)
	return status == C.RASP_OK, check(status, &e)
}

// StepWithin does as much of Step as so much time allows; done tells whether the token is there, else the next call
// goes on.
func (s *Session) StepWithin(budget time.Duration) (token uint32, end, done bool, err error) {
	if s.handle == nil {
		return 0, false, false, ErrClosed
	}
	ns, err := nanoseconds(budget)
	if err != nil {
		return 0, false, false, err
	}
	var id C.uint32_t
	var e C.rasp_error
	status := C.rasp_step_within(s.handle, ns, &id, &e)
	return uint32(id), status == C.RASP_END, status == C.RASP_OK || status == C.RASP_END, check(status, &e)
}
