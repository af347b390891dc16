//! One entry that says where shards live, `{shard}` in its URLs replaced.

use crate::context::{At, Checked, Context, Text};
use crate::model::Endpoint;
use crate::url;

/// What a URL has in the place of a shard's number.
pub(crate) const PLACEHOLDER: &str = "{shard}";

/// One `[[databases.groups.shards]]`, or the environment's URL.
pub(crate) struct Placement {
    pub(crate) ids: Vec<(u32, At)>,
    pub(crate) primary: Checked<Text>,
    pub(crate) replicas: Vec<Text>,
}

/// A server's database, and the URL it is from.
#[derive(Clone)]
pub(crate) struct Located {
    pub(crate) endpoint: Endpoint,
    pub(crate) at: At,
}

impl Placement {
    /// The shard's primary and replicas.
    pub(crate) fn locate(&self, context: &Context<'_>, id: u32) -> Checked<(Located, Vec<Located>)> {
        let primary = self.primary.as_ref().map_err(|reported| *reported);
        let primary = primary.and_then(|url| self.resolve(context, url, id));
        let replicas: Vec<_> = self.replicas.iter().map(|url| self.resolve(context, url, id)).collect();
        Ok((primary?, replicas.into_iter().collect::<Checked<_>>()?))
    }

    fn resolve(&self, context: &Context<'_>, url: &Text, id: u32) -> Checked<Located> {
        if self.ids.len() > 1 && !url.value.contains(PLACEHOLDER) {
            let ids: Vec<u32> = self.ids.iter().map(|(id, _)| *id).collect();
            let message = format!(
                "shards {} would live in one database: the URL has no {PLACEHOLDER}",
                enumerate(&ids)
            );
            return Err(context.report(url.at, message));
        }
        let numbered = url.value.replace(PLACEHOLDER, &id.to_string());
        let endpoint = url::parse(&numbered).map_err(|error| context.report(url.at, error))?;
        Ok(Located { endpoint, at: url.at })
    }
}

/// "0, 1 and 2", and not all of very many.
pub(crate) fn enumerate(ids: &[u32]) -> String {
    const MOST: usize = 8;
    let shown = if ids.len() > MOST { &ids[..MOST] } else { &ids[..ids.len().saturating_sub(1)] };
    let shown = shown.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match ids {
        [] => String::new(),
        [only] => only.to_string(),
        _ if ids.len() > MOST => format!("{shown} and {} more", ids.len() - MOST),
        [.., last] => format!("{shown} and {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_enumerated_and_not_without_end() {
        assert_eq!(enumerate(&[]), "");
        assert_eq!(enumerate(&[3]), "3");
        assert_eq!(enumerate(&[0, 1]), "0 and 1");
        assert_eq!(enumerate(&[0, 1, 2]), "0, 1 and 2");
        let many: Vec<u32> = (0..100).collect();
        assert_eq!(enumerate(&many), "0, 1, 2, 3, 4, 5, 6, 7 and 92 more");
    }
}
