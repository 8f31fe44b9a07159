//! Loading a model and asking what it is.

use super::*;
use crate::format::Bytes;
use crate::log::{Log, LogLevel};
use crate::model::{FloatType, LoadOptions, Model, QuantType, WeightType};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

/// A loaded model: immutable, shared by any number of sessions, safe to use from any thread at once.
///
/// It is counted: rasp_load gives one reference, rasp_model_retain another, every open session holds one, and rasp_free
/// gives one back.
pub struct rasp_model {
    model: Arc<Model>,
}

impl Drop for rasp_model {
    fn drop(&mut self) {
        live::gone(live::HandleKind::Model, self);
    }
}

/// Weights are 16-bit brain floats.
pub const RASP_WEIGHTS_BF16: u32 = 1;
/// Weights are IEEE half-precision floats.
pub const RASP_WEIGHTS_F16: u32 = 2;
/// Weights are whole numbers of 8 bits with scales: 8.5 bits each.
pub const RASP_WEIGHTS_Q8: u32 = 3;
/// Weights are whole numbers of 4 bits with scales and minima: 5 bits each.
pub const RASP_WEIGHTS_Q4: u32 = 4;
/// Weights are whole numbers of 4 bits, scales and minima coarser: 4.5 bits each.
pub const RASP_WEIGHTS_Q4S: u32 = 5;

/// Bytes of a .rasp file's header at most; a larger one is BAD_FILE.
pub const RASP_MAX_HEADER_BYTES: usize = 16777216;
/// Bytes of a chat template at most; a model with a larger one loads, and its chats are TEMPLATE.
pub const RASP_MAX_TEMPLATE_BYTES: usize = 262144;
/// Bytes of stack that every call makes do with, besides what callbacks of the host's take.
pub const RASP_STACK_BYTES: usize = 65536;
const _: () = assert!(RASP_MAX_HEADER_BYTES == crate::format::MAX_HEADER_BYTES);
const _: () = assert!(RASP_MAX_TEMPLATE_BYTES == crate::text::MAX_TEMPLATE_BYTES);

/// A load failed; the message is that of the error.
pub const RASP_LOG_ERROR: u32 = 1;
/// Something works, but not as well as it could.
pub const RASP_LOG_WARNING: u32 = 2;
/// What was found and chosen at load.
pub const RASP_LOG_INFO: u32 = 3;
/// Sessions that are opened.
pub const RASP_LOG_DEBUG: u32 = 4;

/// Hears a message of a model: level is a RASP_LOG_ constant, message UTF-8, NUL-terminated, below 512 bytes, and valid
/// until it returns.
///
/// It is called from inside the functions that load the model and open its sessions, on their threads; if these are
/// several, on several at once. It must not unwind or jump out.
pub type rasp_log_callback = Option<unsafe extern "C" fn(context: *mut c_void, level: u32, message: *const c_char)>;

/// How a model is loaded. Initialise with rasp_load_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_load_options {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// Not 0: read the whole file, and fail if a tensor or the header is not as it was packed (BAD_FILE, naming the
    /// tensor) or a weight is no finite number. A file that was packed before there were checksums is said to have none, to
    /// log.
    pub verify: u32,
    /// Not 0: read the whole file at once and keep it in memory (mlock), so that no token waits for the disk and other
    /// programs cannot push the weights out. OUT_OF_MEMORY if the system does not allow as much (RLIMIT_MEMLOCK),
    /// UNSUPPORTED if it has no such thing or the model is in memory of the host's.
    pub lock: u32,
    /// The least important level that log hears of, RASP_LOG_ERROR to RASP_LOG_DEBUG.
    pub log_level: u32,
    /// Hears of what is found and chosen at load, and of sessions that are opened; NULL (the default): nobody does.
    /// Nothing is ever printed.
    pub log: rasp_log_callback,
    /// Handed to log.
    pub log_context: *mut c_void,
    /// Not 0: read the whole file into memory of this process's own, in pages of 2 MB where the system has some (Linux:
    /// /sys/kernel/mm/transparent_hugepage/enabled says always or madvise). It costs the file's size in memory, which no
    /// other process shares, and the time to read it; sparse rows are then read faster on some processors (`rasp bench
    /// --large-pages` measures what it gains), and what becomes of the file afterwards does not matter. OUT_OF_MEMORY if
    /// there is not as much; UNSUPPORTED for a model in memory of the host's.
    pub large_pages: u32,
    /// Always 0.
    pub reserved: u32,
}

