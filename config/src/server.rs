//! `[server]`: where to listen, what to log, how clients prove who they are.

use std::path::{Path, PathBuf};

use crate::address::host_port;
use crate::auth;
use crate::context::{At, Checked, Context, Text};
use crate::model::{AuditLog, AuthMethod, Listen, LogFormat, Server, TlsMode, WorkerUse};
use crate::section::Section;
use crate::sockets;
use crate::tls::{Named, TlsFiles, path};
use crate::units::seconds;
use crate::value::quoted;
use crate::words::Words;

/// Each is a thread with its own stack and event loop.
const MOST_WORKERS: i64 = 1024;

/// The section, and where `auth` is unless that was wrong.
pub(crate) fn read(mut section: Section<'_>) -> (Server, Checked<At>) {
    let s = &mut section;
    let method = s.choice_of("auth", AuthMethod::WORDS);
    let named =
        Named { cert: s.optional("tls_cert"), key: s.optional("tls_key"), ca: s.optional("tls_client_ca") };
    let mut server = Server {
        listen: listen(s),
        sockets: sockets::read(s),
        pid_file: s.optional_path("pid_file"),
        http: http(s),
        admin_users: s.strings("admin_users"),
        stats_users: s.strings("stats_users"),
        auth: method.ok().flatten().unwrap_or(AuthMethod::Scram),
        hba_file: s.optional_path("hba_file"),
        ident_file: s.optional_path("ident_file"),
        hba: None,
        lookup: auth::lookup(s),
        tls: tls(s),
        tls_cert: path(&named.cert),
        tls_key: path(&named.key),
        tls_client_ca: path(&named.ca),
        tls_files: TlsFiles::default(),
        worker_threads: s.count_up_to("worker_threads", 0, MOST_WORKERS),
        worker_use: s.choice("worker_use", WorkerUse::Auto),
        max_client_conn: s.count("max_client_conn", 10_000),
        client_login_timeout: s.duration("client_login_timeout", seconds(60)),
        shutdown_timeout: s.duration("shutdown_timeout", seconds(60)),
        log_format: s.choice("log_format", LogFormat::Text),
        audit_log: audit_log(s),
    };
    server.tls_files = named.read(s.context(), server.tls);
    server.hba = auth::read_hba(s.context(), &server);
    let auth_at = s.at_key("auth");
    auth::check_server(s.context(), &server, auth_at, s.at_key("tls"));
    section.finish();
    (server, method.map(|_| auth_at))
}

fn listen(section: &mut Section<'_>) -> Vec<Listen> {
    let default = || Listen::Tcp { host: "127.0.0.1".to_owned(), port: 6432 };
    let Some(texts) = section.texts("listen") else { return vec![default()] };
    let context = section.context();
    if section.is_empty_list("listen") {
        context.report(section.at_key("listen"), "\"listen\" is empty: clients could not connect");
    }
    let mut entries = Vec::new();
    for text in &texts {
        let Ok(entry) = listen_entry(context, text) else { continue };
        if entries.contains(&entry) && !lets_the_kernel_choose(&entry) {
            context.report(text.at, format!("{} is listed twice", quoted(&text.value)));
        }
        entries.push(entry);
    }
    entries
}

/// Port 0 is another port each time, so it may stand there twice.
fn lets_the_kernel_choose(entry: &Listen) -> bool {
    matches!(entry, Listen::Tcp { port: 0, .. })
}

fn listen_entry(context: &Context<'_>, text: &Text) -> Checked<Listen> {
    let refuse = |error: &dyn std::fmt::Display| {
        let message = format!("{error} (or \"unix:/directory\"), found {}", quoted(&text.value));
        context.report(text.at, message)
    };
    match text.value.strip_prefix("unix:") {
        Some(directory) if Path::new(directory).is_absolute() => Ok(Listen::Unix(PathBuf::from(directory))),
        Some(_) => {
            let message =
                format!("expected a directory from / after \"unix:\", found {}", quoted(&text.value));
            Err(context.report(text.at, message))
        }
        None => {
            let (host, port) = host_port(&text.value).map_err(|error| refuse(&error))?;
            Ok(Listen::Tcp { host, port })
        }
    }
}

