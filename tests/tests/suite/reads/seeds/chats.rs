//! Users with profiles, chats with messages, and translations of resources that are searched by what they mean.

use shardway_tests::Param;

use super::Product;

const CONFIG: &str = "[[databases.tables]]\nname = 'user'\nkind = 'sharded'\ngroup = 'main'\nkey = 'id'";

#[tokio::test]
async fn users_chats_and_translations() {
    let mut product = Product::of(&["chatid", "userId", "resource_id"], CONFIG).await;
    product
        .run(&[
            "CREATE EXTENSION cube",
            "CREATE TABLE \"user\" (id bigint PRIMARY KEY, name text NOT NULL, \"isActive\" boolean NOT NULL)",
            "CREATE TABLE profile (\"userId\" bigint PRIMARY KEY REFERENCES \"user\" (id), bio text)",
            "CREATE TABLE chat_message (chatId bigint NOT NULL, id int NOT NULL, createdAt timestamptz NOT NULL, body text, PRIMARY KEY (chatId, id))",
            "CREATE INDEX CONCURRENTLY idx_chat_message_chatId_createdAt ON chat_message (chatId, createdAt)",
            "CREATE TABLE resource_translation (resource_id int NOT NULL, language text NOT NULL, name text, embedding cube, PRIMARY KEY (resource_id, language))",
            "CREATE INDEX resource_translation_embedding ON resource_translation USING gist (embedding)",
        ])
        .await;
    for n in 1..=30 {
        for sql in [
            format!("INSERT INTO \"user\" VALUES ({n}, 'user {n}', {})", n % 3 > 0),
            format!("INSERT INTO profile VALUES ({n}, 'bio {n}')"),
            format!(
                "INSERT INTO chat_message VALUES ({}, {n}, timestamptz '2024-01-01 00:00Z' + interval '{n} hours', 'hello {n}')",
                n % 7
            ),
            format!(
                "INSERT INTO resource_translation VALUES ({n}, 'en', 'name {n}', '({}, {n}, {})')",
                n * 7 % 11,
                n % 4
            ),
        ] {
            product.pair.both(&sql).await;
        }
    }
    // findMany({ where: { isActive: true }, include: { profile: true } }): two statements, or one with a join.
    product.pair.same_with(
        "SELECT \"public\".\"user\".\"id\", \"public\".\"user\".\"name\" FROM \"public\".\"user\" WHERE \"public\".\"user\".\"isActive\" = $1 ORDER BY \"public\".\"user\".\"id\" ASC OFFSET $2",
        &[Param::Text("t"), Param::Text("0")],
    ).await;
    product.pair.same_with(
        "SELECT \"public\".\"profile\".\"userId\", \"public\".\"profile\".\"bio\" FROM \"public\".\"profile\" WHERE \"public\".\"profile\".\"userId\" IN ($1,$2,$3) OFFSET $4",
        &[Param::Text("1"), Param::Text("2"), Param::Text("4"), Param::Text("0")],
    ).await;
    product.same_by("scatter", "SELECT u.id, p.bio FROM \"user\" u LEFT JOIN profile p ON p.\"userId\" = u.id WHERE u.\"isActive\" ORDER BY u.id").await;
    product
        .same_on_one_shard(
            "SELECT u.name, p.bio FROM \"user\" u JOIN profile p ON p.\"userId\" = u.id WHERE u.id = 7",
        )
        .await;
    product
        .same_on_one_shard(
            "SELECT id, body FROM chat_message WHERE chatId = 3 ORDER BY createdAt DESC LIMIT 2",
        )
        .await;
    product
        .pair
        .same("SELECT chatId, max(createdAt), count(*) FROM chat_message GROUP BY chatId ORDER BY chatId")
        .await;
    for (to, limit) in [("(3,4,1)", "4"), ("(0,0,0)", "9")] {
        let near = "SELECT resource_id, embedding <-> $1 FROM resource_translation ORDER BY embedding <-> $1, resource_id LIMIT $2";
        product.pair.same_with(near, &[Param::Text(to), Param::Text(limit)]).await;
        let taxi = "SELECT resource_id FROM resource_translation WHERE language = $3 ORDER BY embedding <#> $1, resource_id LIMIT $2";
        product.pair.same_with(taxi, &[Param::Text(to), Param::Text(limit), Param::Text("en")]).await;
    }
}