// SAFETY: six u32s, two at the end, and two pointers: no padding, and what is not null is a function by the caller's promise.
unsafe impl Versioned for rasp_load_options {
    const NAME: &'static str = "rasp_load_options";
    const FIRST: usize = 16 + 2 * size_of::<usize>();
    fn initial() -> Self {
        rasp_load_options {
            struct_size: size_of::<Self>() as u32,
            verify: 0,
            lock: 0,
            log_level: RASP_LOG_INFO,
            log: None,
            log_context: std::ptr::null_mut(),
            large_pages: 0,
            reserved: 0,
        }
    }
}
const _: () = assert!(size_of::<rasp_load_options>() == <rasp_load_options as Versioned>::FIRST + 8);

/// What a model is. Initialise with rasp_model_info_init, fill with rasp_model_get_info.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_model_info {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// Tokens of the vocabulary; logits has as many numbers.
    pub vocab_size: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Width of the gated MLP.
    pub intermediate_size: u32,
    /// Decoder blocks.
    pub num_layers: u32,
    /// Query heads.
    pub num_heads: u32,
    /// Key and value heads.
    pub num_kv_heads: u32,
    /// Width of one head.
    pub head_dim: u32,
    /// The longest context the model was trained for, in tokens.
    pub context_length: u32,
    /// RASP_WEIGHTS_BF16, RASP_WEIGHTS_F16, RASP_WEIGHTS_Q8, RASP_WEIGHTS_Q4 or RASP_WEIGHTS_Q4S.
    pub weight_type: u32,
    /// The sparsest setting that rasp_session_set_sparsity takes; 0 for a dense file.
    pub max_sparsity: f32,
    /// The sparsity that a session starts with: what the file was packed for (rasp pack --quality), else 0.
    pub default_sparsity: f32,
    /// Settings from dense to max_sparsity that the file was calibrated for; those between are interpolated.
    pub num_rungs: u32,
    /// The token that begins a text, or -1 if there is none.
    pub bos_token: i32,
    /// Bytes of the file.
    pub file_size: u64,
    /// Bytes of the blocks' linear weights, of which a sparse token reads a part.
    pub linear_bytes: u64,
    /// Bytes of the head, which every token reads whole.
    pub head_bytes: u64,
    /// The family, such as "llama": NUL-terminated, cut if longer.
    pub architecture: [c_char; 32],
    /// What the checkpoint calls itself: UTF-8, NUL-terminated, cut at a character if longer.
    pub name: [c_char; 96],
}

// SAFETY: fourteen 32-bit numbers, three u64s that start at a multiple of 8, and bytes: no padding.
unsafe impl Versioned for rasp_model_info {
    const NAME: &'static str = "rasp_model_info";
    const FIRST: usize = 208;
    fn initial() -> Self {
        rasp_model_info {
            struct_size: size_of::<Self>() as u32,
            vocab_size: 0,
            hidden_size: 0,
            intermediate_size: 0,
            num_layers: 0,
            num_heads: 0,
            num_kv_heads: 0,
            head_dim: 0,
            context_length: 0,
            weight_type: 0,
            max_sparsity: 0.0,
            default_sparsity: 0.0,
            num_rungs: 0,
            bos_token: -1,
            file_size: 0,
            linear_bytes: 0,
            head_bytes: 0,
            architecture: [0; 32],
            name: [0; 96],
        }
    }
}
const _: () = assert!(size_of::<rasp_model_info>() == 208);

