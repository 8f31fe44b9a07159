//! Embeddings of texts.

use super::handle::with_session;
use super::*;
use crate::session::Pooling;

/// rasp_embed: the mean of the tokens' vectors.
pub const RASP_POOL_MEAN: u32 = 0;
/// rasp_embed: the vector of the last token, which alone has seen the whole text.
pub const RASP_POOL_LAST: u32 = 1;

/// rasp_embed: scaled to a length of 1, so that the sum of products of two vectors is their cosine.
pub const RASP_EMBED_NORMALISE: u32 = 1;

/// Turns count tokens into one vector: at most capacity numbers are written to vector, and their number, the hidden_size of
/// rasp_model_info, to *size. A token's vector is what the head would take of it: the hidden states after the last block
/// and the final norm. pooling: RASP_POOL_MEAN or RASP_POOL_LAST; flags: RASP_EMBED_ bits. It is computed densely.
///
/// The session must hold no tokens (fresh, or after rasp_session_reset), and holds none afterwards, so that one session
/// can embed one text after another. Does not allocate. Errors: INVALID_STATE (it holds tokens), BUFFER_TOO_SMALL (nothing
/// is computed, *size is the number needed), CONTEXT_FULL, OUT_OF_RANGE (an id), INVALID_ARGUMENT (no tokens, unknown
/// pooling or flags), CANCELLED, NON_FINITE.
///
/// # Safety
/// session is NULL or open; tokens is NULL or valid for reads of count ids; vector is NULL or valid for writes of capacity
/// numbers; size and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_embed(
    session: *mut rasp_session,
    tokens: *const u32,
    count: usize,
    pooling: u32,
    flags: u32,
    vector: *mut f32,
    capacity: usize,
    size: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(vector, capacity, size, "size")?;
            let tokens = slice(tokens, count, "tokens")?;
            let pooling = match pooling {
                RASP_POOL_MEAN => Pooling::Mean,
                RASP_POOL_LAST => Pooling::Last,
                other => return Err(Error::new(Status::InvalidArgument, format_args!("pooling is {other}"))),
            };
            let normalise = self::text::flags(flags, RASP_EMBED_NORMALISE)? != 0;
            with_session(session, |session| {
                found.check(session.model().config().hidden_size)?;
                found.fill(session.embed(tokens, pooling, normalise)?)
            })
        })
    }
}
