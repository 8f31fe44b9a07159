"""The functions and structs of rasp.h, for ctypes. What each does is said there."""

from __future__ import annotations

import ctypes as c
import os
from pathlib import Path
from typing import Any

ABI_VERSION = 1

END = 1
PENDING = 2
BUFFER_TOO_SMALL = -8
STEP_TEXT_SIZE = 4160
KV_TYPES = {"f16": 0, "f32": 1, "i8": 2}
CONSTRAINT_KINDS = {"json_schema": 0, "regex": 1, "grammar": 2, "tools": 3}
TEXT_SHOW_MARKS = 2
DRAFTS_LOOKUP, DRAFTS_FORCED, DRAFTS_SELF = 1, 2, 4
LOGITS_SAMPLE = -1
#: Why an answer ended, by number.
ENDED = (None, "token", "stop", "context")
PART_TEXT, PART_REASONING, PART_CALL = 1, 2, 3


class Error(c.Structure):
    _fields_ = [("code", c.c_int32), ("message", c.c_char * 252)]


class LoadOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("verify", c.c_uint32),
        ("lock", c.c_uint32),
        ("log_level", c.c_uint32),
        ("log", c.c_void_p),
        ("log_context", c.c_void_p),
        ("large_pages", c.c_uint32),
        ("reserved", c.c_uint32),
    ]


class ModelInfo(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("vocab_size", c.c_uint32),
        ("hidden_size", c.c_uint32),
        ("intermediate_size", c.c_uint32),
        ("num_layers", c.c_uint32),
        ("num_heads", c.c_uint32),
        ("num_kv_heads", c.c_uint32),
        ("head_dim", c.c_uint32),
        ("context_length", c.c_uint32),
        ("weight_type", c.c_uint32),
        ("max_sparsity", c.c_float),
        ("default_sparsity", c.c_float),
        ("num_rungs", c.c_uint32),
        ("bos_token", c.c_int32),
        ("file_size", c.c_uint64),
        ("linear_bytes", c.c_uint64),
        ("head_bytes", c.c_uint64),
        ("architecture", c.c_char * 32),
        ("name", c.c_char * 96),
    ]


class AdapterInfo(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("linears", c.c_uint32),
        ("reserved", c.c_uint32),
        ("bytes", c.c_uint64),
        ("name", c.c_char * 96),
    ]


class SessionOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("context", c.c_uint32),
        ("threads", c.c_uint32),
        ("batch", c.c_uint32),
        ("kv_type", c.c_uint32),
        ("windows_alone", c.c_uint32),
        ("memory", c.c_void_p),
        ("memory_size", c.c_size_t),
        ("run", c.c_void_p),
        ("run_context", c.c_void_p),
        ("cpus", c.c_uint64),
        ("spin_ns", c.c_uint64),
        ("drafts", c.c_uint32),
        ("adapter_rank", c.c_uint32),
    ]


class MemoryPlan(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("alignment", c.c_uint32),
        ("context", c.c_uint32),
        ("batch", c.c_uint32),
        ("size", c.c_uint64),
        ("kv_cache", c.c_uint64),
        ("activations", c.c_uint64),
        ("sampling", c.c_uint64),
        ("bookkeeping", c.c_uint64),
    ]


class Sampling(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("temperature", c.c_float),
        ("top_k", c.c_uint32),
        ("top_p", c.c_float),
        ("min_p", c.c_float),
        ("repetition_penalty", c.c_float),
        ("repetition_window", c.c_uint32),
        ("reserved", c.c_uint32),
        ("seed", c.c_uint64),
        *((name, c.c_float) for name in ("presence_penalty", "frequency_penalty", "top_n_sigma", "typical_p",
                                         "xtc_probability", "xtc_threshold", "dry_multiplier", "dry_base")),
        ("dry_allowed_length", c.c_uint32),
        ("dry_window", c.c_uint32),
        ("mirostat_tau", c.c_float),
        ("mirostat_eta", c.c_float),
        ("order", c.c_uint8 * 8),
    ]


class LogProb(c.Structure):
    _fields_ = [("token", c.c_uint32), ("log_prob", c.c_float)]


#: Stages of sampling by the names that options have.
STAGES = {name: code for code, name in enumerate(
    ("top_n_sigma", "top_k", "temperature", "typical_p", "top_p", "min_p", "xtc"), 1)}


class Stats(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("tokens", c.c_uint32),
        ("context", c.c_uint32),
        ("sparsity", c.c_float),
        ("memory", c.c_uint64),
        ("decoded_tokens", c.c_uint64),
        ("linear_bytes_read", c.c_uint64),
        ("kept", c.c_double),
        ("head_bytes_read", c.c_uint64),
        ("units", c.c_uint64),
        ("late_tokens", c.c_uint64),
        ("drafted_tokens", c.c_uint64),
        ("accepted_tokens", c.c_uint64),
        ("shared_bytes", c.c_uint64),
    ]