/// The model behind a handle.
///
/// # Safety
/// `model` is null or came from `rasp_load` and has not been given back.
pub(super) unsafe fn model<'a>(model: *const rasp_model) -> Result<&'a Arc<Model>> {
    // SAFETY: by the caller's promise.
    Ok(unsafe { &live::behind(live::HandleKind::Model, model)?.model })
}

pub(super) fn copy_name<const N: usize>(text: &str) -> [c_char; N] {
    let mut name = [0; N];
    let end = text.floor_char_boundary(N - 1);
    name.iter_mut().zip(&text.as_bytes()[..end]).for_each(|(to, &from)| *to = from as c_char);
    name
}

/// Sets options to their defaults, but for what came after log_context. NULL is allowed and does nothing.
///
/// Programs that were compiled with a header in which log_context was the last field call this; those that are compiled with
/// this one call rasp_load_options_init_2, by a macro of this name.
///
/// # Safety
/// options is NULL or points to a rasp_load_options, or to as much of one as ends with log_context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_load_options_init(options: *mut rasp_load_options) {
    // SAFETY: by the caller's promise there is room for as much.
    unsafe { init(options, <rasp_load_options as Versioned>::FIRST) }
}

/// Sets options to their defaults; written rasp_load_options_init. NULL is allowed and does nothing.
///
/// # Safety
/// options is NULL or points to a rasp_load_options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_load_options_init_2(options: *mut rasp_load_options) {
    // SAFETY: by the caller's promise.
    unsafe { init(options, size_of::<rasp_load_options>()) }
}

/// Prepares info for rasp_model_get_info. NULL is allowed and does nothing.
///
/// # Safety
/// info is NULL or points to a rasp_model_info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_model_info_init(info: *mut rasp_model_info) {
    // SAFETY: by the caller's promise.
    unsafe { init(info, size_of::<rasp_model_info>()) }
}

/// Maps the .rasp file at path (UTF-8) and checks it. Weights are read from disk as they are first used; the file must
/// not be shortened or rewritten while the model lives (replace it by renaming a new one over it).
///
/// options may be NULL for the defaults. The environment variable RASP_ISA (scalar, avx2, avx_vnni, avx512, avx512_vnni,
/// neon, neon_dotprod, neon_i8mm) forces an instruction set; the functions that load a model are the only ones that read
/// the environment.
///
/// On success *model is the new model, to be given back with rasp_free; on an error it is NULL. Allocates. Errors: IO,
/// BAD_FILE, UNSUPPORTED_VERSION, UNSUPPORTED, NON_FINITE, INVALID_ARGUMENT, OUT_OF_MEMORY.
///
/// # Safety
/// path is NULL or NUL-terminated; options is NULL or initialised, its log and log_context usable until the model and its
/// sessions are gone; model and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_load(
    path: *const c_char,
    options: *const rasp_load_options,
    model: *mut *mut rasp_model,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            load(model, || {
                let path = Path::new(c_text(path, "path")?);
                Model::load(path, &load_options(options)?)
            })
        })
    }
}

/// Uses a .rasp file that lies in memory: size bytes at data, an address that is a multiple of 8 (64 is best). The bytes
/// are used in place: they must stay as they are until the model and all its sessions are gone.
///
/// Otherwise as rasp_load, the errors too. Allocates.
///
/// # Safety
/// data is NULL or valid for reads of size bytes for as long as the model lives; the rest as for rasp_load.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_load_bytes(
    data: *const c_void,
    size: usize,
    options: *const rasp_load_options,
    model: *mut *mut rasp_model,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers; 'static stands for "as long as the model lives".
    unsafe {
        guard(error, || {
            load(model, || {
                if data.is_null() {
                    return Err(null("data"));
                }
                if size == 0 {
                    return Err(Error::new(Status::BadFile, "the model in memory is empty"));
                }
                let bytes: &'static [u8] = slice(data.cast(), size, "data")?;
                Model::from_bytes(Bytes::lend(bytes)?, &load_options(options)?)
            })
        })
    }
}

