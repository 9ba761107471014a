//! The core on hosts that take notes, and on a real Neutron: what many do at once there, and how it binds
//! what the lab has no hardware for. The embedded one is held to the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "cloud/cards.rs"]
mod cards;
#[path = "cloud/ground.rs"]
mod ground;
#[path = "cloud/guests.rs"]
mod guests;
#[path = "cloud/host.rs"]
mod host;

/// Each of these on both.
macro_rules! on_both {
    ($($module:ident::$test:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $test() {
                crate::ground::hold(crate::ground::embedded(), crate::$module::$test).await;
            })*
        }

        mod real {
            $(#[tokio::test]
            #[ignore = "needs a cloud: make test"]
            async fn $test() {
                crate::ground::hold(crate::ground::real(), crate::$module::$test).await;
            })*
        }
    };
}

on_both! {
    cards::containers_get_functions_as_neutron_binds_them
    cards::a_port_of_an_administrators_is_bound_to_its_device_and_afterwards_as_before
    guests::fifty_starts_at_once_in_five_guests_lose_no_address
    guests::two_writers_that_choose_the_same_vlan_ids_both_get_some
}
