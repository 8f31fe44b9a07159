package io.github.raspengine.rasp;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

final class SessionTests {
    private SessionTests() {
    }

    public static void stepsAndLogits() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            int[] tokens = opened.tokens;
            Check.fails(Status.INVALID_STATE, session::step);
            session.prefill(tokens);
            float[] logits = session.logits();
            Token first = session.step();
            for (float one : logits) {
                Check.that(one <= logits[first.id], "the largest logit");
            }
            Check.that(!first.end, "goes on");
            float own = session.logProb(first.id);
            LogProb[] likeliest = session.likeliest(3);
            Check.equal(3, likeliest.length);
            Check.equal(first.id, likeliest[0].token);
            Check.equal(own, likeliest[0].value);
            Check.that(0 >= own && own >= likeliest[1].value && likeliest[1].value >= likeliest[2].value, "order");
            Check.equal(0, session.likeliest(0).length);
            Check.fails(RaspException.class, "token 0 has id", () -> session.logProb(1 << 30));
            session.setLogitBias(Collections.singletonMap(first.id, Float.NEGATIVE_INFINITY));
            session.reset();
            session.prefill(tokens);
            Check.that(session.step().id != first.id, "a forbidden token came");
            session.setLogitBias(Collections.emptyMap());
            session.reset();
            session.prefill(tokens);
            Check.equal(first.id, session.step().id);
            session.decode(tokens[0]);
            Check.equal(tokens.length + 1, session.stats().tokens);
            Check.fails(RaspException.class, () -> session.decode(-1));
            Check.fails(RaspException.class, session::prefill);
            Check.fails(NullPointerException.class, () -> session.prefill((int[]) null));
        }
    }

    public static void aFullContext() {
        try (Tests.Opened opened = new Tests.Opened(new SessionOptions().context(16))) {
            Session session = opened.session;
            session.prefill(opened.tokens);
            RaspException caught = Check.fails(RaspException.class, () -> {
                while (!session.step().end) {
                    continue;
                }
            });
            Check.equal(Status.CONTEXT_FULL, caught.code());
            Check.equal("context full", caught.name());
            session.shift(1, 4);
            Check.that(!session.step().end, "there is room");
            Check.fails(IllegalArgumentException.class, () -> session.shift(-1, 2));
            Check.fails(Status.OUT_OF_RANGE, () -> session.shift(1, 100));
        }
    }

    public static void samplers() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            Sampling twice = new Sampling().order(Stage.XTC, Stage.XTC);
            Check.fails(RaspException.class, "xtc comes twice", () -> session.setSampling(twice));
            Check.fails(IllegalArgumentException.class, "stages", () -> new Sampling().order(new Stage[8]));
            Check.fails(RaspException.class, "typical_p", () -> session.setSampling(new Sampling().typicalP(2)));
            Check.fails(IllegalArgumentException.class, "topK", () -> new Sampling().topK(-1));
            Sampling[] all = {new Sampling(), new Sampling().frequencyPenalty(2),
                new Sampling().dryMultiplier(5).dryWindow(64), new Sampling().temperature(1).mirostatTau(3),
                new Sampling().temperature(2).order(Stage.TOP_K).topK(50).xtcProbability(1)};
            Set<String> texts = new HashSet<>();
            for (Sampling settings : all) {
                session.setSampling(settings);
                session.reset();
                session.prefill(opened.tokens);
                texts.add(Tests.joined(session.generate(24)));
            }
            Check.that(texts.size() >= 4, "samplers do nothing");
        }
    }

    public static void settings() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            session.setSparsity(0.5f);
            session.setSampling(new Sampling().temperature(1).seed(3));
            List<String> texts = new ArrayList<>();
            for (int n = 0; n < 2; n++) {
                session.reset();
                session.prefill(opened.tokens);
                texts.add(Tests.joined(session.generate(8)));
            }
            Check.equal(texts.get(0), texts.get(1));
            SessionStats stats = session.stats();
            Check.that(stats.kept < 0.9 && stats.sparsity == 0.5f && stats.decodedTokens > 8 && stats.units > 0
                && stats.linearBytesRead > 0 && stats.headBytesRead > 0 && stats.context == 128, "stats");
            session.clearStats();
            Check.equal(0L, session.stats().decodedTokens);
            Check.fails(Status.OUT_OF_RANGE, () -> session.setSparsity(2));
            // A deadline that no token keeps.
            session.setDeadline(Duration.ofNanos(1), 0, 0.5f);
            Tests.joined(session.generate(4));
            Check.that(session.stats().lateTokens > 0, "late tokens");
            session.setDeadline(Duration.ZERO, 0, 0);
            Check.fails(RaspException.class, () -> session.setDeadline(Duration.ofSeconds(1), 0.5f, 0.2f));
            Check.fails(IllegalArgumentException.class, () -> session.setDeadline(Duration.ofSeconds(-1), 0, 0));
        }
    }

    public static void states() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            session.prefill(opened.tokens);
            byte[] state = session.save();
            String text = Tests.joined(session.generate(8));
            Check.that(text.contains("Paris"), text);
            session.rewind(opened.tokens.length);
            Check.equal(text, Tests.joined(session.generate(8)), "rewound");
            session.restore(state);
            Check.equal(text, Tests.joined(session.generate(8)), "restored");
            Check.fails(Status.BAD_STATE, () -> session.restore(Arrays.copyOf(state, state.length - 1)));
            Check.fails(NullPointerException.class, () -> session.restore(null));
            Check.fails(IllegalArgumentException.class, () -> session.rewind(-1));
            session.restore(state);
            try (Session fork = session.fork();
                Session small = session.fork(new SessionOptions().context(32).kv(KvType.F32))) {
                Check.equal(128, fork.stats().context);
                Check.equal(32, small.stats().context);
                session.reset();
                Check.equal(text, Tests.joined(fork.generate(8)), "forked");
                Check.equal(text, Tests.joined(small.generate(8)), "forked, smaller");
                Check.fails(Status.CONTEXT_FULL, () -> fork.fork(new SessionOptions().context(4).kv(KvType.F32)));
            }
        }
    }

    private static double product(float[] one, float[] other) {
        double sum = 0;
        for (int n = 0; n < one.length; n++) {
            sum += one[n] * other[n];
        }
        return sum;
    }

    public static void vectors() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            float[] vector = session.embed(opened.tokens);
            Check.equal(576, vector.length);
            Check.that(Math.abs(product(vector, vector) - 1) < 1e-3, "length");
            Check.that(product(vector, session.embed(opened.tokens, Pooling.LAST, true)) < 0.999, "pooling");
            float[] whole = session.embed(opened.tokens, Pooling.MEAN, false);
            Check.that(Math.abs(product(whole, whole) - 1) > 0.1, "not normalised");
            session.prefill(opened.tokens);
            Check.fails(Status.INVALID_STATE, () -> session.embed(opened.tokens));
        }
    }

    public static void draftsChangeNoToken() {
        try (Model model = new Model(Tests.PATH)) {
            int[] prompt = model.tokenize(Tests.repeated("1, 2, 3, 4, 5, ", 3) + "1, 2,");
            List<List<Integer>> answers = new ArrayList<>();
            for (int drafts : new int[] {0, 7}) {
                try (Session session = model.open(new SessionOptions().context(128).drafts(drafts))) {
                    session.prefill(prompt);
                    List<Integer> answer = new ArrayList<>();
                    for (int n = 0; n < 24; n++) {
                        answer.add(session.step().id);
                    }
                    answers.add(answer);
                    SessionStats stats = session.stats();
                    Check.equal(drafts > 0, stats.acceptedTokens > 0, "accepted");
                    Check.that(stats.draftedTokens >= stats.acceptedTokens, "drafted");
                    Check.fails(Status.OUT_OF_RANGE, () -> session.setDrafts(EnumSet.of(DraftKind.LOOKUP), drafts + 1));
                    session.setDrafts(EnumSet.allOf(DraftKind.class), drafts, prompt);
                    session.setDrafts(EnumSet.noneOf(DraftKind.class), 0);
                    long drafted = session.stats().draftedTokens;
                    session.step();
                    Check.equal(drafted, session.stats().draftedTokens);
                }
            }
            Check.equal(answers.get(0), answers.get(1));
        }
    }

    public static void severalInOneStep() {
        try (Model model = new Model(Tests.PATH);
            Session one = model.open(new SessionOptions().context(64));
            Session two = model.open(new SessionOptions().context(64));
            Session full = model.open(new SessionOptions().context(2));
            Session alone = model.open(new SessionOptions().context(64))) {
            int[] prompt = model.tokenize(Tests.PROMPT);
            int[] other = model.tokenize("One, two, three,");
            one.prefill(prompt);
            alone.prefill(prompt);
            two.prefill(other);
            full.prefill(Arrays.copyOf(prompt, 2));
            for (int n = 0; n < 4; n++) {
                BatchStep[] steps = Batch.step(one, full, two);
                Check.equal(alone.step().id, steps[0].token().id);
                Check.equal(Status.CONTEXT_FULL, ((RaspException) steps[1].error).code());
                Check.fails(RaspException.class, "context full", steps[1]::token);
                Check.that(steps[2].error == null && !steps[2].token().end, "goes on");
            }
            Check.equal(other.length + 4, two.stats().tokens);
            for (BatchStep step : Batch.step(one, one)) {
                Check.equal(Status.INVALID_ARGUMENT, ((RaspException) step.error).code(), "given twice");
            }
            Check.equal(0, Batch.step().length);
            Check.fails(NullPointerException.class, () -> Batch.step(one, null));
            // What was begun for nothing is done.
            Check.that(!one.step().end, "goes on");
        }
    }

    public static void closed() {
        Tests.Opened opened = new Tests.Opened();
        Session session = opened.session;
        session.close();
        session.close();
        String words = "this session is closed";
        Check.fails(IllegalStateException.class, words, () -> session.prefill(opened.tokens));
        Check.fails(IllegalStateException.class, words, session::step);
        Check.fails(IllegalStateException.class, words, session::cancel);
        Check.fails(IllegalStateException.class, words, session::fork);
        Check.fails(IllegalStateException.class, words, session::logits);
        Check.fails(IllegalStateException.class, words, () -> Tests.joined(session.generate(1)));
        Check.fails(IllegalStateException.class, words, () -> Batch.step(session));
    }
}