/// Maps a .rasp file inside a file that the host has open, such as an archive (a pak, an APK) in which it lies uncompressed:
/// length bytes from offset on; a length of 0 means to the end of the file. The file need not stay open; its content must
/// stay as for rasp_load.
///
/// file is a POSIX file descriptor, or on Windows a HANDLE from CreateFile: (int64_t)(intptr_t)handle. It must be readable
/// and a regular file; its position is neither used nor moved.
///
/// offset must be a multiple of 4. Make it one of 64 if you can: then rows of weights lie on cache lines, as in a file of
/// their own. (zipalign aligns to 4 by default; it takes 64 as well.)
///
/// Otherwise as rasp_load. Allocates. Errors: also OUT_OF_RANGE (bytes beyond the end of the file).
///
/// # Safety
/// file is open, or no descriptor at all; the rest as for rasp_load.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_load_fd(
    file: i64,
    offset: u64,
    length: u64,
    options: *const rasp_load_options,
    model: *mut *mut rasp_model,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            load(model, || {
                let file = borrow_file(file)?;
                Model::load_part(&file, offset, length, &load_options(options)?)
            })
        })
    }
}

/// The host's file, which stays open.
///
/// # Safety
/// `file` is open until the result is gone, or no descriptor at all.
pub(super) unsafe fn borrow_file(file: i64) -> Result<ManuallyDrop<File>> {
    let bad = || Error::new(Status::InvalidArgument, format_args!("{file} is no open file"));
    #[cfg(unix)]
    let file = {
        use std::os::fd::FromRawFd;
        let descriptor = i32::try_from(file).ok().filter(|&descriptor| descriptor >= 0).ok_or_else(bad)?;
        // SAFETY: not -1; what the system thinks of it shows when it is first asked. Never dropped, so never closed.
        unsafe { File::from_raw_fd(descriptor) }
    };
    #[cfg(windows)]
    let file = {
        use std::os::windows::io::FromRawHandle;
        let handle = isize::try_from(file).ok().filter(|&handle| handle != 0 && handle != -1).ok_or_else(bad)?;
        // SAFETY: as above.
        unsafe { File::from_raw_handle(std::ptr::with_exposed_provenance_mut(handle as usize)) }
    };
    Ok(ManuallyDrop::new(file))
}

/// # Safety
/// As for [`options`]; `log` does what `rasp_log_callback` says for as long as the model lives.
unsafe fn load_options(place: *const rasp_load_options) -> Result<LoadOptions> {
    // SAFETY: by the caller's promise.
    let given = unsafe { options(place)? };
    let level = LogLevel::ALL.into_iter().find(|level| *level as u32 == given.log_level);
    let level = level.ok_or_else(|| {
        Error::new(Status::InvalidArgument, format_args!("rasp_load_options.log_level is {}", given.log_level))
    })?;
    // SAFETY: by the caller's promise.
    let log = given.log.map(|function| unsafe { Log::new(level, function, given.log_context) });
    if given.reserved != 0 {
        return Err(Error::new(Status::InvalidArgument, "rasp_load_options.reserved is not 0"));
    }
    let (verify, lock, large_pages) = (given.verify != 0, given.lock != 0, given.large_pages != 0);
    Ok(LoadOptions { verify, lock, large_pages, isa: None, log })
}

/// Bytes set aside for loading a model before its file is looked at.
const BEFORE_THE_HEADER: usize = 16 << 10;

/// Puts a handle of what `load` loads where the caller wants it; on an error null is there.
///
/// # Safety
/// `place` is null or valid for writes.
unsafe fn load(place: *mut *mut rasp_model, load: impl FnOnce() -> Result<Arc<Model>>) -> Result<Status> {
    // SAFETY: by the caller's promise.
    let place = unsafe { Out::new(place, "model")? };
    place.set(std::ptr::null_mut());
    // A path, a name, an error; what the file's header takes is added once its size is known.
    // SAFETY: a load keeps what it makes in the model alone. (The host's log, which it calls, goes outside of the reserve.)
    let handle = unsafe { crate::reserve::within(BEFORE_THE_HEADER, || Ok(Arc::new(rasp_model { model: load()? }))) }?;
    let handle = Arc::into_raw(handle);
    live::born(live::HandleKind::Model, handle);
    place.set(handle.cast_mut());
    Ok(Status::Ok)
}

