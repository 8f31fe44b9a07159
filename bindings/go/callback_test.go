package rasp

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"
)

func TestLogitsCallback(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 64, Threads: 2})
	info := must(model.Info())(t)
	tokens := must(model.Tokenize(prompt, 0))(t)
	expected := steps(t, session, tokens)
	ok(t, session.Rewind(len(tokens)))

	var size, best int
	var seen []uint32
	ok(t, session.SetLogitsCallback(func(logits []float32, all []uint32) (int, error) {
		size, seen = len(logits), append([]uint32(nil), all...)
		for n, logit := range logits {
			if logit > logits[best] {
				best = n
			}
		}
		logits[best] = float32(math.Inf(-1))
		return Sample, nil
	}))
	if token, _, err := session.Step(); err != nil || token == expected[0] || best != int(expected[0]) ||
		size != int(info.VocabSize) || !reflect.DeepEqual(seen, tokens) {
		t.Fatal(token, best, size, seen, err)
	}
	ok(t, session.SetLogitsCallback(func([]float32, []uint32) (int, error) { return 42, nil }))
	if token, _, err := session.Step(); err != nil || token != 42 {
		t.Fatal(token, err)
	}
	before := must(session.Tokens())(t)

	// Its error comes out of every way to step, and nothing is appended.
	mine := errors.New("mine")
	ok(t, session.SetLogitsCallback(func([]float32, []uint32) (int, error) { return 1, fmt.Errorf("oh: %w", mine) }))
	other := must(model.Open(SessionOptions{Context: 16}))(t)
	defer other.Close()
	ok(t, other.Prefill(tokens))
	ways := map[string]func() error{
		"step":        func() error { _, _, err := session.Step(); return err },
		"within":      func() error { _, _, _, err := session.StepWithin(time.Minute); return err },
		"text within": func() error { _, _, _, err := session.StepTextWithin(time.Minute); return err },
		"generate":    func() error { return session.Generate(background, 2, func(string) bool { return true }) },
		"batch": func() error {
			found := must(StepBatch([]*Session{session, other}))(t)
			ok(t, found[1].Err)
			return found[0].Err
		},
	}
	for way, step := range ways {
		if err := step(); !errors.Is(err, mine) {
			t.Fatal(way, err)
		}
	}
	// So does its panic, and the session goes on.
	ok(t, session.SetLogitsCallback(func([]float32, []uint32) (int, error) { panic(mine) }))
	for way, step := range ways {
		func() {
			defer func() {
				if value := recover(); value != mine {
					t.Fatal(way, value)
				}
			}()
			t.Error(way, step())
		}()
	}
	for _, wrong := range []int{-2, math.MinInt32, 1 << 30} {
		wrong := wrong
		ok(t, session.SetLogitsCallback(func([]float32, []uint32) (int, error) { return wrong, nil }))
		_, _, err := session.Step()
		fails(t, err, fmt.Sprintf("chose %d, which is no token", wrong))
	}
	ok(t, session.SetLogitsCallback(func(logits []float32, _ []uint32) (int, error) {
		logits[0] = float32(math.NaN())
		return Sample, nil
	}))
	_, _, err := session.Step()
	fails(t, err, "number")

	// It must not use its session, but may use others.
	ok(t, other.Reset())
	ok(t, other.Prefill(tokens))
	ok(t, session.SetLogitsCallback(func([]float32, []uint32) (int, error) {
		for _, err := range []error{session.Close(), session.SetLogitsCallback(nil), session.Reset()} {
			if !errors.Is(err, ErrInvalidState) {
				return 0, err
			}
		}
		token, _, err := other.Step()
		return int(token), err
	}))
	if token, _, err := session.Step(); err != nil || token != expected[0] {
		t.Fatal(token, expected[0], err)
	}
	ok(t, session.Rewind(len(before)))
	if held := must(session.Tokens())(t); !reflect.DeepEqual(held, before) {
		t.Fatal(held, before)
	}
	ok(t, session.SetLogitsCallback(nil))
	if found := steps(t, session, tokens); !reflect.DeepEqual(found, expected) {
		t.Fatal(found, expected)
	}
}

// A callback may need a deeper stack than there is: Go moves it, and C sees nothing of that.
func TestACallbackGrowsItsStack(t *testing.T) {
	_, session := opened(t, "RASP_TEST_TOOLS", SessionOptions{Context: 64})
	var deep func(n int) int
	deep = func(n int) int {
		var room [256]int
		if n == 0 {
			return room[n]
		}
		room[n%256] = deep(n - 1)
		return room[n%256] + 1
	}
	ok(t, session.SetLogitsCallback(func([]float32, []uint32) (int, error) { return deep(2000) / 1000, nil }))
	done := make(chan error)
	go func() {
		err := session.Prefill([]uint32{1})
		for n := 0; n < 8 && err == nil; n++ {
			var token uint32
			if token, _, err = session.Step(); err == nil && token != 2 {
				err = fmt.Errorf("token %d", token)
			}
		}
		done <- err
	}()
	ok(t, <-done)
}
