//! How much memory a script holds.
//!
//! Rhai bounds single values, and looks only between its own steps: thousands of values at their limit, or a
//! native function that gathers what a closure returns, would use up the machine and take the runner with it. A
//! script runs on one thread from its begin to its end, so what that thread has allocated and not freed since
//! then is the script's. The allocator counts it: an addition to a thread's own number, nothing else.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, counting for each thread what it has allocated and not freed.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// May be negative: what one thread allocates another may free.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no number any more, and nothing left to count.
    let _ = BYTES.try_with(|counted| counted.set(counted.get().wrapping_add(bytes)));
}

#[allow(unsafe_code, reason = "the trait of allocators is unsafe; this one only counts and passes on")]
// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the promises of the trait.
// Counting neither allocates, for the number is in the thread's static storage, nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size().cast_signed().wrapping_neg());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size.cast_signed().wrapping_sub(layout.size().cast_signed()));
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, new_size) }
    }
}

/// A point from which on a thread's memory is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(isize);

impl Mark {
    /// Now, on this thread.
    pub(super) fn set() -> Self {
        Self(BYTES.get())
    }

    /// What this thread holds more than it did at the mark.
    pub(super) fn bytes_since(self) -> usize {
        usize::try_from(BYTES.get().wrapping_sub(self.0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn what_is_held_is_counted_and_what_is_freed_is_not() {
        let mark = Mark::set();
        let mut held = vec![0_u8; 1 << 20];
        assert!((1 << 20..1 << 21).contains(&mark.bytes_since()), "{}", mark.bytes_since());
        held.reserve_exact(3 << 20);
        assert!(mark.bytes_since() >= 4 << 20);
        drop(held);
        assert!(mark.bytes_since() < 1 << 16, "{}", mark.bytes_since());
    }
}
