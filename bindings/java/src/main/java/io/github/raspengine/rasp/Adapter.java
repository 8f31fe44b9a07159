package io.github.raspengine.rasp;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;

/** A loaded LoRA adapter, shared by any number of sessions; they keep what they need of it when it closes. */
public final class Adapter implements AutoCloseable {
    /** Keeps the bytes of an adapter in memory, or null. */
    final Handle handle;

    interface Loading {
        int load(Pointer model, PointerByReference adapter, byte[] error);
    }

    Adapter(Model model, Object data, Loading loading) {
        PointerByReference adapter = new PointerByReference();
        model.handle.call(of -> Call.checked(loading.load(of, adapter, Call.error())));
        handle = new Handle(this, "adapter", adapter.getValue(), Engine.C::rasp_adapter_free, data);
    }

    /** What the adapter is. */
    public AdapterInfo info() {
        Capi.rasp_adapter_info raw = new Capi.rasp_adapter_info();
        Engine.C.rasp_adapter_info_init(raw);
        handle.call(adapter -> Call.checked(Engine.C.rasp_adapter_get_info(adapter, raw, Call.error())));
        return new AdapterInfo(raw);
    }

    @Override
    public void close() {
        handle.close();
    }
}
