package rasp

/*
#include <rasp.h>
*/
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"unsafe"
)

type chatPrefill func(*chat, C.size_t, *C.size_t, *C.rasp_error) C.rasp_status

func (s *Session) prefillChat(messages []ChatMessage, options ChatOptions, call chatPrefill) (int, error) {
	if s.handle == nil {
		return 0, ErrClosed
	}
	c, err := newChat(messages, options)
	if err != nil {
		return 0, err
	}
	defer c.free()
	var kept C.size_t
	var e C.rasp_error
	status := call(c, C.size_t(len(messages)), &kept, &e)
	return int(kept), check(status, &e)
}

// PrefillChat makes the session hold a conversation, all of it: what it holds of its beginning stays, and only the rest
// passes. It returns how many tokens stayed. Give answers back as they came.
func (s *Session) PrefillChat(messages []ChatMessage, options ChatOptions) (kept int, err error) {
	call := func(c *chat, count C.size_t, kept *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_chat_prefill(s.handle, c.messages, count, c.options, kept, e)
	}
	return s.prefillChat(messages, options, call)
}

// PrefillChatBegin does the same without computing anything yet, as PrefillBegin.
func (s *Session) PrefillChatBegin(messages []ChatMessage, options ChatOptions) (kept int, err error) {
	call := func(c *chat, count C.size_t, kept *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_chat_prefill_begin(s.handle, c.messages, count, c.options, kept, e)
	}
	return s.prefillChat(messages, options, call)
}

// Tokens are those that the session holds, one that was sampled last included.
func (s *Session) Tokens() ([]uint32, error) {
	if s.handle == nil {
		return nil, ErrClosed
	}
	for room := 1024; ; {
		tokens := make([]uint32, room)
		var count C.size_t
		var e C.rasp_error
		status := C.rasp_session_tokens(s.handle, (*C.uint32_t)(unsafe.Pointer(&tokens[0])), C.size_t(room), &count, &e)
		if status != C.RASP_ERROR_BUFFER_TOO_SMALL {
			return tokens[:count], check(status, &e)
		}
		room = int(count)
	}
}

// Answer is as Generate, with the answer told apart: text, what the model thinks, calls of tools.
func (s *Session) Answer(ctx context.Context, reply *Reply, limit int, yield func(part Part) bool) error {
	// Whether yield wants more.
	parts := func() (bool, error) {
		for {
			part, more, err := reply.Next()
			if err != nil || !more {
				return err == nil, err
			}
			if !yield(part) {
				return false, nil
			}
		}
	}
	var failed error
	left := false
	err := s.generate(ctx, limit, C.RASP_TEXT_SHOW_MARKS, func(text string) bool {
		if failed = reply.Push(text); failed != nil {
			return false
		}
		var on bool
		on, failed = parts()
		left = !on
		return on
	})
	if err != nil || failed != nil || left {
		if err == nil {
			err = failed
		}
		return err
	}
	if err := reply.Finish(); err != nil {
		return err
	}
	_, err = parts()
	return err
}

// TurnOptions say how a turn in a chat is made.
type TurnOptions struct {
	ChatOptions
	// Tools are a list as OpenAI has it, of anything that encoding/json makes it of; nil: none.
	Tools any
	// ToolChoice is "auto", "required" or the name of a function: calls keep to the schemas of the tools, in this turn,
	// in the place of a constraint of the session's. "": nothing is kept to.
	ToolChoice string
	// Limit is how many tokens there may be at most; 0: to the end of the answer.
	Limit int
}

// Turn is what the assistant has said.
type Turn struct {
	// Message is to be put after the messages that it answers.
	Message ChatMessage
	// Kept is how many tokens the session held already.
	Kept int
}

// Chat hands the assistant's turn after these messages to yield, part by part as it comes; nil wants none of them. Give
// all messages each turn: each token passes once. The turn that is returned is what had come where yield returned false
// or there was an error. When ctx is done, what is under way is cancelled and ctx's error returned.
func (s *Session) Chat(ctx context.Context, messages []ChatMessage, options TurnOptions,
	yield func(part Part) bool) (turn Turn, err error) {
	if s.handle == nil {
		return turn, ErrClosed
	}
	if options.Tools == nil && options.ToolChoice != "" {
		return turn, errors.New("a ToolChoice wants Tools")
	}
	variables := map[string]any{}
	for name, value := range options.Variables {
		variables[name] = value
	}
	if options.Tools != nil {
		variables["tools"] = options.Tools
	}
	if len(variables) > 0 {
		options.Variables = variables
	}
	var constraint *Constraint
	if options.ToolChoice != "" {
		if constraint, err = s.toolsOf(variables, options.ToolChoice); err != nil {
			return turn, err
		}
		defer constraint.Close()
	}
	reply, err := newReply(s.model, messages, options.ChatOptions)
	if err != nil {
		return turn, err
	}
	defer reply.Close()
	err = s.cancelled(ctx, func() (err error) {
		turn.Kept, err = s.PrefillChat(messages, options.ChatOptions)
		return err
	})
	if err != nil {
		return turn, err
	}
	if constraint != nil {
		if err := s.SetConstraint(constraint); err != nil {
			return turn, err
		}
		defer s.SetConstraint(nil)
	}
	limit := options.Limit
	if limit == 0 {
		limit = int(^uint(0) >> 1)
	}
	err = s.Answer(ctx, reply, limit, func(part Part) bool { return yield == nil || yield(part) })
	message, failed := reply.Message()
	turn.Message = message
	if err == nil {
		err = failed
	}
	return turn, err
}

// The constraint of tools among variables.
func (s *Session) toolsOf(variables map[string]any, choice string) (*Constraint, error) {
	var chosen any = choice
	if choice != "auto" && choice != "required" {
		chosen = map[string]any{"type": "function", "function": map[string]any{"name": choice}}
	}
	source := map[string]any{"tool_choice": chosen}
	for name, value := range variables {
		source[name] = value
	}
	text, err := json.Marshal(source)
	if err != nil {
		return nil, err
	}
	return newConstraint(s.model, Tools, string(text))
}
