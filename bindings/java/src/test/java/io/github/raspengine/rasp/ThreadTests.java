package io.github.raspengine.rasp;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;

final class ThreadTests {
    private ThreadTests() {
    }

    private static void sleep(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException exception) {
            throw new IllegalStateException(exception);
        }
    }

    public static void cancelFromAnotherThread() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            session.prefill(opened.tokens);
            CompletableFuture.runAsync(() -> {
                sleep(50);
                session.cancel();
            });
            RaspException caught = Check.fails(RaspException.class, () -> {
                while (true) {
                    Tests.joined(session.generate(50));
                    session.reset();
                    session.prefill(opened.tokens);
                }
            });
            Check.equal(Status.CANCELLED, caught.code());
            Check.equal("cancelled", caught.name());
            session.reset();
            session.prefill(opened.tokens);
            Check.that(Tests.joined(session.generate(8)).contains("Paris"), "goes on");
        }
    }

    private static boolean refused(Runnable call) {
        try {
            call.run();
            return false;
        } catch (RaspException exception) {
            Check.equal(Status.INVALID_STATE, exception.code());
            return true;
        }
    }

    public static void aSecondCallAtOnce() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            int[] many = new int[24 * opened.tokens.length];
            for (int n = 0; n < many.length; n++) {
                many[n] = opened.tokens[n % opened.tokens.length];
            }
            boolean refused = false;
            // Whichever of the two came second; or neither, where one thread has to wait for the other to begin.
            for (int n = 0; n < 50 && !refused; n++) {
                session.reset();
                CompletableFuture<Boolean> first =
                    CompletableFuture.supplyAsync(() -> refused(() -> session.prefill(many)));
                while (!first.isDone() && !refused) {
                    refused = refused(session::clearStats);
                }
                refused |= first.join();
            }
            Check.that(refused, "no second call at once");
            session.reset();
            session.prefill(opened.tokens);
            Check.that(Tests.joined(session.generate(8)).contains("Paris"), "goes on");
        }
    }

    public static void closedDuringACall() throws Exception {
        for (int n = 0; n < 10; n++) {
            Tests.Opened opened = new Tests.Opened();
            Session session = opened.session;
            session.prefill(opened.tokens);
            CountDownLatch began = new CountDownLatch(1);
            CompletableFuture<Throwable> working = CompletableFuture.supplyAsync(() -> {
                try {
                    began.countDown();
                    while (true) {
                        Tests.joined(session.generate(20));
                    }
                } catch (Throwable throwable) {
                    return throwable;
                }
            });
            began.await();
            sleep(n);
            session.close();
            Check.that(working.get() instanceof IllegalStateException, working.get().toString());
            Check.that(session.handle.freed(), "not freed when the call was done");
        }
    }

    public static void aModelOnSeveralThreads() {
        try (Model model = new Model(Tests.PATH)) {
            String expected = Tests.answer(model, 8);
            List<CompletableFuture<String>> all = new ArrayList<>();
            for (int n = 0; n < 4; n++) {
                all.add(CompletableFuture.supplyAsync(() -> Tests.answer(model, 8)));
            }
            for (CompletableFuture<String> one : all) {
                Check.equal(expected, one.join());
            }
        }
    }
}