class ChatMessage(c.Structure):
    _fields_ = [
        ("role", c.c_char_p),
        ("role_length", c.c_size_t),
        ("content", c.c_char_p),
        ("content_length", c.c_size_t),
        ("fields", c.c_char_p),
        ("fields_length", c.c_size_t),
    ]


class ReplyPart(c.Structure):
    _fields_ = [
        ("kind", c.c_uint32),
        ("reserved", c.c_uint32),
        ("text", c.c_void_p),
        ("text_length", c.c_size_t),
        ("name", c.c_void_p),
        ("name_length", c.c_size_t),
        ("id", c.c_void_p),
        ("id_length", c.c_size_t),
    ]


class ChatOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("add_generation_prompt", c.c_uint32),
        ("variables", c.c_char_p),
        ("variables_length", c.c_size_t),
        ("time", c.c_int64),
    ]


class LogitBias(c.Structure):
    _fields_ = [("token", c.c_uint32), ("bias", c.c_float)]


LOGITS_CALLBACK = c.CFUNCTYPE(
    c.c_int32, c.c_void_p, c.POINTER(c.c_float), c.c_size_t, c.POINTER(c.c_uint32), c.c_size_t)


def _load() -> c.CDLL:
    """$RASP_LIBRARY, or the library in this package (some wheels have it), or the one that is installed."""
    name = f"librasp.so.{ABI_VERSION}"
    beside = Path(__file__).with_name(name)
    return c.CDLL(os.environ.get("RASP_LIBRARY") or (str(beside) if beside.exists() else name))


lib = _load()

_out = c.POINTER(Error)
_tokens = c.POINTER(c.c_uint32)
_size = c.POINTER(c.c_size_t)
_handle = c.c_void_p

