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

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unsafe"
)

// Error is what a call failed with: one of the RASP_ERROR_ constants, and words.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", C.GoString(C.rasp_status_name(C.rasp_status(e.Code))), e.Message)
}

// Is makes errors.Is compare codes.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Errors to compare with.
var (
	ErrIO           = &Error{Code: C.RASP_ERROR_IO}
	ErrOutOfRange   = &Error{Code: C.RASP_ERROR_OUT_OF_RANGE}
	ErrContextFull  = &Error{Code: C.RASP_ERROR_CONTEXT_FULL}
	ErrCancelled    = &Error{Code: C.RASP_ERROR_CANCELLED}
	ErrInvalidState = &Error{Code: C.RASP_ERROR_INVALID_STATE}
	ErrUnsupported  = &Error{Code: C.RASP_ERROR_UNSUPPORTED}
)

// ErrClosed is returned by everything that was closed.
var ErrClosed = errors.New("rasp: closed")

func check(status C.rasp_status, e *C.rasp_error) error {
	if status >= 0 {
		return nil
	}
	return &Error{int(status), C.GoString(&e.message[0])}
}

// Version is that of the library, such as "0.1.0".
func Version() string { return C.GoString(C.rasp_version()) }

// ABIVersion is that of its binary interface.
func ABIVersion() uint32 { return uint32(C.rasp_abi_version()) }

// Model is a loaded model.
type Model struct{ handle *C.rasp_model }

// LoadOptions say how a model is loaded.
type LoadOptions struct {
	Verify bool // read every weight and refuse damaged ones
	Lock   bool // keep the file in memory
	// LargePages read the file into memory of this process's own, in pages of 2 MB where there are some.
	LargePages bool
}

// Info is what a model is; sizes in bytes.
type Info struct {
	Architecture, Name                       string
	VocabSize, HiddenSize, IntermediateSize  uint32
	NumLayers, NumHeads, NumKVHeads, HeadDim uint32
	ContextLength                            uint32
	MaxSparsity, DefaultSparsity             float32
	NumRungs                                 uint32
	BOSToken                                 int32 // -1 if there is none
	FileSize, LinearBytes, HeadBytes         uint64
}

// Message is one of a chat.
type Message struct{ Role, Content string }

// ChatMessage is one of a chat, with all that a template may know.
type ChatMessage struct {
	Role, Content string
	// Fields are what else it has: name, tool_calls. If they have a content, in parts or nil, Content is not looked at.
	Fields map[string]any
}

// ChatOptions are what a template is given besides messages.
type ChatOptions struct {
	NoGenerationPrompt bool           // end with the last message, not with what makes the model answer
	Variables          map[string]any // the template's: tools, documents, enable_thinking
	Time               time.Time      // what its strftime_now shows; if zero there is no such function
}

func flag(set bool, value C.uint32_t) C.uint32_t {
	if set {
		return value
	}
	return 0
}

// Load maps a .rasp file.
func Load(path string, options LoadOptions) (*Model, error) {
	var o C.rasp_load_options
	C.rasp_load_options_init(&o)
	o.verify, o.lock, o.large_pages = flag(options.Verify, 1), flag(options.Lock, 1), flag(options.LargePages, 1)
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var m Model
	var e C.rasp_error
	if err := check(C.rasp_load(name, &o, &m.handle, &e), &e); err != nil {
		return nil, err
	}
	return &m, nil
}

// Close gives the model back; open sessions go on.
func (m *Model) Close() {
	C.rasp_free(m.handle)
	m.handle = nil
}

// Info tells what the model is.
func (m *Model) Info() (Info, error) {
	var i C.rasp_model_info
	var e C.rasp_error
	C.rasp_model_info_init(&i)
	if err := check(C.rasp_model_get_info(m.handle, &i, &e), &e); err != nil {
		return Info{}, err
	}
	return Info{
		Architecture: C.GoString(&i.architecture[0]), Name: C.GoString(&i.name[0]),
		VocabSize: uint32(i.vocab_size), HiddenSize: uint32(i.hidden_size),
		IntermediateSize: uint32(i.intermediate_size), NumLayers: uint32(i.num_layers),
		NumHeads: uint32(i.num_heads), NumKVHeads: uint32(i.num_kv_heads), HeadDim: uint32(i.head_dim),
		ContextLength: uint32(i.context_length), MaxSparsity: float32(i.max_sparsity), BOSToken: int32(i.bos_token),
		DefaultSparsity: float32(i.default_sparsity), NumRungs: uint32(i.num_rungs),
		FileSize: uint64(i.file_size), LinearBytes: uint64(i.linear_bytes), HeadBytes: uint64(i.head_bytes),
	}, nil
}

