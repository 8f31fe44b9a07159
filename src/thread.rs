//! A thread of our own, started without an allocation of ours: where there is no memory for one, that is an error.
//!
//! The standard library's threads allocate names, packets and handles, and a process without memory would end there.
//! POSIX threads are asked for directly; elsewhere it is the standard library's after all, and under Miri, which does
//! not know the attributes of the others.

use crate::{Error, Result, Status};

/// What a thread runs.
pub(crate) trait Run: Sync + 'static {
    /// Does not unwind.
    fn run(&self);
}

/// Bytes of a thread's stack: many times what a part of a pass takes.
#[cfg(all(unix, not(miri)))]
const STACK: usize = 1 << 20;

/// A thread that was started; somebody has to [`join`](Thread::join) it.
pub(crate) struct Thread {
    #[cfg(all(unix, not(miri)))]
    native: libc::pthread_t,
    #[cfg(any(not(unix), miri))]
    native: std::thread::JoinHandle<()>,
}

#[cfg(all(unix, not(miri)))]
impl Thread {
    /// Starts a thread that runs `what`.
    ///
    /// # Safety
    /// `what` can be read, and nobody writes it, until the thread is joined.
    pub(crate) unsafe fn start<T: Run>(what: *const T, part: usize) -> Result<Thread> {
        extern "C" fn enter<T: Run>(what: *mut libc::c_void) -> *mut libc::c_void {
            // SAFETY: by the promise of `start`.
            unsafe { &*what.cast::<T>() }.run();
            std::ptr::null_mut()
        }
        let refused = |code: i32| {
            // Its words would take memory.
            Error::new(Status::OutOfMemory, format_args!("cannot start thread {part}: error {code} of the system"))
        };
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        // SAFETY: valid for writes.
        let code = unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
        if code != 0 {
            return Err(refused(code));
        }
        let mut native = std::mem::MaybeUninit::<libc::pthread_t>::uninit();
        // SAFETY: the attributes were initialised, and are destroyed once; `enter` takes what it is given by the
        // caller's promise, and does not unwind.
        let code = unsafe {
            // A size that the system does not take leaves it its own.
            let _ = libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
            let code =
                libc::pthread_create(native.as_mut_ptr(), attributes.as_ptr(), enter::<T>, what.cast_mut().cast());
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            code
        };
        // SAFETY: written where the thread was created.
        if code == 0 { Ok(Thread { native: unsafe { native.assume_init() } }) } else { Err(refused(code)) }
    }

    /// Waits until it has ended.
    pub(crate) fn join(self) {
        // SAFETY: it was created, is not detached, and is joined once, for `self` goes.
        unsafe { libc::pthread_join(self.native, std::ptr::null_mut()) };
    }
}

#[cfg(any(not(unix), miri))]
impl Thread {
    /// Starts a thread that runs `what`.
    ///
    /// # Safety
    /// `what` can be read, and nobody writes it, until the thread is joined.
    pub(crate) unsafe fn start<T: Run>(what: *const T, part: usize) -> Result<Thread> {
        // SAFETY: by the promise of `start`; the lifetime is that of the thread.
        let what: &'static T = unsafe { &*what };
        // SAFETY: as above: the closure, and with it what it refers to, lives until the thread is joined.
        let native = unsafe { std::thread::Builder::new().spawn_unchecked(move || what.run()) };
        let native =
            native.map_err(|why| Error::new(Status::OutOfMemory, format_args!("cannot start thread {part}: {why}")))?;
        Ok(Thread { native })
    }

    /// Waits until it has ended.
    pub(crate) fn join(self) {
        // What it runs does not unwind.
        let _ = self.native.join();
    }
}

/// Names the calling thread `rasp-N` for debuggers, where that takes no memory.
pub(crate) fn name(part: usize) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // At most 15 bytes and a NUL.
        let mut name = *b"rasp-\0\0\0\0\0";
        let mut digits = [0; 3];
        let mut rest = part;
        let count = (0..3).take_while(|&n| {
            digits[n] = b'0' + (rest % 10) as u8;
            rest /= 10;
            n == 0 || rest > 0 || digits[n] != b'0'
        });
        let count = count.count();
        (0..count).for_each(|n| name[5 + n] = digits[count - 1 - n]);
        // SAFETY: the calling thread's own, and the name ends with a NUL.
        unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr().cast()) };
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = part;
}
