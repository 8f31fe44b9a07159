package io.github.raspengine.rasp;

/**
 * How a constraint is written: as a JSON schema, a regular expression in the syntax of Rust's crate regex, a grammar in
 * llguidance's variant of Lark, or the tools of a chat: a list in JSON, or an object with tools and a tool_choice.
 */
public enum ConstraintKind {
    JSON_SCHEMA(Capi.RASP_CONSTRAINT_JSON_SCHEMA),
    REGEX(Capi.RASP_CONSTRAINT_REGEX),
    GRAMMAR(Capi.RASP_CONSTRAINT_GRAMMAR),
    TOOLS(Capi.RASP_CONSTRAINT_TOOLS);

    final int number;

    ConstraintKind(int number) {
        this.number = number;
    }
}
