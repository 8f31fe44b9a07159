using System;

namespace Rasp
{
    /// <summary>How a constraint is written: as a JSON schema, a regular expression in the syntax of Rust's crate
    /// regex, a grammar in llguidance's variant of Lark, or the tools of a chat: a list in JSON, or an object with
    /// tools and a tool_choice.</summary>
    public enum ConstraintKind
    {
        JsonSchema = Native.RASP_CONSTRAINT_JSON_SCHEMA,
        Regex = Native.RASP_CONSTRAINT_REGEX,
        Grammar = Native.RASP_CONSTRAINT_GRAMMAR,
        Tools = Native.RASP_CONSTRAINT_TOOLS,
    }

    /// <summary>What an answer may be, shared by any number of sessions of its model; they keep what they need of it
    /// when it is disposed of.</summary>
    public sealed class Constraint : IDisposable
    {
        private readonly ConstraintHandle handle;

        internal Constraint(ConstraintHandle handle)
        {
            this.handle = handle;
        }

        internal ConstraintHandle Handle => Rasp.Handle.Open(handle, this);

        public void Dispose() => handle.Dispose();
    }
}
