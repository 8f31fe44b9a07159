//! LoRA adapters: loading them, and the ones that a session's tokens pass with.

use super::handle::{rasp_session, with_session};
use super::model::{borrow_file, copy_name, rasp_model};
use super::*;
use crate::format::Bytes;
use crate::model::{Adapter, Model};
use crate::session::MAX_ADAPTERS;
use std::path::Path;
use std::sync::Arc;

/// A loaded LoRA adapter: immutable, for any number of sessions of models of its shape, safe to use from any thread at
/// once.
pub struct rasp_adapter {
    adapter: Arc<Adapter>,
}

impl Drop for rasp_adapter {
    fn drop(&mut self) {
        live::gone(live::HandleKind::Adapter, self);
    }
}

/// Adapters of a session at a time, at most.
pub const RASP_ADAPTERS_MAX: usize = 8;
const _: () = assert!(RASP_ADAPTERS_MAX == MAX_ADAPTERS);

/// What an adapter is. Initialise with rasp_adapter_info_init, fill with rasp_adapter_get_info.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_adapter_info {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// Its largest rank: what rasp_session_options.adapter_rank counts.
    pub rank: u32,
    /// Linears of the model that it adds to.
    pub linears: u32,
    /// Means nothing yet: 0.
    pub reserved: u32,
    /// Bytes of its factors, which every token reads besides the model's.
    pub bytes: u64,
    /// What it calls itself: UTF-8, NUL-terminated, cut at a character if longer.
    pub name: [c_char; 96],
}

// SAFETY: four u32s, a u64, and bytes whose number is a multiple of 8: no padding.
unsafe impl Versioned for rasp_adapter_info {
    const NAME: &'static str = "rasp_adapter_info";
    const FIRST: usize = 120;
    fn initial() -> Self {
        let struct_size = size_of::<Self>() as u32;
        rasp_adapter_info { struct_size, rank: 0, linears: 0, reserved: 0, bytes: 0, name: [0; 96] }
    }
}
const _: () = assert!(size_of::<rasp_adapter_info>() == 120);

/// Prepares info for rasp_adapter_get_info. NULL is allowed and does nothing.
///
/// # Safety
/// info is NULL or points to a rasp_adapter_info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_adapter_info_init(info: *mut rasp_adapter_info) {
    // SAFETY: by the caller's promise.
    unsafe { init(info, size_of::<rasp_adapter_info>()) }
}

/// The adapter behind a handle.
///
/// # Safety
/// `adapter` is null or came from `rasp_adapter_load` and has not been freed.
unsafe fn adapter<'a>(adapter: *const rasp_adapter) -> Result<&'a Arc<Adapter>> {
    // SAFETY: by the caller's promise.
    Ok(unsafe { &live::behind(live::HandleKind::Adapter, adapter)?.adapter })
}

/// Bytes set aside for loading an adapter before its file's header is looked at; and what its list of linears takes,
/// for each of the model's.
const BEFORE_THE_HEADER: usize = 16 << 10;
const PER_LINEAR: usize = 256;

/// Puts a handle of what `load` loads where the caller wants it; on an error null is there.
///
/// # Safety
/// `model` is as for [`model`](super::model::model), `place` null or valid for writes.
unsafe fn load(
    model: *const rasp_model,
    place: *mut *mut rasp_adapter,
    load: impl FnOnce(&Model) -> Result<Arc<Adapter>>,
) -> Result<Status> {
    // SAFETY: by the caller's promise.
    let (place, model) = unsafe { (Out::new(place, "adapter")?, super::model::model(model)) };
    place.set(std::ptr::null_mut());
    let model = model?;
    let ups = model.groups().filter(|group| group.up().is_some()).count();
    let reserve = BEFORE_THE_HEADER + PER_LINEAR * (model.linears().count() + ups);
    // SAFETY: a load keeps what it makes in the adapter alone. (The host's log, which it calls, goes outside of the
    // reserve.)
    unsafe { boxed::give(live::HandleKind::Adapter, place, reserve, || Ok(rasp_adapter { adapter: load(model)? })) }
}

/// Maps the adapter at path (UTF-8), a file that `rasp pack-adapter` made, for sessions of this model and of others of
/// its shape, whatever their weights are stored as. All of it is read and checked. The file must not be shortened or
/// rewritten while the adapter is in use.
///
/// On success *adapter is the new adapter, to be given back with rasp_adapter_free; on an error it is NULL. Allocates.
/// Safe from any thread. Errors: IO, BAD_FILE, UNSUPPORTED_VERSION, NON_FINITE, INVALID_ARGUMENT (it is for models of
/// another shape, too), INVALID_UTF8, OUT_OF_MEMORY.
///
/// # Safety
/// model is NULL or alive; path is NULL or NUL-terminated; adapter and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_adapter_load(
    model: *const rasp_model,
    path: *const c_char,
    adapter: *mut *mut rasp_adapter,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe { guard(error, || load(model, adapter, |model| Adapter::load(model, Path::new(c_text(path, "path")?)))) }
}

