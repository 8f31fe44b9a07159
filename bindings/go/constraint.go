package rasp

/*
#include <rasp.h>
*/
import "C"

// ConstraintKind is what the source of a constraint is written in.
type ConstraintKind uint32

// The kinds of constraints: a JSON schema, a regular expression (in the syntax of Rust's crate regex) that the whole
// answer matches, a grammar in llguidance's variant of Lark, the tools of a chat (a list in JSON, or an object with
// tools and a tool_choice).
const (
	JSONSchema ConstraintKind = C.RASP_CONSTRAINT_JSON_SCHEMA
	Regex      ConstraintKind = C.RASP_CONSTRAINT_REGEX
	Grammar    ConstraintKind = C.RASP_CONSTRAINT_GRAMMAR
	Tools      ConstraintKind = C.RASP_CONSTRAINT_TOOLS
)

// Constraint is what an answer may be. Any number of sessions of its model may use it; they keep what they need of it
// when it is closed.
type Constraint struct{ handle *C.rasp_constraint }

// Constraint compiles a constraint for this model.
func (m *Model) Constraint(kind ConstraintKind, source string) (*Constraint, error) {
	if m.handle == nil {
		return nil, ErrClosed
	}
	return newConstraint(m.handle, kind, source)
}

func newConstraint(model *C.rasp_model, kind ConstraintKind, source string) (*Constraint, error) {
	data, length := bytesOf([]byte(source))
	var c Constraint
	var e C.rasp_error
	if err := check(C.rasp_constraint_new(model, C.uint32_t(kind), data, length, &c.handle, &e), &e); err != nil {
		return nil, err
	}
	return &c, nil
}

// Close gives the constraint back; sessions that use it go on.
func (c *Constraint) Close() {
	C.rasp_constraint_free(c.handle)
	c.handle = nil
}
