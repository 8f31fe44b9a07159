using System;

namespace Rasp
{
    /// <summary>How a constraint is written: as a JSON schema, a regular expression in the syntax of Rust's crate
    /// regex, or a grammar in llguidance's variant of Lark.</summary>
    public enum ConstraintKind
    {
        JsonSchema = Native.RASP_CONSTRAINT_JSON_SCHEMA,
        Regex = Native.RASP_CONSTRAINT_REGEX,
        Grammar = Native.RASP_CONSTRAINT_GRAMMAR,
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
