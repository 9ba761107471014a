//! Notes of devices of cards.

use std::io;

use serde::{Deserialize, Serialize};

use super::written::invalid;
use crate::kernel::device::Before;
use crate::{Device, FunctionSettings, Part, Rates};

/// As it is written.
#[derive(Deserialize, Serialize)]
pub(super) struct Written {
    slot: String,
    part: WrittenPart,
    before: Option<WrittenBefore>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum WrittenPart {
    Function(WrittenSettings),
    Macvtap(WrittenSettings),
    Card,
}

#[derive(Deserialize, Serialize)]
struct WrittenSettings {
    vlan: u16,
    spoof_check: bool,
    trusted: bool,
    /// The least and the most.
    rates: Option<(u32, u32)>,
}

#[derive(Deserialize, Serialize)]
struct WrittenBefore {
    name: String,
    mac: String,
    mtu: u32,
}

pub(super) fn format(device: &Device, before: Option<&Before>) -> Written {
    let settings = |settings: FunctionSettings| WrittenSettings {
        vlan: settings.vlan,
        spoof_check: settings.spoof_check,
        trusted: settings.trusted,
        rates: settings.rates.map(|rates| (rates.least, rates.most)),
    };
    Written {
        slot: device.slot.to_string(),
        part: match device.part {
            Part::Function(of) => WrittenPart::Function(settings(of)),
            Part::Macvtap(of) => WrittenPart::Macvtap(settings(of)),
            Part::Card => WrittenPart::Card,
        },
        before: before.map(|before| WrittenBefore {
            name: before.name.to_string(),
            mac: before.mac.to_string(),
            mtu: before.mtu,
        }),
    }
}

pub(super) fn parse(written: &Written) -> io::Result<(Device, Option<Before>)> {
    let settings = |settings: &WrittenSettings| FunctionSettings {
        vlan: settings.vlan,
        spoof_check: settings.spoof_check,
        trusted: settings.trusted,
        rates: settings.rates.map(|(least, most)| Rates { least, most }),
    };
    let device = Device {
        slot: written.slot.parse().map_err(|error| invalid(&error))?,
        part: match &written.part {
            WrittenPart::Function(of) => Part::Function(settings(of)),
            WrittenPart::Macvtap(of) => Part::Macvtap(settings(of)),
            WrittenPart::Card => Part::Card,
        },
    };
    let before = |before: &WrittenBefore| {
        Ok::<_, io::Error>(Before {
            name: before.name.parse().map_err(|error| invalid(&error))?,
            mac: before.mac.parse().map_err(|error| invalid(&error))?,
            mtu: before.mtu,
        })
    };
    Ok((device, written.before.as_ref().map(before).transpose()?))
}
