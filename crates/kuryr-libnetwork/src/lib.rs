//! Docker's remote driver protocols: decode, call the core, encode.