fn http(section: &mut Section<'_>) -> Option<String> {
    let Some(text) = section.text("http") else { return Some("127.0.0.1:9632".to_owned()) };
    if text.value.is_empty() {
        return None;
    }
    let refusal = match host_port(&text.value) {
        Ok((host, _)) if host == "*" => "every address is written 0.0.0.0 or [::] here".to_owned(),
        Ok(_) => return Some(text.value),
        Err(error) => format!("{error}, found {}", quoted(&text.value)),
    };
    section.context().report(text.at, refusal);
    None
}

/// Towards clients "prefer" would be the same as "allow", so it is not offered.
fn tls(section: &mut Section<'_>) -> TlsMode {
    let words: Vec<_> = TlsMode::WORDS.iter().copied().filter(|(_, mode)| *mode != TlsMode::Prefer).collect();
    section.choice_of("tls", &words).ok().flatten().unwrap_or(TlsMode::Disable)
}

fn audit_log(section: &mut Section<'_>) -> Option<AuditLog> {
    let text = section.optional_string("audit_log")?;
    Some(if text == "stderr" { AuditLog::Stderr } else { AuditLog::File(PathBuf::from(text)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, pem_files, problems};

    fn server(text: &str) -> Server {
        config(text).server
    }

    #[test]
    fn listens_on_hosts_and_in_directories() {
        let server = server("[server]\nlisten = [\"*:6432\", \"[::1]:0\", \"unix:/run/shardway\"]");
        assert_eq!(
            server.listen,
            [
                Listen::Tcp { host: "*".into(), port: 6432 },
                Listen::Tcp { host: "::1".into(), port: 0 },
                Listen::Unix("/run/shardway".into()),
            ]
        );
    }

    #[test]
    fn an_address_that_is_none_is_named_with_its_place() {
        assert_eq!(
            problems("[server]\nlisten = [\"127.0.0.1\",\n  \"h:70000\", \"unix:run\", 5]\nhttp = \"*:1\""),
            "t.toml:2:11: expected host:port, such as \"127.0.0.1:6432\" or \"[::1]:6432\" (or \"unix:/directory\"), \
             found \"127.0.0.1\"\n\
             t.toml:3:3: the port must be a number from 0 to 65535 (or \"unix:/directory\"), found \"h:70000\"\n\
             t.toml:3:14: expected a directory from / after \"unix:\", found \"unix:run\"\n\
             t.toml:3:26: expected a string, found an integer\n\
             t.toml:4:8: every address is written 0.0.0.0 or [::] here"
        );
    }

    #[test]
    fn there_must_be_somewhere_to_listen_and_only_once() {
        assert_eq!(
            problems("[server]\nlisten = []"),
            "t.toml:2:10: \"listen\" is empty: clients could not connect"
        );
        assert_eq!(
            problems("[server]\nlisten = [\"h:1\", \"h:0\", \"h:0\", \"h:1\"]"),
            "t.toml:2:32: \"h:1\" is listed twice"
        );
    }

    #[test]
    fn empty_strings_turn_things_off() {
        let server = server("[server]\nhttp = \"\"\nhba_file = \"\"\nauth_query = \"\"\naudit_log = \"\"");
        assert_eq!((server.http, server.hba_file), (None, None));
        assert_eq!((server.lookup.auth_query, server.audit_log), (None, None));
    }

    #[test]
    fn the_audit_log_goes_to_a_file_or_to_stderr() {
        let to = |text: &str| server(&format!("[server]\naudit_log = \"{text}\"")).audit_log;
        assert_eq!(to("stderr"), Some(AuditLog::Stderr));
        assert_eq!(to("/var/log/audit"), Some(AuditLog::File("/var/log/audit".into())));
    }

    #[test]
    fn what_one_key_asks_of_another_is_asked_for() {
        let (dir, _) = pem_files();
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        let (cert, key) = (cert.display(), key.display());
        assert_eq!(
            problems(&format!("[server]\nauth = \"hba\"\ntls = \"require\"\ntls_cert = \"{cert}\"")),
            "t.toml:2:8: auth = \"hba\" needs \"hba_file\" in [server]\n\
             t.toml:3:7: tls = \"require\" needs \"tls_key\" in [server]"
        );
        assert_eq!(
            problems("[server]\nauth = \"cert\""),
            "t.toml:2:8: auth = \"cert\" needs \"tls\" in [server]: a certificate comes with TLS alone\n\
             t.toml:2:8: auth = \"cert\" needs \"tls_client_ca\" in [server]"
        );
        assert_eq!(
            problems(&format!("[server]\ntls = \"verify-ca\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"")),
            "t.toml:2:7: tls = \"verify-ca\" needs \"tls_client_ca\" in [server]"
        );
    }

    #[test]
    fn the_hba_file_is_read_where_it_counts() {
        let (hba, ident) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(hba.path(), "local all all peer map=m\nhostssl all all all cert\n").unwrap();
        std::fs::write(ident.path(), "m ada app\n").unwrap();
        let name = hba.path().display();
        let files = format!("hba_file = \"{name}\"\nident_file = \"{}\"", ident.path().display());
        assert_eq!(server(&format!("[server]\nauth = \"trust\"\n{files}")).hba, None);
        let text = format!("[server]\nauth = \"hba\"\n{files}\n");
        let tls = "cert needs \"tls\" in [server]: a certificate comes with TLS alone";
        assert_eq!(problems(&text), format!("{name}:2:21: {tls}"));
        let (dir, keys) = pem_files();
        let identity: String = keys.lines().take(2).map(|line| format!("{line}\n")).collect();
        let with_tls = format!("{text}tls = \"require\"\n{identity}");
        assert_eq!(problems(&with_tls), format!("{name}:2:21: cert needs \"tls_client_ca\" in [server]"));
        std::fs::write(hba.path(), "hostssl all all all md5 clientcert=verify-ca\n").unwrap();
        let cert = "clientcert= needs \"tls_client_ca\" in [server]";
        assert_eq!(problems(&with_tls), format!("{name}:1:21: {cert}"));
        std::fs::write(hba.path(), "local all all peer map=m\nhostssl all all all cert\n").unwrap();
        let rules =
            server(&format!("{with_tls}tls_client_ca = \"{}\"", dir.path().join("client_ca").display()))
                .hba
                .unwrap();
        assert_eq!(rules.rules().len(), 2);
        std::fs::write(hba.path(), "local all all nothing\n").unwrap();
        assert!(
            problems(&text).starts_with(&format!("{name}:1:15: expected one of trust")),
            "{}",
            problems(&text)
        );
    }

    #[test]
    fn unknown_words_get_the_list_of_known_ones() {
        assert_eq!(
            problems("[server]\nauth = \"scram\"\ntls = \"prefer\""),
            "t.toml:2:8: expected one of any, trust, password, md5, scram-sha-256, cert, hba, found \"scram\"\n\
             t.toml:3:7: expected one of disable, allow, require, verify-ca, verify-full, found \"prefer\""
        );
    }

    #[test]
    fn numbers_have_their_limits() {
        assert_eq!(
            problems("[server]\nworker_threads = 1025\nmax_client_conn = -1\nshutdown_timeout = -5"),
            "t.toml:2:18: expected a whole number from 0 to 1024, found 1025\n\
             t.toml:3:19: expected a whole number from 0 to 2147483647, found -1\n\
             t.toml:4:20: expected a duration such as \"250ms\", \"15s\", \"10m\", \"1h\" or \"2d\", or a number of \
             seconds, found -5"
        );
    }
}
