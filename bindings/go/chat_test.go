package rasp

import (
	"context"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// With RASP_TEST_ADAPTER, an adapter for RASP_TEST_MODEL, and RASP_TEST_TOOLS, a tiny model whose template knows tools,
// of which tests/bindings/models.py makes the parts.

var (
	background = context.Background()
	question   = ChatMessage{Role: "user", Content: "What is the capital of France?"}
	weather    = []any{map[string]any{"type": "function", "function": map[string]any{"name": "weather",
		"parameters": map[string]any{"type": "object", "required": []string{"unit"}, "additionalProperties": false,
			"properties": map[string]any{"unit": map[string]any{"enum": []string{"C", "F"}}}}}}}
)

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fails(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Fatalf("%v does not say %q", err, words)
	}
}

func opened(t *testing.T, variable string, options SessionOptions) (*Model, *Session) {
	t.Helper()
	model := must(Load(os.Getenv(variable), LoadOptions{}))(t)
	session := must(model.Open(options))(t)
	t.Cleanup(func() {
		session.Close()
		model.Close()
	})
	return model, session
}

func steps(t *testing.T, session *Session, tokens []uint32) (found []uint32) {
	t.Helper()
	ok(t, session.Reset())
	ok(t, session.Prefill(tokens))
	for n := 0; n < 8; n++ {
		token, _, err := session.Step()
		ok(t, err)
		found = append(found, token)
	}
	return found
}

