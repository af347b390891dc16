//! Ranges of addresses that a connection may come from.

use std::net::IpAddr;
use std::str::FromStr;

use super::words::Word;
use crate::context::{Checked, Context};
use crate::value::quoted;

/// Addresses that a rule is for. One of IPv4 is never in a range of IPv6, nor the other way, mapped or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Every one.
    All,
    /// Those that agree with an address where the mask has ones.
    V4 {
        /// The address.
        address: u32,
        /// The mask.
        mask: u32,
    },
    /// As for IPv4.
    V6 {
        /// The address.
        address: u128,
        /// The mask.
        mask: u128,
    },
}

impl Addresses {
    /// Whether `ip` is among them.
    pub(super) fn contain(&self, ip: IpAddr) -> bool {
        match (*self, ip) {
            (Self::All, _) => true,
            (Self::V4 { address, mask }, IpAddr::V4(ip)) => (ip.to_bits() ^ address) & mask == 0,
            (Self::V6 { address, mask }, IpAddr::V6(ip)) => (ip.to_bits() ^ address) & mask == 0,
            _ => false,
        }
    }

    /// Those that share the first `length` bits with `ip`; `None` if it has not so many.
    fn of_prefix(ip: IpAddr, length: u32) -> Option<Self> {
        Some(match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32u32.checked_sub(length)?).unwrap_or(0);
                Self::V4 { address: ip.to_bits(), mask }
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128u32.checked_sub(length)?).unwrap_or(0);
                Self::V6 { address: ip.to_bits(), mask }
            }
        })
    }
}

/// An address field, as far as it says by itself.
pub(super) enum Given {
    /// All of it.
    Whole(Addresses),
    /// An address whose mask is the next field.
    Bare(IpAddr),
}

/// Reads an address field.
pub(super) fn read(context: &Context<'_>, word: &Word) -> Checked<Given> {
    if word.is("all") {
        return Ok(Given::Whole(Addresses::All));
    }
    if word.is("samehost") || word.is("samenet") {
        let message = format!("{} is not supported: write the addresses, such as 10.0.0.0/8", word.text);
        return Err(context.report(word.at, message));
    }
    let (ip, length) = match word.text.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (word.text.as_str(), None),
    };
    let Ok(ip) = IpAddr::from_str(ip) else {
        let message = format!(
            "expected an address such as 127.0.0.1/32 or ::1/128, or all (host names are not supported), found {}",
            quoted(&word.text)
        );
        return Err(context.report(word.at, message));
    };
    match length {
        None => Ok(Given::Bare(ip)),
        Some(length) => prefix(ip, length).map(Given::Whole).ok_or_else(|| {
            let longest = if ip.is_ipv4() { 32 } else { 128 };
            let found = quoted(length);
            context.report(word.at, format!("expected 0 to {longest} bits behind the slash, found {found}"))
        }),
    }
}

fn prefix(ip: IpAddr, length: &str) -> Option<Addresses> {
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse().ok().filter(|_| digits)?;
    Addresses::of_prefix(ip, length)
}

/// Reads the mask of an address that stands by itself; `None`: the record ends there.
pub(super) fn masked(
    context: &Context<'_>,
    ip: IpAddr,
    address: &Word,
    mask: Option<&Word>,
) -> Checked<Addresses> {
    let mask = mask.map(|word| (word, IpAddr::from_str(&word.text)));
    match (ip, mask) {
        (IpAddr::V4(ip), Some((_, Ok(IpAddr::V4(mask))))) => {
            Ok(Addresses::V4 { address: ip.to_bits(), mask: mask.to_bits() })
        }
        (IpAddr::V6(ip), Some((_, Ok(IpAddr::V6(mask))))) => {
            Ok(Addresses::V6 { address: ip.to_bits(), mask: mask.to_bits() })
        }
        (ip, mask) => {
            let one = if ip.is_ipv4() { 32 } else { 128 };
            let message = format!("expected a mask for {ip} behind it; {ip} alone is written {ip}/{one}");
            Err(context.report(mask.map_or(address.at, |(word, _)| word.at), message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, the first one first.
    fn agree<const N: usize>(one: [u8; N], other: [u8; N], bits: usize) -> bool {
        let bit = |bytes: [u8; N], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        (0..bits).all(|at| bit(one, at) == bit(other, at))
    }

    /// An address that shares a beginning with another one more often than chance would have it.
    fn near<const N: usize>(one: [u8; N], noise: [u8; N], from: usize) -> [u8; N] {
        std::array::from_fn(|at| if at * 8 < from { one[at] } else { noise[at] })
    }

    proptest! {
        #[test]
        fn a_prefix_of_v4_is_what_its_bits_say(one: [u8; 4], noise: [u8; 4], from in 0..40usize, bits in 0..=32u32) {
            let other = near(one, noise, from);
            let range = Addresses::of_prefix(IpAddr::from(one), bits).unwrap();
            prop_assert_eq!(range.contain(IpAddr::from(other)), agree(one, other, bits as usize));
        }

        #[test]
        fn a_prefix_of_v6_is_what_its_bits_say(one: [u8; 16], noise: [u8; 16], from in 0..140usize, bits in 0..=128u32) {
            let other = near(one, noise, from);
            let range = Addresses::of_prefix(IpAddr::from(one), bits).unwrap();
            prop_assert_eq!(range.contain(IpAddr::from(other)), agree(one, other, bits as usize));
        }

        #[test]
        fn the_families_do_not_mix(v4: [u8; 4], v6: [u8; 16], bits in 0..=32u32) {
            let mapped = Ipv4Addr::from(v4).to_ipv6_mapped();
            for other in [Ipv6Addr::from(v6), mapped] {
                prop_assert!(!Addresses::of_prefix(IpAddr::from(v4), bits).unwrap().contain(IpAddr::V6(other)));
                prop_assert!(!Addresses::of_prefix(IpAddr::V6(other), bits).unwrap().contain(IpAddr::from(v4)));
            }
        }
    }

    #[test]
    fn there_are_no_more_bits_than_an_address_has() {
        assert_eq!(Addresses::of_prefix(Ipv4Addr::LOCALHOST.into(), 33), None);
        assert_eq!(Addresses::of_prefix(Ipv6Addr::LOCALHOST.into(), 129), None);
        for length in ["", "+8", "-1", "8 ", "0x8", "33", "4294967296"] {
            assert_eq!(prefix(Ipv4Addr::LOCALHOST.into(), length), None, "{length}");
        }
    }
}
