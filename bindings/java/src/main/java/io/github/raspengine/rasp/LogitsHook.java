package io.github.raspengine.rasp;

import com.sun.jna.Pointer;
import java.lang.ref.WeakReference;

/**
 * What looks at a session's logits. The session holds it, C a weak reference to it: a callback often knows its session,
 * which could else never be collected.
 */
final class LogitsHook {
    LogitsCallback callback;
    final Thrown thrown = new Thrown();
    private float[] logits = new float[0];

    /** What C calls. */
    static final class Entry implements Capi.rasp_logits_callback {
        private final WeakReference<LogitsHook> hook;

        Entry(LogitsHook hook) {
            this.hook = new WeakReference<>(hook);
        }

        @Override
        public int invoke(Pointer context, Pointer logits, Capi.SizeT vocabulary, Pointer tokens, Capi.SizeT count) {
            LogitsHook found = hook.get();
            try {
                return found.chosen(logits, vocabulary.intValue(), tokens, count.intValue());
            } catch (Throwable throwable) {
                if (found != null) {
                    found.thrown.add(throwable);
                }
                // No token: the step fails, and has appended nothing.
                return Integer.MIN_VALUE;
            }
        }
    }

    private int chosen(Pointer place, int vocabulary, Pointer tokens, int count) {
        if (logits.length != vocabulary) {
            logits = new float[vocabulary];
        }
        place.read(0, logits, 0, vocabulary);
        Integer chosen = callback.choose(logits, tokens.getIntArray(0, count));
        if (chosen != null) {
            // One that C would take for none.
            return Text.natural(chosen, "the token that was chosen");
        }
        place.write(0, logits, 0, vocabulary);
        return Capi.RASP_LOGITS_SAMPLE;
    }
}
