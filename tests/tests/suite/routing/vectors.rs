//! The hash vectors of the contract, through the binary itself.

use std::process::Command;

use shardway_tests::shardway_program;

/// canonical, mod 4, mod 7, mod 64: `contract/fnv1a.json`.
const VECTORS: &str = include_str!("../../../../shardmap/tests/fnv1a.json");

#[test]
fn shard_of_says_what_the_contract_says() {
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() > 10, "the contract has {} vectors", vectors.len());
    for vector in vectors {
        let key = vector["canonical"].as_str().unwrap();
        for count in [4, 7, 64] {
            let mut command = Command::new(shardway_program());
            // Behind --, so that a key may start with a minus sign.
            let said = command.args(["shard-of", "--count", &count.to_string(), "--", key]).output().unwrap();
            let expected = format!("{}\n", vector[format!("mod{count}")]);
            assert_eq!(String::from_utf8_lossy(&said.stdout), expected, "{key:?} of {count}");
        }
    }
}
