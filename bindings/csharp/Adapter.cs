using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Rasp
{
    /// <summary>What an adapter is: its largest rank, how many linears it adds to, and the bytes that every token
    /// reads.</summary>
    public sealed class AdapterInfo
    {
        internal AdapterInfo(Native.rasp_adapter_info raw)
        {
            Name = Text.Of(raw.name, 0, raw.name.Length);
            Rank = (int)raw.rank;
            Linears = (int)raw.linears;
            Bytes = (long)raw.bytes;
        }

        public string Name { get; }
        public int Rank { get; }
        public int Linears { get; }
        public long Bytes { get; }
    }

    /// <summary>A loaded LoRA adapter, shared by any number of sessions; they keep what they need of it when it is
    /// disposed of.</summary>
    public sealed class Adapter : IDisposable
    {
        private readonly AdapterHandle handle;

        internal Adapter(AdapterHandle handle)
        {
            this.handle = handle;
        }

        internal AdapterHandle Handle => Rasp.Handle.Open(handle, this);

        /// <summary>What the adapter is.</summary>
        public AdapterInfo Info
        {
            get
            {
                var raw = new Native.rasp_adapter_info();
                Native.rasp_adapter_info_init(ref raw);
                Call.Checked(Native.rasp_adapter_get_info(Handle, ref raw, Call.Error));
                return new AdapterInfo(raw);
            }
        }

        public void Dispose() => handle.Dispose();
    }

    // Adapters of a model.
    public sealed partial class Model
    {
        /// <summary>Maps an adapter's file, which `rasp pack-adapter` made, for this model and others of its
        /// shape.</summary>
        public Adapter Adapter(string path)
        {
            byte[] bytes = Text.Terminated(path, nameof(path));
            Call.Checked(Native.rasp_adapter_load(Handle, bytes, out IntPtr adapter, Call.Error));
            return new Adapter(new AdapterHandle(adapter, null));
        }

        /// <summary>Uses the bytes of an adapter's file, which must not change while it is in use.</summary>
        public Adapter AdapterFromBytes(byte[] data)
        {
            if (data == null) throw new ArgumentNullException(nameof(data));
            var pinned = new Keep(data, GCHandleType.Pinned);
            try
            {
                Call.Checked(Native.rasp_adapter_load_bytes(Handle, pinned.Address, Text.Size(data.Length),
                    out IntPtr adapter, Call.Error));
                var made = new Adapter(new AdapterHandle(adapter, pinned));
                pinned = null;
                return made;
            }
            finally
            {
                Keep.Released(pinned);
            }
        }

        /// <summary>Maps an adapter inside a file that is open, as FromFile does a model.</summary>
        public Adapter AdapterFromFile(SafeHandle file, long offset = 0, long length = 0)
        {
            if (file == null) throw new ArgumentNullException(nameof(file));
            bool held = false;
            try
            {
                file.DangerousAddRef(ref held);
                Call.Checked(Native.rasp_adapter_load_fd(Handle, file.DangerousGetHandle().ToInt64(),
                    checked((ulong)offset), checked((ulong)length), out IntPtr adapter, Call.Error));
                return new Adapter(new AdapterHandle(adapter, null));
            }
            finally
            {
                if (held) file.DangerousRelease();
            }
        }
    }

    // Adapters of a session.
    public sealed partial class Session
    {
        /// <summary>Has tokens pass with these adapters from now on, each times its scale (null: 1 for all), in the
        /// place of those before; none: the model alone. What has passed stays as it is.</summary>
        public void SetAdapters(IReadOnlyList<Adapter> adapters, IReadOnlyList<float> scales = null)
        {
            if (adapters == null) throw new ArgumentNullException(nameof(adapters));
            if (scales != null && scales.Count != adapters.Count)
            {
                throw new ArgumentException($"{adapters.Count} adapters have {scales.Count} scales", nameof(scales));
            }
            var held = new List<AdapterHandle>();
            try
            {
                var raw = new IntPtr[adapters.Count];
                var data = new Keep[adapters.Count];
                for (int n = 0; n < raw.Length; n++)
                {
                    AdapterHandle one = adapters[n].Handle;
                    bool done = false;
                    one.DangerousAddRef(ref done);
                    held.Add(one);
                    raw[n] = one.DangerousGetHandle();
                    data[n] = one.Data;
                }
                SessionHandle own = Handle;
                Done(Native.rasp_session_set_adapters(own, raw, scales == null ? null : Text.Listed(scales,
                    nameof(scales)), Text.Size(raw.Length), Call.Error));
                own.Adapters = data;
            }
            finally
            {
                foreach (AdapterHandle one in held) one.DangerousRelease();
            }
        }
    }
}
