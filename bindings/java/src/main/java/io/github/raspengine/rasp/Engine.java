package io.github.raspengine.rasp;

import com.sun.jna.Native;
import com.sun.jna.Platform;

/** The library. */
public final class Engine {
    private static final int ABI_VERSION = 1;

    static final Capi C = load();

    private Engine() {
    }

    /** Version of the library, such as "0.1.0". */
    public static String version() {
        return C.rasp_version();
    }

    /** Version of its binary interface. */
    public static int abiVersion() {
        return C.rasp_abi_version();
    }

    /** $RASP_LIBRARY, or what JNA finds: in a jar, in jna.library.path, where the system looks. */
    private static Capi load() {
        String path = System.getenv("RASP_LIBRARY");
        Capi library;
        if (path != null && !path.isEmpty()) {
            library = Native.load(path, Capi.class);
        } else {
            try {
                library = Native.load("rasp", Capi.class);
            } catch (UnsatisfiedLinkError error) {
                // What is installed without headers has this name alone.
                if (!Platform.isLinux()) {
                    throw error;
                }
                try {
                    library = Native.load("librasp.so." + ABI_VERSION, Capi.class);
                } catch (UnsatisfiedLinkError other) {
                    error.addSuppressed(other);
                    throw error;
                }
            }
        }
        if (library.rasp_abi_version() != ABI_VERSION) {
            String version = library.rasp_version();
            throw new UnsatisfiedLinkError("rasp " + version + " has another binary interface than this");
        }
        return library;
    }
}
