package io.github.raspengine.rasp;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.stream.Collectors;

final class AnswerTests {
    private static final List<String> WAYS = Arrays.asList("go left.", "go right.");

    private AnswerTests() {
    }

    public static void streaming() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            session.prefill(opened.tokens);
            List<String> pieces = new ArrayList<>();
            session.generate(16).forEach(pieces::add);
            String text = String.join("", pieces);
            Check.that(text.contains("Paris"), "no Paris");
            Check.that(pieces.size() > 8, "one piece a token");
            Iterator<String> none = session.generate(0).iterator();
            Check.that(!none.hasNext(), "no token");
            Check.fails(NoSuchElementException.class, none::next);
            session.rewind(opened.tokens.length);
            Check.equal(text, session.stream(16).collect(Collectors.joining()));
            Check.fails(IllegalArgumentException.class, () -> session.generate(-1));
            // Computed when it is asked for.
            int before = session.stats().tokens;
            session.generate(4);
            Check.equal(before, session.stats().tokens);
        }
    }

    public static void stopStrings() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            int[] tokens = opened.tokens;
            session.prefill(tokens);
            session.setStop("Paris", "never");
            String text = Tests.joined(session.generate(50));
            Check.that(!text.contains("Paris") && session.stats().tokens < 50, text);
            session.reset();
            session.prefill(tokens);
            Piece piece;
            do {
                piece = session.stepText();
            } while (piece.ended == Ended.NOT);
            Check.equal(Ended.STOP, piece.ended);
            // What could become a stop string is held back, until the answer is ended.
            session.setStop("Paris is not it");
            session.reset();
            session.prefill(tokens);
            Check.equal("", session.stepText().text.trim());
            Check.that(session.finishText().contains("Paris"), "held back");
            session.reset();
            session.prefill(tokens);
            Check.equal("Paris", Tests.joined(session.generate(1)).trim(), "held back at the limit");
            session.setStop();
            session.reset();
            session.prefill(tokens);
            Check.that(Tests.joined(session.generate(8)).contains("Paris"), "cleared");
            Check.fails(IllegalArgumentException.class, "NUL", () -> session.setStop("a\0b"));
            Check.fails(NullPointerException.class, () -> session.setStop("a", null));
            Check.fails(RaspException.class, () -> session.setStop(""));
            String[] many = Collections.nCopies(17, "a").toArray(new String[0]);
            Check.fails(Status.OUT_OF_RANGE, () -> session.setStop(many));
        }
    }

    public static void theEndOfAnAnswer() {
        try (Model model = new Model(Tests.PATH); Session session = model.open(new SessionOptions().context(128))) {
            session.prefill(model.chatTokenize(new ChatMessage("user", "Say yes.")));
            StringBuilder text = new StringBuilder();
            Piece piece;
            do {
                piece = session.stepText(true);
                text.append(piece.text);
            } while (piece.ended == Ended.NOT);
            Check.equal(Ended.TOKEN, piece.ended);
            Check.that(text.toString().endsWith("<|im_end|>"), text.toString());
        }
        try (Tests.Opened opened = new Tests.Opened(new SessionOptions().context(16))) {
            opened.session.prefill(opened.tokens);
            Check.that(Tests.joined(opened.session.generate()).contains("Paris"), "until the context is full");
            Check.equal(Ended.CONTEXT, opened.session.stepText().ended);
        }
    }

    public static void inSoMuchTime() {
        try (Tests.Opened opened = new Tests.Opened()) {
            Session session = opened.session;
            int[] tokens = opened.tokens;
            Duration little = Duration.ofNanos(10_000);
            session.prefill(tokens);
            String expected = Tests.joined(session.generate(8));
            session.reset();
            session.prefillBegin(tokens);
            Check.fails(Status.INVALID_STATE, session::save);
            int calls = 1;
            while (!session.prefillWithin(Duration.ZERO)) {
                calls++;
            }
            Check.that(calls > 10, "cut into parts");
            StringBuilder text = new StringBuilder();
            int pending = 0;
            int count = 0;
            while (count < 8) {
                Piece piece = session.stepTextWithin(little);
                if (piece == null) {
                    pending++;
                } else {
                    count++;
                    text.append(piece.text);
                }
            }
            Check.equal(expected, text + session.finishText());
            Check.that(pending > 10, "cut into parts");
            session.rewind(tokens.length);
            int first = session.step().id;
            session.reset();
            session.prefillBegin(tokens);
            Token token;
            do {
                token = session.stepWithin(little);
            } while (token == null);
            Check.equal(first, token.id);
            Check.fails(IllegalArgumentException.class, "budget", () -> session.stepWithin(Duration.ofNanos(-1)));
        }
    }

    public static void characters() {
        try (Model model = new Model(Tests.PATH)) {
            TextStream stream = new TextStream();
            StringBuilder got = new StringBuilder();
            String text = "Grüße, \ud83d\ude42, 日本";
            int waiting = 0;
            for (int token : model.tokenize(text)) {
                String piece = stream.push(model.tokenBytes(token));
                waiting += piece.isEmpty() ? 1 : 0;
                got.append(piece);
            }
            Check.equal(text, got.toString());
            Check.that(waiting > 0, "no token that is part of a character");
            byte[] start = Arrays.copyOf("日".getBytes(StandardCharsets.UTF_8), 1);
            Check.equal("", stream.push(start));
            Check.equal("", stream.push(new byte[0]));
            Check.equal("\ufffd", stream.finish());
            Check.fails(NullPointerException.class, () -> stream.push(null));
        }
    }

    private static String answer(Model model, Session session, String prompt) {
        session.reset();
        session.prefill(model.tokenize(prompt));
        return Tests.joined(session.generate(64));
    }

    public static void constraints() {
        String schema = "{\"type\": \"object\", \"properties\": {\"colour\": {\"enum\": [\"red\", \"green\"]},"
            + "\"count\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 9}},"
            + "\"required\": [\"colour\", \"count\"], \"additionalProperties\": false}";
        try (Model model = new Model(Tests.PATH); Session session = model.open(new SessionOptions().context(128))) {
            Constraint constraint = model.constraint(ConstraintKind.JSON_SCHEMA, schema);
            session.setConstraint(constraint);
            constraint.close();
            constraint.close();
            Check.fails(IllegalStateException.class, "this constraint is closed",
                () -> session.setConstraint(constraint));
            String json = answer(model, session, "As JSON, five green apples:");
            Check.that(json.matches("\\{\"colour\": \"(red|green)\", \"count\": [1-9]\\}"), json);
            session.setConstraint(model.constraint(ConstraintKind.REGEX, "[0-9]{3}-[a-z]{2}"));
            Check.that(answer(model, session, "The code is ").matches("[0-9]{3}-[a-z]{2}"), "regex");
            String grammar = "start: \"go \" (\"left\" | \"right\") \".\"";
            session.setConstraint(model.constraint(ConstraintKind.GRAMMAR, grammar));
            Check.that(WAYS.contains(answer(model, session, "Directions:")), "grammar");
            session.setConstraint(null);
            Check.that(!WAYS.contains(answer(model, session, "Directions:")), "no constraint");
            Check.fails(RaspException.class, "colour",
                () -> model.constraint(ConstraintKind.JSON_SCHEMA, "{\"type\": \"colour\"}"));
            Check.fails(NullPointerException.class, () -> model.constraint(ConstraintKind.REGEX, null));
            try (Model other = new Model(Tests.PATH);
                Constraint strange = other.constraint(ConstraintKind.REGEX, "a")) {
                Check.fails(RaspException.class, "another model", () -> session.setConstraint(strange));
            }
        }
    }
}
