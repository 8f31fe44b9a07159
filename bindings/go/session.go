package rasp

/*
#include <rasp.h>
*/
import "C"

// KV is how keys and values are cached.
type KV uint32

// The types of caches.
const (
	F16 KV = C.RASP_KV_F16
	F32 KV = C.RASP_KV_F32
	I8  KV = C.RASP_KV_I8
)

// SessionOptions say how a session is opened; 0 is the default of each.
type SessionOptions struct {
	Context uint32 // tokens there is room for
	Threads uint32 // that work during a call, the caller's included
	Batch   uint32 // prompt tokens that pass through the model together
	KV      KV
	// WindowsAlone has layers that attend to a window hold its keys and values alone: less memory, and no way back to
	// what is gone.
	WindowsAlone bool
	// Drafts is room for so many drafts in a pass, 7 at most: tokens are guessed by what stood after an earlier match in
	// the context. The same tokens, sooner where an answer quotes or repeats.
	Drafts uint32
	// AdapterRank is room for adapters: the sum of the ranks of those that are set at a time.
	AdapterRank uint32
}

func (options SessionOptions) raw() *C.rasp_session_options {
	var o C.rasp_session_options
	C.rasp_session_options_init(&o)
	o.context, o.batch, o.kv_type = C.uint32_t(options.Context), C.uint32_t(options.Batch), C.uint32_t(options.KV)
	o.windows_alone = flag(options.WindowsAlone, 1)
	o.drafts, o.adapter_rank = C.uint32_t(options.Drafts), C.uint32_t(options.AdapterRank)
	if options.Threads != 0 {
		o.threads = C.uint32_t(options.Threads)
	}
	return &o
}

// MemoryPlan is what a session takes, in bytes: Size, of which the four after it are the parts.
type MemoryPlan struct {
	Size, KVCache, Activations, Sampling, Bookkeeping uint64
	Alignment                                         uint32
	Context, Batch                                    uint32 // of the options, or what 0 stands for
}

// Plan tells, to the byte, what a session that is opened with these options will take.
func (m *Model) Plan(options SessionOptions) (MemoryPlan, error) {
	if m.handle == nil {
		return MemoryPlan{}, ErrClosed
	}
	var p C.rasp_memory_plan
	var e C.rasp_error
	C.rasp_memory_plan_init(&p)
	err := check(C.rasp_session_plan(m.handle, options.raw(), &p, &e), &e)
	return MemoryPlan{
		Size: uint64(p.size), KVCache: uint64(p.kv_cache), Activations: uint64(p.activations),
		Sampling: uint64(p.sampling), Bookkeeping: uint64(p.bookkeeping), Alignment: uint32(p.alignment),
		Context: uint32(p.context), Batch: uint32(p.batch),
	}, err
}

// Session is one text in the making.
type Session struct {
	handle *C.rasp_session
	model  *C.rasp_model
	// Bytes of the model, and of the adapters that are set.
	data     *block
	adapters []*block
	hook     *hook
}

// Open opens a session.
func (m *Model) Open(options SessionOptions) (*Session, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	var handle *C.rasp_session
	var e C.rasp_error
	if err := check(C.rasp_session_open(m.handle, options.raw(), &handle, &e), &e); err != nil {
		return nil, err
	}
	return newSession(handle, m.handle, m.data), nil
}

func newSession(handle *C.rasp_session, model *C.rasp_model, data *block) *Session {
	C.rasp_model_retain(model)
	return &Session{handle: handle, model: model, data: data.share()}
}

// Fork opens a second session that goes on as this one would, but for a logits callback; nil: with the options of this
// one.
func (s *Session) Fork(options *SessionOptions) (*Session, error) {
	var o *C.rasp_session_options
	if options != nil {
		o = options.raw()
	}
	var handle *C.rasp_session
	err := s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_session_fork(s.handle, o, &handle, e) })
	if err != nil {
		return nil, err
	}
	fork := newSession(handle, s.model, s.data)
	fork.keep(s.adapters)
	return fork, nil
}

// Close closes the session, unless a call is under way.
func (s *Session) Close() error {
	if status := C.rasp_session_close(s.handle); status < 0 {
		return &Error{int(status), "a call on the session is under way"}
	}
	C.rasp_free(s.model)
	s.data.release()
	s.keep(nil)
	s.hook.free()
	*s = Session{}
	return nil
}

// Calls the library on the session. What its callback has failed with meanwhile is what the call has failed with.
func (s *Session) call(run func(e *C.rasp_error) C.rasp_status) (C.rasp_status, error) {
	if s.handle == nil {
		return 0, ErrClosed
	}
	var e C.rasp_error
	status := run(&e)
	if err := s.hook.taken(); err != nil {
		return status, rethrown(err)
	}
	return status, check(status, &e)
}

func (s *Session) do(run func(e *C.rasp_error) C.rasp_status) error {
	_, err := s.call(run)
	return err
}

// Prefill appends prompt tokens.
func (s *Session) Prefill(tokens []uint32) error {
	ids, count := idsOf(tokens)
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_prefill(s.handle, ids, count, e) })
}

// Step samples the next token and appends it; end tells whether it ends generation.
func (s *Session) Step() (token uint32, end bool, err error) {
	var id C.uint32_t
	status, err := s.call(func(e *C.rasp_error) C.rasp_status { return C.rasp_step(s.handle, &id, e) })
	return uint32(id), status == C.RASP_END, err
}

// Decode appends a token of the caller's choice.
func (s *Session) Decode(token uint32) error {
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_decode(s.handle, C.uint32_t(token), e) })
}

// Cancel makes the call under way, or else the next one, fail with ErrCancelled. From any goroutine.
func (s *Session) Cancel() { C.rasp_cancel(s.handle) }

// Stats are what a session has done and takes; Kept is the share of linear weights that decoded tokens have read,
// LateTokens are those that have missed a deadline, Units the units of work.
type Stats struct {
	Tokens, Context                uint32
	Sparsity                       float32
	Memory                         uint64
	DecodedTokens                  uint64
	LinearBytesRead, HeadBytesRead uint64
	Kept                           float64
	DraftedTokens, AcceptedTokens  uint64
	Units, LateTokens              uint64
	SharedBytes                    uint64 // In memory that it shares with forks.
}

// Stats tells what the session has done.
func (s *Session) Stats() (Stats, error) {
	var c C.rasp_stats
	C.rasp_stats_init(&c)
	err := s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_session_get_stats(s.handle, &c, e) })
	return Stats{uint32(c.tokens), uint32(c.context), float32(c.sparsity), uint64(c.memory), uint64(c.decoded_tokens),
		uint64(c.linear_bytes_read), uint64(c.head_bytes_read), float64(c.kept), uint64(c.drafted_tokens),
		uint64(c.accepted_tokens), uint64(c.units), uint64(c.late_tokens), uint64(c.shared_bytes)}, err
}

// ClearStats starts the counts anew.
func (s *Session) ClearStats() error {
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_session_clear_stats(s.handle, e) })
}
