"""Sessions."""

from __future__ import annotations

import ctypes as c
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _native
from ._adapter import Adapter
from ._calls import Handle, call, check, grown, ids
from ._constraint import Constraint
from ._logits import Hook, LogitsCallback
from ._native import lib
from ._options import SessionOptions, session_options
from ._reply import Messages, Part, Reply, conversation
from ._turn import Turn

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._model import Model


@dataclass(frozen=True)
class Stats:
    """What a session has done and what it takes; `kept` is the share of linear weights that decoded tokens read,
    `shared_bytes` what it reads in memory that it shares with forks."""

    tokens: int
    context: int
    sparsity: float
    memory: int
    decoded_tokens: int
    linear_bytes_read: int
    kept: float
    head_bytes_read: int
    units: int
    late_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    shared_bytes: int


@dataclass(frozen=True)
class Token:
    """A token, and whether it ends generation."""

    id: int
    end: bool


@dataclass(frozen=True)
class Piece:
    """The text that a token of an answer has brought, often none, and why the answer ended: by the model's "token", at
    a "stop" string or a full "context". None: it goes on."""

    text: str
    ended: Optional[str]


def _nanoseconds(seconds: float) -> int:
    if not seconds >= 0:
        raise ValueError(f"{seconds} seconds are no budget")
    # No less than asked, for 0 may mean something else than little; and no more than three hundred years.
    return math.ceil(min(seconds, 1e10) * 1e9)


