package rasp

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAPlanIsWhatOpeningTakes(t *testing.T) {
	model, _ := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 16})
	for _, options := range []SessionOptions{{Context: 64}, {Context: 64, Drafts: 7, KV: F32, Batch: 32}, {}} {
		plan := must(model.Plan(options))(t)
		session := must(model.Open(options))(t)
		stats := must(session.Stats())(t)
		ok(t, session.Close())
		if plan.Size != stats.Memory || plan.Context != stats.Context || plan.Batch == 0 || plan.Alignment == 0 {
			t.Fatal(plan, stats)
		}
		if plan.Size != plan.KVCache+plan.Activations+plan.Sampling+plan.Bookkeeping {
			t.Fatal(plan)
		}
	}
	_, err := model.Plan(SessionOptions{Drafts: 16})
	fails(t, err, "16 drafts")
	model.Close()
	if _, err := model.Plan(SessionOptions{}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestForksAndShifts(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 64})
	tokens := must(model.Tokenize(prompt, 0))(t)
	expected := steps(t, session, tokens)
	ok(t, session.Rewind(len(tokens)))
	ok(t, session.SetLogitsCallback(func([]float32, []uint32) (int, error) { return 0, nil }))
	fork := must(session.Fork(nil))(t)
	defer fork.Close()
	small := must(session.Fork(&SessionOptions{Context: uint32(len(tokens) + 3)}))(t)
	defer small.Close()
	if _, err := session.Fork(&SessionOptions{Context: 4}); !errors.Is(err, ErrContextFull) {
		t.Fatal(err)
	}
	ok(t, session.Close())
	if _, err := session.Fork(nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if stats := must(fork.Stats())(t); stats.Context != 64 {
		t.Fatal(stats)
	}
	for n, token := range expected {
		if found, _, err := fork.Step(); err != nil || found != token {
			t.Fatal(n, found, token, err)
		}
		found, _, err := small.Step()
		if n < 3 && (err != nil || found != token) || n >= 3 && !errors.Is(err, ErrContextFull) {
			t.Fatal(n, found, token, err)
		}
	}
	held := must(small.Tokens())(t)
	ok(t, small.Shift(1, 4))
	kept := append(append([]uint32(nil), held[:1]...), held[5:]...)
	if found := must(small.Tokens())(t); !reflect.DeepEqual(found, kept) {
		t.Fatal(found, kept)
	}
	for n := 0; n < 4; n++ {
		_, _, err := small.Step()
		ok(t, err)
	}
	if err := small.Shift(1, 100); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
	fails(t, small.Shift(-1, 2), "-1 tokens to keep")
}

func TestSeveralInOneStep(t *testing.T) {
	model, one := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 64})
	tokens, other := must(model.Tokenize(prompt, 0))(t), must(model.Tokenize("One, two, three,", 0))(t)
	expected, others := steps(t, one, tokens), steps(t, one, other)
	open := func(context int, prompt []uint32) *Session {
		session := must(model.Open(SessionOptions{Context: uint32(context)}))(t)
		t.Cleanup(func() { session.Close() })
		if prompt != nil {
			ok(t, session.Prefill(prompt))
		}
		return session
	}
	ok(t, one.Reset())
	ok(t, one.Prefill(tokens))
	full, two, fresh := open(len(tokens), tokens), open(64, other), open(64, nil)
	for n := range expected {
		found := must(StepBatch([]*Session{one, full, two, fresh}))(t)
		if found[0] != (BatchStep{Token: expected[n]}) || found[2] != (BatchStep{Token: others[n]}) {
			t.Fatal(n, found, expected, others)
		}
		if !errors.Is(found[1].Err, ErrContextFull) || !errors.Is(found[3].Err, ErrInvalidState) {
			t.Fatal(found)
		}
		fails(t, found[1].Err, "session 1: ")
		// Words are those of the first that failed.
		if found[3].Err.Error() != "invalid state" {
			t.Fatal(found[3].Err)
		}
	}
	if stats := must(one.Stats())(t); int(stats.Tokens) != len(tokens)+len(expected) {
		t.Fatal(stats)
	}
	for _, step := range must(StepBatch([]*Session{one, one}))(t) {
		if !errors.Is(step.Err, ErrInvalidArgument) {
			t.Fatal(step)
		}
	}
	if none := must(StepBatch(nil))(t); len(none) != 0 {
		t.Fatal(none)
	}
	ok(t, fresh.Close())
	_, err := StepBatch([]*Session{one, fresh})
	if !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	fails(t, err, "session 1")
}

