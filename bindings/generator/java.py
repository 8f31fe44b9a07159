"""Capi.java of bindings/java."""

from header import arguments
from meaning import called, length, meaning, number, wrapped

VALUES = {"rasp_status": "int", "int32_t": "int", "uint32_t": "int", "int64_t": "long", "uint64_t": "long",
          "size_t": "SizeT", "float": "float", "double": "double", "uint8_t": "byte", "void": "void"}
OUTS = {"uint32_t": "IntByReference", "float": "FloatByReference", "size_t": "SizeT.Ref"}
# Words of the language.
TAKEN = {"abstract", "final", "native", "synchronized"}

TOP = """\
// Functions, constants and structs of rasp.h, under its names. Made by bindings/generate.py from that: change neither
// here. What each does is said there; whole numbers without a sign are those of their size with one.

package io.github.raspengine.rasp;

import com.sun.jna.Callback;
import com.sun.jna.IntegerType;
import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.ptr.ByReference;
import com.sun.jna.ptr.FloatByReference;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.PointerByReference;

interface Capi extends Library {
    // JNA makes these itself, too: what it needs for that is public.
    final class SizeT extends IntegerType {
        private static final long serialVersionUID = 1;

        public SizeT() {
            this(0);
        }

        SizeT(long value) {
            super(Native.SIZE_T_SIZE, value, true);
        }

        public static final class Ref extends ByReference {
            public Ref() {
                super(Native.SIZE_T_SIZE);
            }

            long value() {
                Pointer place = getPointer();
                return Native.SIZE_T_SIZE == 8 ? place.getLong(0) : place.getInt(0) & 0xffffffffL;
            }
        }
    }

"""


def parameter(declared, function, kind, name):
    word, base = meaning(declared, function, kind, name)
    types = {
        "value": VALUES.get(base), "callback": base, "addresses": "Pointer[]", "freed": "Pointer", "handle": "Pointer",
        "made": "PointerByReference", "pointer": "PointerByReference", "error": "byte[]", "address": "Pointer",
        "bytes": "byte[]", "struct": base, "structs": f"{base}[]", "optional": base, "out": OUTS.get(base),
        "array": f"{VALUES.get(base)}[]",
    }
    return f"{types[word]} {name}{'_' if name in TAKEN else ''}"


def field(declared, kind, name, count):
    if count:
        return f"public byte[] {name} = new byte[{length(declared, count)}];"
    if kind in declared.callbacks:
        return f"public {kind} {name};"
    return f"public {'Pointer' if '*' in kind else VALUES[kind]} {name};"


def layer(declared):
    out = [TOP]
    for name, text in declared.constants.items():
        out.append(f"    int {name} = {number(text)};\n")
    for name, kind in declared.callbacks.items():
        result, parameters = arguments(kind)
        parts = [f"{'Pointer' if '*' in kind else VALUES[kind]} {one}" for kind, one in parameters]
        out.append(f"\n    interface {name} extends Callback {{\n")
        out.append(wrapped(f"        {VALUES[result]} invoke(", parts, ");", " " * 12) + "\n    }\n")
    for name, fields in declared.structs.items():
        # An error is filled as bytes: no text is made of it until it is wanted.
        if name == "rasp_error":
            continue
        out.append("\n" + wrapped("    @Structure.FieldOrder({", [f'"{one}"' for _, one, _ in fields], "})", " " * 8))
        out.append(f"\n    final class {name} extends Structure {{\n")
        out += [f"        {field(declared, *one)}\n" for one in fields]
        out.append("    }\n")
    for name, symbol in called(declared):
        result, parameters = arguments(declared.functions[symbol])
        result = "String" if "*" in result else VALUES[result]
        parts = [parameter(declared, name, kind, one) for kind, one in parameters]
        # JNA finds a function by the method's name.
        out.append("\n" + wrapped(f"    {result} {symbol}(", parts, ");", " " * 8) + "\n")
    return "".join(out) + "}\n"