class Session(Handle):
    """One text in the making."""

    def __init__(self, model: Model, **options: Unpack[SessionOptions]) -> None:
        handle = c.c_void_p()
        call(lib.rasp_session_open, model._handle, c.byref(session_options(**options)), c.byref(handle))
        self._opened(handle, model, [])

    def _opened(self, handle: c.c_void_p, model: Handle, adapters: list[Any]) -> None:
        super().__init__(handle, lib.rasp_session_close)
        # A reference of its own, by which answers are told apart: the caller may close the model.
        lib.rasp_model_retain(model._handle)
        self._model = Handle(c.c_void_p(model._handle), lib.rasp_free, model._kept)
        self._adapters = adapters
        self._hook: Optional[Hook] = None

    def close(self) -> None:
        super().close()
        self._model.close()
        self._adapters, self._hook = [], None

    def __enter__(self) -> Session:
        return self

    def prefill(self, tokens: Sequence[int]) -> None:
        """Appends prompt tokens."""
        call(lib.rasp_prefill, self._handle, ids(tokens), len(tokens))

    def prefill_begin(self, tokens: Sequence[int]) -> None:
        """Appends prompt tokens, which pass with the calls after this: `prefill_within`, `step_within` or `step`."""
        call(lib.rasp_prefill_begin, self._handle, ids(tokens), len(tokens))

    def prefill_within(self, seconds: float) -> bool:
        """Goes on with such a prompt for about so long: whether all of it has passed."""
        return call(lib.rasp_prefill_within, self._handle, _nanoseconds(seconds)) != _native.PENDING

    def prefill_chat(self, messages: Messages, *, add_generation_prompt: bool = True,
                     variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> int:
        """Makes the session hold a conversation, all of it: what it holds of its beginning stays, and only the rest
        passes. How many tokens stayed. Messages and the rest are as for `Model.chat_tokenize`; give answers back as
        they came."""
        return self._chat(lib.rasp_chat_prefill, messages, add_generation_prompt, variables, time)

    def prefill_chat_begin(self, messages: Messages, *, add_generation_prompt: bool = True,
                           variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> int:
        """The same without computing anything yet, as `prefill_begin`."""
        return self._chat(lib.rasp_chat_prefill_begin, messages, add_generation_prompt, variables, time)

    def _chat(self, function: Any, messages: Messages, add_generation_prompt: bool,
              variables: Optional[Mapping[str, Any]], time: int) -> int:
        raw, options = conversation(messages, add_generation_prompt, variables, time)
        kept = c.c_size_t()
        call(function, self._handle, raw, len(messages), c.byref(options), c.byref(kept))
        return kept.value

    def chat(self, messages: Messages, *, tools: Optional[Sequence[Mapping[str, Any]]] = None,
             tool_choice: Union[str, Mapping[str, Any], None] = None, limit: Optional[int] = None,
             variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> Turn:
        """The assistant's turn after these messages, part by part as it comes:

            turn = session.chat(messages)
            for part in turn:
                print(part, end="")
            messages.append(turn.message)

        Give all messages each turn: each token passes once. `tools` is a list as OpenAI has it. With a `tool_choice`
        ("auto", "required", or {"type": "function", "function": {"name": ...}}) calls keep to the schemas of the tools,
        in this turn, in the place of a constraint of the session's."""
        if tools is None and tool_choice is not None:
            raise TypeError("a tool_choice wants tools")
        given = dict(variables or {})
        if tools is not None:
            if "tools" in given:
                raise TypeError("tools are given twice: among the variables, too")
            given["tools"] = list(tools)
        constraint = None
        if tool_choice is not None:
            constraint = Constraint(self._model, "tools", {**given, "tool_choice": tool_choice})
        reply = Reply(self._model, messages, variables=given, time=time)
        kept = self.prefill_chat(messages, variables=given, time=time)
        return Turn(self, reply, constraint, limit, kept)

    @property
    def tokens(self) -> list[int]:
        """The tokens that it holds, one that was sampled last included."""
        tokens: list[int] = grown(c.c_uint32, 1024, lib.rasp_session_tokens, self._handle)
        return tokens

    def step_within(self, seconds: float) -> Optional[Token]:
        """As much of `step` as so much time allows: None if the token is not there yet, and the next call goes on."""
        token = c.c_uint32()
        status = self._asking(lib.rasp_step_within, _nanoseconds(seconds), c.byref(token))
        return None if status == _native.PENDING else Token(token.value, status == _native.END)

    def step(self) -> Token:
        """Samples the next token and appends it."""
        token = c.c_uint32()
        status = self._asking(lib.rasp_step, c.byref(token))
        return Token(token.value, status == _native.END)

    def _asking(self, function: Any, *arguments: Any) -> int:
        """A call in which the logits callback may be asked: what that raises comes out of it."""
        error = _native.Error()
        status = function(self._handle, *arguments, c.byref(error))
        raised = self._raised()
        if raised is not None:
            raise raised
        return check(status, error)

    def _raised(self) -> Optional[BaseException]:
        return self._hook.raised.pop() if self._hook is not None and self._hook.raised else None

    def decode(self, token: int) -> None:
        """Appends a token of the caller's choice."""
        call(lib.rasp_decode, self._handle, token)

    def answer(self, reply: Reply, limit: Optional[int] = None) -> Iterator[Part]:
        """As `generate`, with the answer told apart: text as it comes, what the model thinks, calls of tools."""
        for text in self.generate(limit, marks=True):
            reply.push(text)
            yield from reply.parts()
        reply.finish()
        yield from reply.parts()

    def generate(self, limit: Optional[int] = None, *, marks: bool = False) -> Iterator[str]:
        """The text of the next tokens as it comes, in whole characters; to the end of the answer (a stop string or a
        full context is one too), or for at most `limit` tokens. With `marks` special tokens that mark calls and
        reasoning are text, for a `Reply`."""
        flags = _native.TEXT_SHOW_MARKS if marks else 0
        text = c.create_string_buffer(_native.STEP_TEXT_SIZE)
        length = c.c_size_t()
        count = 0
        while limit is None or count < limit:
            status = self._asking(lib.rasp_step_text, flags, text, len(text), c.byref(length), None)
            if length.value:
                yield text.raw[: length.value].decode()
            if status == _native.END:
                return
            count += 1
        rest = self.finish_text()
        if rest:
            yield rest

    def step_text_within(self, seconds: float, *, marks: bool = False) -> Optional[Piece]:
        """As much of the next token of `generate` as so much time allows: None if it is not there yet, and the next
        call goes on. What is left of a prompt passes first. For a loop that draws frames."""
        flags = _native.TEXT_SHOW_MARKS if marks else 0
        text, length, ended = c.create_string_buffer(_native.STEP_TEXT_SIZE), c.c_size_t(), c.c_uint32()
        status = self._asking(lib.rasp_step_text_within, _nanoseconds(seconds), flags, text, len(text),
                              c.byref(length), c.byref(ended))
        if status == _native.PENDING:
            return None
        return Piece(text.raw[: length.value].decode(), _native.ENDED[ended.value])

    def finish_text(self) -> str:
        """What is held back of an answer that you end here, since it could still have become a stop string."""
        text, length = c.create_string_buffer(_native.STEP_TEXT_SIZE), c.c_size_t()
        call(lib.rasp_finish_text, self._handle, text, len(text), c.byref(length))
        return text.raw[: length.value].decode()

    def set_stop(self, strings: Sequence[str]) -> None:
        """What ends an answer of `generate`, besides the model; it is not part of the text."""
        raw = (c.c_char_p * len(strings))(*(s.encode() for s in strings))
        call(lib.rasp_session_set_stop, self._handle, raw, len(strings))

    def rewind(self, tokens: int) -> None:
        """Keeps the first `tokens` tokens and forgets those after them."""
        call(lib.rasp_session_rewind, self._handle, tokens)

    def shift(self, keep: int, discard: int) -> None:
        """Forgets `discard` tokens after the first `keep`, which makes room in a full context."""
        call(lib.rasp_session_shift, self._handle, keep, discard)

    def fork(self, **options: Unpack[SessionOptions]) -> Session:
        """A second session that goes on as this one would, but without its logits callback. It has this one's options,
        or else those of `Model.open` that are given, all of them."""
        handle = c.c_void_p()
        raw = c.byref(session_options(**options)) if options else None
        call(lib.rasp_session_fork, self._handle, raw, c.byref(handle))
        fork = Session.__new__(Session)
        fork._opened(handle, self._model, list(self._adapters))
        return fork

    def set_drafts(self, most: int, text: Sequence[int] = (), *, lookup: bool = True, forced: bool = True,
                   own: bool = False) -> None:
        """What the next tokens are guessed by, at most so many at a time: an earlier match of the last ones in the
        context and in `text`, the tokens of what answers may quote (`lookup`), a constraint that leaves no choice
        (`forced`), and the model at a sparser level (`own`), for dense sessions in 16 bits."""
        kinds = (_native.DRAFTS_LOOKUP if lookup else 0) | (_native.DRAFTS_FORCED if forced else 0)
        kinds |= _native.DRAFTS_SELF if own else 0
        call(lib.rasp_session_set_drafts, self._handle, kinds, most, ids(text), len(text))

    def save(self) -> bytes:
        """What the session holds, for `restore` into one of the same model."""
        state: bytes = grown(c.c_char, 0, lib.rasp_session_save, self._handle)
        return state

    def restore(self, state: bytes) -> None:
        call(lib.rasp_session_restore, self._handle, state, len(state))

    def embed(self, tokens: Sequence[int], *, last: bool = False, normalise: bool = True) -> list[float]:
        """One vector of the tokens: the mean of theirs, or the last one's. The session must hold no tokens."""
        vector: list[float] = grown(c.c_float, 0, lib.rasp_embed, self._handle, ids(tokens), len(tokens), int(last),
                                     int(normalise))
        return vector

    def set_adapters(self, adapters: Sequence[Adapter], scales: Optional[Sequence[float]] = None) -> None:
        """Has tokens pass with these LoRA adapters from now on, each times its scale (1 unless said), in the place of
        those before; none: the model alone. What has passed stays as it is."""
        if scales is not None and len(scales) != len(adapters):
            raise ValueError(f"{len(adapters)} adapters have {len(scales)} scales")
        handles = (c.c_void_p * len(adapters))(*(adapter._handle for adapter in adapters))
        numbers = None if scales is None else (c.c_float * len(scales))(*scales)
        call(lib.rasp_session_set_adapters, self._handle, handles, numbers, len(adapters))
        self._adapters = [adapter._kept for adapter in adapters]

    def set_sparsity(self, sparsity: float) -> None:
        """How sparse decoded tokens are from now on: 0 is dense, up to the model's `max_sparsity`."""
        call(lib.rasp_session_set_sparsity, self._handle, sparsity)

    def set_deadline(self, seconds: float, *, min_sparsity: float = 0.0, max_sparsity: Optional[float] = None) -> None:
        """Has every token take no more than so long, by a sparsity between these two (the model's `max_sparsity` where
        none is given), as dense as that allows; 0 ends it. `stats.late_tokens` counts those that took longer."""
        handle = self._handle
        if max_sparsity is None:
            info = _native.initialised(_native.ModelInfo, "model_info")
            call(lib.rasp_model_get_info, self._model._handle, c.byref(info))
            max_sparsity = info.max_sparsity
        call(lib.rasp_session_set_deadline, handle, _nanoseconds(seconds), min_sparsity, max_sparsity)

    def set_sampling(self, *, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
                     repetition_penalty: float = 1.0, repetition_window: int = 64, seed: int = 0,
                     presence_penalty: float = 0.0, frequency_penalty: float = 0.0, top_n_sigma: float = 0.0,
                     typical_p: float = 1.0, xtc_probability: float = 0.0, xtc_threshold: float = 0.1,
                     dry_multiplier: float = 0.0, dry_base: float = 1.75, dry_allowed_length: int = 2,
                     dry_window: int = 2**32 - 1, mirostat_tau: float = 0.0, mirostat_eta: float = 0.1,
                     order: Sequence[str] = ()) -> None:
        """How tokens are chosen from now on; temperature 0 is greedy.

        Penalties come first, then the stages, those of `order` before the others: `top_n_sigma`, `top_k`,
        `temperature`, `typical_p`, `top_p`, `min_p`, `xtc`. (llama.cpp has the temperature last.)
        """
        raw = _native.initialised(_native.Sampling, "sampling")
        raw.temperature, raw.top_k, raw.top_p, raw.min_p = temperature, top_k, top_p, min_p
        raw.repetition_penalty, raw.repetition_window, raw.seed = repetition_penalty, repetition_window, seed
        raw.presence_penalty, raw.frequency_penalty = presence_penalty, frequency_penalty
        raw.top_n_sigma, raw.typical_p = top_n_sigma, typical_p
        raw.xtc_probability, raw.xtc_threshold = xtc_probability, xtc_threshold
        raw.dry_multiplier, raw.dry_base = dry_multiplier, dry_base
        raw.dry_allowed_length, raw.dry_window = dry_allowed_length, dry_window
        raw.mirostat_tau, raw.mirostat_eta = mirostat_tau, mirostat_eta
        if len(order) > len(_native.STAGES):
            raise ValueError(f"the order of sampling has {len(order)} stages; there are {len(_native.STAGES)}")
        for at, stage in enumerate(order):
            if stage not in _native.STAGES:
                raise ValueError(f"{stage!r} is no stage of sampling; there are {', '.join(_native.STAGES)}")
            raw.order[at] = _native.STAGES[stage]
        call(lib.rasp_session_set_sampling, self._handle, c.byref(raw))

    def set_logit_bias(self, biases: Mapping[int, float]) -> None:
        """What is added to the logits of tokens from now on; -inf forbids one, no biases clear all."""
        raw = (_native.LogitBias * len(biases))(*(_native.LogitBias(t, b) for t, b in biases.items()))
        call(lib.rasp_session_set_logit_bias, self._handle, raw, len(biases))

    def set_logits_callback(self, callback: Optional[LogitsCallback]) -> None:
        """Has a function look at a copy of the logits before every sampled token, and at the tokens so far; None ends
        that. It may change them in place and return None, or return the token that it chose:

            session.set_logits_callback(lambda logits, tokens: max(allowed, key=logits.__getitem__))

        It must not use the session. What it raises comes out of the step, which has appended nothing then."""
        hook = None if callback is None else Hook(callback)
        pointer = _native.LOGITS_CALLBACK() if hook is None else hook.pointer
        call(lib.rasp_session_set_logits_callback, self._handle, pointer, None)
        # Until now C may have called the one before.
        self._hook = hook

    def set_constraint(self, constraint: Optional[Constraint]) -> None:
        """Has every answer from now on obey a constraint of this session's model; None ends that. An answer begins with
        this call, and anew with each `prefill` and `reset`."""
        call(lib.rasp_session_set_constraint, self._handle, None if constraint is None else constraint._handle)

    def logits(self) -> array[float]:
        """A copy of the logits after the last token, one a token of the vocabulary."""
        data, count = c.POINTER(c.c_float)(), c.c_size_t()
        call(lib.rasp_logits, self._handle, c.byref(data), c.byref(count))
        return array("f", c.string_at(data, 4 * count.value))

    def log_probs(self, token: int, top: int = 0) -> tuple[float, list[tuple[int, float]]]:
        """The natural logarithm of a token's probability after the last one that passed through the model, and the
        `top` likeliest tokens with theirs. After a step that is the token that came, which has not passed. By the model's own
        logits: biases, constraints, penalties and temperature are not in them."""
        log_prob, likeliest = c.c_float(), (_native.LogProb * top)()
        call(lib.rasp_log_probs, self._handle, token, c.byref(log_prob), likeliest, top)
        return log_prob.value, [(likely.token, likely.log_prob) for likely in likeliest]

    @property
    def stats(self) -> Stats:
        raw = _native.initialised(_native.Stats, "stats")
        call(lib.rasp_session_get_stats, self._handle, c.byref(raw))
        return Stats(**{name: getattr(raw, name) for name in Stats.__dataclass_fields__})

    def clear_stats(self) -> None:
        call(lib.rasp_session_clear_stats, self._handle)

    def reset(self) -> None:
        """Forgets all tokens; settings stay."""
        call(lib.rasp_session_reset, self._handle)

    def cancel(self) -> None:
        """Makes the call under way, or else the next one, raise an Error with the name "cancelled". From any thread."""
        lib.rasp_cancel(self._handle)
