//! `[[users]]`: clients that may log in.

use crate::context::Checked;
use crate::model::{Secret, User};
use crate::overrides;
use crate::section::Section;
use crate::unique::Names;

pub(crate) fn read(root: &mut Section<'_>) -> Vec<User> {
    let mut names = Names::new("user");
    let sections = root.tables("users").unwrap_or_default();
    sections.into_iter().filter_map(|section| user(section, &mut names).ok()).collect()
}

fn user(mut section: Section<'_>, names: &mut Names) -> Checked<User> {
    let name = names.claim(&mut section);
    let password = section.optional_string("password").map(Secret::new);
    let limits = overrides::of_user(&mut section);
    section.finish();
    Ok(User { name: name?, password, limits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PoolMode;
    use crate::overrides::UserLimits;
    use crate::testing::{config, problems};

    #[test]
    fn users_may_override_the_pool() {
        let users = config(
            "[[users]]\nname = \"a\"\npassword = \"md5abc\"\npool_mode = \"session\"\npool_size = 3\nmax_connections = 4\n\
             [[users]]\nname = \"b\"\npool_mode = \"\"\npassword = \"\"\n",
        )
        .users;
        assert_eq!(
            users[0],
            User {
                name: "a".into(),
                password: Some(Secret::new("md5abc")),
                limits: UserLimits {
                    pool_mode: Some(PoolMode::Session),
                    pool_size: Some(3),
                    max_connections: Some(4),
                    ..UserLimits::default()
                },
            }
        );
        assert_eq!((&users[1].limits, &users[1].password), (&UserLimits::default(), &None));
    }

    #[test]
    fn a_user_has_a_name_of_its_own() {
        assert_eq!(
            problems(
                "[[users]]\npassword = \"x\"\n[[users]]\nname = \"a\"\n[[users]]\nname = \"a\"\n[[users]]\nname = \"\""
            ),
            "t.toml:1:1: [[users]] needs \"name\"\n\
             t.toml:6:8: user \"a\" is already defined at line 4\n\
             t.toml:8:8: \"name\" cannot be empty"
        );
    }

    #[test]
    fn a_password_of_the_wrong_type_is_not_repeated() {
        assert_eq!(
            problems("[[users]]\nname = \"a\"\npassword = 123456\n"),
            "t.toml:3:12: expected a string, found an integer"
        );
    }
}
