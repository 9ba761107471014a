//! The program `kuryr`.

use std::process::ExitCode;

/// Gives back what is not needed any more. The C library's own keeps most of it: many threads each
/// make a piece of what then lives as long as the others.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    kuryr::run()
}
