//! From a file's records to rules.

use std::fmt;
use std::path::Path;

use super::address::{self, Addresses, Given};
use super::ident::Maps;
use super::lists;
use super::method;
use super::reader::{Open, Reader};
use super::rule::{Origins, Rule};
use super::words::{Field, Record, Word};
use crate::context::{At, Checked, Context};
use crate::suggest::nearest;
use crate::value::quoted;

/// A record's first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
}

/// The words for kinds of records.
const KINDS: [(&str, Kind); 4] = [
    ("local", Kind::Local),
    ("host", Kind::Host),
    ("hostssl", Kind::HostSsl),
    ("hostnossl", Kind::HostNoSsl),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.into_iter().find(|(_, kind)| kind == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

/// Reads the rules of a file; `maps` are those that they may name, if there is a file of them.
pub(super) fn read(reader: &Reader<'_>, path: &Path, maps: Option<&Maps>) -> Vec<Rule> {
    reader.file(path, |open, records| {
        let whole = |record: Record| {
            let before = reader.count(open);
            // With a name left out, it would be another rule.
            rule(reader, open, record, maps).ok().filter(|_| reader.count(open) == before)
        };
        records.into_iter().filter_map(whole).collect()
    })
}

fn rule(reader: &Reader<'_>, open: &Open<'_>, record: Record, maps: Option<&Maps>) -> Checked<Rule> {
    let context = open.context;
    let mut fields = Fields::new(context, record);
    let kind = kind(context, &fields.one("the kind of connection")?)?;
    let databases = reader.list(open, &fields.next("databases")?, lists::database);
    let users = reader.list(open, &fields.next("users")?, lists::user);
    let origins = origins(&mut fields, kind)?;
    let method = fields.one("a method")?;
    let proof = method::read(context, kind, &method, &fields.rest(), maps)?;
    Ok(Rule {
        origins,
        databases,
        users,
        method: proof.method,
        client_cert: proof.client_cert,
        place: context.place(method.at),
    })
}

fn kind(context: &Context<'_>, word: &Word) -> Checked<Kind> {
    if let Some((_, kind)) = KINDS.into_iter().find(|(name, _)| word.text == *name) {
        return Ok(kind);
    }
    let message = match word.text.as_str() {
        "hostgssenc" | "hostnogssenc" => format!("{} is not supported: there is no GSSAPI here", word.text),
        "include" | "include_if_exists" | "include_dir" => {
            format!("{} is not supported; lists of names can be in an @file", word.text)
        }
        other => {
            let words = KINDS.map(|(word, _)| word);
            let near = nearest(other, &words).map(|near| format!("; did you mean {near}?"));
            let (words, near) = (words.join(", "), near.unwrap_or_default());
            format!("expected one of {words}, found {}{near}", quoted(other))
        }
    };
    Err(context.report(word.at, message))
}

/// The address fields. What is wrong with an address is reported, and the method behind it still read.
fn origins(fields: &mut Fields<'_>, kind: Kind) -> Checked<Origins> {
    let tls = match kind {
        Kind::Local => return Ok(Origins::Local),
        Kind::Host => None,
        Kind::HostSsl => Some(true),
        Kind::HostNoSsl => Some(false),
    };
    let word = fields.one("an address")?;
    let addresses: Addresses = match address::read(fields.context, &word)? {
        Given::Whole(addresses) => addresses,
        Given::Bare(ip) => {
            let mask = fields.maybe();
            address::masked(fields.context, ip, &word, mask.as_ref())?
        }
    };
    Ok(Origins::Tcp { tls, addresses })
}

/// A record's fields, one after the other.
pub(super) struct Fields<'a> {
    context: &'a Context<'a>,
    fields: std::vec::IntoIter<Field>,
    end: At,
}

impl<'a> Fields<'a> {
    pub(super) fn new(context: &'a Context<'a>, record: Record) -> Self {
        Self { context, fields: record.fields.into_iter(), end: record.end }
    }

    /// The next field, which must be there.
    fn next(&mut self, what: &str) -> Checked<Field> {
        let (context, end) = (self.context, self.end);
        self.fields
            .next()
            .ok_or_else(|| context.report(end, format!("expected {what} before the end of the record")))
    }

    /// The next field, which must be there and be no list.
    pub(super) fn one(&mut self, what: &str) -> Checked<Word> {
        let field = self.next(what)?;
        match <[Word; 1]>::try_from(field) {
            Ok([word]) => Ok(word),
            Err(list) => Err(self.context.report(list[1].at, format!("expected {what}, found a list"))),
        }
    }

    /// The next field's word, if it is there and no list.
    fn maybe(&mut self) -> Option<Word> {
        let field = self.fields.next()?;
        <[Word; 1]>::try_from(field).ok().map(|[word]| word)
    }

    /// Every word that is left.
    pub(super) fn rest(self) -> Vec<Word> {
        self.fields.flatten().collect()
    }
}
