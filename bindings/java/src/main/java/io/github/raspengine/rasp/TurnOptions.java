package io.github.raspengine.rasp;

import java.time.LocalDateTime;

/** How a turn in a chat is made. */
public final class TurnOptions {
    private String tools;
    private String toolChoice;
    private int limit = Integer.MAX_VALUE;
    private String variables;
    private LocalDateTime time;

    /** The tools, a list in JSON as OpenAI has it; or null. */
    public TurnOptions tools(String value) {
        tools = value;
        return this;
    }

    /**
     * "auto", "required" or the name of a function: calls keep to the schemas of the tools, in this turn, in the place
     * of a constraint of the session's. Null: nothing is kept to.
     */
    public TurnOptions toolChoice(String value) {
        toolChoice = value;
        return this;
    }

    /** Tokens at most. */
    public TurnOptions limit(int value) {
        limit = Text.natural(value, "limit");
        return this;
    }

    /** Variables of the template besides tools, as a JSON object; or null. */
    public TurnOptions variables(String value) {
        variables = value;
        return this;
    }

    /** What the template's clock on the wall shows; null: it has none. */
    public TurnOptions time(LocalDateTime value) {
        time = value;
        return this;
    }

    int limit() {
        return limit;
    }

    private String all() {
        return tools == null ? variables : Text.member(variables, "tools", tools);
    }

    ChatOptions chat() {
        return new ChatOptions().variables(all()).time(time);
    }

    Constraint constraint(Handle model) {
        if (toolChoice == null) {
            return null;
        }
        if (tools == null) {
            throw new IllegalArgumentException("a toolChoice wants tools");
        }
        return Constraint.of(model, ConstraintKind.TOOLS, Text.member(all(), "tool_choice", Text.choice(toolChoice)));
    }
}