func TestDraftsChangeNoToken(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 64, Drafts: 7})
	tokens := must(model.Tokenize(prompt, 0))(t)
	expected := steps(t, session, tokens)
	text := append(append([]uint32(nil), tokens...), expected...)
	accepted := func(kinds DraftKinds, most uint32, text []uint32) uint64 {
		t.Helper()
		ok(t, session.SetDrafts(kinds, most, text))
		ok(t, session.ClearStats())
		if found := steps(t, session, tokens); !reflect.DeepEqual(found, expected) {
			t.Fatal(found, expected)
		}
		return must(session.Stats())(t).AcceptedTokens
	}
	with, without := accepted(DraftsLookup|DraftsForced|DraftsSelf, 7, text), accepted(DraftsLookup|DraftsForced, 7, nil)
	if with <= without {
		t.Fatal(with, without)
	}
	if accepted(DraftsLookup, 0, text) != 0 || accepted(0, 7, text) != 0 {
		t.Fatal("drafts that nobody wants")
	}
	if err := session.SetDrafts(DraftsLookup, 8, nil); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
	if err := session.SetDrafts(DraftsLookup, 7, []uint32{1 << 30}); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
}

func TestTextInSoMuchTime(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 13})
	tokens := must(model.Tokenize(prompt, 0))(t)
	whole := generate(t, session, tokens, 50)
	within := func(budget time.Duration) (text string, ended Ended, waits int) {
		t.Helper()
		for ended == EndedNot {
			piece, why, done, err := session.StepTextWithin(budget)
			ok(t, err)
			if !done {
				waits++
				if piece != "" || why != EndedNot {
					t.Fatal(piece, why)
				}
			}
			text, ended = text+piece, why
		}
		return text, ended, waits
	}
	ok(t, session.Rewind(len(tokens)))
	_, _, _, err := session.StepTextWithin(time.Second)
	ok(t, err)
	// The next token has to pass, which no budget at all does not get done.
	if text, ended, done, err := session.StepTextWithin(0); err != nil || done || text != "" || ended != EndedNot {
		t.Fatal(text, ended, done, err)
	}
	ok(t, session.Reset())
	ok(t, session.PrefillBegin(tokens))
	if text, ended, waits := within(100 * time.Microsecond); text != whole || ended != EndedContext || waits < 8 {
		t.Fatal(text, whole, ended, waits)
	}
	ok(t, session.Reset())
	ok(t, session.Prefill(tokens))
	ok(t, session.SetStop("Paris", "never"))
	if text, ended, _ := within(time.Second); ended != EndedStop || strings.Contains(text, "Paris") ||
		!strings.HasPrefix(whole, text) {
		t.Fatal(text, ended)
	}
	// What could still become a stop string is held back.
	ok(t, session.SetStop(whole+"!"))
	ok(t, session.Reset())
	ok(t, session.Prefill(tokens))
	if text, _, done, err := session.StepTextWithin(time.Second); err != nil || !done || text != "" {
		t.Fatal(text, done, err)
	}
	if text := must(session.FinishText())(t); text == "" || !strings.HasPrefix(whole, text) {
		t.Fatal(text)
	}
	_, _, _, err = session.StepTextWithin(-1)
	fails(t, err, "no budget")
}

func TestDeadlines(t *testing.T) {
	model, session := opened(t, "RASP_TEST_MODEL", SessionOptions{Context: 64})
	tokens := must(model.Tokenize(prompt, 0))(t)
	for perToken, late := range map[time.Duration]bool{time.Nanosecond: true, time.Hour: false} {
		ok(t, session.SetDeadline(perToken, 0, 0.5))
		ok(t, session.ClearStats())
		steps(t, session, tokens)
		if stats := must(session.Stats())(t); stats.LateTokens > 0 != late || late && stats.Sparsity != 0.5 ||
			stats.Units == 0 {
			t.Fatal(perToken, stats)
		}
	}
	ok(t, session.SetDeadline(0, 0, 0))
	fails(t, session.SetDeadline(-1, 0, 0), "no deadline")
	fails(t, session.SetDeadline(time.Second, 0.5, 0.2), "sparsity")
}

func TestClosed(t *testing.T) {
	_, session := opened(t, "RASP_TEST_TOOLS", SessionOptions{Context: 16})
	ok(t, session.Close())
	_, _, step := session.Step()
	_, stats := session.Stats()
	_, logits := session.Logits()
	_, _, probs := session.LogProbs(0, 1)
	_, _, _, text := session.StepTextWithin(time.Second)
	for n, err := range []error{session.Prefill([]uint32{1}), step, stats, logits, probs, text, session.Reset(),
		session.SetStop("x"), session.Shift(0, 1), session.SetDrafts(0, 0, nil), session.SetDeadline(0, 0, 0),
		session.Generate(background, 1, nil), session.SetLogitsCallback(nil)} {
		if !errors.Is(err, ErrClosed) {
			t.Fatal(n, err)
		}
	}
}
