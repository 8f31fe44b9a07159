"""rasp: language models inside your program, reading only part of the weights for each token.

    with rasp.Model("smollm2.rasp") as model, model.open() as session:
        session.prefill(model.tokenize("The capital of France is"))
        for piece in session.generate(32):
            print(piece, end="", flush=True)

A model may be used from any thread at once. A session belongs to one thread at a time; `cancel` may come from any.
The interpreter runs other threads while the library computes.
"""

from __future__ import annotations

import ctypes as c
import json
import os
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from . import _native
from ._native import lib

__all__ = ["Call", "Constraint", "Error", "Model", "ModelInfo", "Reasoning", "Reply", "Session", "Stats", "Token",
           "abi_version", "version"]


class Error(Exception):
    """A call failed. `code` is one of the RASP_ERROR_ constants of rasp.h, `name` says which."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name: str = lib.rasp_status_name(code).decode()

    def __str__(self) -> str:
        return f"{self.name}: {self.args[0]}"


@dataclass(frozen=True)
class ModelInfo:
    """What a model is; sizes of weights in bytes."""

    architecture: str
    name: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    max_sparsity: float
    default_sparsity: float
    num_rungs: int
    bos_token: Optional[int]
    file_size: int
    linear_bytes: int
    head_bytes: int


@dataclass(frozen=True)
class Stats:
    """What a session has done and what it takes; `kept` is the share of linear weights that decoded tokens read."""

    tokens: int
    context: int
    sparsity: float
    memory: int
    decoded_tokens: int
    linear_bytes_read: int
    kept: float
    head_bytes_read: int
    drafted_tokens: int
    accepted_tokens: int


@dataclass(frozen=True)
class Token:
    """A token, and whether it ends generation."""

    id: int
    end: bool


def version() -> str:
    """Version of the library, such as "0.1.0"."""
    text: str = lib.rasp_version().decode()
    return text


def abi_version() -> int:
    """Version of the library's binary interface."""
    number: int = lib.rasp_abi_version()
    return number


def _check(status: int, error: _native.Error) -> int:
    if status < 0:
        raise Error(status, error.message.decode("utf-8", "replace"))
    return status


def _call(function: Any, *arguments: Any) -> int:
    error = _native.Error()
    return _check(function(*arguments, c.byref(error)), error)


def _grown(kind: Any, guess: int, function: Any, *arguments: Any) -> Any:
    """The array that a call fills, made again with the size it asks for if the first guess is too small."""
    error = _native.Error()
    count = c.c_size_t()
    while True:
        buffer = (kind * max(guess, 1))()
        status = function(*arguments, buffer, guess, c.byref(count), c.byref(error))
        if status != _native.BUFFER_TOO_SMALL:
            _check(status, error)
            return buffer[: count.value]
        guess = count.value


def _ids(tokens: Sequence[int]) -> Any:
    return (c.c_uint32 * len(tokens))(*tokens)


def _chat(messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, variables: Optional[Mapping[str, Any]],
          time: int) -> tuple[Any, _native.ChatOptions]:
    """Messages and options as the library takes them."""
    raw = (_native.ChatMessage * len(messages))()
    for place, message in zip(raw, messages):
        fields = dict(message)
        data = fields.pop("role").encode()
        place.role, place.role_length = data, len(data)
        content = fields.get("content")
        if isinstance(content, str):
            del fields["content"]
            data = content.encode()
            place.content, place.content_length = data, len(data)
        if fields:
            data = json.dumps(fields).encode()
            place.fields, place.fields_length = data, len(data)
    options = _native.initialised(_native.ChatOptions, "chat_options")
    options.add_generation_prompt, options.time = add_generation_prompt, time
    if variables is not None:
        data = json.dumps(variables).encode()
        options.variables, options.variables_length = data, len(data)
    return raw, options


class _Handle:
    """Something of the library's, given back by `close`, at the end of a `with`, or when nobody holds it any more."""

    def __init__(self, handle: c.c_void_p, give_back: Any) -> None:
        self._pointer: Optional[int] = handle.value
        self._finalizer = weakref.finalize(self, give_back, handle)

    @property
    def _handle(self) -> int:
        if self._pointer is None:
            raise ValueError(f"this {type(self).__name__.lower()} is closed")
        return self._pointer

    def close(self) -> None:
        self._pointer = None
        self._finalizer()

    def __exit__(self, *_: object) -> None:
        self.close()


