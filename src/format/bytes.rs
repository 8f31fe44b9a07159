//! The bytes of a model, wherever they live, and typed views into them.

use crate::{Error, Result, Status};
use std::fs;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("rasp files are little-endian and used in place; big-endian targets are not supported");

/// What a model's place in a file must be a multiple of.
const PART_ALIGNMENT: u64 = 4;

/// Bytes of a large page, on all processors that we know with pages of 4 KiB.
const LARGE_PAGE: usize = 2 << 20;

/// The bytes of a `.rasp` file: mapped, read, owned, or lent by the host.
pub struct Bytes(Storage);

enum Storage {
    Mapped(memmap2::Mmap),
    /// Pages of the process's own; the bytes are the second field's.
    Read(memmap2::Mmap, Range<usize>),
    /// `u64`s, so that the start is aligned for every element type.
    Owned(Box<[u64]>, usize),
    Lent(&'static [u8]),
}

impl Bytes {
    /// Maps a file read-only. Nothing is read until it is touched.
    ///
    /// The file must not be truncated or rewritten while a model uses it: replace a model file by renaming a new
    /// one over it, as the packer does.
    pub fn map(path: &Path) -> Result<Arc<Bytes>> {
        open_file(path).and_then(|file| Bytes::map_part(&file, 0, 0)).map_err(|e| e.context(path.display()))
    }

    /// Maps `length` bytes of a file from `offset` on, to its end if `length` is 0. The file may be closed afterwards;
    /// it must not be truncated or rewritten, as for [`map`](Bytes::map).
    ///
    /// The offset must be a multiple of 4, the size of the largest element in a `.rasp` file. With a multiple of 64
    /// tensors lie on cache lines, as they do in a file of their own.
    pub fn map_part(file: &fs::File, offset: u64, length: u64) -> Result<Arc<Bytes>> {
        let length = part_length(file, offset, length)?;
        if cfg!(miri) {
            return Bytes::for_miri(file, offset, length);
        }
        let mut options = memmap2::MmapOptions::new();
        options.offset(offset).len(length);
        // SAFETY: the map is read-only and private to this struct. That nobody shortens the file meanwhile cannot be
        // enforced by any process; it is the documented duty of whoever owns the file.
        let map = unsafe { options.map(file) }.map_err(|e| io("map the file", e))?;
        Ok(Arc::new(Bytes(Storage::Mapped(map))))
    }

    /// Reads `length` bytes of a file from `offset` on, to its end if `length` is 0, into memory of this process's own,
    /// in pages of 2 MB where the system has some: a processor then looks up the addresses of scattered rows in less
    /// time. What becomes of the file afterwards does not matter. Its position is neither used nor moved.
    pub fn read_part(file: &fs::File, offset: u64, length: u64) -> Result<Arc<Bytes>> {
        let length = part_length(file, offset, length)?;
        if cfg!(miri) {
            return Bytes::for_miri(file, offset, length);
        }
        let no_memory = |e: std::io::Error| {
            let message = format_args!("no memory for {length} bytes of the file: {e}; mapped, they would take none");
            Error::new(Status::OutOfMemory, message)
        };
        // With room to begin where a large page does. What is not touched takes no memory.
        let room = length.checked_add(LARGE_PAGE).ok_or_else(|| no_memory(std::io::ErrorKind::OutOfMemory.into()))?;
        let mut map = memmap2::MmapMut::map_anon(room).map_err(no_memory)?;
        // A wish: a system without such pages says so and gives small ones.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_ptr().addr().next_multiple_of(LARGE_PAGE) - map.as_ptr().addr();
        let bytes = start..start + length;
        read_exact_at(file, &mut map[bytes.clone()], offset).map_err(|e| io("read the file", e))?;
        let map = map.make_read_only().map_err(|e| io("protect what was read", e))?;
        Ok(Arc::new(Bytes(Storage::Read(map, bytes))))
    }

    /// Miri maps no files.
    fn for_miri(file: &fs::File, offset: u64, length: usize) -> Result<Arc<Bytes>> {
        let mut bytes = vec![0; length];
        read_exact_at(file, &mut bytes, offset).map_err(|e| io("read the file", e))?;
        Bytes::copy(&bytes)
    }

