//! What Kuryr relies on any Neutron to do, as tests that take the Neutron as an argument.
//!
//! A promise is an async function whose name can be false. It works on ground of its own, so that
//! all can be held to at once, on a cloud that others use; what it made is removed however it ends.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a broken promise is reported by panicking"
)]

mod ground;

pub mod binding;
pub mod groups;
pub mod lists;
pub mod manners;
pub mod networks;
pub mod pools;
pub mod ports;
pub mod quotas;
pub mod security;
pub mod subnets;
pub mod tags;
pub mod trunks;

pub use ground::{Ground, Reply, Subject, hold};

/// Declares a module of tests that hold one Neutron, a [`Subject`], to every promise.
#[macro_export]
macro_rules! hold_to_contract {
    ($(#[$meta:meta])* $backend:ident, $subject:expr) => {
        mod $backend {
            use super::*;
            $crate::hold_to_contract!(@each [$(#[$meta])*] $subject;
                binding::a_bound_port_keeps_its_mac
                binding::a_device_of_a_card_is_bound_with_the_vlan_of_its_network
                binding::a_device_of_no_card_fails_visibly
                binding::a_device_that_a_port_names_is_listed_with_the_ports_of_its_host
                binding::a_port_that_is_unbound_again_is_what_it_was
                binding::a_port_without_a_host_is_unbound
                binding::an_unbound_port_takes_a_mac_and_a_host_at_once
                binding::binding_to_a_host_says_how_to_plug
                binding::binding_to_an_unknown_host_fails_visibly
                binding::of_two_that_claim_a_port_at_once_one_makes_the_next_revision
                binding::ports_are_found_by_their_host
                binding::unbinding_does_not_free_the_mac_at_once
                groups::a_deleted_port_is_in_no_group
                groups::a_group_in_use_refuses_to_go
                groups::a_group_is_found_by_its_name_at_once
                groups::a_new_group_says_what_it_allows
                groups::rules_are_made_many_at_once_or_none
                lists::a_condition_on_a_truth_value_takes_every_spelling
                lists::a_list_comes_in_the_order_asked_for
                lists::a_list_has_only_the_fields_asked_for
                lists::a_long_list_comes_in_pages
                lists::a_tag_filter_is_a_conjunction
                lists::an_unknown_condition_is_refused
                lists::an_unknown_order_is_refused
                lists::conditions_on_different_fields_must_all_hold
                lists::of_a_repeated_condition_any_may_hold
                lists::pages_are_read_forwards_and_backwards
                lists::ports_are_found_by_their_address
                lists::ports_are_found_by_their_mac_address
                lists::tags_can_be_asked_for_in_four_ways
                manners::a_refusal_has_a_type_a_message_and_a_request_id
                manners::a_request_for_another_revision_is_refused
                manners::an_unknown_attribute_is_refused
                manners::an_unknown_extension_is_absent
                manners::every_change_is_counted
                manners::nonsense_is_refused
                manners::what_does_not_exist_is_refused_by_its_kind
                networks::a_network_has_an_mtu
                networks::a_network_says_what_it_is_on
                networks::a_network_is_found_by_its_name_at_once
                networks::a_network_takes_its_subnets_along
                networks::a_network_with_ports_refuses_to_go
                networks::tags_in_a_post_are_refused
                networks::what_is_deleted_is_gone
                pools::a_pool_gives_a_project_no_more_than_its_quota
                pools::a_pool_gives_a_range_of_its_default_length
                pools::a_pool_gives_the_range_asked_for
                pools::a_pool_in_use_refuses_to_go
                pools::a_pools_prefixes_grow_and_shrink
                pools::a_range_outside_its_pool_is_refused
                pools::a_subnet_can_be_of_the_default_pool
                pools::a_taken_range_is_refused_and_comes_back_when_freed
                pools::an_exhausted_pool_says_so
                pools::subnets_of_a_network_are_of_one_pool
                pools::subnets_of_a_pool_do_not_overlap
                pools::what_a_pool_cannot_be_is_refused
                ports::a_full_subnet_is_named
                ports::a_mac_is_unique_on_its_network_only
                ports::a_port_asked_to_have_no_address_has_none
                ports::a_port_can_be_renamed_and_given_to_another_device
                ports::a_port_gets_an_address_of_each_family
                ports::a_port_has_the_default_security_group
                ports::a_port_takes_a_qos_policy_that_is_found_by_its_name
                ports::a_qos_policy_shows_its_rules
                ports::a_port_takes_address_pairs
                ports::a_port_without_port_security_has_neither_groups_nor_pairs
                ports::a_ports_identity_counts_from_the_post_on
                ports::a_taken_address_is_named
                ports::an_address_of_no_subnet_is_refused
                ports::an_address_outside_the_allocation_pools_can_be_had
                ports::fixed_ips_are_replaced_as_a_whole
                ports::ports_are_made_many_at_once_or_none
                ports::ports_share_neither_address_nor_mac
                quotas::a_projects_quotas_are_set_shown_and_taken_back
                quotas::a_quota_below_what_is_used_is_refused
                quotas::a_quota_holds_for_its_project
                quotas::a_quota_that_is_none_is_refused
                security::a_rule_is_there_once
                security::ports_are_as_open_as_their_network_says
                security::rules_are_found_by_what_they_say
                security::rules_of_one_request_are_of_one_group
                security::there_is_no_second_default_group
                security::what_a_rule_cannot_be_is_refused
                security::wrong_address_pairs_are_refused
                subnets::a_gateway_can_be_removed_and_moved
                subnets::a_gateway_in_the_allocation_pools_is_refused
                subnets::a_given_gateway_is_kept_from_ports
                subnets::a_subnet_can_be_changed
                subnets::a_subnet_with_ports_refuses_to_go
                subnets::a_subnet_without_a_gateway_gives_its_first_address_away
                subnets::a_v6_subnet_without_modes_gives_plain_addresses
                subnets::allocation_pools_are_kept_and_used
                subnets::allocation_pools_outside_the_subnet_are_refused
                subnets::host_routes_are_kept
                subnets::overlapping_subnets_of_a_network_are_refused
                subnets::the_first_address_is_the_gateway_unless_told_otherwise
                subnets::two_networks_may_have_the_same_range
                subnets::what_a_subnet_cannot_be_is_refused
                tags::a_resource_takes_fifty_tags_and_no_more
                tags::a_tag_of_255_characters_fits_and_no_longer_one
                tags::every_kind_of_object_has_tags
                tags::posted_tags_are_added
                tags::single_tags_come_and_go
                tags::tags_set_after_the_post_are_what_counts
                tags::what_is_gone_takes_no_tags
                trunks::a_disabled_trunk_keeps_its_subports
                trunks::a_port_carries_one_trunk
                trunks::a_port_in_use_is_no_subport
                trunks::a_port_is_in_one_trunk
                trunks::a_port_of_a_trunk_stays
                trunks::a_subport_is_as_its_trunk_has_it_and_then_nobodys
                trunks::a_subport_is_of_another_network
                trunks::a_subports_network_has_no_greater_mtu
                trunks::a_trunk_is_made_found_by_its_port_and_deleted
                trunks::a_vlan_id_is_used_once
                trunks::ports_are_found_by_what_they_are_for
                trunks::subports_come_and_go_many_at_once_or_none
                trunks::what_a_subport_cannot_be_is_refused
                trunks::what_is_gone_is_named
            );
        }
    };
    (@each $metas:tt $subject:expr; $($module:ident::$promise:ident)*) => {
        $($crate::hold_to_contract!(@one $metas $subject; $module $promise);)*
    };
    (@one [$(#[$meta:meta])*] $subject:expr; $module:ident $promise:ident) => {
        #[tokio::test]
        $(#[$meta])*
        async fn $promise() {
            $crate::hold($subject, $crate::$module::$promise).await;
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_in_the_contract() {
        let modules = [
            ("binding", include_str!("binding.rs")),
            ("groups", include_str!("groups.rs")),
            ("lists", include_str!("lists.rs")),
            ("manners", include_str!("manners.rs")),
            ("networks", include_str!("networks.rs")),
            ("pools", include_str!("pools.rs")),
            ("ports", include_str!("ports.rs")),
            ("quotas", include_str!("quotas.rs")),
            ("security", include_str!("security.rs")),
            ("subnets", include_str!("subnets.rs")),
            ("tags", include_str!("tags.rs")),
            ("trunks", include_str!("trunks.rs")),
        ];
        for (module, source) in modules {
            for line in source.lines() {
                let Some(rest) = line.strip_prefix("pub async fn ") else {
                    continue;
                };
                let name = rest.split('(').next().unwrap();
                let entry = format!(" {module}::{name}\n");
                assert!(include_str!("lib.rs").contains(&entry), "{module}::{name}");
            }
        }
    }
}
