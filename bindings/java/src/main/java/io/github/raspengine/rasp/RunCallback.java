package io.github.raspengine.rasp;

import java.util.function.IntConsumer;

/**
 * A job system: calls a job with every part from 0 to parts - 1, each once, on any threads, and returns when all have
 * returned. It must not use the session.
 */
@FunctionalInterface
public interface RunCallback {
    void run(IntConsumer job, int parts);
}
