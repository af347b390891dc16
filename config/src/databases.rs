//! `[[databases]]`: what clients connect to.

use crate::auth;
use crate::context::Checked;
use crate::groups::{self, Draft};
use crate::model::{Database, Origin, Secret};
use crate::overrides;
use crate::section::Section;
use crate::tables;
use crate::unique::Names;

/// The file's databases; `None` when it has none at all, so that the environment may give one.
pub(crate) fn read(root: &mut Section<'_>) -> Option<Vec<Database>> {
    let mut names = Names::new("database");
    // A list that is wrong as a whole is reported and is not the same as none.
    let Ok(sections) = root.tables("databases") else { return Some(Vec::new()) };
    if sections.is_empty() {
        return None;
    }
    Some(sections.into_iter().filter_map(|section| database(section, &mut names).ok()).collect())
}

fn database(mut section: Section<'_>, names: &mut Names) -> Checked<Database> {
    let name = names.claim(&mut section);
    let user = section.optional_string("user");
    let password = section.optional_string("password").map(Secret::new);
    let lookup = auth::lookup(&mut section);
    let limits = overrides::of_database(&mut section);
    let drafts = groups(&mut section);
    let tables = tables::read(&mut section, drafts.as_deref().unwrap_or_default());
    section.finish();
    let groups = drafts?.into_iter().map(|draft| draft.group).collect::<Checked<_>>();
    Ok(Database {
        name: name?,
        origin: Origin::Native,
        parameters: Vec::new(),
        user,
        password,
        lookup,
        limits,
        groups: groups?,
        tables,
    })
}

fn groups(section: &mut Section<'_>) -> Checked<Vec<Draft>> {
    let mut names = Names::new("group");
    let sections = section.tables("groups")?;
    if sections.is_empty() {
        let message = "[[databases]] needs at least one [[databases.groups]]";
        return Err(section.context().report(section.at_key("groups"), message));
    }
    Ok(sections.into_iter().map(|section| groups::read(section, &mut names)).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::{config, problems, trusting};

    #[test]
    fn a_database_may_have_a_login_of_its_own() {
        let text = "[[databases]]\nname = \"shop\"\nuser = \"app\"\npassword = \"pw\"\n[[databases.groups]]\nshard_count = 1\n\
                    [[databases.groups.shards]]\nids = [0]\nprimary = \"postgres://h/d\"\n";
        let database = &config(&trusting(text)).databases[0];
        assert_eq!((database.name.as_str(), database.user.as_deref()), ("shop", Some("app")));
        assert_eq!(database.password.as_ref().map(|password| password.expose()), Some("pw"));
    }

    #[test]
    fn a_database_needs_a_name_and_a_group() {
        assert_eq!(
            problems(&trusting("[[databases]]\nnam = \"shop\"\n")),
            "t.toml:2:1: [[databases]] needs \"name\"\n\
             t.toml:2:1: [[databases]] needs at least one [[databases.groups]]\n\
             t.toml:3:1: unknown key \"nam\" in [[databases]]; did you mean \"name\"?"
        );
    }

    #[test]
    fn names_of_databases_and_of_a_databases_groups_are_unique() {
        let group = "[[databases.groups]]\nname = \"g\"\nshard_count = 1\n\
                     shards = [{ ids = [0], primary = \"postgres://h/d\" }]\n";
        let text = format!("[[databases]]\nname = \"a\"\n{group}{group}[[databases]]\nname = \"a\"\n{group}");
        assert_eq!(
            problems(&trusting(&text)),
            "t.toml:9:8: group \"g\" is already defined at line 5\n\
             t.toml:13:8: database \"a\" is already defined at line 3"
        );
    }
}
