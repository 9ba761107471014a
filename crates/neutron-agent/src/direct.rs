//! Changes of elements alone, given to the kernel without `nft`: that is what a port costs that
//! comes or goes, mostly.

use std::net::IpAddr;

use kuryr_vif::{FilterFamily, FilterSets, SetChange, SetElement, SetValue, SetVerb, Transport};
use neutron_api::MacAddress;

use crate::element::{Element, Family, Set};
use crate::model::Model;
use crate::script::{BATCHES, Batch, Difference, differ_in_elements_only};

/// More than these are `nft`'s: a list has room for some hundreds.
const MOST: usize = 200;

/// What leads from `applied` to `wanted`; none if it takes `nft`.
///
/// Nothing at all is an empty list.
pub(crate) fn changes(applied: &Model, wanted: &Model, batch: Batch<'_>) -> Option<Vec<SetChange>> {
    if !differ_in_elements_only(applied, wanted) {
        return None;
    }
    let Difference { gone, come } = Difference::between(applied, wanted);
    if gone.len() + come.len() > MOST {
        return None;
    }
    let mut changes = Vec::new();
    for (verb, elements) in [(SetVerb::Delete, gone), (SetVerb::Add, come)] {
        for element in elements {
            let bytes = bytes_of(&element)?;
            let set = element.set.to_string();
            match changes.last_mut() {
                Some(SetChange {
                    verb: same,
                    set: last,
                    elements,
                    ..
                }) if *same == verb && *last == set => {
                    elements.push(bytes);
                }
                _ => changes.push(SetChange {
                    family: match element.set.family() {
                        Family::Bridge => FilterFamily::Bridge,
                        Family::Inet => FilterFamily::Inet,
                    },
                    table: batch.table.to_owned(),
                    set,
                    verb,
                    elements: vec![bytes],
                }),
            }
        }
    }
    if !changes.is_empty() {
        changes.extend(signed(batch));
    }
    Some(changes)
}

/// Leaves the batch's number, as every change of ours does.
fn signed(batch: Batch<'_>) -> [SetChange; 2] {
    let change = |verb, elements| SetChange {
        family: FilterFamily::Inet,
        table: batch.table.to_owned(),
        set: BATCHES.to_owned(),
        verb,
        elements,
    };
    let key = batch.number.to_ne_bytes().to_vec();
    [
        change(SetVerb::Delete, Vec::new()),
        change(SetVerb::Add, vec![SetElement { key, value: None }]),
    ]
}

/// None for elements of intervals, of which the kernel keeps both ends.
fn bytes_of(element: &Element) -> Option<SetElement> {
    if matches!(
        element.set,
        Set::SenderRanges | Set::SourceRanges(_) | Set::IngressRanges(_) | Set::Subnets(_)
    ) {
        return None;
    }
    let value = match element.value.as_str() {
        "" => None,
        "accept" => Some(SetValue::Accept),
        value => Some(match value.strip_prefix("goto ") {
            Some(chain) => SetValue::Goto(chain.to_owned()),
            None => SetValue::Data(concatenated(value)?),
        }),
    };
    let key = concatenated(&element.key)?;
    Some(SetElement { key, value })
}

/// Each part is padded to four bytes.
fn concatenated(words: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in words.split(" . ") {
        bytes.extend(of_word(word)?);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    Some(bytes)
}

fn of_word(word: &str) -> Option<Vec<u8>> {
    if let Ok(ip) = word.parse::<IpAddr>() {
        return Some(match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        });
    }
    if let Ok(mac) = word.parse::<MacAddress>() {
        return Some(mac.octets().to_vec());
    }
    if let Some(digits) = word.strip_prefix("0x") {
        let number = u128::from_str_radix(digits, 16).ok()?;
        return Some(number.to_be_bytes().to_vec());
    }
    if let Ok(port) = word.parse::<u16>() {
        return Some(port.to_be_bytes().to_vec());
    }
    let transports = [Transport::Tcp, Transport::Udp, Transport::Sctp];
    if let Some(transport) = transports.iter().find(|it| it.to_string() == word) {
        return Some(vec![transport.number()]);
    }
    // The names of our taps and bridges are as long as nothing else here.
    let mut name = word.as_bytes().to_vec();
    (name.len() < INTERFACE).then(|| {
        name.resize(INTERFACE, 0);
        name
    })
}

/// How long the kernel's names of interfaces are.
const INTERFACE: usize = 16;

/// Gives `changes` to the kernel; the socket is kept in `kernel`.
pub(crate) async fn apply(kernel: &mut Option<FilterSets>, changes: Vec<SetChange>) -> bool {
    let opened = kernel.take();
    let work = tokio::task::spawn_blocking(move || {
        let mut kernel = match opened {
            Some(kernel) => kernel,
            None => FilterSets::open()?,
        };
        let outcome = kernel.apply(&changes);
        outcome.map(|()| kernel)
    });
    match work.await {
        Ok(Ok(opened)) => {
            *kernel = Some(opened);
            true
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "nft is asked instead");
            false
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_are_padded_to_four_bytes() {
        let bytes = concatenated("tcp . 80 . fa:16:3e:00:00:01 . ::1").unwrap();
        let mut want = vec![6, 0, 0, 0, 0, 80, 0, 0, 0xfa, 0x16, 0x3e, 0, 0, 1, 0, 0];
        want.extend([0; 15]);
        want.push(1);
        assert_eq!(bytes, want);
        assert_eq!(
            concatenated("tap0").unwrap(),
            *b"tap0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
    }
}