/// Takes one more reference to a model, to be given back with rasp_free. NULL is allowed and does nothing. Does not
/// allocate. Safe from any thread. Always RASP_OK, but for the check described at rasp_free.
///
/// # Safety
/// model is NULL or a model that has not been given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_model_retain(model: *const rasp_model) -> rasp_status {
    // SAFETY: null is allowed for the error; the rest below.
    unsafe {
        guard(std::ptr::null_mut(), || {
            if !model.is_null() {
                live::check(live::HandleKind::Model, model)?;
                // SAFETY: the handle came from `Arc::into_raw` and is alive by the caller's promise.
                Arc::increment_strong_count(model);
            }
            Ok(Status::Ok)
        })
    }
}

/// Gives back one reference to a model; the last one frees it. NULL is allowed and does nothing. Sessions that are still
/// open keep what they need. Does not allocate. Safe from any thread. Always RASP_OK, but for the check below, so it may
/// be ignored.
///
/// To use a handle after its last reference was given back, or to give that back twice, is undefined, as with any free.
/// A library built for debugging (or with the feature handle-checks) keeps a list of the handles that are alive, and
/// every function returns INVALID_ARGUMENT for one that is not in it. That is for finding mistakes, not for living with
/// them: a handle that another thread frees during the call, or whose address a new handle has taken, goes unnoticed.
///
/// # Safety
/// model is NULL or a reference that has not been given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_free(model: *mut rasp_model) -> rasp_status {
    // SAFETY: null is allowed for the error; the rest below.
    unsafe {
        guard(std::ptr::null_mut(), || {
            if !model.is_null() {
                live::check(live::HandleKind::Model, model)?;
                // SAFETY: as in `rasp_model_retain`.
                Arc::decrement_strong_count(model.cast_const());
            }
            Ok(Status::Ok)
        })
    }
}

/// Tells what a model is. Does not allocate. Errors: INVALID_ARGUMENT.
///
/// # Safety
/// model is NULL or alive; info is NULL or initialised; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_model_get_info(
    model: *const rasp_model,
    info: *mut rasp_model_info,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let model = super::model::model(model)?;
            let config = model.config();
            // Config::validate keeps every dimension below 2^24.
            let filled = rasp_model_info {
                vocab_size: config.vocab_size as u32,
                hidden_size: config.hidden_size as u32,
                intermediate_size: config.intermediate_size as u32,
                num_layers: config.num_layers as u32,
                num_heads: config.num_heads as u32,
                num_kv_heads: config.num_kv_heads as u32,
                head_dim: config.head_dim as u32,
                context_length: config.context_length as u32,
                weight_type: match model.weight_type() {
                    WeightType::Float(FloatType::Bf16) => RASP_WEIGHTS_BF16,
                    WeightType::Float(FloatType::F16) => RASP_WEIGHTS_F16,
                    WeightType::Quant(QuantType::Q8) => RASP_WEIGHTS_Q8,
                    WeightType::Quant(QuantType::Q4) => RASP_WEIGHTS_Q4,
                    WeightType::Quant(QuantType::Q4s) => RASP_WEIGHTS_Q4S,
                },
                max_sparsity: model.max_sparsity(),
                default_sparsity: model.default_sparsity(),
                num_rungs: model.recipe().sparsity.len() as u32,
                bos_token: model.tokenizer().bos().map_or(-1, |id| id as i32),
                file_size: model.file_size() as u64,
                linear_bytes: model.linear_bytes(),
                head_bytes: model.head_bytes(),
                architecture: copy_name(&config.architecture),
                name: copy_name(&config.name),
                ..rasp_model_info::initial()
            };
            fill(info, &filled)
        })
    }
}
