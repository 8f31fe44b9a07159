package rasp

/*
#include <rasp.h>

extern int32_t goRaspLogits(uintptr_t hook, float *logits, size_t vocab_size, uint32_t *tokens, size_t token_count);

static inline int32_t look(void *hook, float *logits, size_t vocab_size, const uint32_t *tokens, size_t token_count) {
    return goRaspLogits((uintptr_t)hook, logits, vocab_size, (uint32_t *)tokens, token_count);
}

static inline rasp_status set_logits_callback(rasp_session *session, uintptr_t hook, rasp_error *error) {
    return rasp_session_set_logits_callback(session, hook ? look : NULL, (void *)hook, error);
}
*/
import "C"

import (
	"fmt"
	"math"
	"runtime/cgo"
	"unsafe"
)

// LogitsFunc looks at the logits of the next token, one a token of the vocabulary, which it may change, and at the
// tokens so far; both are valid until it returns. It returns the token that it chose, or Sample to have one sampled
// from the logits as they are then. It must not use the session.
type LogitsFunc func(logits []float32, tokens []uint32) (chosen int, err error)

// Sample is what a LogitsFunc returns that chooses no token itself.
const Sample = C.RASP_LOGITS_SAMPLE

// What C knows a LogitsFunc by, and what it has failed with.
type hook struct {
	look   LogitsFunc
	handle cgo.Handle
	failed error
}

// What a LogitsFunc has panicked with, which may not unwind through C.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprint(p.value) }

// Goes on with a panic once C is left.
func rethrown(err error) error {
	if p, ok := err.(*panicked); ok {
		panic(p.value)
	}
	return err
}

func (h *hook) taken() error {
	if h == nil {
		return nil
	}
	failed := h.failed
	h.failed = nil
	return failed
}

func (h *hook) free() {
	if h != nil {
		h.handle.Delete()
	}
}

//export goRaspLogits
func goRaspLogits(handle C.uintptr_t, logits *C.float, vocabSize C.size_t, tokens *C.uint32_t,
	count C.size_t) (chosen C.int32_t) {
	h := cgo.Handle(handle).Value().(*hook)
	returned := false
	defer func() {
		if value := recover(); !returned {
			h.failed = &panicked{value}
		}
		if h.failed != nil {
			chosen = math.MinInt32 // No token: the step fails, and has appended nothing.
		}
	}()
	token, err := h.look(unsafe.Slice((*float32)(unsafe.Pointer(logits)), int(vocabSize)),
		unsafe.Slice((*uint32)(unsafe.Pointer(tokens)), int(count)))
	if err == nil && token != Sample && (token < 0 || token >= int(vocabSize)) {
		err = fmt.Errorf("the LogitsFunc chose %d, which is no token", token)
	}
	h.failed, returned = err, true
	return C.int32_t(token)
}

// SetLogitsCallback has a function look at the logits before every sampled token, in the place of the one before; nil
// ends that. Its error is the step's, which has appended nothing then.
func (s *Session) SetLogitsCallback(look LogitsFunc) error {
	var next *hook
	var handle C.uintptr_t
	if look != nil {
		next = &hook{look: look}
		next.handle = cgo.NewHandle(next)
		handle = C.uintptr_t(next.handle)
	}
	err := s.do(func(e *C.rasp_error) C.rasp_status { return C.set_logits_callback(s.handle, handle, e) })
	if err != nil {
		next.free()
		return err
	}
	s.hook.free()
	s.hook = next
	return nil
}
