//! The program `kuryr`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kuryr::run()
}
