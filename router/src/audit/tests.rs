//! The writer against files that fill up, move away and come back.

use super::*;
use std::path::Path;

fn file(dir: &tempfile::TempDir) -> AuditLog {
    AuditLog::File(dir.path().join("audit"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn lines_are_in_the_file_in_order_when_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(&file(&dir)).unwrap();
    for number in 0..1000 {
        let written = audit.submit(format!("{number}\n"));
        if number % 100 == 0 {
            written.wait().await;
            assert!(
                read(&dir.path().join("audit"))
                    .ends_with(&format!("\n{number}\n")[usize::from(number == 0)..])
            );
        }
    }
    audit.finish(Duration::from_secs(5)).await;
    let all: String = (0..1000).map(|n| format!("{n}\n")).collect();
    assert_eq!(read(&dir.path().join("audit")), all);
    assert_eq!((audit.written(), audit.failures()), (1000, 0));
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_made_anew_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("audit"), dir.path().join("moved"));
    let audit = Audit::open(&file(&dir)).unwrap();
    audit.submit("one\n".into()).wait().await;
    std::fs::rename(&path, &moved).unwrap();
    audit.submit("two\n".into()).wait().await;
    audit.reopen();
    audit.submit("three\n".into()).wait().await;
    assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("one\ntwo\n", "three\n"));
}

#[tokio::test]
async fn a_line_that_another_process_left_half_written_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("audit"), "{\"half").unwrap();
    Audit::open(&file(&dir)).unwrap().submit("whole\n".into()).wait().await;
    assert_eq!(read(&dir.path().join("audit")), "{\"half\nwhole\n");
}

/// `/dev/full` takes nothing.
#[tokio::test]
async fn while_it_cannot_be_written_nobody_is_admitted_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let audit = Audit::open(&file(&dir)).unwrap();
    audit.admit().await.unwrap();
    let waiting = audit.submit("kept\n".into());
    while !audit.is_failing() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = audit.admit().await.unwrap_err();
    assert_eq!(error.code, "58030");
    assert!(error.message.starts_with("the audit log cannot be written: No space left"), "{}", error.message);
    std::fs::remove_file(&path).unwrap();
    audit.reopen();
    waiting.wait().await;
    audit.admit().await.unwrap();
    assert_eq!(read(&path), "kept\n");
    assert!(audit.failures() > 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_refused_at_once() {
    let error = Audit::open(&AuditLog::File("/nowhere/at/all".into())).unwrap_err();
    assert!(error.starts_with("audit_log: /nowhere/at/all: "), "{error}");
}

#[tokio::test]
async fn who_wants_to_write_waits_while_too_many_lines_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit");
    // Nobody reads it, so that it takes some and no more.
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let reader = std::thread::spawn({
        let path = path.clone();
        move || std::fs::File::open(path).unwrap()
    });
    let audit = Audit::open(&file(&dir)).unwrap();
    let mut reader = reader.join().unwrap();
    for _ in 0..2 * MOST_WAITING {
        audit.submit(format!("{}\n", "x".repeat(1000)));
    }
    // More than a pipe holds, and more lines than may wait.
    let admitted = tokio::time::timeout(Duration::from_millis(50), audit.admit()).await;
    assert!(admitted.is_err(), "admitted while all wait");
    let drained = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    audit.admit().await.unwrap();
    audit.finish(Duration::from_secs(5)).await;
    drop(audit);
    drained.join().unwrap().unwrap();
}
