package rasp

/*
#include <rasp.h>
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Reset forgets all tokens.
func (s *Session) Reset() error {
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_session_reset(s.handle, e) })
}

// Rewind keeps the first tokens and forgets those after them.
func (s *Session) Rewind(tokens int) error {
	if tokens < 0 {
		return fmt.Errorf("%d tokens to keep", tokens)
	}
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_session_rewind(s.handle, C.size_t(tokens), e) })
}

// Shift forgets discard tokens after those to keep, which makes room in a full context.
func (s *Session) Shift(keep, discard int) error {
	if keep < 0 || discard < 0 {
		return fmt.Errorf("%d tokens to keep and %d to discard", keep, discard)
	}
	return s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_session_shift(s.handle, C.size_t(keep), C.size_t(discard), e)
	})
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
	data, size := bytesOf(state)
	return s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_session_restore(s.handle, unsafe.Pointer(data), size, e)
	})
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
	var logits *C.float
	var count C.size_t
	err := s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_logits(s.handle, &logits, &count, e) })
	if err != nil {
		return nil, err
	}
	return append([]float32(nil), unsafe.Slice((*float32)(unsafe.Pointer(logits)), int(count))...), nil
}

// A LogProb is a token and the natural logarithm of its probability.
type LogProb struct {
	Token   uint32
	LogProb float32
}

// LogProbs is how likely the model finds a token after the last one that passed through it, as a natural logarithm, and
// which it finds likeliest, top of them. After a step that is the token that came, which has not passed. By the model's
// own logits: biases, constraints, penalties and temperature are not in them.
func (s *Session) LogProbs(token uint32, top int) (float32, []LogProb, error) {
	var own C.float
	likeliest := make([]C.rasp_log_prob, top+1) // One more, so that there is a first one.
	err := s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_log_probs(s.handle, C.uint32_t(token), &own, &likeliest[0], C.size_t(top), e)
	})
	if err != nil {
		return 0, nil, err
	}
	found := make([]LogProb, top)
	for n := range found {
		found[n] = LogProb{uint32(likeliest[n].token), float32(likeliest[n].log_prob)}
	}
	return float32(own), found, nil
}
