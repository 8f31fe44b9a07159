"""Models."""

from __future__ import annotations

import ctypes as c
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _native
from ._adapter import Adapter
from ._calls import Handle, call, grown, ids
from ._constraint import Constraint
from ._native import lib
from ._options import MemoryPlan, SessionOptions, session_options
from ._reply import Messages, Reply, conversation
from ._session import Session
from ._source import Source, load

if TYPE_CHECKING:
    from typing_extensions import Unpack


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


class Model(Handle):
    """A loaded model, shared by any number of sessions. They keep what they need of it when it is closed."""

    def __init__(self, source: Source, *, offset: int = 0, length: int = 0, verify: bool = False, lock: bool = False,
                 large_pages: bool = False) -> None:
        """Maps the file: its path, or an open file (or its descriptor) in which it lies at `offset`, `length` bytes
        long (0: to the end). Or uses its `bytes` in place, and copies those of a bytearray or a memoryview.

        `verify` reads every weight and refuses damaged ones; `lock` keeps the file in memory; `large_pages` reads it
        into memory of this process's own instead, in pages of 2 MB where there are some."""
        options = _native.initialised(_native.LoadOptions, "load_options")
        options.verify, options.lock, options.large_pages = verify, lock, large_pages
        handle, held = load(source, offset, length, lib.rasp_load, lib.rasp_load_bytes, lib.rasp_load_fd,
                            after=(c.byref(options),))
        super().__init__(handle, lib.rasp_free, held)

    def __enter__(self) -> Model:
        return self

    @property
    def info(self) -> ModelInfo:
        raw = _native.initialised(_native.ModelInfo, "model_info")
        call(lib.rasp_model_get_info, self._handle, c.byref(raw))
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
        tokens: list[int] = grown(c.c_uint32, len(data) + 8, lib.rasp_tokenize, self._handle, data, len(data), flags)
        return tokens

    def detokenize(self, tokens: Sequence[int], *, skip_special: bool = False) -> bytes:
        """The bytes; those of generated tokens may end inside a character."""
        text: bytes = grown(c.c_char, 16 * len(tokens), lib.rasp_detokenize, self._handle, ids(tokens), len(tokens),
                             int(skip_special))
        return text

    def token_bytes(self, token: int) -> bytes:
        data, length = c.c_void_p(), c.c_size_t()
        call(lib.rasp_token_bytes, self._handle, token, c.byref(data), c.byref(length))
        return c.string_at(data.value, length.value) if data.value and length.value else b""

    def is_end(self, token: int) -> bool:
        return bool(lib.rasp_token_is_end(self._handle, token))

    def is_special(self, token: int) -> bool:
        return bool(lib.rasp_token_is_special(self._handle, token))

    def chat_tokenize(self, messages: Messages, *, add_generation_prompt: bool = True,
                      variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> list[int]:
        """The tokens of messages in the model's own format. A message has a "role", a "content" and what else the
        template knows ("name", "tool_calls"); `variables` are the template's ("tools", "documents", "enable_thinking");
        `time`, seconds since 1970 of the clock on the wall, is what its strftime_now shows (0: there is no such one).

        What messages and variables say is text, whatever it looks like: special tokens are recognised in the template's
        own words alone."""
        raw, options = conversation(messages, add_generation_prompt, variables, time)
        tokens: list[int] = grown(c.c_uint32, 4096, lib.rasp_chat_tokenize, self._handle, raw, len(messages),
                                   c.byref(options))
        return tokens

    def chat_text(self, messages: Messages, *, add_generation_prompt: bool = True,
                  variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> str:
        """The text that `chat_tokenize` makes tokens of, to be looked at."""
        raw, options = conversation(messages, add_generation_prompt, variables, time)
        text: bytes = grown(c.c_char, 4096, lib.rasp_chat_text, self._handle, raw, len(messages), c.byref(options))
        return text.decode()

    def chat_format(self, messages: Messages, *, add_generation_prompt: bool = True) -> str:
        """The same text. Tokenized with `parse_special` it cannot promise who speaks, since a message may hold the
        template's own tokens: `chat_tokenize` can."""
        return self.chat_text(messages, add_generation_prompt=add_generation_prompt)

    def constraint(self, kind: str, source: Union[str, Mapping[str, Any], Sequence[Any], bool]) -> Constraint:
        """What an answer may be, compiled for this model: "json_schema" (as text or as the object it is), "regex" (in
        the syntax of Rust's crate `regex`; all of the answer matches), "grammar" (llguidance's variant of Lark) or
        "tools": the list as the template has it, or a mapping with "tools" and a "tool_choice". Then text is free until
        a call begins in the model's own format; a call is of one of these functions, with arguments of its schema."""
        return Constraint(self, kind, source)

    def adapter(self, source: Source, *, offset: int = 0, length: int = 0) -> Adapter:
        """A LoRA adapter for this model and others of its shape: the path of a file that `rasp pack-adapter` made, its
        bytes, or an open file (or its descriptor) in which it lies at `offset`, `length` bytes long (0: to the end)."""
        return Adapter(self, source, offset=offset, length=length)

    def reply(self, messages: Messages, *, add_generation_prompt: bool = True,
              variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> Reply:
        """What tells an answer to these messages apart: text, reasoning and calls of tools. Give it what
        `chat_tokenize` was given."""
        return Reply(self, messages, add_generation_prompt=add_generation_prompt, variables=variables, time=time)

    def open(self, **options: Unpack[SessionOptions]) -> Session:
        """A session with room for `context` tokens (0: the model's limit, at most 4096) on which `threads` compute (1).
        `batch` tokens of a prompt pass together (0: 128), and keys and values are cached as `kv` ("f16", "f32", "i8").

        With `windows_alone` layers that attend to a window hold its keys and values alone: less memory, and no way back
        to what is gone. With `drafts` (7 at most) tokens are guessed by what stood after an earlier match in the
        context: the same tokens, sooner where an answer quotes or repeats. `adapter_rank` is room for adapters: the sum
        of the ranks of those that are set at a time."""
        return Session(self, **options)

    def plan(self, **options: Unpack[SessionOptions]) -> MemoryPlan:
        """What a session that is opened with these options will take, to the byte."""
        raw = _native.initialised(_native.MemoryPlan, "memory_plan")
        call(lib.rasp_session_plan, self._handle, c.byref(session_options(**options)), c.byref(raw))
        return MemoryPlan(**{name: getattr(raw, name) for name in MemoryPlan.__dataclass_fields__})
