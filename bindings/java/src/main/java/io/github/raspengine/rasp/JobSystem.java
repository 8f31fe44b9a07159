package io.github.raspengine.rasp;

import com.sun.jna.Function;
import com.sun.jna.Pointer;
import java.util.function.IntConsumer;

/** What C calls to have parts of work done. */
final class JobSystem implements Capi.rasp_run_callback {
    private final RunCallback run;
    final Thrown thrown = new Thrown();
    // Of the last call: a session makes hundreds for a token, one after the other.
    private Pointer job;
    private Function function;

    JobSystem(RunCallback run) {
        this.run = run;
    }

    @Override
    public void invoke(Pointer context, Pointer asked, Pointer data, int parts) {
        try {
            if (!asked.equals(job)) {
                function = Function.getFunction(asked);
                job = asked;
            }
            Function called = function;
            IntConsumer part = number -> called.invoke(void.class, new Object[] {data, number});
            run.run(part, parts);
        } catch (Throwable throwable) {
            thrown.add(throwable);
        }
    }
}
