//! A second session that goes on from where the first one is.
//!
//! Keys and values of the tokens so far are put by once for all forks, and read in place; the last block is copied. A
//! fork in the host's memory shares nothing: all that it reads lies there.

use super::{Session, SessionOptions};
use crate::arena::MemorySource;
use crate::{Error, Result, Status};

impl Session {
    /// Opens a session with the same tokens, cache, logits, settings and random numbers, in memory of its own. It goes
    /// on exactly as this one would, but for a logits callback: that stays this one's. `None`: with the options of this
    /// one.
    pub fn fork(&mut self, options: Option<&SessionOptions>) -> Result<Session> {
        self.fork_behind(0, options, MemorySource::Own)
    }

    /// The same; memory as for [`open_behind`](Session::open_behind).
    pub(crate) fn fork_behind(
        &mut self,
        front: usize,
        options: Option<&SessionOptions>,
        memory: MemorySource,
    ) -> Result<Session> {
        self.idle()?;
        let model = self.engine.model.clone();
        let options = options.unwrap_or(&self.options).complete(&model)?;
        if options.kv_type != self.options.kv_type {
            let (its, ours) = (options.kv_type.name(), self.options.kv_type.name());
            let message = format_args!("the fork's cache is {its}, this session's {ours}: they must be of one type");
            return Err(Error::new(Status::InvalidArgument, message));
        }
        if options.windows_alone != self.options.windows_alone {
            let message = "one of the fork and this session holds windows alone, the other all keys and values: they must \
                           be opened alike";
            return Err(Error::new(Status::InvalidArgument, message));
        }
        if options.context < self.tokens.len() {
            let message = format_args!("{} tokens, and the fork has room for {}", self.tokens.len(), options.context);
            return Err(Error::new(Status::ContextFull, message));
        }
        self.check_windows()?;
        let mut child = Session::open_behind(front, model.clone(), &options, memory)?;
        let passed = self.passed();
        let (kv, apart) = (&mut self.engine.own.kv, !child.arena.is_own());
        child.engine.own.kv.go_on_as(kv, model.config(), passed, apart);
        child.engine.own.adapters.go_on_as(&self.engine.own.adapters)?;
        child.tokens.extend_from_slice(&self.tokens);
        child.sparsities[..passed].copy_from_slice(&self.sparsities[..passed]);
        (child.sparsity, child.loaded) = (self.sparsity, self.loaded);
        (child.pending, child.ready) = (self.pending, self.ready);
        child.engine.own.thresholds.copy_from_slice(&self.engine.own.thresholds);
        let (to, from) = (&mut child.engine.head, &self.engine.head);
        to.last.copy_from_slice(&from.last);
        to.token.logits.copy_from_slice(&from.token.logits);
        child.sampler.set_state(self.sampler.state())?;
        child.logits_processor.go_on_as(&self.logits_processor)?;
        child.text = self.text.clone();
        child.drafts.go_on_as(&self.drafts);
        Ok(child)
    }
}
