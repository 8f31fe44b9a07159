package rasp

/*
#include <rasp.h>
*/
import "C"

import (
	"encoding/json"
)

// PartKind is what a part of an answer is.
type PartKind uint32

// The kinds of parts: what the assistant says, what it thinks before, a call of a tool.
const (
	PartText      PartKind = C.RASP_PART_TEXT
	PartReasoning PartKind = C.RASP_PART_REASONING
	PartCall      PartKind = C.RASP_PART_CALL
)

// Part is a part of an answer.
type Part struct {
	Kind PartKind
	// Text is the text; of a call the arguments, a JSON object.
	Text string
	// Name is the function that a call calls, ID what a message of its result refers to (tool_call_id).
	Name, ID string
}

// Reply is an answer that is told apart as it comes. Session.Answer does all of it, Session.Chat what comes before too.
type Reply struct{ handle *C.rasp_reply }

// Reply begins to tell an answer to these messages apart: give it what ChatTokenize was given.
func (m *Model) Reply(messages []ChatMessage, options ChatOptions) (*Reply, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	return newReply(m.handle, messages, options)
}

func newReply(model *C.rasp_model, messages []ChatMessage, options ChatOptions) (*Reply, error) {
	c, err := newChat(messages, options)
	if err != nil {
		return nil, err
	}
	defer c.free()
	var r Reply
	var e C.rasp_error
	status := C.rasp_reply_new(model, c.messages, C.size_t(len(messages)), c.options, &r.handle, &e)
	if err := check(status, &e); err != nil {
		return nil, err
	}
	return &r, nil
}

// Push takes more of the answer, with its marks.
func (r *Reply) Push(text string) error {
	if r.handle == nil {
		return ErrClosed
	}
	data, length := bytesOf([]byte(text))
	var e C.rasp_error
	return check(C.rasp_reply_push(r.handle, data, length, &e), &e)
}

// PushToken takes a token of the answer, for those who step token by token.
func (r *Reply) PushToken(token uint32) error {
	if r.handle == nil {
		return ErrClosed
	}
	var e C.rasp_error
	return check(C.rasp_reply_push_token(r.handle, C.uint32_t(token), &e), &e)
}

// Finish ends the answer: what was held back is known now.
func (r *Reply) Finish() error {
	if r.handle == nil {
		return ErrClosed
	}
	var e C.rasp_error
	return check(C.rasp_reply_finish(r.handle, &e), &e)
}

// Next is the next part of what is known of the answer; more tells whether there was one.
func (r *Reply) Next() (part Part, more bool, err error) {
	if r.handle == nil {
		return Part{}, false, ErrClosed
	}
	var p C.rasp_reply_part
	var e C.rasp_error
	status := C.rasp_reply_next(r.handle, &p, &e)
	if err := check(status, &e); err != nil || status != C.RASP_OK {
		return Part{}, false, err
	}
	text := func(text *C.char, length C.size_t) string { return C.GoStringN(text, C.int(length)) }
	return Part{PartKind(p.kind), text(p.text, p.text_length), text(p.name, p.name_length), text(p.id, p.id_length)}, true,
		nil
}

// Message is what is known of the answer, to be put after the messages that it answers.
func (r *Reply) Message() (ChatMessage, error) {
	if r.handle == nil {
		return ChatMessage{}, ErrClosed
	}
	text, err := grown(4096, func(text *C.char, room C.size_t, length *C.size_t, e *C.rasp_error) C.rasp_status {
		return C.rasp_reply_message(r.handle, text, room, length, e)
	})
	if err != nil {
		return ChatMessage{}, err
	}
	message := ChatMessage{Role: "assistant"}
	if err := json.Unmarshal(text, &message.Fields); err != nil {
		return ChatMessage{}, err
	}
	message.Content, _ = message.Fields["content"].(string)
	delete(message.Fields, "content")
	return message, nil
}

// Close frees the reply.
func (r *Reply) Close() {
	C.rasp_reply_free(r.handle)
	r.handle = nil
}
