package io.github.raspengine.rasp;

import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

final class CallbackTests {
    private CallbackTests() {
    }

    private static final class Mine extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    public static void logs() {
        List<LogLevel> heard = new ArrayList<>();
        LoadOptions options = new LoadOptions().logLevel(LogLevel.DEBUG).log((level, words) -> {
            Check.that(!words.isEmpty(), "no words");
            heard.add(level);
        });
        Session session;
        try (Model model = new Model(Tests.PATH, options)) {
            Check.that(heard.contains(LogLevel.INFO), "of loading");
            int before = heard.size();
            model.open(new SessionOptions().context(32)).close();
            Check.that(heard.size() > before && heard.get(heard.size() - 1) == LogLevel.DEBUG, "of opening");
            session = model.open(new SessionOptions().context(32));
        }
        // The model is gone and what heard of it is not: a fork opens a session.
        options = null;
        System.gc();
        int now = heard.size();
        session.fork().close();
        Check.that(heard.size() > now, "of forking");
        session.close();
        LoadOptions always = new LoadOptions().log((level, words) -> {
            throw new Mine();
        });
        Check.fails(Mine.class, () -> new Model(Tests.PATH, always));
        AtomicBoolean failing = new AtomicBoolean();
        LoadOptions sometimes = new LoadOptions().logLevel(LogLevel.DEBUG).log((level, words) -> {
            if (failing.get()) {
                throw new Mine();
            }
        });
        try (Model model = new Model(Tests.PATH, sometimes)) {
            failing.set(true);
            Check.fails(Mine.class, model::open);
            failing.set(false);
            model.open().close();
        }
    }

    public static void aJobSystem() {
        try (Model model = new Model(Tests.PATH)) {
            String expected = Tests.answer(model, 8);
            int[] prompt = model.tokenize(Tests.PROMPT);
            AtomicInteger asked = new AtomicInteger();
            SessionOptions options = new SessionOptions().context(128).threads(2);
            options.run((job, parts) -> {
                asked.incrementAndGet();
                IntStream.range(0, parts).parallel().forEach(job);
            });
            try (Session session = model.open(options)) {
                options.run(null);
                System.gc();
                session.prefill(prompt);
                Check.equal(expected, Tests.joined(session.generate(8)));
                Check.that(asked.get() > 100, "asked");
            }
            AtomicBoolean failing = new AtomicBoolean(true);
            options.run((job, parts) -> {
                if (failing.get()) {
                    throw new Mine();
                }
                IntStream.range(0, parts).forEach(job);
            });
            try (Session session = model.open(options)) {
                Check.fails(Mine.class, () -> session.prefill(prompt));
                failing.set(false);
                session.prefill(prompt);
                Check.equal(expected, Tests.joined(session.generate(8)));
            }
        }
    }

    public static void logits() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            int[] tokens = opened.tokens;
            session.prefill(tokens);
            int usual = session.step().id;
            session.reset();
            session.prefill(tokens);
            AtomicInteger calls = new AtomicInteger();
            session.setLogitsCallback((logits, all) -> {
                Check.equal(tokens.length + calls.getAndIncrement(), all.length);
                Check.equal(tokens, Arrays.copyOf(all, tokens.length));
                logits[usual] = Float.NEGATIVE_INFINITY;
                return null;
            });
            System.gc();
            Check.that(session.step().id != usual, "forbidden");
            Check.that(session.step().id != usual, "forbidden");
            Check.equal(2, calls.get());
            session.setLogitsCallback((logits, all) -> 42);
            Check.equal(42, session.step().id);
            int before = session.stats().tokens;
            session.setLogitsCallback((logits, all) -> {
                throw new Mine();
            });
            Check.fails(Mine.class, session::step);
            Check.fails(Mine.class, () -> Tests.joined(session.generate(2)));
            Check.fails(Mine.class, () -> Batch.step(session)[0].token());
            session.setLogitsCallback((logits, all) -> -5);
            Check.fails(IllegalArgumentException.class, session::step);
            session.setLogitsCallback((logits, all) -> Integer.MAX_VALUE);
            Check.fails(Status.OUT_OF_RANGE, session::step);
            session.setLogitsCallback((logits, all) -> session.step().id);
            Check.fails(Status.INVALID_STATE, session::step);
            Check.equal(before, session.stats().tokens);
            session.setLogitsCallback(null);
            session.rewind(tokens.length);
            Check.equal(usual, session.step().id);
        }
    }

    private static WeakReference<Session> abandoned(Model model) {
        Session session = model.open(new SessionOptions().context(32));
        session.prefill(model.tokenize(Tests.PROMPT));
        // A callback that knows its session does not keep it.
        session.setLogitsCallback((logits, all) -> session.handle == null ? 1 : null);
        session.step();
        return new WeakReference<>(session);
    }

    /**
     * How many handles are open when the collector has found what it does, of those that nobody holds at most so many.
     */
    private static int open(Model model, int wanted) {
        int open = Integer.MAX_VALUE;
        // The collector says of them when it pleases.
        for (int n = 0; n < 50 && open > wanted; n++) {
            System.gc();
            // Any call frees them.
            model.isEnd(0);
            open = Handle.open();
        }
        return open;
    }

    public static void nobodyHoldsThem() {
        try (Model model = new Model(Tests.PATH)) {
            // Of other tests, too.
            int before = open(model, 1);
            List<WeakReference<Session>> gone = new ArrayList<>();
            for (int n = 0; n < 20; n++) {
                gone.add(abandoned(model));
            }
            int left = open(model, before) - before;
            Check.that(left <= 2, "sessions that nobody holds are still open: " + left);
            Check.that(gone.stream().filter(one -> one.get() == null).count() >= 18, "and still there");
        }
    }
}
