package io.github.raspengine.rasp;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

final class ChatTests {
    private static final String TOOLS = "[{\"type\": \"function\", \"function\": {\"name\": \"weather\", "
        + "\"parameters\": {\"type\": \"object\", \"properties\": {\"unit\": {\"enum\": [\"C\", \"F\"]}}, "
        + "\"required\": [\"unit\"], \"additionalProperties\": false}}}]";
    private static final ChatMessage QUESTION = new ChatMessage("user", "What is the capital of France?");
    private static final List<ChatMessage> HI = Collections.singletonList(new ChatMessage("user", "Hi"));

    private ChatTests() {
    }

    private static String said(Iterable<Part> parts) {
        StringBuilder text = new StringBuilder();
        parts.forEach(part -> text.append(part.text));
        return text.toString();
    }

    public static void eachTokenPassesOnce() {
        Session session;
        try (Model model = new Model(Tests.PATH)) {
            session = model.open(new SessionOptions().context(256));
        }
        List<ChatMessage> messages = new ArrayList<>(Collections.singletonList(QUESTION));
        Turn turn = session.chat(messages, new TurnOptions().limit(64));
        Check.equal(0, turn.kept());
        List<Part> parts = new ArrayList<>();
        turn.forEach(parts::add);
        Check.that(said(parts).contains("Paris") && parts.size() > 4, said(parts));
        for (Part part : parts) {
            Check.that(part.kind == PartKind.TEXT && part.name == null && part.id == null, "parts");
        }
        int[] held = session.tokens();
        Check.equal(session.stats().tokens, held.length);
        messages.add(turn.message());
        messages.add(new ChatMessage("user", "And of Italy? Also: a\0b"));
        turn = session.chat(messages, new TurnOptions().limit(32));
        Check.equal(held.length, turn.kept());
        Check.equal(held, Arrays.copyOf(session.tokens(), held.length));
        Check.that(said(turn).contains("Rome"), "no Rome");
        // An answer that is left in the middle is what had come, and goes on from there.
        turn = session.chat(messages);
        String first = turn.iterator().next().text;
        Check.equal(first, said(session.chat(messages, new TurnOptions().limit(1))));
        try (Session fork = session.fork()) {
            Check.that(said(fork.chat(messages, new TurnOptions().limit(32))).contains("Rome"), "a fork");
        }
        session.close();
        Check.fails(IllegalStateException.class, "this session is closed", () -> session.chat(messages));
    }

    public static void prompts() {
        try (Model model = new Model(Tests.PATH); Session session = model.open(new SessionOptions().context(128))) {
            int[] tokens = model.chatTokenize(QUESTION);
            Check.equal(0, session.tokens().length);
            Check.equal(0, session.prefillChat(QUESTION));
            Check.equal(tokens, session.tokens());
            Check.equal(tokens.length, session.prefillChat(QUESTION));
            int first = session.step().id;
            session.reset();
            List<ChatMessage> messages = Collections.singletonList(QUESTION);
            Check.equal(0, session.prefillChatBegin(messages, new ChatOptions()));
            int calls = 1;
            while (!session.prefillWithin(Duration.ZERO)) {
                calls++;
            }
            Check.that(calls > 10, "cut into parts");
            Check.equal(first, session.step().id);
            Check.that(session.prefillChat(messages, new ChatOptions().addGenerationPrompt(false)) > 0
                && session.tokens().length < tokens.length, "no prompt for an answer");
            Check.fails(Status.CONTEXT_FULL,
                () -> session.prefillChat(Collections.nCopies(20, QUESTION), new ChatOptions()));
            Check.fails(IllegalArgumentException.class, "wants tools",
                () -> session.chat(messages, new TurnOptions().toolChoice("auto")));
            Check.fails(IllegalArgumentException.class, "no JSON object",
                () -> session.chat(messages, new TurnOptions().tools(TOOLS).variables("[]")));
            Check.fails(RaspException.class, "no format",
                () -> session.chat(messages, new TurnOptions().tools(TOOLS).toolChoice("auto")));
        }
    }

    public static void aCallAndItsResult() {
        Session session;
        try (Model model = new Model(Tests.TOOLS)) {
            session = model.open();
        }
        for (String choice : Arrays.asList("required", "weather")) {
            List<ChatMessage> messages = new ArrayList<>(HI);
            Turn turn = session.chat(messages,
                new TurnOptions().tools(TOOLS).toolChoice(choice).limit(100).variables("{\"x\": 1}"));
            List<Part> parts = new ArrayList<>();
            turn.forEach(parts::add);
            Check.equal(1, parts.size(), "parts");
            Part call = parts.get(0);
            Check.equal(PartKind.CALL, call.kind);
            Check.equal("weather", call.name);
            Check.that(call.text.matches("\\{\"unit\": ?\"[CF]\"\\}"), call.text);
            int held = session.tokens().length;
            messages.add(turn.message());
            Check.that(session.prefillChat(messages, new ChatOptions()) >= held - 1, "the call passed again");
            messages.add(new ChatMessage("tool", "20", "{\"tool_call_id\": \"" + call.id + "\"}"));
            Check.that(session.prefillChat(messages, new ChatOptions()) >= held - 1, "the call passed again");
        }
        Check.fails(RaspException.class, "none called \"a \\\"b\\\\\"",
            () -> session.chat(HI, new TurnOptions().tools(TOOLS).toolChoice("a \"b\\")));
        // The constraint was the turn's alone, also of one that was left in the middle.
        session.reset();
        Check.that(!said(session.chat(HI, new TurnOptions().tools(TOOLS).limit(16))).contains("<tool_call>"), "held");
        Turn left = session.chat(HI, new TurnOptions().tools(TOOLS).toolChoice("required").limit(3));
        left.iterator().next();
        left.close();
        session.reset();
        Check.that(!said(session.chat(HI, new TurnOptions().tools(TOOLS).limit(16))).contains("<tool_call>"), "held");
        session.close();
    }

    public static void replies() {
        String rest = "Hm.\n</think>\n\nSo:\n<tool_call>\n{\"name\": \"weather\", \"arguments\": "
            + "{\"unit\": \"\\u0000C\"}}\n</tool_call>";
        ChatOptions options = new ChatOptions().variables("{\"tools\": " + TOOLS + ", \"think\": true}");
        try (Model model = new Model(Tests.TOOLS)) {
            for (boolean tokens : new boolean[] {false, true}) {
                Reply reply = model.reply(HI, options);
                if (tokens) {
                    Arrays.stream(model.tokenize(rest)).forEach(reply::pushToken);
                } else {
                    rest.chars().forEach(letter -> reply.push(String.valueOf((char) letter)));
                }
                reply.finish();
                List<Part> parts = new ArrayList<>();
                for (Part part = reply.next(); part != null; part = reply.next()) {
                    parts.add(part);
                }
                Check.equal(3, parts.size(), "parts");
                Check.equal(PartKind.REASONING, parts.get(0).kind);
                Check.equal("Hm.", parts.get(0).text.trim());
                Check.equal("So:", parts.get(1).text.trim());
                Check.equal(PartKind.CALL, parts.get(2).kind);
                Check.that(parts.get(2).text.contains("\\u0000C"), parts.get(2).text);
                Check.fails(RaspException.class, "finished", () -> reply.push("x"));
                reply.close();
                Check.fails(IllegalStateException.class, "this reply is closed", () -> reply.push("x"));
            }
        }
    }
}
