//! `server_login_retry`: after a failed login nobody waits for the next one, and few are tried.

use super::{ONE, alone, connections, proxy, terminate};
use crate::operation::support::{failure, log_all_in_as, soon, value};

#[tokio::test]
async fn after_a_failed_login_clients_are_told_at_once_in_pgbouncers_words() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nserver_login_retry = '1h'");
    let client = proxy.connect("app").await;
    log_all_in_as(&proxy, "app", "not the password").await;
    terminate();
    soon("no server", async || (connections() == 0).then_some(())).await;
    let refused = "password authentication failed for user \"app\"";
    let (code, message) = failure(&client, ONE).await;
    assert_eq!((code.as_str(), message.contains(refused)), ("28P01", true), "{message}");
    for _ in 0..10 {
        let (code, message) = failure(&client, ONE).await;
        assert_eq!(code, "28P01");
        assert!(message.starts_with("server login has been failing, cached error: "), "{message}");
        assert!(message.contains(refused) && message.ends_with(" (server_login_retry)"), "{message}");
    }
    log_all_in_as(&proxy, "app", shardway_tests::PASSWORD).await;
    assert_eq!(value(&client, ONE).await, "1");
}
