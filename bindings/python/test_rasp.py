"""The package on the real model: python3 -m unittest, with RASP_TEST_MODEL=MODEL.rasp."""

import gc
import json
import os
import threading
import unittest
import weakref
from typing import Any, Optional

import rasp

PATH = os.environ["RASP_TEST_MODEL"]
PROMPT = "The capital of France is"


class Models(unittest.TestCase):
    def test_text(self) -> None:
        with rasp.Model(PATH) as model:
            self.assertEqual((model.info.num_layers, model.info.architecture), (30, "llama"))
            self.assertEqual(model.info.file_size, os.path.getsize(PATH))
            tokens = model.tokenize(PROMPT)
            self.assertEqual(model.detokenize(tokens).decode(), PROMPT)
            self.assertEqual(b"".join(map(model.token_bytes, tokens)).decode(), PROMPT)
            self.assertEqual(model.tokenize(""), [])
            chat = model.chat_format([{"role": "user", "content": "Grüße, " * 1000}])
            self.assertGreater(len(chat), 7000)
            special = model.tokenize(chat, parse_special=True)
            self.assertTrue(model.is_special(special[0]) and not model.is_special(tokens[0]))

    def test_errors(self) -> None:
        with self.assertRaises(rasp.Error) as caught:
            rasp.Model("/no/such/file")
        self.assertEqual(caught.exception.name, "input/output error")
        self.assertIn("/no/such/file", str(caught.exception))
        model = rasp.Model(PATH)
        model.close()
        model.close()
        with self.assertRaises(ValueError):
            model.tokenize("x")


    @unittest.skipUnless(os.path.exists("/proc/self/status"), "what is in memory of one's own can be seen on Linux")
    def test_large_pages(self) -> None:
        def anonymous() -> int:
            with open("/proc/self/status", encoding="ascii") as status:
                return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

        before = anonymous()
        with rasp.Model(PATH, large_pages=True) as model:
            self.assertGreater(anonymous() - before, 0.9 * model.info.file_size)

    def test_options_arrive(self) -> None:
        with rasp.Model(PATH) as model:
            model.open(context=16, windows_alone=True).close()
            with self.assertRaisesRegex(rasp.Error, "windows_alone"):
                model.open(context=16, windows_alone=2)  # type: ignore[arg-type]
            with self.assertRaisesRegex(rasp.Error, "16 drafts"):
                model.open(drafts=16)
            with self.assertRaisesRegex(TypeError, "contxt"):
                model.open(contxt=16)  # type: ignore[call-arg]
            with self.assertRaisesRegex(ValueError, "kv is 'f8', not one of f16"):
                model.open(kv="f8")

    def test_plans(self) -> None:
        with rasp.Model(PATH) as model:
            plan = model.plan(context=256, batch=32, kv="i8", drafts=2, adapter_rank=3)
            self.assertEqual((plan.context, plan.batch), (256, 32))
            self.assertEqual(plan.size, plan.kv_cache + plan.activations + plan.sampling + plan.bookkeeping)
            with model.open(context=256, batch=32, kv="i8", drafts=2, adapter_rank=3) as session:
                self.assertEqual(session.stats.memory, plan.size)
            self.assertLess(plan.kv_cache, model.plan(context=256).kv_cache)
            self.assertEqual(model.plan().context, min(model.info.context_length, 4096))
            with self.assertRaisesRegex(rasp.Error, "16 drafts"):
                model.plan(drafts=16)
            with self.assertRaisesRegex(TypeError, "contxt"):
                model.plan(contxt=16)  # type: ignore[call-arg]

    def test_drafts_change_no_token(self) -> None:
        with rasp.Model(PATH) as model:
            prompt, answers = model.tokenize("1, 2, 3, 4, 5, " * 3 + "1, 2,"), []
            for drafts in (0, 7):
                with model.open(context=128, drafts=drafts) as session:
                    session.prefill(prompt)
                    answers.append([session.step().id for _ in range(24)])
                    self.assertEqual(session.stats.accepted_tokens > 0, drafts > 0)
                    self.assertGreaterEqual(session.stats.drafted_tokens, session.stats.accepted_tokens)
            self.assertEqual(*answers)


