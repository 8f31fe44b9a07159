package io.github.raspengine.rasp;

/**
 * How a constraint is written: as a JSON schema, a regular expression in the syntax of Rust's crate regex, or a grammar
 * in llguidance's variant of Lark.
 */
public enum ConstraintKind {
    JSON_SCHEMA(Capi.RASP_CONSTRAINT_JSON_SCHEMA),
    REGEX(Capi.RASP_CONSTRAINT_REGEX),
    GRAMMAR(Capi.RASP_CONSTRAINT_GRAMMAR);

    final int number;

    ConstraintKind(int number) {
        this.number = number;
    }
}