/// Uses an adapter's file that lies in memory: size bytes at data, an address that is a multiple of 8. The bytes are
/// used in place: they must stay as they are until the adapter is freed and no session has it set.
///
/// Otherwise as rasp_adapter_load, the errors too. Allocates. Safe from any thread.
///
/// # Safety
/// data is NULL or valid for reads of size bytes for as long as the adapter is in use; the rest as for
/// rasp_adapter_load.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_adapter_load_bytes(
    model: *const rasp_model,
    data: *const c_void,
    size: usize,
    adapter: *mut *mut rasp_adapter,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers; 'static stands for "as long as it is in use".
    unsafe {
        guard(error, || {
            load(model, adapter, |model| {
                if data.is_null() {
                    return Err(null("data"));
                }
                let bytes: &'static [u8] = slice(data.cast(), size, "data")?;
                Adapter::from_bytes(model, Bytes::lend(bytes)?)
            })
        })
    }
}

/// Maps an adapter's file inside a file that the host has open: file, offset and length as for rasp_load_fd.
///
/// Otherwise as rasp_adapter_load. Allocates. Safe from any thread. Errors: also OUT_OF_RANGE (bytes beyond the end of
/// the file).
///
/// # Safety
/// file is open, or no descriptor at all; the rest as for rasp_adapter_load.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_adapter_load_fd(
    model: *const rasp_model,
    file: i64,
    offset: u64,
    length: u64,
    adapter: *mut *mut rasp_adapter,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || load(model, adapter, |model| Adapter::load_part(model, &*borrow_file(file)?, offset, length)))
    }
}

/// Frees an adapter. NULL is allowed and does nothing. Sessions that have it set keep what they need. Does not
/// allocate. Safe from any thread. Always RASP_OK, but for the check described at rasp_free.
///
/// # Safety
/// adapter is NULL or has not been freed; it is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_adapter_free(adapter: *mut rasp_adapter) -> rasp_status {
    // SAFETY: by the caller's promise.
    unsafe { boxed::free(live::HandleKind::Adapter, adapter, |_| Ok(())) }
}

/// Tells what an adapter is. Does not allocate. Safe from any thread. Errors: INVALID_ARGUMENT.
///
/// # Safety
/// adapter is NULL or has not been freed; info is NULL or initialised; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_adapter_get_info(
    adapter: *const rasp_adapter,
    info: *mut rasp_adapter_info,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let adapter = self::adapter(adapter)?;
            // At most MAX_ADAPTER_RANK, and the linears of a model, below 2^24 layers.
            let filled = rasp_adapter_info {
                rank: adapter.rank() as u32,
                linears: adapter.linears() as u32,
                bytes: adapter.bytes(),
                name: copy_name(adapter.name()),
                ..rasp_adapter_info::initial()
            };
            fill(info, &filled)
        })
    }
}

/// Sets the adapters that tokens pass with from now on, count of them, each with the scale that multiplies what it
/// adds: 1 is as it was trained, 0 adds nothing. scales NULL: 1 for all. They take the place of those before; count 0:
/// the model alone. The session must have been opened with room for their ranks (rasp_session_options.adapter_rank).
///
/// What has passed stays as it is: keys, values and logits, so that the text so far is read as it was. A token that has
/// to pass again (after a rasp_session_rewind) does so with the adapters of that moment. Sessions of one
/// rasp_step_batch may have different ones. A fork has those of its parent; a saved state has none, and a session that
/// restores one keeps its own.
///
/// Does not allocate. Adapters can change between any two tokens. On an error those before stay. Errors: OUT_OF_RANGE
/// (more than RASP_ADAPTERS_MAX, or than there is room for), INVALID_ARGUMENT (a scale that is no finite number, an
/// adapter for models of another shape), INVALID_STATE.
///
/// # Safety
/// session is NULL or open; adapters is NULL or valid for reads of count handles, none of which has been freed; scales
/// is NULL or valid for reads of count numbers; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_adapters(
    session: *mut rasp_session,
    adapters: *const *const rasp_adapter,
    scales: *const f32,
    count: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let handles = slice(adapters, count, "adapters")?;
            let scales = if scales.is_null() { None } else { Some(slice(scales, count, "scales")?) };
            if count > MAX_ADAPTERS {
                let message = format_args!("{count} adapters; at most {MAX_ADAPTERS} at a time");
                return Err(Error::new(Status::OutOfRange, message));
            }
            let mut list = [const { None }; MAX_ADAPTERS];
            for (n, (place, handle)) in list.iter_mut().zip(handles).enumerate() {
                let adapter = self::adapter(*handle).map_err(|e| e.context(format_args!("adapter {n}")))?;
                *place = Some((adapter.clone(), scales.map_or(1.0, |scales| scales[n])));
            }
            with_session(session, |session| session.set_adapters(list.into_iter().flatten()))?;
            Ok(Status::Ok)
        })
    }
}
