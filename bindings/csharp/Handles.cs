using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace Rasp
{
    // Something that the library looks at while a model or its sessions live: the bytes of a file in memory, what a
    // callback is called with. Each of them holds one share.
    internal sealed class Keep
    {
        private GCHandle held;
        private int shares = 1;

        internal Keep(object what, GCHandleType how)
        {
            held = GCHandle.Alloc(what, how);
        }

        // For a callback, which finds the object by it.
        internal IntPtr Context => GCHandle.ToIntPtr(held);

        // Of the first element of an array that is pinned.
        internal IntPtr Address => held.AddrOfPinnedObject();

        internal static Keep Shared(Keep keep)
        {
            if (keep != null) Interlocked.Increment(ref keep.shares);
            return keep;
        }

        internal static void Released(Keep keep)
        {
            if (keep != null && Interlocked.Decrement(ref keep.shares) == 0) keep.held.Free();
        }
    }

    // A handle of the library's. One that is given back during a call is freed when the call is done.
    internal abstract class Handle : SafeHandle
    {
        protected Handle(IntPtr pointer) : base(IntPtr.Zero, true)
        {
            SetHandle(pointer);
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        // Throws if it has been given back, with the name of what users know.
        internal static T Open<T>(T handle, object of) where T : Handle
        {
            if (handle.IsClosed) throw new ObjectDisposedException(of.GetType().Name);
            return handle;
        }
    }

    internal sealed class ModelHandle : Handle
    {
        internal readonly Keep Log;
        internal readonly Keep Data;

        internal ModelHandle(IntPtr pointer, Keep log, Keep data) : base(pointer)
        {
            Log = log;
            Data = data;
        }

        // A second reference to the same model, which is held during the call.
        internal ModelHandle Again()
        {
            Native.rasp_model_retain(this);
            return new ModelHandle(handle, Keep.Shared(Log), Keep.Shared(Data));
        }

        protected override bool ReleaseHandle()
        {
            Native.rasp_free(handle);
            Keep.Released(Log);
            Keep.Released(Data);
            return true;
        }
    }

    internal sealed class SessionHandle : Handle
    {
        // Of the model, whose sessions outlive it.
        internal readonly Keep Log;
        internal readonly Keep Data;
        internal readonly Keep Run;
        internal readonly Keep Hook;
        // A reference of its own, by which answers are told apart.
        internal readonly ModelHandle Model;
        // Bytes of the adapters that are set.
        private Keep[] adapters;

        internal SessionHandle(IntPtr pointer, ModelHandle model, Keep[] adapters, Keep run, Keep hook) : base(pointer)
        {
            Log = Keep.Shared(model.Log);
            Data = Keep.Shared(model.Data);
            Run = run;
            Hook = hook;
            Model = model.Again();
            this.adapters = Array.ConvertAll(adapters, Keep.Shared);
        }

        internal Keep[] Adapters
        {
            get => adapters;
            set
            {
                Keep[] before = adapters;
                adapters = Array.ConvertAll(value, Keep.Shared);
                Array.ForEach(before, Keep.Released);
            }
        }

        protected override bool ReleaseHandle()
        {
            bool closed = Native.rasp_session_close(handle) >= 0;
            // What is still open still looks at them.
            if (!closed) return false;
            Keep.Released(Log);
            Keep.Released(Data);
            Keep.Released(Run);
            Keep.Released(Hook);
            Array.ForEach(adapters, Keep.Released);
            Model.Dispose();
            return true;
        }
    }

    internal sealed class ConstraintHandle : Handle
    {
        // No constraint.
        internal static readonly ConstraintHandle None = new ConstraintHandle(IntPtr.Zero);

        internal ConstraintHandle(IntPtr pointer) : base(pointer)
        {
        }

        protected override bool ReleaseHandle()
        {
            Native.rasp_constraint_free(handle);
            return true;
        }
    }

    internal sealed class AdapterHandle : Handle
    {
        // Its bytes, if they are in memory.
        internal readonly Keep Data;

        internal AdapterHandle(IntPtr pointer, Keep data) : base(pointer)
        {
            Data = data;
        }

        protected override bool ReleaseHandle()
        {
            Native.rasp_adapter_free(handle);
            Keep.Released(Data);
            return true;
        }
    }

    internal sealed class ReplyHandle : Handle
    {
        // The model's bytes, if they are in memory: a reply looks at them as long as it lives.
        private readonly Keep data;

        internal ReplyHandle(IntPtr pointer, ModelHandle model) : base(pointer)
        {
            data = Keep.Shared(model.Data);
        }

        protected override bool ReleaseHandle()
        {
            bool freed = Native.rasp_reply_free(handle) >= 0;
            if (freed) Keep.Released(data);
            return freed;
        }
    }
}
