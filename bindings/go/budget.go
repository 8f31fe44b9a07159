package rasp

/*
#include <rasp.h>
*/
import "C"

import (
	"fmt"
	"time"
)

func nanoseconds(time time.Duration, what string) (C.uint64_t, error) {
	if time < 0 {
		return 0, fmt.Errorf("%v is no %s", time, what)
	}
	return C.uint64_t(time.Nanoseconds()), nil
}

// PrefillBegin appends prompt tokens, which pass with the calls after this: PrefillWithin, StepWithin or Step.
func (s *Session) PrefillBegin(tokens []uint32) error {
	ids, count := idsOf(tokens)
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_prefill_begin(s.handle, ids, count, e) })
}

// PrefillWithin goes on with such a prompt for about so long; done tells whether all of it has passed.
func (s *Session) PrefillWithin(budget time.Duration) (done bool, err error) {
	ns, err := nanoseconds(budget, "budget")
	if err != nil {
		return false, err
	}
	status, err := s.call(func(e *C.rasp_error) C.rasp_status { return C.rasp_prefill_within(s.handle, ns, e) })
	return err == nil && status != C.RASP_PENDING, err
}

// StepWithin does as much of Step as so much time allows; done tells whether the token is there, else the next call
// goes on.
func (s *Session) StepWithin(budget time.Duration) (token uint32, end, done bool, err error) {
	ns, err := nanoseconds(budget, "budget")
	if err != nil {
		return 0, false, false, err
	}
	var id C.uint32_t
	status, err := s.call(func(e *C.rasp_error) C.rasp_status { return C.rasp_step_within(s.handle, ns, &id, e) })
	return uint32(id), status == C.RASP_END, err == nil && status != C.RASP_PENDING, err
}

// StepTextWithin does the same for the text of an answer, as Generate hands it out: often none of a token, and what has
// ended the answer if it has. An answer that the caller ends may have some left, see FinishText.
func (s *Session) StepTextWithin(budget time.Duration) (text string, ended Ended, done bool, err error) {
	ns, err := nanoseconds(budget, "budget")
	if err != nil {
		return "", EndedNot, false, err
	}
	var why C.uint32_t
	text, status, err := s.text(func(text *C.char, length *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_step_text_within(s.handle, ns, 0, text, C.RASP_STEP_TEXT_SIZE, length, &why, e)
	})
	return text, Ended(why), err == nil && status != C.RASP_PENDING, err
}

// SetDeadline has every token of Step and StepWithin take no more than so long, by a sparsity between these; 0 ends
// that. It is kept by measuring: Stats.LateTokens are those that were late.
func (s *Session) SetDeadline(perToken time.Duration, minSparsity, maxSparsity float32) error {
	ns, err := nanoseconds(perToken, "deadline")
	if err != nil {
		return err
	}
	return s.do(func(e *C.rasp_error) C.rasp_status {
		return C.rasp_session_set_deadline(s.handle, ns, C.float(minSparsity), C.float(maxSparsity), e)
	})
}