class Sessions(unittest.TestCase):
    def setUp(self) -> None:
        with rasp.Model(PATH) as model:
            self.tokens = model.tokenize(PROMPT)
            self.session = model.open(context=128, threads=2, kv="f32")
        gc.collect()  # The session keeps what it needs of the model.
        self.addCleanup(self.session.close)

    def test_streaming(self) -> None:
        self.session.prefill(self.tokens)
        pieces = list(self.session.generate(16))
        self.assertIn("Paris", "".join(pieces))
        self.assertGreater(len(pieces), 8)

    def test_steps_and_logits(self) -> None:
        with self.assertRaises(rasp.Error):
            self.session.step()
        self.session.prefill(self.tokens)
        logits = self.session.logits()
        first = self.session.step()
        self.assertEqual(first.id, max(range(len(logits)), key=logits.__getitem__))
        own, top = self.session.log_probs(first.id, 3)
        self.assertEqual(top[0], (first.id, own))
        self.assertEqual(len(top), 3)
        self.assertTrue(0 >= own >= top[1][1] >= top[2][1])
        with self.assertRaisesRegex(rasp.Error, "token 0 has id"):
            self.session.log_probs(1 << 30)
        self.session.set_logit_bias({first.id: float("-inf")})
        self.session.reset()
        self.session.prefill(self.tokens)
        self.assertNotEqual(self.session.step().id, first.id)

    def test_samplers(self) -> None:
        with self.assertRaisesRegex(ValueError, "'top_q' is no stage"):
            self.session.set_sampling(order=["top_q"])
        with self.assertRaisesRegex(rasp.Error, "xtc comes twice"):
            self.session.set_sampling(order=["xtc", "xtc"])
        with self.assertRaisesRegex(rasp.Error, "typical_p"):
            self.session.set_sampling(typical_p=2)
        texts = set()
        for settings in ({}, {"frequency_penalty": 2}, {"dry_multiplier": 5}, {"temperature": 1, "mirostat_tau": 3},
                         {"temperature": 2, "order": ["top_k"], "top_k": 50, "xtc_probability": 1}):
            self.session.set_sampling(**settings)
            self.session.reset()
            self.session.prefill(self.tokens)
            texts.add("".join(self.session.generate(24)))
        self.assertGreaterEqual(len(texts), 4)

    def test_answers_and_states(self) -> None:
        self.session.prefill(self.tokens)
        state = self.session.save()
        self.session.set_stop(["Paris"])
        text = "".join(self.session.generate(50))
        self.assertNotIn("Paris", text)
        self.assertLess(self.session.stats.tokens, 50)
        self.session.set_stop([])
        self.session.restore(state)
        again = "".join(self.session.generate(8))
        self.assertTrue(again.startswith(text) and "Paris" in again)
        self.session.rewind(len(self.tokens))
        self.assertEqual("".join(self.session.generate(8)), again)
        with self.assertRaises(rasp.Error):
            self.session.restore(state[:-1])
        self.session.reset()
        vector = self.session.embed(self.tokens)
        self.assertAlmostEqual(sum(x * x for x in vector), 1.0, places=4)

    def test_forks_and_shifts(self) -> None:
        self.session.prefill(self.tokens)
        with self.session.fork() as fork:
            expected = "".join(self.session.generate(16))
            self.session.close()
            self.assertEqual("".join(fork.generate(16)), expected)
            held = fork.tokens
            fork.shift(1, 3)
            self.assertEqual(fork.tokens, held[:1] + held[4:])
            with self.assertRaisesRegex(rasp.Error, "out of range"):
                fork.shift(1, 1000)
        with self.assertRaisesRegex(ValueError, "this session is closed"):
            fork.fork()

    def test_a_fork_with_options(self) -> None:
        self.session.prefill(self.tokens)
        with self.session.fork(context=32, kv="f32") as fork:
            self.assertEqual((fork.stats.context, self.session.stats.context), (32, 128))
            steps = [fork.step() for _ in range(8)]
            self.assertEqual([self.session.step() for _ in range(8)], steps)
        with self.assertRaisesRegex(rasp.Error, "context full"):
            self.session.fork(context=4, kv="f32")
        with self.assertRaisesRegex(rasp.Error, "cache is f16"):
            self.session.fork(context=32)

    def test_several_in_one_step(self) -> None:
        with rasp.Model(PATH) as model, model.open(context=32) as one, model.open(context=32) as two, \
                model.open(context=2) as full, model.open(context=2) as fuller, model.open(context=32) as alone:
            other = model.tokenize("One, two, three,")
            one.prefill(self.tokens)
            two.prefill(other)
            for session in (full, fuller):
                session.prefill(self.tokens[:2])
            expected = []
            for prompt in (self.tokens, other):
                alone.reset()
                alone.prefill(prompt)
                expected.append([alone.step() for _ in range(4)])
            for n in range(4):
                steps = rasp.step_batch([one, full, two, fuller])
                self.assertEqual([steps[0], steps[2]], [expected[0][n], expected[1][n]])
                for at in (1, 3):
                    failed = steps[at]
                    assert isinstance(failed, rasp.Error)
                    self.assertEqual(failed.name, "context full")
                    self.assertIn(f"session {at}", str(failed))
            self.assertEqual((one.tokens[-4:], full.tokens), ([token.id for token in expected[0]], self.tokens[:2]))
            twice = rasp.step_batch([one, one])
            self.assertEqual([getattr(step, "name", None) for step in twice], ["invalid argument"] * 2)
            self.assertIn("session 1 is session 0 once more", str(twice[0]))
            self.assertEqual(rasp.step_batch([]), [])
        with self.assertRaisesRegex(ValueError, "this session is closed"):
            rasp.step_batch([self.session, one])

    def test_text_within_a_time(self) -> None:
        self.session.prefill(self.tokens)
        expected = "".join(self.session.generate(12))
        self.session.rewind(0)
        self.session.prefill_begin(self.tokens)
        text, pending = "", 0
        for _ in range(12):
            while (piece := self.session.step_text_within(0)) is None:
                pending += 1
            self.assertIsNone(piece.ended)
            text += piece.text
        self.assertGreater(pending, 24)
        self.assertEqual(text + self.session.finish_text(), expected)
        self.assertEqual(self.session.finish_text(), "")
        self.session.set_stop(["Paris"])
        self.session.rewind(len(self.tokens))
        self.session.prefill(self.tokens)
        ended = None
        while ended is None:
            piece = self.session.step_text_within(float("inf"))
            assert piece is not None
            self.assertNotIn("Paris", piece.text)
            ended = piece.ended
        self.assertEqual(ended, "stop")
        with self.assertRaisesRegex(ValueError, "budget"):
            self.session.step_text_within(-1)

    def test_deadlines(self) -> None:
        self.session.prefill(self.tokens)
        self.session.set_deadline(1e-12, max_sparsity=0.4)
        for _ in range(4):
            self.session.step()
        # Nothing is as fast, and no token is sparser than it may be.
        self.assertGreaterEqual(self.session.stats.late_tokens, 3)
        self.assertAlmostEqual(self.session.stats.sparsity, 0.4, places=6)
        self.session.set_deadline(0)
        late = self.session.stats.late_tokens
        self.session.set_sparsity(0)
        self.session.step()
        self.assertEqual((self.session.stats.late_tokens, self.session.stats.sparsity), (late, 0))
        self.session.set_deadline(100, min_sparsity=0.1)
        self.session.step()
        self.session.step()
        self.assertAlmostEqual(self.session.stats.sparsity, 0.1, places=6)
        with self.assertRaisesRegex(rasp.Error, "out of range"):
            self.session.set_deadline(1, min_sparsity=0.5, max_sparsity=0.2)
        with self.assertRaisesRegex(ValueError, "-1 seconds"):
            self.session.set_deadline(-1)
        self.session.close()
        with self.assertRaisesRegex(ValueError, "this session is closed"):
            self.session.set_deadline(1)

    def test_drafts_from_a_text(self) -> None:
        with rasp.Model(PATH) as model, model.open(context=128, drafts=7) as session:
            session.prefill(self.tokens)
            answer = [session.step().id for _ in range(16)]
            counts = []
            for text in ([], answer):
                session.reset()
                session.clear_stats()
                session.set_drafts(7, text, own=bool(text))
                session.prefill(self.tokens)
                self.assertEqual([session.step().id for _ in range(16)], answer)
                counts.append(session.stats.accepted_tokens)
            self.assertGreater(counts[1], counts[0])
            session.set_drafts(7, lookup=False, forced=False)
            with self.assertRaisesRegex(rasp.Error, "8"):
                session.set_drafts(8)

    def test_settings(self) -> None:
        self.session.set_sparsity(0.5)
        self.session.set_sampling(temperature=1.0, seed=3)
        texts = []
        for _ in range(2):
            self.session.reset()
            self.session.prefill(self.tokens)
            texts.append("".join(self.session.generate(8)))
        self.assertEqual(*texts)
        self.assertLess(self.session.stats.kept, 0.9)
        with self.assertRaises(rasp.Error):
            self.session.set_sparsity(2.0)

    def test_logits_callbacks(self) -> None:
        self.session.prefill(self.tokens)
        usual = self.session.step().id
        self.session.rewind(len(self.tokens))
        seen: list[tuple[int, list[int]]] = []

        def forbid(logits: Any, tokens: list[int]) -> Optional[int]:
            seen.append((len(logits), tokens))
            logits[usual] = float("-inf")
            return None

        self.session.set_logits_callback(forbid)
        del forbid
        gc.collect()
        said = [self.session.step().id for _ in range(2)]
        self.assertNotIn(usual, said)
        size = len(self.session.logits())
        self.assertEqual(seen, [(size, self.tokens), (size, self.tokens + said[:1])])
        self.session.set_logits_callback(lambda logits, tokens: 42)
        self.assertEqual(self.session.step().id, 42)
        with self.session.fork() as fork:
            fork.rewind(len(self.tokens))
            self.assertEqual(fork.step().id, usual)
            fork.rewind(len(self.tokens))
            self.assertEqual([getattr(step, "id") for step in rasp.step_batch([fork, self.session])], [usual, 42])
        self.session.set_logits_callback(None)
        self.session.rewind(len(self.tokens))
        self.assertEqual(self.session.step().id, usual)

    def test_what_callbacks_raise(self) -> None:
        self.session.prefill(self.tokens)

        def failing(exception: BaseException) -> rasp.LogitsCallback:
            def raises(logits: Any, tokens: list[int]) -> Optional[int]:
                raise exception
            return raises

        error = ZeroDivisionError("mine")
        self.session.set_logits_callback(failing(error))
        calls: list[Any] = [self.session.step, lambda: list(self.session.generate(2)),
                            lambda: self.session.step_within(1), lambda: self.session.step_text_within(1)]
        for call in calls:
            with self.assertRaises(ZeroDivisionError) as caught:
                call()
            self.assertIs(caught.exception, error)
        with self.session.fork() as fork:
            steps = rasp.step_batch([self.session, fork])
            self.assertIs(steps[0], error)
            self.assertIsInstance(steps[1], rasp.Token)
        self.session.set_logits_callback(failing(KeyboardInterrupt()))
        with self.assertRaises(KeyboardInterrupt):
            rasp.step_batch([self.session])
        wrong: list[Any] = [(-1, ValueError), (2**31, ValueError), ("42", TypeError), (2**31 - 1, rasp.Error)]
        for choice, refused in wrong:
            self.session.set_logits_callback(lambda logits, tokens: choice)
            with self.assertRaises(refused):
                self.session.step()
        self.session.set_logits_callback(lambda logits, tokens: logits.append(0))
        with self.assertRaisesRegex(ValueError, "49153 logits of 49152"):
            self.session.step()
        # A session is in use then, and not even closed.
        uses: list[Any] = [self.session.step, self.session.close, lambda: self.session.set_logits_callback(None)]
        for use in uses:
            self.session.set_logits_callback(lambda logits, tokens: use())
            with self.assertRaises(rasp.Error) as refusal:
                self.session.step()
            self.assertEqual(refusal.exception.name, "invalid state")
        self.assertEqual(self.session.tokens, self.tokens)
        self.session.set_logits_callback(None)
        self.assertIn("Paris", "".join(self.session.generate(8)))

    def test_a_callback_that_knows_its_session(self) -> None:
        with rasp.Model(PATH) as model:
            session = model.open(context=16)
            session.prefill(self.tokens)
            session.set_logits_callback(lambda logits, tokens: None if session.closed else 7)
            self.assertEqual(session.step().id, 7)
            gone = weakref.ref(session)
            del session
            gc.collect()
            self.assertIsNone(gone())

    def test_cancel_from_another_thread(self) -> None:
        self.session.prefill(self.tokens)
        threading.Timer(0.05, self.session.cancel).start()
        with self.assertRaises(rasp.Error) as caught:
            while True:
                for _ in self.session.generate(50):
                    pass
                self.session.reset()
                self.session.prefill(self.tokens)
        self.assertEqual(caught.exception.name, "cancelled")


if __name__ == "__main__":
    unittest.main()