class Model(_Handle):
    """A loaded model, shared by any number of sessions. They keep what they need of it when it is closed."""

    def __init__(self, path: Union[str, os.PathLike[str]], *, verify: bool = False, lock: bool = False,
                 large_pages: bool = False) -> None:
        """Maps the file. `verify` reads every weight and refuses damaged ones; `lock` keeps the file in memory;
        `large_pages` reads it into memory of this process's own instead, in pages of 2 MB where there are some."""
        options = _native.initialised(_native.LoadOptions, "load_options")
        options.verify, options.lock, options.large_pages = verify, lock, large_pages
        handle = c.c_void_p()
        _call(lib.rasp_load, os.fsencode(path), c.byref(options), c.byref(handle))
        super().__init__(handle, lib.rasp_free)

    def __enter__(self) -> Model:
        return self

    @property
    def info(self) -> ModelInfo:
        raw = _native.initialised(_native.ModelInfo, "model_info")
        _call(lib.rasp_model_get_info, self._handle, c.byref(raw))
        values = {name: getattr(raw, name) for name in ModelInfo.__dataclass_fields__}
        for text in ("architecture", "name"):
            values[text] = values[text].decode("utf-8", "replace")
        values["bos_token"] = None if raw.bos_token < 0 else raw.bos_token
        return ModelInfo(**values)

    def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """`add_special` adds what the model expects around a text; `parse_special` recognises tokens such as
        <|im_start|> in it (not for text from strangers)."""
        data = text.encode()
        flags = int(add_special) | int(parse_special) << 1
        tokens: list[int] = _grown(c.c_uint32, len(data) + 8, lib.rasp_tokenize, self._handle, data, len(data), flags)
        return tokens

    def detokenize(self, tokens: Sequence[int], *, skip_special: bool = False) -> bytes:
        """The bytes; those of generated tokens may end inside a character."""
        text: bytes = _grown(c.c_char, 16 * len(tokens), lib.rasp_detokenize, self._handle, _ids(tokens), len(tokens),
                             int(skip_special))
        return text

    def token_bytes(self, token: int) -> bytes:
        data, length = c.c_void_p(), c.c_size_t()
        _call(lib.rasp_token_bytes, self._handle, token, c.byref(data), c.byref(length))
        return c.string_at(data.value, length.value) if data.value and length.value else b""

    def is_end(self, token: int) -> bool:
        return bool(lib.rasp_token_is_end(self._handle, token))

    def is_special(self, token: int) -> bool:
        return bool(lib.rasp_token_is_special(self._handle, token))

    def chat_tokenize(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True,
                      variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> list[int]:
        """The tokens of messages in the model's own format. A message has a "role", a "content" and what else the
        template knows ("name", "tool_calls"); `variables` are the template's ("tools", "documents", "enable_thinking");
        `time`, seconds since 1970 of the clock on the wall, is what its strftime_now shows (0: it has no such function).

        What messages and variables say is text, whatever it looks like: special tokens are recognised in the template's
        own words alone."""
        raw, options = _chat(messages, add_generation_prompt, variables, time)
        tokens: list[int] = _grown(c.c_uint32, 4096, lib.rasp_chat_tokenize, self._handle, raw, len(messages),
                                   c.byref(options))
        return tokens

    def chat_text(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True,
                  variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> str:
        """The text that `chat_tokenize` makes tokens of, to be looked at."""
        raw, options = _chat(messages, add_generation_prompt, variables, time)
        text: bytes = _grown(c.c_char, 4096, lib.rasp_chat_text, self._handle, raw, len(messages), c.byref(options))
        return text.decode()

    def chat_format(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """The same text. Tokenized with `parse_special` it cannot promise who speaks, since a message may hold the
        template's own tokens: `chat_tokenize` can."""
        return self.chat_text(messages, add_generation_prompt=add_generation_prompt)

    def constraint(self, kind: str, source: Union[str, Mapping[str, Any], Sequence[Any], bool]) -> Constraint:
        """What an answer may be, compiled for this model: "json_schema" (as text or as the object it is), "regex" (in
        the syntax of Rust's crate `regex`; all of the answer matches), "grammar" (llguidance's variant of Lark) or
        "tools": the list as the template has it, or a mapping with "tools" and a "tool_choice". Then text is free until
        a call begins in the model's own format; a call is of one of these functions, with arguments of its schema."""
        return Constraint(self, kind, source)

    def reply(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True,
              variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> Reply:
        """What tells an answer to these messages apart: text, reasoning and calls of tools. Give it what
        `chat_tokenize` was given."""
        return Reply(self, messages, add_generation_prompt=add_generation_prompt, variables=variables, time=time)

    def open(self, *, context: int = 0, threads: int = 1, batch: int = 0, kv: str = "f16",
             windows_alone: bool = False, drafts: int = 0) -> Session:
        """A session with room for `context` tokens (0: the model's limit, at most 4096). With `windows_alone` layers that
        attend to a window hold its keys and values alone: less memory, and no way back to what is gone. With `drafts`
        (7 at most) tokens are guessed by what stood after an earlier match in the context: the same tokens, sooner where
        an answer quotes or repeats."""
        return Session(self, context=context, threads=threads, batch=batch, kv=kv, windows_alone=windows_alone,
                       drafts=drafts)


class Constraint(_Handle):
    """What an answer may be, shared by any number of sessions of its model; they keep what they need of it when it is
    closed."""

    def __init__(self, model: Model, kind: str, source: Union[str, Mapping[str, Any], Sequence[Any], bool]) -> None:
        if kind not in _native.CONSTRAINT_KINDS:
            raise ValueError(f"kind is {kind!r}, not one of {', '.join(_native.CONSTRAINT_KINDS)}")
        if not isinstance(source, str):
            if kind not in ("json_schema", "tools"):
                raise TypeError(f"the source of a {kind} is a str, not {type(source).__name__}")
            source = json.dumps(source)
        data = source.encode()
        handle = c.c_void_p()
        _call(lib.rasp_constraint_new, model._handle, _native.CONSTRAINT_KINDS[kind], data, len(data), c.byref(handle))
        super().__init__(handle, lib.rasp_constraint_free)

    def __enter__(self) -> Constraint:
        return self


@dataclass(frozen=True)
class Call:
    """A call of a tool: the function's name, its arguments, and what a message of the result refers to."""

    name: str
    arguments: dict[str, Any]
    id: str


@dataclass(frozen=True)
class Reasoning:
    """What the model thinks before it says something."""

    text: str


class Reply(_Handle):
    """An answer that is told apart as it comes. `Session.answer` does all of it."""

    def __init__(self, model: Model, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True,
                 variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> None:
        raw, options = _chat(messages, add_generation_prompt, variables, time)
        handle = c.c_void_p()
        _call(lib.rasp_reply_new, model._handle, raw, len(messages), c.byref(options), c.byref(handle))
        super().__init__(handle, lib.rasp_reply_free)

    def __enter__(self) -> Reply:
        return self

    def push(self, text: str) -> None:
        """Takes more of the answer: what `Session.generate` gives with `marks`."""
        data = text.encode()
        _call(lib.rasp_reply_push, self._handle, data, len(data))

    def push_token(self, token: int) -> None:
        """Takes a token of the answer, for hosts that step by tokens."""
        _call(lib.rasp_reply_push_token, self._handle, token)

    def finish(self) -> None:
        """Ends the answer: what was held back is known now."""
        _call(lib.rasp_reply_finish, self._handle)

    def parts(self) -> Iterator[Union[str, Reasoning, Call]]:
        """What is known of the answer and was not given yet: text, what the model thinks, and calls."""
        part = _native.ReplyPart()
        while _call(lib.rasp_reply_next, self._handle, c.byref(part)) == 0:
            def text(place: Optional[int], length: int) -> str:
                return c.string_at(place, length).decode() if place else ""

            said = text(part.text, part.text_length)
            if part.kind == _native.PART_CALL:
                name, id = text(part.name, part.name_length), text(part.id, part.id_length)
                yield Call(name, json.loads(said), id)
            elif part.kind == _native.PART_REASONING:
                yield Reasoning(said)
            else:
                yield said

    def message(self) -> dict[str, Any]:
        """The answer as a message, to be put after those that it answers."""
        data: bytes = _grown(c.c_char, 4096, lib.rasp_reply_message, self._handle)
        return {"role": "assistant", **json.loads(data)}


class Session(_Handle):
    """One text in the making."""

    def __init__(self, model: Model, *, context: int = 0, threads: int = 1, batch: int = 0, kv: str = "f16",
                 windows_alone: bool = False, drafts: int = 0) -> None:
        options = _native.initialised(_native.SessionOptions, "session_options")
        options.context, options.threads, options.batch = context, threads, batch
        options.kv_type, options.windows_alone, options.drafts = _native.KV_TYPES[kv], windows_alone, drafts
        handle = c.c_void_p()
        _call(lib.rasp_session_open, model._handle, c.byref(options), c.byref(handle))
        super().__init__(handle, lib.rasp_session_close)

    def __enter__(self) -> Session:
        return self

    def prefill(self, tokens: Sequence[int]) -> None:
        """Appends prompt tokens."""
        _call(lib.rasp_prefill, self._handle, _ids(tokens), len(tokens))

    def step(self) -> Token:
        """Samples the next token and appends it."""
        token = c.c_uint32()
        status = _call(lib.rasp_step, self._handle, c.byref(token))
        return Token(token.value, status == _native.END)

    def decode(self, token: int) -> None:
        """Appends a token of the caller's choice."""
        _call(lib.rasp_decode, self._handle, token)

    def answer(self, reply: Reply, limit: Optional[int] = None) -> Iterator[Union[str, Reasoning, Call]]:
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
            status = _call(lib.rasp_step_text, self._handle, flags, text, len(text), c.byref(length), None)
            if length.value:
                yield text.raw[: length.value].decode()
            if status == _native.END:
                return
            count += 1
        # What could still have become a stop string.
        _call(lib.rasp_finish_text, self._handle, text, len(text), c.byref(length))
        if length.value:
            yield text.raw[: length.value].decode()

    def set_stop(self, strings: Sequence[str]) -> None:
        """What ends an answer of `generate`, besides the model; it is not part of the text."""
        raw = (c.c_char_p * len(strings))(*(s.encode() for s in strings))
        _call(lib.rasp_session_set_stop, self._handle, raw, len(strings))

    def rewind(self, tokens: int) -> None:
        """Keeps the first `tokens` tokens and forgets those after them."""
        _call(lib.rasp_session_rewind, self._handle, tokens)

    def save(self) -> bytes:
        """What the session holds, for `restore` into one of the same model."""
        state: bytes = _grown(c.c_char, 0, lib.rasp_session_save, self._handle)
        return state

    def restore(self, state: bytes) -> None:
        _call(lib.rasp_session_restore, self._handle, state, len(state))

    def embed(self, tokens: Sequence[int], *, last: bool = False, normalise: bool = True) -> list[float]:
        """One vector of the tokens: the mean of theirs, or the last one's. The session must hold no tokens."""
        vector: list[float] = _grown(c.c_float, 0, lib.rasp_embed, self._handle, _ids(tokens), len(tokens), int(last),
                                     int(normalise))
        return vector

    def set_sparsity(self, sparsity: float) -> None:
        """How sparse decoded tokens are from now on: 0 is dense, up to the model's `max_sparsity`."""
        _call(lib.rasp_session_set_sparsity, self._handle, sparsity)

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
        _call(lib.rasp_session_set_sampling, self._handle, c.byref(raw))

    def set_logit_bias(self, biases: Mapping[int, float]) -> None:
        """What is added to the logits of tokens from now on; -inf forbids one, no biases clear all."""
        raw = (_native.LogitBias * len(biases))(*(_native.LogitBias(t, b) for t, b in biases.items()))
        _call(lib.rasp_session_set_logit_bias, self._handle, raw, len(biases))

    def set_constraint(self, constraint: Optional[Constraint]) -> None:
        """Has every answer from now on obey a constraint of this session's model; None ends that. An answer begins with
        this call, and anew with each `prefill` and `reset`."""
        _call(lib.rasp_session_set_constraint, self._handle, None if constraint is None else constraint._handle)

    def logits(self) -> array[float]:
        """A copy of the logits after the last token, one a token of the vocabulary."""
        data, count = c.POINTER(c.c_float)(), c.c_size_t()
        _call(lib.rasp_logits, self._handle, c.byref(data), c.byref(count))
        return array("f", c.string_at(data, 4 * count.value))

    def log_probs(self, token: int, top: int = 0) -> tuple[float, list[tuple[int, float]]]:
        """The natural logarithm of a token's probability after the last one that passed through the model, and the `top`
        likeliest tokens with theirs. After a step that is the token that came, which has not passed. By the model's own
        logits: biases, constraints, penalties and temperature are not in them."""
        log_prob, likeliest = c.c_float(), (_native.LogProb * top)()
        _call(lib.rasp_log_probs, self._handle, token, c.byref(log_prob), likeliest, top)
        return log_prob.value, [(likely.token, likely.log_prob) for likely in likeliest]

    @property
    def stats(self) -> Stats:
        raw = _native.initialised(_native.Stats, "stats")
        _call(lib.rasp_session_get_stats, self._handle, c.byref(raw))
        return Stats(**{name: getattr(raw, name) for name in Stats.__dataclass_fields__})

    def clear_stats(self) -> None:
        _call(lib.rasp_session_clear_stats, self._handle)

    def reset(self) -> None:
        """Forgets all tokens; settings stay."""
        _call(lib.rasp_session_reset, self._handle)

    def cancel(self) -> None:
        """Makes the call under way, or else the next one, raise an Error with the name "cancelled". From any thread."""
        lib.rasp_cancel(self._handle)
