//! `client_tls_protocols` and `server_tls_protocols`: which versions of TLS may be spoken.

use crate::value::quoted;

use super::Value;

/// Versions of TLS, kept as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProtocols {
    text: String,
    /// TLS 1.0 or 1.1. No library of ours speaks them any more.
    pub old: bool,
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
}

impl TlsProtocols {
    /// PgBouncer's `secure`, its default: 1.2 and 1.3.
    pub fn secure() -> Self {
        Self { text: "secure".to_owned(), old: false, tls12: true, tls13: true }
    }

    fn add(&mut self, name: &str) -> Option<()> {
        match name {
            "tlsv1.0" | "tlsv1.1" => self.old = true,
            "tlsv1.2" => self.tls12 = true,
            "tlsv1.3" => self.tls13 = true,
            "secure" | "default" => (self.tls12, self.tls13) = (true, true),
            "all" | "legacy" | "tlsv1" => (self.old, self.tls12, self.tls13) = (true, true, true),
            _ => return None,
        }
        Some(())
    }
}

impl Value for TlsProtocols {
    fn parse(text: &str) -> Result<Self, String> {
        let mut protocols = Self { text: text.to_owned(), old: false, tls12: false, tls13: false };
        for name in text.split([',', ':']).map(str::trim) {
            protocols.add(&name.to_ascii_lowercase()).ok_or_else(|| {
                format!(
                    "expected secure, all, or some of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3 with commas between, found {}",
                    quoted(text)
                )
            })?;
        }
        if protocols.tls12 || protocols.tls13 {
            Ok(protocols)
        } else {
            Err(format!("TLS 1.0 and 1.1 are not supported, and {} leaves no other version", quoted(text)))
        }
    }

    fn show(&self) -> String {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(text: &str) -> (bool, bool, bool) {
        let protocols = TlsProtocols::parse(text).unwrap();
        assert_eq!(protocols.show(), text);
        (protocols.old, protocols.tls12, protocols.tls13)
    }

    #[test]
    fn versions_are_listed_or_named_together() {
        assert_eq!(versions("secure"), (false, true, true));
        assert_eq!(versions("all"), (true, true, true));
        assert_eq!(versions("tlsv1.1, TLSv1.2"), (true, true, false));
        assert_eq!(versions("tlsv1.3"), (false, false, true));
        assert_eq!(TlsProtocols::parse("secure"), Ok(TlsProtocols::secure()));
    }

    #[test]
    fn what_cannot_be_spoken_is_refused() {
        assert_eq!(
            TlsProtocols::parse("tlsv1.0,tlsv1.1").unwrap_err(),
            "TLS 1.0 and 1.1 are not supported, and \"tlsv1.0,tlsv1.1\" leaves no other version"
        );
        for text in ["", "sslv3", "tlsv1.2,"] {
            assert!(TlsProtocols::parse(text).is_err(), "{text}");
        }
    }
}