    /// A copy of `bytes`, owned.
    pub fn copy(bytes: &[u8]) -> Result<Arc<Bytes>> {
        let words = bytes.len().div_ceil(8);
        let mut storage: Vec<u64> = Vec::new();
        storage.try_reserve_exact(words).map_err(|_| {
            Error::new(Status::OutOfMemory, format_args!("no memory for a model of {} bytes", bytes.len()))
        })?;
        storage.extend(bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        }));
        Ok(Arc::new(Bytes(Storage::Owned(storage.into_boxed_slice(), bytes.len()))))
    }

    /// Bytes that outlive every model made of them, used in place. The start must be aligned to 8 bytes.
    pub fn lend(bytes: &'static [u8]) -> Result<Arc<Bytes>> {
        if !bytes.as_ptr().addr().is_multiple_of(8) {
            return Err(Error::new(
                Status::InvalidArgument,
                "a model in memory must start at an address that is a multiple of 8",
            ));
        }
        Ok(Arc::new(Bytes(Storage::Lent(bytes))))
    }

    /// Reads all of a file mapping into memory and keeps it there, until the bytes are gone; so too what was read.
    /// (Bytes that were lent are for their owner to lock.)
    pub fn lock(&self) -> Result<()> {
        match &self.0 {
            #[cfg(unix)]
            Storage::Mapped(map) | Storage::Read(map, _) => map.lock().map_err(|e| {
                let size = map.len();
                let hint = "the limit RLIMIT_MEMLOCK (ulimit -l) must allow as many, and there must be as much memory";
                Error::new(Status::OutOfMemory, format_args!("cannot lock {size} bytes in memory: {e}; {hint}"))
            }),
            _ => {
                let message = "cannot lock this model in memory: it is no mapped file, or this system cannot";
                Err(Error::new(Status::Unsupported, message))
            }
        }
    }

    /// True if the bytes are a file mapping, whose pages the system can drop and read again.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Storage::Mapped(_))
    }
}

fn io(what: &str, error: std::io::Error) -> Error {
    Error::new(Status::Io, format_args!("cannot {what}: {error}"))
}

/// A file to be mapped or read.
pub(crate) fn open_file(path: &Path) -> Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    // A pipe without a writer is opened at once, to be refused, rather than waited for. (Miri does not know the flag.)
    #[cfg(all(unix, not(miri)))]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.read(true).open(path).map_err(|e| io("open the file", e))
}

/// How many bytes a part of a file has, of which `length`, or all if that is 0, are wanted from `offset` on.
fn part_length(file: &fs::File, offset: u64, length: u64) -> Result<usize> {
    let meta = file.metadata().map_err(|e| io("read the size of the file", e))?;
    if meta.is_dir() {
        let message = "not a file but a folder; if it holds a checkpoint, `rasp pack` makes a .rasp file of it";
        return Err(Error::new(Status::Io, message));
    }
    if !meta.is_file() {
        return Err(Error::new(Status::Io, "not a file (but a pipe or a device)"));
    }
    let size = meta.len();
    if !offset.is_multiple_of(PART_ALIGNMENT) {
        let message =
            format_args!("a model must start at a multiple of {PART_ALIGNMENT} bytes in its file, not at {offset}");
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let rest = size.checked_sub(offset).filter(|rest| length <= *rest).ok_or_else(|| {
        let message = format_args!("{length} bytes from byte {offset} on are more than the file's {size}");
        Error::new(Status::OutOfRange, message)
    })?;
    let length = if length == 0 { rest } else { length };
    if length == 0 {
        return Err(Error::new(Status::BadFile, "the file is empty"));
    }
    if length > isize::MAX as u64 {
        let (bits, most) = (usize::BITS, isize::MAX);
        let message = format_args!("the file has {length} bytes; a process of {bits} bits can map {most}");
        return Err(Error::new(Status::Unsupported, message));
    }
    Ok(length as usize)
}

/// Fills `bytes` from `offset` on; the file's position stays where it is.
fn read_exact_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset);
    #[cfg(windows)]
    {
        let (mut bytes, mut offset) = (bytes, offset);
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(file, bytes, offset) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => (bytes, offset) = (&mut bytes[n..], offset + n as u64),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Storage::Mapped(map) => map,
            Storage::Read(map, bytes) => &map[bytes.clone()],
            Storage::Owned(words, len) => {
                // SAFETY: `words` holds at least `len` initialised bytes (`copy` rounds up), any bytes are valid u8s.
                unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), *len) }
            }
            Storage::Lent(bytes) => bytes,
        }
    }
}

/// Element types that any bytes are a valid value of.
///
/// # Safety
/// Every bit pattern of the type's size is a valid value, and the type has no padding.
pub unsafe trait Plain: Copy + 'static {}
// SAFETY: integers and floats have neither invalid bit patterns nor padding.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

/// A typed window into a model's bytes; it keeps them alive.
pub struct View<T> {
    bytes: Arc<Bytes>,
    start: usize,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Plain> View<T> {
    /// `len` elements from byte `start`; `None` if they do not lie inside the bytes or are misaligned.
    pub fn new(bytes: &Arc<Bytes>, start: usize, len: usize) -> Option<View<T>> {
        let end = len.checked_mul(size_of::<T>())?.checked_add(start)?;
        let window = bytes.get(start..end)?;
        if !window.as_ptr().addr().is_multiple_of(align_of::<T>()) {
            return None;
        }
        Some(View { bytes: bytes.clone(), start, len, elements: PhantomData })
    }
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        View { bytes: self.bytes.clone(), start: self.start, len: self.len, elements: PhantomData }
    }
}