// Flags of Tokenize and Detokenize.
const (
	AddSpecial   = C.RASP_TOKENIZE_ADD_SPECIAL
	ParseSpecial = C.RASP_TOKENIZE_PARSE_SPECIAL
	SkipSpecial  = C.RASP_DETOKENIZE_SKIP_SPECIAL
)

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

// Tokenize turns text into tokens; flags: AddSpecial, ParseSpecial.
func (m *Model) Tokenize(text string, flags uint32) ([]uint32, error) {
	data, length := bytesOf([]byte(text))
	// A token has at least one byte, but special ones may be added.
	tokens := make([]uint32, len(text)+8)
	var count C.size_t
	var e C.rasp_error
	status := C.rasp_tokenize(m.handle, data, length, C.uint32_t(flags), (*C.uint32_t)(unsafe.Pointer(&tokens[0])),
		C.size_t(len(tokens)), &count, &e)
	if err := check(status, &e); err != nil {
		return nil, err
	}
	return tokens[:count], nil
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

// Detokenize turns tokens into bytes, which may end inside a character; flags: SkipSpecial.
func (m *Model) Detokenize(tokens []uint32, flags uint32) ([]byte, error) {
	ids, count := idsOf(tokens)
	return grown(16*len(tokens), func(text *C.char, room C.size_t, length *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_detokenize(m.handle, ids, count, C.uint32_t(flags), text, room, length, e)
	})
}

// IsEnd tells whether a token ends generation.
func (m *Model) IsEnd(token uint32) bool {
	return C.rasp_token_is_end(m.handle, C.uint32_t(token)) != 0
}

// IsSpecial tells whether a token is not part of plain text.
func (m *Model) IsSpecial(token uint32) bool {
	return C.rasp_token_is_special(m.handle, C.uint32_t(token)) != 0
}

// A chat in memory of C's: C may not be handed Go memory that holds pointers.
type chat struct {
	messages *C.rasp_chat_message
	options  *C.rasp_chat_options
	memory   []unsafe.Pointer
}

func (c *chat) free() {
	for _, memory := range c.memory {
		C.free(memory)
	}
}

func (c *chat) text(text []byte) (*C.char, C.size_t) {
	memory := C.CBytes(append(text, 0))
	c.memory = append(c.memory, memory)
	return (*C.char)(memory), C.size_t(len(text))
}

func newChat(messages []ChatMessage, options ChatOptions) (*chat, error) {
	list := C.calloc(C.size_t(len(messages)+1), C.sizeof_rasp_chat_message)
	o := C.calloc(1, C.sizeof_rasp_chat_options)
	c := &chat{(*C.rasp_chat_message)(list), (*C.rasp_chat_options)(o), []unsafe.Pointer{list, o}}
	items := unsafe.Slice(c.messages, len(messages)+1)
	for i, message := range messages {
		items[i].role, items[i].role_length = c.text([]byte(message.Role))
		if _, given := message.Fields["content"]; !given {
			items[i].content, items[i].content_length = c.text([]byte(message.Content))
		}
		if len(message.Fields) > 0 {
			fields, err := json.Marshal(message.Fields)
			if err != nil {
				c.free()
				return nil, err
			}
			items[i].fields, items[i].fields_length = c.text(fields)
		}
	}
	C.rasp_chat_options_init(c.options)
	if options.NoGenerationPrompt {
		c.options.add_generation_prompt = 0
	}
	if options.Variables != nil {
		variables, err := json.Marshal(options.Variables)
		if err != nil {
			c.free()
			return nil, err
		}
		c.options.variables, c.options.variables_length = c.text(variables)
	}
	if !options.Time.IsZero() {
		_, ahead := options.Time.Zone()
		c.options.time = C.int64_t(options.Time.Unix() + int64(ahead))
	}
	return c, nil
}

// ChatTokenize turns messages into tokens, in the model's own format. What messages and variables say is text, whatever
// it looks like: special tokens are recognised in the template's own words alone.
func (m *Model) ChatTokenize(messages []ChatMessage, options ChatOptions) ([]uint32, error) {
	c, err := newChat(messages, options)
	if err != nil {
		return nil, err
	}
	defer c.free()
	for room := 4096; ; {
		tokens := make([]uint32, room)
		var count C.size_t
		var e C.rasp_error
		status := C.rasp_chat_tokenize(m.handle, c.messages, C.size_t(len(messages)), c.options,
			(*C.uint32_t)(unsafe.Pointer(&tokens[0])), C.size_t(room), &count, &e)
		if status != C.RASP_ERROR_BUFFER_TOO_SMALL {
			return tokens[:count], check(status, &e)
		}
		room = int(count)
	}
}

// ChatText is the text that ChatTokenize makes tokens of, to be looked at.
func (m *Model) ChatText(messages []ChatMessage, options ChatOptions) (string, error) {
	c, err := newChat(messages, options)
	if err != nil {
		return "", err
	}
	defer c.free()
	text, err := grown(4096, func(text *C.char, room C.size_t, length *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_chat_text(m.handle, c.messages, C.size_t(len(messages)), c.options, text, room, length, e)
	})
	return string(text), err
}

// ChatFormat puts messages into the model's own chat format, ended so that the model answers. Tokenized with
// ParseSpecial it cannot promise who speaks, since a message may hold the template's own tokens: ChatTokenize can.
func (m *Model) ChatFormat(messages []Message) (string, error) {
	list := make([]ChatMessage, len(messages))
	for i, message := range messages {
		list[i] = ChatMessage{Role: message.Role, Content: message.Content}
	}
	return m.ChatText(list, ChatOptions{})
}

// ConstraintKind is what the source of a constraint is written in.
type ConstraintKind uint32

// The kinds of constraints: a JSON schema, a regular expression (in the syntax of Rust's crate regex) that the whole
// answer matches, a grammar in llguidance's variant of Lark, the tools of a chat (a list in JSON, or an object with
// tools and a tool_choice).
const (
	JSONSchema ConstraintKind = C.RASP_CONSTRAINT_JSON_SCHEMA
	Regex      ConstraintKind = C.RASP_CONSTRAINT_REGEX
	Grammar    ConstraintKind = C.RASP_CONSTRAINT_GRAMMAR
	Tools      ConstraintKind = C.RASP_CONSTRAINT_TOOLS
)

// Constraint is what an answer may be. Any number of sessions of its model may use it; they keep what they need of it
// when it is closed.
type Constraint struct{ handle *C.rasp_constraint }

// Constraint compiles a constraint for this model.
func (m *Model) Constraint(kind ConstraintKind, source string) (*Constraint, error) {
	return newConstraint(m.handle, kind, source)
}

func newConstraint(model *C.rasp_model, kind ConstraintKind, source string) (*Constraint, error) {
	data, length := bytesOf([]byte(source))
	var c Constraint
	var e C.rasp_error
	if err := check(C.rasp_constraint_new(model, C.uint32_t(kind), data, length, &c.handle, &e), &e); err != nil {
		return nil, err
	}
	return &c, nil
}

// Close gives the constraint back; sessions that use it go on.
func (c *Constraint) Close() {
	C.rasp_constraint_free(c.handle)
	c.handle = nil
}

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

// Session is one text in the making.
type Session struct {
	handle *C.rasp_session
	model  *C.rasp_model
	// Bytes of the adapters that are set.
	adapters []*block
}

// Open opens a session.
func (m *Model) Open(options SessionOptions) (*Session, error) {
	var o C.rasp_session_options
	C.rasp_session_options_init(&o)
	o.context, o.batch, o.kv_type = C.uint32_t(options.Context), C.uint32_t(options.Batch), C.uint32_t(options.KV)
	o.windows_alone = flag(options.WindowsAlone, 1)
	o.drafts, o.adapter_rank = C.uint32_t(options.Drafts), C.uint32_t(options.AdapterRank)
	if options.Threads != 0 {
		o.threads = C.uint32_t(options.Threads)
	}
	var s Session
	var e C.rasp_error
	if err := check(C.rasp_session_open(m.handle, &o, &s.handle, &e), &e); err != nil {
		return nil, err
	}
	C.rasp_model_retain(m.handle)
	s.model = m.handle
	return &s, nil
}

// Close closes the session, unless a call is under way.
func (s *Session) Close() error {
	if status := C.rasp_session_close(s.handle); status < 0 {
		return &Error{int(status), "a call on the session is under way"}
	}
	C.rasp_free(s.model)
	s.keep(nil)
	s.handle, s.model = nil, nil
	return nil
}

// Prefill appends prompt tokens.
func (s *Session) Prefill(tokens []uint32) error {
	ids, count := idsOf(tokens)
	var e C.rasp_error
	return check(C.rasp_prefill(s.handle, ids, count, &e), &e)
}

// Step samples the next token and appends it; end tells whether it ends generation.
func (s *Session) Step() (token uint32, end bool, err error) {
	var id C.uint32_t
	var e C.rasp_error
	status := C.rasp_step(s.handle, &id, &e)
	return uint32(id), status == C.RASP_END, check(status, &e)
}

// Decode appends a token of the caller's choice.
func (s *Session) Decode(token uint32) error {
	var e C.rasp_error
	return check(C.rasp_decode(s.handle, C.uint32_t(token), &e), &e)
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
	if s.handle == nil {
		return ErrClosed
	}
	return s.cancelled(ctx, func() error {
		room := make([]byte, C.RASP_STEP_TEXT_SIZE)
		text := (*C.char)(unsafe.Pointer(&room[0]))
		var length C.size_t
		var e C.rasp_error
		for n := 0; n < limit; n++ {
			status := C.rasp_step_text(s.handle, flags, text, C.RASP_STEP_TEXT_SIZE, &length, nil, &e)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := check(status, &e); err != nil {
				return err
			}
			if length > 0 && !yield(string(room[:length])) || status == C.RASP_END {
				return nil
			}
		}
		// What could still have become a stop string.
		if err := check(C.rasp_finish_text(s.handle, text, C.RASP_STEP_TEXT_SIZE, &length, &e), &e); err != nil {
			return err
		}
		if length > 0 {
			yield(string(room[:length]))
		}
		return nil
	})
}

// Cancel makes the call under way, or else the next one, fail with ErrCancelled. From any goroutine.
func (s *Session) Cancel() { C.rasp_cancel(s.handle) }

// Reset forgets all tokens.
func (s *Session) Reset() error {
	var e C.rasp_error
	return check(C.rasp_session_reset(s.handle, &e), &e)
}

// SetSparsity sets how sparse decoded tokens are: 0 is dense, up to Info.MaxSparsity.
func (s *Session) SetSparsity(sparsity float32) error {
	var e C.rasp_error
	return check(C.rasp_session_set_sparsity(s.handle, C.float(sparsity), &e), &e)
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
	var e C.rasp_error
	var own C.float
	likeliest := make([]C.rasp_log_prob, top+1) // One more, so that there is a first one.
	status := C.rasp_log_probs(s.handle, C.uint32_t(token), &own, &likeliest[0], C.size_t(top), &e)
	if err := check(status, &e); err != nil {
		return 0, nil, err
	}
	found := make([]LogProb, top)
	for n := range found {
		found[n] = LogProb{uint32(likeliest[n].token), float32(likeliest[n].log_prob)}
	}
	return float32(own), found, nil
}

// Sampling is how tokens are chosen. Greedy is the default; start from DefaultSampling.
type Sampling struct {
	Temperature                       float32
	TopK                              uint32
	TopP, MinP                        float32
	RepetitionPenalty                 float32
	RepetitionWindow                  uint32
	Seed                              uint64
	PresencePenalty, FrequencyPenalty float32
	TopNSigma, TypicalP               float32
	XTCProbability, XTCThreshold      float32
	DRYMultiplier, DRYBase            float32
	DRYAllowedLength, DRYWindow       uint32
	MirostatTau, MirostatEta          float32
	// Order has the stages that come first; the others follow in the order of their numbers.
	Order []Stage
}

// A Stage of sampling leaves tokens out, or divides the logits.
type Stage uint8

// The stages of sampling, in the order they have unless told.
const (
	StageTopNSigma   Stage = C.RASP_STAGE_TOP_N_SIGMA
	StageTopK        Stage = C.RASP_STAGE_TOP_K
	StageTemperature Stage = C.RASP_STAGE_TEMPERATURE
	StageTypical     Stage = C.RASP_STAGE_TYPICAL
	StageTopP        Stage = C.RASP_STAGE_TOP_P
	StageMinP        Stage = C.RASP_STAGE_MIN_P
	StageXTC         Stage = C.RASP_STAGE_XTC
)

// DefaultSampling is greedy.
func DefaultSampling() Sampling {
	var c C.rasp_sampling
	C.rasp_sampling_init_2(&c)
	return Sampling{
		Temperature: float32(c.temperature), TopK: uint32(c.top_k), TopP: float32(c.top_p), MinP: float32(c.min_p),
		RepetitionPenalty: float32(c.repetition_penalty), RepetitionWindow: uint32(c.repetition_window),
		Seed: uint64(c.seed), PresencePenalty: float32(c.presence_penalty),
		FrequencyPenalty: float32(c.frequency_penalty), TopNSigma: float32(c.top_n_sigma),
		TypicalP: float32(c.typical_p), XTCProbability: float32(c.xtc_probability),
		XTCThreshold: float32(c.xtc_threshold), DRYMultiplier: float32(c.dry_multiplier), DRYBase: float32(c.dry_base),
		DRYAllowedLength: uint32(c.dry_allowed_length), DRYWindow: uint32(c.dry_window),
		MirostatTau: float32(c.mirostat_tau), MirostatEta: float32(c.mirostat_eta),
	}
}

// SetSampling sets how tokens are chosen from now on.
func (s *Session) SetSampling(sampling Sampling) error {
	var c C.rasp_sampling
	C.rasp_sampling_init_2(&c)
	c.temperature, c.top_k = C.float(sampling.Temperature), C.uint32_t(sampling.TopK)
	c.top_p, c.min_p = C.float(sampling.TopP), C.float(sampling.MinP)
	c.repetition_penalty = C.float(sampling.RepetitionPenalty)
	c.repetition_window, c.seed = C.uint32_t(sampling.RepetitionWindow), C.uint64_t(sampling.Seed)
	c.presence_penalty, c.frequency_penalty = C.float(sampling.PresencePenalty), C.float(sampling.FrequencyPenalty)
	c.top_n_sigma, c.typical_p = C.float(sampling.TopNSigma), C.float(sampling.TypicalP)
	c.xtc_probability, c.xtc_threshold = C.float(sampling.XTCProbability), C.float(sampling.XTCThreshold)
	c.dry_multiplier, c.dry_base = C.float(sampling.DRYMultiplier), C.float(sampling.DRYBase)
	c.dry_allowed_length, c.dry_window = C.uint32_t(sampling.DRYAllowedLength), C.uint32_t(sampling.DRYWindow)
	c.mirostat_tau, c.mirostat_eta = C.float(sampling.MirostatTau), C.float(sampling.MirostatEta)
	if len(sampling.Order) > len(c.order) {
		return fmt.Errorf("the order of sampling has %d stages; there are 7", len(sampling.Order))
	}
	for at, stage := range sampling.Order {
		c.order[at] = C.uint8_t(stage)
	}
	var e C.rasp_error
	return check(C.rasp_session_set_sampling(s.handle, &c, &e), &e)
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
	var e C.rasp_error
	return check(C.rasp_session_set_constraint(s.handle, handle, &e), &e)
}

// Stats are what a session has done and takes; Kept is the share of linear weights that decoded tokens have read.
type Stats struct {
	Tokens, Context                uint32
	Sparsity                       float32
	Memory                         uint64
	DecodedTokens                  uint64
	LinearBytesRead, HeadBytesRead uint64
	Kept                           float64
	DraftedTokens, AcceptedTokens  uint64
}

// Stats tells what the session has done.
func (s *Session) Stats() (Stats, error) {
	var c C.rasp_stats
	C.rasp_stats_init(&c)
	var e C.rasp_error
	err := check(C.rasp_session_get_stats(s.handle, &c, &e), &e)
	return Stats{uint32(c.tokens), uint32(c.context), float32(c.sparsity), uint64(c.memory), uint64(c.decoded_tokens),
		uint64(c.linear_bytes_read), uint64(c.head_bytes_read), float64(c.kept), uint64(c.drafted_tokens),
		uint64(c.accepted_tokens)}, err
}

// ClearStats starts the counts anew.
func (s *Session) ClearStats() error {
	var e C.rasp_error
	return check(C.rasp_session_clear_stats(s.handle, &e), &e)
}