func TestAdapters(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 64, AdapterRank: 6})
	tokens := must(model.Tokenize(prompt, 0))(t)
	path := os.Getenv("RASP_TEST_ADAPTER")
	data := must(os.ReadFile(path))(t)
	file := must(os.Open(path))(t)
	adapters := []*Adapter{must(model.Adapter(path))(t), must(model.AdapterBytes(data))(t),
		must(model.AdapterFile(file, 0, 0))(t), must(model.AdapterFile(file, 0, uint64(len(data))))(t)}
	if _, err := model.AdapterFile(file, 0, uint64(len(data))+1); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
	ok(t, file.Close())
	info := must(adapters[0].Info())(t)
	if info.Name != "lora" || info.Rank != 3 || info.Linears != 60 || info.Bytes == 0 || info.Bytes > uint64(len(data)) {
		t.Fatal(info)
	}
	alone := steps(t, session, tokens)
	ok(t, session.SetAdapters(adapters[:1], nil))
	adapted := steps(t, session, tokens)
	if reflect.DeepEqual(alone, adapted) {
		t.Fatal("an adapter that changes nothing")
	}
	expect := func(expected []uint32) {
		t.Helper()
		if found := steps(t, session, tokens); !reflect.DeepEqual(found, expected) {
			t.Fatal(found, expected)
		}
	}
	for n := range adapters[1:] {
		ok(t, session.SetAdapters(adapters[n+1:n+2], nil))
		expect(adapted)
	}
	ok(t, session.SetAdapters(adapters[:2], []float32{0, 0}))
	expect(alone)
	ok(t, session.SetAdapters(nil, nil))
	expect(alone)
	// Bytes are C's own, and a session keeps them for as long as they are set.
	ok(t, session.SetAdapters(adapters[1:2], nil))
	block := adapters[1].data
	for _, adapter := range adapters {
		adapter.Close()
	}
	adapters[1].Close()
	if block.shares != 1 {
		t.Fatal(block.shares)
	}
	expect(adapted)
	if err := session.SetAdapters(adapters, nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := adapters[0].Info(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	ok(t, session.SetAdapters(nil, nil))
	if block.shares != 0 {
		t.Fatal(block.shares)
	}
	one := []*Adapter{must(model.Adapter(path))(t)}
	defer one[0].Close()
	small := must(model.Open(SessionOptions{Context: 16}))(t)
	defer small.Close()
	fails(t, small.SetAdapters(one, nil), "adapter_rank 3")
	fails(t, session.SetAdapters(one, []float32{1, 2}), "1 adapters have 2 scales")
	fails(t, session.SetAdapters(one, []float32{float32(math.NaN())}), "finite")
	for path, words := range map[string]string{os.Getenv("RASP_TEST_MODEL"): "not an adapter", "/nowhere": "/nowhere",
		"a\x00b": "NUL"} {
		_, err := model.Adapter(path)
		fails(t, err, words)
	}
	_, err := model.AdapterBytes(data[:len(data)-1])
	fails(t, err, "truncated")
}

// What a turn says.
func said(t *testing.T, session *Session, messages []ChatMessage, options TurnOptions) (string, []Part, Turn) {
	t.Helper()
	var text strings.Builder
	var parts []Part
	turn, err := session.Chat(background, messages, options, func(part Part) bool {
		text.WriteString(part.Text)
		parts = append(parts, part)
		return true
	})
	ok(t, err)
	return text.String(), parts, turn
}

func TestEachTokenPassesOnce(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 256})
	model.Close()
	messages := []ChatMessage{question}
	text, parts, turn := said(t, session, messages, TurnOptions{Limit: 64})
	if turn.Kept != 0 || len(parts) < 4 || parts[0].Kind != PartText || !strings.Contains(text, "Paris") {
		t.Fatal(turn, parts)
	}
	if turn.Message.Role != "assistant" || turn.Message.Content != text || len(turn.Message.Fields) != 0 {
		t.Fatal(turn.Message)
	}
	held := must(session.Tokens())(t)
	messages = append(messages, turn.Message, ChatMessage{Role: "user", Content: "And of Italy? Also: a\x00b"})
	text, _, turn = said(t, session, messages, TurnOptions{Limit: 32})
	if turn.Kept != len(held) || !strings.Contains(text, "Rome") {
		t.Fatal(turn.Kept, len(held), text)
	}
	// An answer that is left in the middle is what had come.
	var first string
	turn, err := session.Chat(background, messages, TurnOptions{}, func(part Part) bool {
		first = part.Text
		return false
	})
	if err != nil || first == "" || turn.Message.Content != first {
		t.Fatal(turn, err)
	}
	kept := must(session.PrefillChat(messages, ChatOptions{}))(t)
	if kept != len(must(session.Tokens())(t)) {
		t.Fatal(kept)
	}
	ctx, cancel := context.WithCancel(background)
	_, err = session.Chat(ctx, messages, TurnOptions{}, func(Part) bool {
		cancel()
		return true
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err = session.Chat(ctx, messages, TurnOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	ok(t, session.Close())
	if _, err = session.Chat(background, messages, TurnOptions{}, nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestPrompts(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 128})
	messages := []ChatMessage{question}
	tokens := must(model.ChatTokenize(messages, ChatOptions{}))(t)
	for _, expected := range []int{0, len(tokens)} {
		if kept := must(session.PrefillChat(messages, ChatOptions{}))(t); kept != expected {
			t.Fatal(kept, expected)
		}
		if held := must(session.Tokens())(t); !reflect.DeepEqual(held, tokens) {
			t.Fatal(held, tokens)
		}
	}
	first, _, err := session.Step()
	ok(t, err)
	ok(t, session.Reset())
	if kept := must(session.PrefillChatBegin(messages, ChatOptions{}))(t); kept != 0 {
		t.Fatal(kept)
	}
	calls := 1
	for !must(session.PrefillWithin(0))(t) {
		calls++
	}
	if token, _, err := session.Step(); err != nil || token != first || calls < 10 {
		t.Fatal(token, first, calls, err)
	}
	ok(t, session.Reset())
	ok(t, session.PrefillBegin(tokens))
	for pending := 0; ; pending++ {
		token, _, done, err := session.StepWithin(10 * time.Microsecond)
		ok(t, err)
		if done {
			if token != first || pending < 10 {
				t.Fatal(token, first, pending)
			}
			break
		}
	}
	_, _, _, err = session.StepWithin(-1)
	fails(t, err, "no budget")
	many := make([]ChatMessage, 20)
	for n := range many {
		many[n] = question
	}
	if _, err := session.PrefillChat(many, ChatOptions{}); !errors.Is(err, ErrContextFull) {
		t.Fatal(err)
	}
	_, err = session.Chat(background, messages, TurnOptions{ToolChoice: "auto"}, nil)
	fails(t, err, "wants Tools")
	_, err = session.Chat(background, messages, TurnOptions{Tools: weather, ToolChoice: "auto"}, nil)
	fails(t, err, "no format")
}

func TestACallAndItsResult(t *testing.T) {
	model, session := opened(t, "RASP_TEST_TOOLS", SessionOptions{})
	model.Close()
	hi := []ChatMessage{{Role: "user", Content: "Hi"}}
	for _, choice := range []string{"required", "weather"} {
		options := TurnOptions{Tools: weather, ToolChoice: choice, Limit: 100}
		_, parts, turn := said(t, session, hi, options)
		if len(parts) != 1 || parts[0].Kind != PartCall || parts[0].Name != "weather" || parts[0].ID == "" {
			t.Fatal(parts)
		}
		if parts[0].Text != `{"unit":"C"}` && parts[0].Text != `{"unit":"F"}` {
			t.Fatal(parts[0].Text)
		}
		if calls, _ := turn.Message.Fields["tool_calls"].([]any); len(calls) != 1 {
			t.Fatal(turn.Message)
		}
		held := must(session.Tokens())(t)
		messages := append(append([]ChatMessage{}, hi...), turn.Message, ChatMessage{Role: "tool", Content: "20",
			Fields: map[string]any{"tool_call_id": parts[0].ID}})
		if kept := must(session.PrefillChat(messages, ChatOptions{}))(t); kept < len(held)-1 {
			t.Fatal(kept, len(held))
		}
	}
	_, err := session.Chat(background, hi, TurnOptions{Tools: weather, ToolChoice: "snow"}, nil)
	fails(t, err, "snow")
	// The constraint was the turn's alone.
	ok(t, session.Reset())
	if text, _, _ := said(t, session, hi, TurnOptions{Tools: weather, Limit: 16}); strings.Contains(text, "<tool_call>") {
		t.Fatal(text)
	}
}

func TestReplies(t *testing.T) {
	model, _ := opened(t, "RASP_TEST_TOOLS", SessionOptions{})
	const rest = "Hm.\n</think>\n\nSo:\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"unit\": " +
		"\"\\u0000C\"}}\n</tool_call>"
	options := ChatOptions{Variables: map[string]any{"tools": weather, "think": true}}
	for _, byToken := range []bool{false, true} {
		reply := must(model.Reply([]ChatMessage{{Role: "user", Content: "Hi"}}, options))(t)
		if byToken {
			for _, token := range must(model.Tokenize(rest, 0))(t) {
				ok(t, reply.PushToken(token))
			}
		} else {
			for _, letter := range rest {
				ok(t, reply.Push(string(letter)))
			}
		}
		ok(t, reply.Finish())
		var parts []Part
		for {
			part, more, err := reply.Next()
			ok(t, err)
			if !more {
				break
			}
			parts = append(parts, part)
		}
		if len(parts) != 3 || parts[0].Kind != PartReasoning || strings.TrimSpace(parts[0].Text) != "Hm." ||
			strings.TrimSpace(parts[1].Text) != "So:" || !strings.Contains(parts[2].Text, `\u0000C`) {
			t.Fatal(parts)
		}
		if message := must(reply.Message())(t); message.Fields["reasoning_content"] == nil {
			t.Fatal(message)
		}
		fails(t, reply.Push("x"), "finished")
		reply.Close()
		if err := reply.Push("x"); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
}

func TestStates(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 32})
	tokens := must(model.Tokenize(prompt, 0))(t)
	text := func(limit int) string {
		t.Helper()
		var all strings.Builder
		ok(t, session.Generate(background, limit, func(piece string) bool {
			all.WriteString(piece)
			return true
		}))
		return all.String()
	}
	ok(t, session.Prefill(tokens))
	state := must(session.Save())(t)
	ok(t, session.SetStop("Paris", "never"))
	before := text(50)
	if strings.Contains(before, "Paris") || must(session.Stats())(t).Tokens >= 32 {
		t.Fatal(before)
	}
	ok(t, session.SetStop())
	ok(t, session.Restore(state))
	again := text(8)
	if !strings.HasPrefix(again, before) || !strings.Contains(again, "Paris") {
		t.Fatal(again)
	}
	ok(t, session.Rewind(len(tokens)))
	if same := text(8); same != again {
		t.Fatal(same, again)
	}
	// A full context ends an answer.
	if more := text(50); more == "" || must(session.Stats())(t).Tokens != 32 {
		t.Fatal(more)
	}
	if err := session.Restore(state[:len(state)-1]); err == nil {
		t.Fatal("a state that is cut")
	}
	fails(t, session.SetStop("a\x00b"), "NUL")
	fails(t, session.Rewind(-1), "-1")
	ok(t, session.Reset())
	ok(t, session.Prefill(tokens))
	logits := must(session.Logits())(t)
	first, _, err := session.Step()
	ok(t, err)
	for _, logit := range logits {
		if logit > logits[first] {
			t.Fatal(logit, logits[first])
		}
	}
	ok(t, session.SetLogitBias(map[uint32]float32{first: float32(math.Inf(-1))}))
	ok(t, session.Rewind(len(tokens)))
	if token, _, err := session.Step(); err != nil || token == first {
		t.Fatal(token, err)
	}
	ok(t, session.SetLogitBias(nil))
	ok(t, session.Reset())
	vector := must(session.Embed(tokens, PoolMean, true))(t)
	sum := 0.0
	for _, x := range vector {
		sum += float64(x) * float64(x)
	}
	if math.Abs(sum-1) > 1e-3 || len(vector) != int(must(model.Info())(t).HiddenSize) {
		t.Fatal(sum, len(vector))
	}
	if last := must(session.Embed(tokens, PoolLast, false))(t); reflect.DeepEqual(last, vector) {
		t.Fatal("pooling does nothing")
	}
}