impl<T: Plain> Deref for View<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` checked that the bytes lie inside the storage and are aligned; the storage neither moves nor
        // changes while `self.bytes` holds it; `Plain` makes every bit pattern a value.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().add(self.start).cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_stay_inside_and_aligned() {
        let bytes = Bytes::copy(&[1, 0, 0, 0, 2, 0, 0, 0, 3]).unwrap();
        assert_eq!(bytes.len(), 9);
        assert_eq!(&*View::<u32>::new(&bytes, 0, 2).unwrap(), &[1, 2]);
        assert_eq!(&*View::<u8>::new(&bytes, 8, 1).unwrap(), &[3]);
        assert!(View::<u32>::new(&bytes, 0, 3).is_none());
        assert!(View::<u32>::new(&bytes, 2, 1).is_none());
        assert!(View::<u32>::new(&bytes, usize::MAX, 1).is_none());
        assert!(View::<f32>::new(&bytes, 0, usize::MAX).is_none());
        assert_eq!(View::<f32>::new(&bytes, 8, 0).unwrap().len(), 0);
    }

    #[test]
    fn a_missing_an_empty_and_a_directory_are_named() {
        let dir = std::env::temp_dir().join(format!("rasp-bytes-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let error = |path: &Path| Bytes::map(path).err().unwrap();
        let missing = error(&dir.join("none.rasp"));
        assert_eq!(missing.status(), Status::Io);
        assert!(missing.message().contains("none.rasp"));
        assert_eq!(error(&dir).status(), Status::Io);
        fs::write(dir.join("empty.rasp"), b"").unwrap();
        assert_eq!(error(&dir.join("empty.rasp")).status(), Status::BadFile);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[cfg_attr(miri, ignore = "Miri maps no files")]
    #[test]
    fn a_part_of_a_file_is_mapped_or_read_wherever_it_lies() {
        let path = std::env::temp_dir().join(format!("rasp-bytes-part-{}", std::process::id()));
        let content: Vec<u8> = (0..70_000u32).map(|i| (i % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        let file = fs::File::open(&path).unwrap();
        // Within a page, at its end, on the next, to the end.
        for (offset, length) in [(0, 5), (4, 4092), (4092, 8), (65_536, 100), (65_540, 0), (69_996, 4), (0, 0)] {
            let part = Bytes::map_part(&file, offset as u64, length as u64).unwrap();
            let end = if length == 0 { content.len() } else { offset + length };
            assert!(**part == content[offset..end], "{offset} {length}");
            let read = Bytes::read_part(&file, offset as u64, length as u64).unwrap();
            assert!(**read == content[offset..end] && read.as_ptr().addr().is_multiple_of(LARGE_PAGE));
        }
        let error = |offset, length| {
            let error = Bytes::map_part(&file, offset, length).err().unwrap();
            assert_eq!(Bytes::read_part(&file, offset, length).err().unwrap().message(), error.message());
            error
        };
        assert!(error(6, 4).message().contains("multiple of 4 bytes in its file, not at 6"));
        for (offset, length) in [(69_996, 5), (70_004, 0), (0, 70_001), (u64::MAX - 3, 4), (4, u64::MAX)] {
            assert_eq!(error(offset, length).status(), Status::OutOfRange, "{offset} {length}");
        }
        assert_eq!(error(70_000, 0).status(), Status::BadFile);
        fs::remove_file(&path).unwrap();
    }

    #[cfg(target_pointer_width = "32")]
    #[test]
    fn a_file_beyond_the_address_space_is_refused_with_its_size() {
        let path = std::env::temp_dir().join(format!("rasp-bytes-large-{}", std::process::id()));
        // Holes take no room.
        fs::File::create(&path).unwrap().set_len(5 << 30).unwrap();
        let error = Bytes::map(&path).err().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(error.status(), Status::Unsupported);
        assert!(error.message().contains("5368709120 bytes; a process of 32 bits"), "{}", error.message());
    }

    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "Miri makes no pipes")]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let path = std::env::temp_dir().join(format!("rasp-bytes-pipe-{}", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a name that ends with a NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let error = Bytes::map(&path).err().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(error.status() == Status::Io && error.message().contains("not a file"), "{error}");
    }

    #[cfg_attr(miri, ignore = "Miri maps no files")]
    #[test]
    fn what_was_read_does_not_change_with_the_file() {
        let path = std::env::temp_dir().join(format!("rasp-bytes-read-{}", std::process::id()));
        fs::write(&path, vec![1; 100_000]).unwrap();
        let read = Bytes::read_part(&fs::File::open(&path).unwrap(), 0, 0).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(read.len() == 100_000 && read.iter().all(|&byte| byte == 1) && !read.is_mapped());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn bytes_that_the_host_owns_are_not_locked() {
        let error = Bytes::copy(&[1, 2, 3]).unwrap().lock().unwrap_err();
        assert_eq!(error.status(), Status::Unsupported);
    }
}
