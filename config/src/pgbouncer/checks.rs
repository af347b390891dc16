//! What one setting asks of another, so that nothing is found out by the first client.

use std::path::Path;

use crate::hba::Method;
use crate::model::TlsMode;
use crate::problems::Place;

use super::Pgbouncer;
use super::database::CONSOLE;
use super::peer::LARGEST_ID;
use super::report::Report;
use super::values::{AuthType, SocketDir};

/// Checks the whole; `path` is where problems are put that stand nowhere.
pub(super) fn check(pgbouncer: &Pgbouncer, path: &Path, report: &Report) {
    // What could not be read would be missed a second time here.
    if report.has_problems() {
        return;
    }
    let file = Place::File { file: path.display().to_string() };
    let checks = Checks { pgbouncer, file, report };
    checks.listening();
    checks.logins();
    checks.tls();
    checks.certificates();
}

struct Checks<'a> {
    pgbouncer: &'a Pgbouncer,
    file: Place,
    report: &'a Report,
}

impl Checks<'_> {
    fn problem(&self, setting: &str, message: &str) {
        self.report.problem(self.pgbouncer.place(setting).unwrap_or(&self.file), message);
    }

    fn listening(&self) {
        let listening = &self.pgbouncer.settings.listening;
        let nowhere = listening.addresses().next().is_none() && listening.unix_socket_dir == SocketDir::Off;
        if nowhere {
            self.problem(
                "unix_socket_dir",
                "clients could not connect: there is no listen_addr and no unix_socket_dir",
            );
        }
        if listening.peer_id > LARGEST_ID {
            self.problem("peer_id", &format!("the largest peer_id is {LARGEST_ID}"));
        }
    }

    fn logins(&self) {
        let auth = &self.pgbouncer.settings.auth;
        if auth.auth_type == AuthType::Hba && auth.auth_hba_file.is_none() {
            self.problem("auth_type", "auth_type hba needs auth_hba_file");
        }
        let by_name =
            matches!(auth.auth_type, AuthType::Trust | AuthType::Plain | AuthType::Md5 | AuthType::Scram);
        if by_name && self.pgbouncer.logins.is_empty() && !self.pgbouncer.has_auth_user() {
            self.problem(
                "auth_file",
                "nobody could log in: there are no users in auth_file, and no auth_user",
            );
        }
        if auth.auth_dbname.as_deref() == Some(CONSOLE) {
            self.problem("auth_dbname", "auth_query cannot be run on the console");
        }
        for database in self.pgbouncer.databases.iter().chain(&self.pgbouncer.fallback) {
            if database.auth_dbname.as_deref() == Some(CONSOLE) {
                self.report.problem(&database.place, "auth_query cannot be run on the console");
            }
        }
    }

    fn tls(&self) {
        let tls = &self.pgbouncer.settings.tls;
        let on = tls.client_tls_sslmode != TlsMode::Disable;
        if on && (tls.client_tls_cert_file.is_none() || tls.client_tls_key_file.is_none()) {
            self.problem("client_tls_sslmode", "TLS needs client_tls_cert_file and client_tls_key_file");
        }
        let verifies = matches!(tls.client_tls_sslmode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        if verifies && tls.client_tls_ca_file.is_none() {
            self.problem(
                "client_tls_sslmode",
                "clients' certificates are checked against a client_tls_ca_file",
            );
        }
    }

    /// Certificates come with TLS alone, and are worth what the CA is that signed them.
    fn certificates(&self) {
        let tls = &self.pgbouncer.settings.tls;
        if tls.client_tls_sslmode != TlsMode::Disable && tls.client_tls_ca_file.is_some() {
            return;
        }
        const MESSAGE: &str = "cert needs client_tls_sslmode and client_tls_ca_file";
        if self.pgbouncer.settings.auth.auth_type == AuthType::Cert {
            self.problem("auth_type", MESSAGE);
        }
        let rules = self.pgbouncer.hba.iter().flat_map(|hba| hba.rules());
        for rule in rules.filter(|rule| matches!(rule.method, Method::Cert(_))) {
            self.report.warn(&rule.place, format!("{MESSAGE}: nobody is let in by this rule"));
        }
    }
}

impl Pgbouncer {
    /// Whether `auth_query` is run anywhere.
    pub(super) fn has_auth_user(&self) -> bool {
        let own = self.databases.iter().chain(&self.fallback).any(|database| database.auth_user.is_some());
        own || self.settings.auth.auth_user.is_some()
    }
}

#[cfg(test)]
mod tests {
    use crate::pgbouncer::testing::{problems, read_in, shown};

