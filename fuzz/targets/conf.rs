//! kuryr.conf: read to settings or refused in words, and no word of either is a secret.
#![no_main]

use std::fs;

use kuryr_fuzz::folder;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "tell-nobody-4711";

fuzz_target!(|input: &[u8]| {
    let folder = folder();
    let etc = folder.path().join("etc/kuryr");
    fs::create_dir_all(&etc).expect("a folder");
    let mut text = input.to_vec();
    text.extend_from_slice(b"\n[neutron]\npassword = ");
    text.extend_from_slice(SECRET.as_bytes());
    text.push(b'\n');
    fs::write(etc.join("kuryr.conf"), text).expect("a file");
    let (Ok(said) | Err(said)) = kuryr::check_configuration(folder.path());
    assert!(!said.is_empty());
    assert!(!said.contains(SECRET), "{said}");
});
