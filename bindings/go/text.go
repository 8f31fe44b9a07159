package rasp

/*
#include <rasp.h>
*/
import "C"

import (
	"context"
	"unsafe"
)

// Ended is whether an answer goes on, and else why it has ended.
type Ended uint32

// What ends an answer: the model, a stop string, a full context.
const (
	EndedNot     Ended = C.RASP_ENDED_NOT
	EndedToken   Ended = C.RASP_ENDED_TOKEN
	EndedStop    Ended = C.RASP_ENDED_STOP
	EndedContext Ended = C.RASP_ENDED_CONTEXT
)

// What a call writes to room for a token's text.
func (s *Session) text(
	run func(text *C.char, length *C.size_t, e *C.rasp_error) C.rasp_status,
) (string, C.rasp_status, error) {
	room := make([]byte, C.RASP_STEP_TEXT_SIZE)
	var length C.size_t
	status, err := s.call(func(e *C.rasp_error) C.rasp_status {
		return run((*C.char)(unsafe.Pointer(&room[0])), &length, e)
	})
	return string(room[:length]), status, err
}

// FinishText is what is held back of an answer that the caller ends, since it could still have become a stop string.
func (s *Session) FinishText() (string, error) {
	text, _, err := s.text(func(text *C.char, length *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_finish_text(s.handle, text, C.RASP_STEP_TEXT_SIZE, length, e)
	})
	return text, err
}

// Runs what computes on the session; when ctx is done it is cancelled, and ctx's error returned.
func (s *Session) cancelled(ctx context.Context, run func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-ctx.Done():
			s.Cancel()
		case <-done:
		}
	}()
	defer func() {
		close(done)
		<-finished
	}()
	err := run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Generate hands the text of the next tokens to yield as it comes, in whole characters: to the end of the answer (a
// stop string or a full context is one too), for at most limit tokens, or until yield returns false. When ctx is done,
// the step under way is cancelled and ctx's error returned.
func (s *Session) Generate(ctx context.Context, limit int, yield func(piece string) bool) error {
	return s.generate(ctx, limit, 0, yield)
}

func (s *Session) generate(ctx context.Context, limit int, flags C.uint32_t, yield func(piece string) bool) error {
	return s.cancelled(ctx, func() error {
		for n := 0; n < limit; n++ {
			text, status, err := s.text(func(text *C.char, length *C.size_t, e *C.rasp_error) C.rasp_status {
				return C.rasp_step_text(s.handle, flags, text, C.RASP_STEP_TEXT_SIZE, length, nil, e)
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return err
			}
			if text != "" && !yield(text) || status == C.RASP_END {
				return nil
			}
		}
		// What could still have become a stop string.
		text, err := s.FinishText()
		if text != "" {
			yield(text)
		}
		return err
	})
}