_status = {
    "rasp_load": [c.c_char_p, c.POINTER(LoadOptions), c.POINTER(_handle), _out],
    "rasp_load_bytes": [c.c_void_p, c.c_size_t, c.POINTER(LoadOptions), c.POINTER(_handle), _out],
    "rasp_load_fd": [c.c_int64, c.c_uint64, c.c_uint64, c.POINTER(LoadOptions), c.POINTER(_handle), _out],
    "rasp_free": [_handle],
    "rasp_model_retain": [_handle],
    "rasp_adapter_load": [_handle, c.c_char_p, c.POINTER(_handle), _out],
    "rasp_adapter_load_bytes": [_handle, c.c_void_p, c.c_size_t, c.POINTER(_handle), _out],
    "rasp_adapter_load_fd": [_handle, c.c_int64, c.c_uint64, c.c_uint64, c.POINTER(_handle), _out],
    "rasp_adapter_free": [_handle],
    "rasp_adapter_get_info": [_handle, c.POINTER(AdapterInfo), _out],
    "rasp_session_set_adapters": [_handle, c.POINTER(_handle), c.POINTER(c.c_float), c.c_size_t, _out],
    "rasp_session_tokens": [_handle, _tokens, c.c_size_t, _size, _out],
    "rasp_model_get_info": [_handle, c.POINTER(ModelInfo), _out],
    "rasp_session_plan": [_handle, c.POINTER(SessionOptions), c.POINTER(MemoryPlan), _out],
    "rasp_session_open": [_handle, c.c_void_p, c.POINTER(_handle), _out],
    "rasp_session_close": [_handle],
    "rasp_session_set_sampling": [_handle, c.POINTER(Sampling), _out],
    "rasp_session_set_sparsity": [_handle, c.c_float, _out],
    "rasp_session_set_logit_bias": [_handle, c.POINTER(LogitBias), c.c_size_t, _out],
    "rasp_session_set_logits_callback": [_handle, LOGITS_CALLBACK, c.c_void_p, _out],
    "rasp_session_set_deadline": [_handle, c.c_uint64, c.c_float, c.c_float, _out],
    "rasp_session_reset": [_handle, _out],
    "rasp_session_get_stats": [_handle, c.POINTER(Stats), _out],
    "rasp_session_clear_stats": [_handle, _out],
    "rasp_constraint_new": [_handle, c.c_uint32, c.c_char_p, c.c_size_t, c.POINTER(_handle), _out],
    "rasp_constraint_free": [_handle],
    "rasp_session_set_constraint": [_handle, _handle, _out],
    "rasp_reply_new": [_handle, c.POINTER(ChatMessage), c.c_size_t, c.POINTER(ChatOptions), c.POINTER(_handle), _out],
    "rasp_reply_push": [_handle, c.c_char_p, c.c_size_t, _out],
    "rasp_reply_push_token": [_handle, c.c_uint32, _out],
    "rasp_reply_finish": [_handle, _out],
    "rasp_reply_next": [_handle, c.POINTER(ReplyPart), _out],
    "rasp_reply_message": [_handle, c.c_char_p, c.c_size_t, _size, _out],
    "rasp_reply_free": [_handle],
    "rasp_session_set_stop": [_handle, c.POINTER(c.c_char_p), c.c_size_t, _out],
    "rasp_session_rewind": [_handle, c.c_size_t, _out],
    "rasp_session_shift": [_handle, c.c_size_t, c.c_size_t, _out],
    "rasp_session_fork": [_handle, c.c_void_p, c.POINTER(_handle), _out],
    "rasp_session_set_drafts": [_handle, c.c_uint32, c.c_uint32, _tokens, c.c_size_t, _out],
    "rasp_session_save": [_handle, c.c_char_p, c.c_size_t, _size, _out],
    "rasp_session_restore": [_handle, c.c_char_p, c.c_size_t, _out],
    "rasp_step_text": [_handle, c.c_uint32, c.c_char_p, c.c_size_t, _size, _tokens, _out],
    "rasp_step_text_within": [_handle, c.c_uint64, c.c_uint32, c.c_char_p, c.c_size_t, _size, _tokens, _out],
    "rasp_finish_text": [_handle, c.c_char_p, c.c_size_t, _size, _out],
    "rasp_embed": [_handle, _tokens, c.c_size_t, c.c_uint32, c.c_uint32, c.POINTER(c.c_float), c.c_size_t, _size, _out],
    "rasp_prefill": [_handle, _tokens, c.c_size_t, _out],
    "rasp_prefill_begin": [_handle, _tokens, c.c_size_t, _out],
    "rasp_prefill_within": [_handle, c.c_uint64, _out],
    "rasp_step": [_handle, _tokens, _out],
    "rasp_step_within": [_handle, c.c_uint64, _tokens, _out],
    "rasp_step_batch": [c.POINTER(_handle), c.c_size_t, _tokens, c.POINTER(c.c_int32), _out],
    "rasp_decode": [_handle, c.c_uint32, _out],
    "rasp_log_probs": [_handle, c.c_uint32, c.POINTER(c.c_float), c.c_void_p, c.c_size_t, _out],
    "rasp_logits": [_handle, c.POINTER(c.POINTER(c.c_float)), _size, _out],
    "rasp_tokenize": [_handle, c.c_char_p, c.c_size_t, c.c_uint32, _tokens, c.c_size_t, _size, _out],
    "rasp_detokenize": [_handle, _tokens, c.c_size_t, c.c_uint32, c.c_char_p, c.c_size_t, _size, _out],
    "rasp_token_bytes": [_handle, c.c_uint32, c.POINTER(c.c_void_p), _size, _out],
    "rasp_token_is_end": [_handle, c.c_uint32],
    "rasp_token_is_special": [_handle, c.c_uint32],
    "rasp_chat_tokenize": [_handle, c.POINTER(ChatMessage), c.c_size_t, c.POINTER(ChatOptions), _tokens, c.c_size_t,
                           _size, _out],
    "rasp_chat_text": [_handle, c.POINTER(ChatMessage), c.c_size_t, c.POINTER(ChatOptions), c.c_char_p, c.c_size_t,
                       _size, _out],
}
for _name in ("rasp_chat_prefill", "rasp_chat_prefill_begin"):
    _status[_name] = [_handle, c.POINTER(ChatMessage), c.c_size_t, c.POINTER(ChatOptions), _size, _out]
for _name, _arguments in _status.items():
    _function = getattr(lib, _name)
    _function.restype = c.c_int32
    _function.argtypes = _arguments
# A struct that has grown has an initialiser of its own.
_init = {name: f"rasp_{name}_init" for name in ("model_info", "adapter_info", "memory_plan", "chat_options")}
_init |= {name: f"rasp_{name}_init_2" for name in ("load_options", "session_options", "sampling")}
_init["stats"] = "rasp_stats_init_3"
for _name in _init.values():
    _function = getattr(lib, _name)
    _function.restype = None
    _function.argtypes = [c.c_void_p]
lib.rasp_version.restype = c.c_char_p
lib.rasp_abi_version.restype = c.c_uint32
lib.rasp_status_name.restype = c.c_char_p
lib.rasp_status_name.argtypes = [c.c_int32]
lib.rasp_cancel.restype = None
lib.rasp_cancel.argtypes = [_handle]


def initialised(struct: Any, name: str) -> Any:
    """A struct with its defaults, in room for the fields that this file does not know; struct_size is the library's."""
    room = c.create_string_buffer(4096)
    getattr(lib, _init[name])(room)
    return struct.from_buffer(room)
