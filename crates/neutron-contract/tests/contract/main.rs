//! Every Neutron that Kuryr claims to work with, held to the same promises.

mod cloud;

use neutron_contract::{Subject, hold_to_contract};
use neutron_embedded::{Embedded, EmbeddedSettings, Hosts};

hold_to_contract!(embedded, embedded_neutron());

hold_to_contract!(
    #[ignore = "needs a cloud: make test"]
    real,
    cloud::from_environment()
);

fn embedded_neutron() -> Subject {
    let mut settings = EmbeddedSettings {
        hosts: Hosts::These(vec!["host1".into()]),
        cards: vec!["physnet2".into()],
        ..EmbeddedSettings::default()
    };
    // It knows policies by name only, and trunks without a switch: so it does not boast of them.
    let quiet = ["qos", "trunk", "trunk-details"];
    settings.extensions.extend(quiet.map(str::to_owned));
    Subject::new(Embedded::new(settings).service(), "host1", "physnet2")
}
