package rasp

/*
#include <rasp.h>
*/
import "C"

import "fmt"

// BatchStep is what became of one session in a step of several: its token, and whether that ends generation, or why it
// has not stepped.
type BatchStep struct {
	Token uint32
	End   bool
	Err   error
}

// StepBatch is a Step of all these sessions, of one model, in which the weights are read once for all of them. One that
// fails does not disturb the others. If one is closed, nothing is done.
func StepBatch(sessions []*Session) ([]BatchStep, error) {
	count := len(sessions)
	handles := make([]*C.rasp_session, count+1) // One more, so that there is a first one.
	for n, s := range sessions {
		if s.handle == nil {
			return nil, fmt.Errorf("session %d: %w", n, ErrClosed)
		}
		handles[n] = s.handle
	}
	tokens, statuses := make([]C.uint32_t, count+1), make([]C.rasp_status, count+1)
	var e C.rasp_error
	C.rasp_step_batch(&handles[0], C.size_t(count), &tokens[0], &statuses[0], &e)
	steps := make([]BatchStep, count)
	for n, s := range sessions {
		status := statuses[n]
		steps[n] = BatchStep{uint32(tokens[n]), status == C.RASP_END, s.hook.taken()}
		if status < 0 && steps[n].Err == nil {
			steps[n].Err = check(status, &e)
		}
		if status < 0 {
			// Words come for the first that failed; the others have a name.
			e.message[0] = 0
		}
	}
	for _, step := range steps {
		rethrown(step.Err)
	}
	return steps, nil
}
