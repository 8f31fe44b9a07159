package io.github.raspengine.rasp;

/** Calls, their errors, and arrays that they fill. */
final class Call {
    private static final int MESSAGE_AT = Integer.BYTES;

    private static final ThreadLocal<byte[]> ERROR =
        ThreadLocal.withInitial(() -> new byte[MESSAGE_AT + Capi.RASP_ERROR_MESSAGE_SIZE]);

    private Call() {
    }

    /** A call that fills an array of a capacity and says how much it wanted. */
    interface Filling<A> {
        int call(A room, Capi.SizeT capacity, Capi.SizeT.Ref count);
    }

    /** How an array is made. */
    interface Making<A> {
        A of(int length);
    }

    /** How the start of an array is copied. */
    interface Copying<A> {
        A of(A array, int length);
    }

    /** A rasp_error of this thread's, which its next call may take. */
    static byte[] error() {
        return ERROR.get();
    }

    static RaspException failed(int status) {
        return new RaspException(status, Text.upToNul(error(), MESSAGE_AT));
    }

    /** The status of a call that was given error(). */
    static int checked(int status) {
        if (status < 0) {
            throw failed(status);
        }
        return status;
    }

    /** What a call fills, called again if the first guess is too small. */
    static <A> A filled(int guess, Making<A> make, Copying<A> copy, Filling<A> call) {
        int length = guess;
        while (true) {
            A room = make.of(length);
            Capi.SizeT.Ref count = new Capi.SizeT.Ref();
            int status = call.call(room, new Capi.SizeT(length), count);
            length = Math.toIntExact(count.value());
            if (status != Capi.RASP_ERROR_BUFFER_TOO_SMALL) {
                checked(status);
                return copy.of(room, length);
            }
        }
    }
}
