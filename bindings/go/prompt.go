package rasp

/*
#include <rasp.h>
#include <stdlib.h>
*/
import "C"

import (
	"encoding/json"
	"time"
	"unsafe"
)

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
	if m.handle == nil {
		return nil, ErrClosed
	}
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
	if m.handle == nil {
		return "", ErrClosed
	}
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
