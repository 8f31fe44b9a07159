"""bindings/csharp/Native.cs."""

from header import arguments
from meaning import called, length, meaning, number, wrapped

VALUES = {"rasp_status": "int", "int32_t": "int", "uint32_t": "uint", "int64_t": "long", "uint64_t": "ulong",
          "size_t": "UIntPtr", "float": "float", "double": "double", "uint8_t": "byte", "void": "void"}
HANDLES = {"rasp_model": "ModelHandle", "rasp_session": "SessionHandle", "rasp_constraint": "ConstraintHandle",
           "rasp_adapter": "AdapterHandle", "rasp_reply": "ReplyHandle"}
# Words of the language.
TAKEN = {"fixed", "in", "lock", "out", "params", "ref", "string"}

TOP = """\
// Functions, constants and structs of rasp.h, under its names. Made by bindings/generate.py from that: change neither
// here. What each does is said there; ids of tokens, which are below 2^31, are ints.

using System;
using System.Runtime.InteropServices;

namespace Rasp
{
    internal static class Native
    {
#if (UNITY_IOS || UNITY_WEBGL) && !UNITY_EDITOR
        private const string Library = "__Internal";
#else
        private const string Library = "rasp";
#endif
        private const CallingConvention C = CallingConvention.Cdecl;
"""


def value(kind, name):
    return "int" if kind == "uint32_t" and name in ("token", "tokens") else VALUES[kind]


def spelt(name):
    return f"@{name}" if name in TAKEN else name


def parameter(declared, function, kind, name):
    word, base = meaning(declared, function, kind, name)
    named = spelt(name)
    types = {
        "callback": base, "addresses": "IntPtr[]", "freed": "IntPtr", "handle": HANDLES.get(base), "made": "out IntPtr",
        "pointer": "out IntPtr", "error": "byte[]", "address": "IntPtr", "bytes": "byte[]", "struct": f"ref {base}",
        "structs": f"{base}[]", "optional": f"{base}[]",
    }
    if word == "value":
        return f"{value(base, name)} {named}"
    if word == "out":
        return f"out {value(base, name)} {named}"
    if word == "array":
        types["array"] = f"{value(base, name)}[]"
    # What the library writes comes back, even where an array is copied for the call.
    written = "[In, Out] " if word in ("array", "bytes", "structs", "error") and "const" not in kind else ""
    return f"{written}{types[word]} {named}"


def field(declared, kind, name, count):
    if count:
        size = length(declared, count)
        return [f"[MarshalAs(UnmanagedType.ByValArray, SizeConst = {size})]", f"public byte[] {spelt(name)};"]
    if "*" in kind or kind in declared.callbacks:
        return [f"public IntPtr {spelt(name)};"]
    return [f"public {value(kind, name)} {spelt(name)};"]


def layer(declared):
    out = [TOP]
    for name, text in declared.constants.items():
        out.append(f"        internal const int {name} = {number(text)};\n")
    for name, fields in declared.structs.items():
        # An error is filled as bytes: no text is made of it until it is wanted.
        if name == "rasp_error":
            continue
        out.append("\n        [StructLayout(LayoutKind.Sequential)]\n")
        out.append(f"        internal struct {name}\n        {{\n")
        for kind, one, count in fields:
            out += [f"            {line}\n" for line in field(declared, kind, one, count)]
        out.append("        }\n")
    for name, kind in declared.callbacks.items():
        result, parameters = arguments(kind)
        parts = [f"{'IntPtr' if '*' in kind else value(kind, '')} {one}" for kind, one in parameters]
        out.append("\n        [UnmanagedFunctionPointer(C)]\n")
        out.append(wrapped(f"        internal delegate {VALUES[result]} {name}(", parts, ");", " " * 12) + "\n")
    # The parameter of a rasp_run_callback.
    out.append("\n        [UnmanagedFunctionPointer(C)]\n")
    out.append("        internal delegate void rasp_run_job(IntPtr data, uint part);\n")
    for name, symbol in called(declared):
        result, parameters = arguments(declared.functions[symbol])
        entry = "ExactSpelling = true" if name == symbol else f'EntryPoint = "{symbol}"'
        result = "IntPtr" if "*" in result else VALUES[result]
        parts = [parameter(declared, name, kind, one) for kind, one in parameters]
        out.append(f"\n        [DllImport(Library, CallingConvention = C, {entry})]\n")
        out.append(wrapped(f"        internal static extern {result} {name}(", parts, ");", " " * 12) + "\n")
    return "".join(out) + "    }\n}\n"
