//! While a client proves who it is.

use shardway_tests::{DATABASE, Message, PASSWORD, RawClient};

use super::{Scene, WORLD, is, last_words, words};

async fn connected() -> RawClient {
    RawClient::connect(WORLD.proxy().port()).await
}

/// Has been asked for SASL authentication.
async fn asked() -> RawClient {
    let mut raw = connected().await;
    raw.startup(&[("user", "app"), ("database", DATABASE)]);
    let request = raw.recv().await;
    assert_eq!((request.tag, &request.body[..4]), (b'R', &[0, 0, 0, 10][..]));
    raw
}

async fn refusal(user: &str, database: &str, password: &str) -> Message {
    let mut raw = connected().await;
    let refusal = raw.try_login(&[("user", user), ("database", database)], password).await.unwrap_err();
    assert!(raw.expect_closed().await.is_empty());
    refusal
}

#[tokio::test]
async fn an_unknown_database_is_refused_after_the_password() {
    let scene = Scene::set().await;
    let error = refusal("app", "nowhere", PASSWORD).await;
    assert_eq!(words(&error), is("3D000", "database \"nowhere\" does not exist"));
    assert_eq!(error.field('S').as_deref(), Some("FATAL"));
    assert_eq!(words(&refusal("app", "nowhere", "wrong").await).0, "28P01", "nothing is told to strangers");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn an_unknown_user_is_refused_as_a_wrong_password_is() {
    let scene = Scene::set().await;
    for (user, password) in [("app", "wrong"), ("nobody", PASSWORD), ("app", "")] {
        let error = refusal(user, DATABASE, password).await;
        let expected = format!("password authentication failed for user \"{user}\"");
        assert_eq!(words(&error), is("28P01", &expected));
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn the_admin_database_is_for_admins_and_watchers() {
    let scene = Scene::set().await;
    assert_eq!(words(&refusal("app", "shardway", PASSWORD).await).0, "42501");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn no_password_message_but_another_is_refused() {
    let scene = Scene::set().await;
    let mut raw = asked().await;
    raw.query("SELECT 1").send().await;
    assert_eq!(
        words(&last_words(&mut raw).await),
        is("08P01", "expected password response, got message type 81")
    );

    let mut raw = asked().await;
    raw.terminate().send().await;
    assert!(raw.expect_closed().await.is_empty(), "who leaves is told nothing");
    asked().await.hang_up();
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_password_message_of_a_wrong_size_is_refused_before_it_is_there() {
    let scene = Scene::set().await;
    for length in [i32::MIN, -1, 0, 3, 100_000_000, i32::MAX] {
        let mut raw = asked().await;
        raw.send_raw(&[b"p", &length.to_be_bytes()[..]].concat()).await;
        assert_eq!(
            words(&last_words(&mut raw).await),
            is("08P01", "invalid password packet size"),
            "{length}"
        );
    }
    scene.is_unharmed().await;
}

fn initial(mechanism: &str, message: &str) -> Vec<u8> {
    let length = i32::try_from(message.len()).unwrap().to_be_bytes();
    [mechanism.as_bytes(), b"\0", &length, message.as_bytes()].concat()
}

#[tokio::test]
async fn invalid_scram_messages_are_refused() {
    let scene = Scene::set().await;
    let first = |message| initial("SCRAM-SHA-256", message);
    for body in [
        b"secret\0".to_vec(),
        Vec::new(),
        initial("PLAIN", "\0app\0secret"),
        initial("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=abc"),
        first(""),
        first("n,,n=,r="),
        first("y,"),
        first("p=tls-unique,,n=,r=abc"),
        first("n,,m=x,n=,r=abc"),
        [b"SCRAM-SHA-256\0", &i32::MAX.to_be_bytes()[..], b"n,,n=,r=abc"].concat(),
    ] {
        let mut raw = asked().await;
        raw.message(b'p', &body).send().await;
        assert_eq!(words(&last_words(&mut raw).await).0, "08P01", "{:?}", String::from_utf8_lossy(&body));
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn an_invalid_scram_proof_lets_nobody_in() {
    let scene = Scene::set().await;
    let proof = "p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (answer, code) in [
        (format!("c=biws,r=abc,{proof}"), "08P01"),
        (format!("c=eSws,r=NONCE,{proof}"), "08P01"),
        (format!("c=biws,r=NONCE,{proof}"), "28P01"),
        ("c=biws,r=NONCE,p=?".to_owned(), "08P01"),
        (String::new(), "08P01"),
    ] {
        let mut raw = asked().await;
        let request = raw.message(b'p', &initial("SCRAM-SHA-256", "n,,n=,r=abc")).recv().await;
        let challenge = String::from_utf8(request.body[4..].to_vec()).unwrap();
        let nonce = challenge.split(',').next().unwrap().strip_prefix("r=").unwrap();
        raw.message(b'p', answer.replace("NONCE", nonce).as_bytes()).send().await;
        assert_eq!(words(&last_words(&mut raw).await).0, code, "{answer}");
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_clear_text_password_of_any_length_is_weighed_not_believed() {
    let scene = Scene::set().await;
    let proxy = WORLD.another_proxy_with("[server]\nauth = 'password'");
    let asked = async || {
        let mut raw = RawClient::connect(proxy.port()).await;
        raw.startup(&[("user", "app"), ("database", DATABASE)]);
        assert_eq!(raw.recv().await.body[..], [0, 0, 0, 3]);
        raw
    };
    for (body, code) in [
        (vec![b'x'; 60_000], "08P01"),
        ([vec![b'x'; 60_000], vec![0]].concat(), "28P01"),
        (b"\0".to_vec(), "28P01"),
        (b"sec\0ret\0".to_vec(), "08P01"),
        (Vec::new(), "08P01"),
        (vec![0; 70_000], "08P01"),
    ] {
        let mut raw = asked().await;
        raw.message(b'p', &body).send().await;
        assert_eq!(words(&last_words(&mut raw).await).0, code, "{} bytes", body.len());
    }
    let mut raw = asked().await;
    assert_eq!(&raw.message(b'p', b"secret\0").recv().await.body[..], [0; 4]);
    drop(raw);
    scene.is_unharmed().await;
}