    fn alone(text: &str) -> String {
        read_in(&[("p.ini", text), ("users", "\"a\" \"b\"\n"), ("none", "")])
            .map_or_else(|problems| problems.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn somebody_must_be_able_to_log_in() {
        let nobody = "nobody could log in: there are no users in auth_file, and no auth_user";
        assert_eq!(alone("[pgbouncer]\n"), format!("p.ini: {nobody}"));
        assert_eq!(alone("[pgbouncer]\nauth_type=trust\nauth_file=none\n"), format!("p.ini:3:11: {nobody}"));
        assert_eq!(alone("[pgbouncer]\nauth_file=users\n"), "fine");
        assert_eq!(alone("[pgbouncer]\nauth_user=u\n"), "fine");
        assert_eq!(alone("[databases]\n*=auth_user=u\n[pgbouncer]\nauth_file=gone\n"), "fine");
        assert_eq!(alone("[pgbouncer]\nauth_type=any\nauth_file=gone\n"), "fine");
        assert_eq!(
            alone("[pgbouncer]\nauth_file=gone\n"),
            "p.ini:2:11: \"gone\" cannot be read: entity not found"
        );
    }

    #[test]
    fn certificates_need_tls_and_a_ca() {
        let message = "cert needs client_tls_sslmode and client_tls_ca_file";
        let tls = "client_tls_cert_file=c\nclient_tls_key_file=k\nclient_tls_sslmode";
        assert_eq!(problems("auth_type=cert\n"), format!("p.ini:5:11: {message}"));
        assert_eq!(
            problems(&format!("auth_type=cert\n{tls}=verify-ca\n")),
            format!(
                "p.ini:5:11: {message}\n\
                 p.ini:8:20: clients' certificates are checked against a client_tls_ca_file"
            )
        );
        let rules = |text: &str| {
            let named = [("p.ini", text), ("h", "local all all trust\nhostssl all all all cert\n")];
            let found = read_in(&named).unwrap_or_else(|problems| panic!("{problems}"));
            (shown(&found), found.hba.map(|hba| hba.rules().len()))
        };
        let text = "[pgbouncer]\nauth_type=hba\nauth_hba_file=h\n";
        let in_vain = format!("h:2:21: {message}: nobody is let in by this rule");
        assert_eq!(rules(text), (in_vain, Some(2)));
        let with_tls = rules(&format!("{text}client_tls_ca_file=ca\n{tls}=allow\n"));
        assert_eq!(with_tls, (String::new(), Some(2)));
        assert_eq!(rules("[pgbouncer]\nauth_type=any\nauth_hba_file=gone\n"), (String::new(), None));
    }

    #[test]
    fn rules_that_cannot_be_read_are_left_out_and_the_file_is_run() {
        let rules = |hba: &str| {
            let text = "[pgbouncer]\nauth_type=hba\nauth_hba_file=h\n";
            let found =
                read_in(&[("p.ini", text), ("h", hba)]).unwrap_or_else(|problems| panic!("{problems}"));
            (shown(&found), found.hba.map_or(0, |hba| hba.rules().len()))
        };
        assert_eq!(
            rules("hots all all all trust\nlocal all all trust\nlocal all a,@gone reject\nlocal x\n"),
            (
                "h:1:1: expected one of local, host, hostssl, hostnossl, found \"hots\"; \
                 the line is left out\n\
                 h:3:13: the list \"gone\" cannot be read: entity not found; the line is left out\n\
                 h:4:8: expected users before the end of the record; the line is left out"
                    .to_owned(),
                1
            )
        );
        assert_eq!(
            rules("# none\n"),
            ("h: there is no rule in this file: nobody could log in".to_owned(), 0)
        );
        let gone = read_in(&[("p.ini", "[pgbouncer]\nauth_type=hba\nauth_hba_file=h\n")]).unwrap();
        assert_eq!(shown(&gone), "h: cannot be read: entity not found");
        assert_eq!(gone.hba.map(|hba| hba.rules().len()), Some(0));
    }

    #[test]
    fn what_one_setting_asks_of_another_is_asked_for() {
        assert_eq!(
            problems(
                "unix_socket_dir=\nlisten_addr=\npeer_id=16384\nauth_type=hba\nauth_dbname=pgbouncer\n\
                      client_tls_sslmode=allow\n[databases]\na=auth_dbname=pgbouncer\n"
            ),
            "p.ini:5:17: clients could not connect: there is no listen_addr and no unix_socket_dir\n\
             p.ini:7:9: the largest peer_id is 16383\n\
             p.ini:8:11: auth_type hba needs auth_hba_file\n\
             p.ini:9:13: auth_query cannot be run on the console\n\
             p.ini:10:20: TLS needs client_tls_cert_file and client_tls_key_file\n\
             p.ini:12:1: auth_query cannot be run on the console"
        );
    }
}
