//! How the packer tells what it is doing.

/// A stage of a run that is still to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// What [`Progress::begin`] will call it, or how that begins.
    pub name: &'static str,
    /// How long it takes beside the others, about.
    pub cost: f64,
    /// How many times it begins anew, about: with each level, for one.
    pub parts: f64,
}

/// Receives the packer's progress, on a thread of the packer's. A terminal draws bars with it, a log prints lines, a
/// test ignores it.
pub trait Progress: Send {
    /// The stages that will begin, in order, but for those that turn out to be needless.
    fn expect(&mut self, _stages: Vec<Stage>) {}
    /// A stage of `total` units of work begins; the one before it has ended.
    fn begin(&mut self, what: &str, total: u64);
    /// `by` units of the stage are done.
    fn advance(&mut self, by: u64);
    /// The stage is done.
    fn end(&mut self);
    /// Something worth a line of its own.
    fn note(&mut self, line: &str);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, _: &str) {}
}
