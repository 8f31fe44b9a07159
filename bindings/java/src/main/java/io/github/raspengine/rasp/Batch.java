package io.github.raspengine.rasp;

import com.sun.jna.Pointer;

/** Several sessions over one model in one step. */
public final class Batch {
    private Batch() {
    }

    /**
     * Step of all sessions, in which the weights are read once for all of them. A session that fails does not disturb
     * the others.
     */
    public static BatchStep[] step(Session... sessions) {
        int count = sessions.length;
        Pointer[] pointers = new Pointer[count];
        int[] tokens = new int[count];
        int[] statuses = new int[count];
        int begun = 0;
        int status;
        try {
            for (; begun < count; begun++) {
                pointers[begun] = sessions[begun].handle.begin();
            }
            status = Engine.C.rasp_step_batch(pointers, new Capi.SizeT(count), tokens, statuses, Call.error());
        } finally {
            for (int n = 0; n < begun; n++) {
                sessions[n].handle.done();
            }
        }
        BatchStep[] steps = new BatchStep[count];
        for (int n = 0; n < count; n++) {
            Throwable error = null;
            if (statuses[n] < 0 && statuses[n] == status) {
                // Words come for the first that failed; the others have a name.
                error = Call.failed(status);
                status = Capi.RASP_OK;
            } else if (statuses[n] < 0) {
                error = new RaspException(statuses[n], null);
            }
            Throwable threw = sessions[n].threw();
            error = threw == null ? error : threw;
            steps[n] = new BatchStep(error == null ? new Token(tokens[n], statuses[n]) : null, error);
        }
        return steps;
    }
}
