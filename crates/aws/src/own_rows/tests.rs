//! What the question of a query names, whatever the query says. The judge is another parser of SQL.

mod hostile;

use std::ops::ControlFlow;

use proptest::prelude::*;
use sqlparser::{
    ast::{ObjectName, visit_relations},
    dialect::GenericDialect,
    parser::Parser,
};
use weir_core::{Catalog, Hour, Username};

use super::*;

fn question(sql: &str) -> Result<String, Refused> {
    let (catalog, username): (Catalog, Username) = (Catalog::built_in().unwrap(), "ann".parse().unwrap());
    let [from, to] = ["2026-10-30T22", "2026-11-20T13"].map(|hour| hour.parse::<Hour>().unwrap());
    let own = OwnRows {
        catalog: &catalog,
        database: "weir",
        username: &username,
        from,
        to,
        may_begin_later: false,
    };
    own.question(sql).map(|question| question.sql)
}

/// The client's part of the question.
fn query(sql: &str) -> String {
    let question = question(sql).unwrap_or_else(|refused| panic!("{sql}: {refused}"));
    let is_of_weir = |line: &&str| {
        let name = line.strip_prefix("\"~");
        let is_table = name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()));
        is_table || line.starts_with("WITH \"~ owner\"") || line.starts_with("UNION ALL SELECT")
    };
    let (question, _limit) = question.rsplit_once("\nLIMIT ").unwrap();
    question.lines().filter(|line| !is_of_weir(line)).collect::<Vec<_>>().join("\n")
}

/// Returns a table that a question names and may not: one that is neither the user's rows nor of the query's own. `None` also if
/// the judge cannot read the question.
fn strange_table(question: &str) -> Result<Option<String>, String> {
    let statements = Parser::parse_sql(&GenericDialect {}, question).map_err(|error| error.to_string())?;
    if statements.len() != 1 {
        return Ok(Some("a second statement".to_owned()));
    }
    let mut left = question.matches("FROM \"weir\".").count();
    let of_user = question.matches("\" WHERE \"username\" = 'ann' AND ").count();
    if left != of_user {
        return Ok(Some("rows without their user".to_owned()));
    }
    let found = visit_relations(&statements, |relation: &ObjectName| {
        let name = relation.to_string();
        if name.starts_with("\"weir\".\"") && left > 0 {
            left -= 1;
            return ControlFlow::Continue(());
        }
        if name.starts_with("\"~") { ControlFlow::Continue(()) } else { ControlFlow::Break(name) }
    });
    Ok(found.break_value())
}

#[test]
fn a_query_is_printed_over_the_rows_of_its_user() {
    let text = question("select Button_Id, count(*) FROM Button_Click b GROUP BY 1").unwrap();
    assert_eq!(
        text,
        "WITH \"~ owner\" AS (SELECT 'ann' AS username),\n\"~button_click\" AS (SELECT \"event_id\", coalesce(\"time\", \
         \"received_at\") AS \"time\", TRY(CAST(from_unixtime(coalesce(\"time\", \"received_at\") / 1e3) AS timestamp)) AS \
         \"timestamp\", TRY(CAST(from_unixtime(coalesce(\"time\", \"received_at\") / 1e3) AS date)) AS \"date\", \"received_at\", \
         \"occurred_at\", \"bot\", \"session_id\", \"button_id\", \"username\", \"year\", \"month\", \"day\", \"hour\" FROM \
         \"weir\".\"button_click\" WHERE \"username\" = 'ann' AND \"year\" BETWEEN 2026 AND 2026 AND \"month\" BETWEEN 10 AND 11 AND \
         (\"year\" > 2026 OR (\"year\" = 2026 AND (\"month\" > 10 OR (\"month\" = 10 AND (\"day\" > 30 OR (\"day\" = 30 AND \"hour\" >= \
         22)))))) AND (\"year\" < 2026 OR (\"year\" = 2026 AND (\"month\" < 11 OR (\"month\" = 11 AND (\"day\" < 20 OR (\"day\" = 20 AND \
         \"hour\" <= 13)))))))\nselect Button_Id , count ( * ) FROM \"~button_click\" AS \"b\" GROUP BY 1\nLIMIT 10001"
    );
    assert!(is_of(&text, &"ann".parse().unwrap()));
    for other in ["an", "anna", "eve"] {
        assert!(!is_of(&text, &other.parse().unwrap()), "{other}");
    }
    // A type's table is read only where it is named, and that of all events reads them all.
    assert!(!text.contains("page_view"));
    let events = question("TABLE events").unwrap();
    let types = Catalog::built_in().unwrap().iter().count() + 1;
    assert_eq!(events.matches("FROM \"weir\".").count(), types);
    assert!(events.contains("'rejected' AS \"event_type\""));
}

#[test]
fn each_name_of_a_table_gets_the_one_that_it_means() {
    for (sql, printed) in [
        ("SELECT 1", "SELECT 1"),
        ("VALUES (1, 'a'), (2, 'b')", "VALUES ( 1 , 'a' ) , ( 2 , 'b' )"),
        ("TABLE outcome LIMIT 5", "TABLE \"~outcome\""),
        ("SELECT outcome.label FROM outcome", "SELECT outcome.\"label\" FROM \"~outcome\" AS \"outcome\""),
        ("SELECT * FROM \"OUTCOME\" AS o (a, b)", "SELECT * FROM \"~outcome\" AS \"o\" ( \"a\" , \"b\" )"),
        (
            "SELECT * FROM outcome, prediction p JOIN page_view ON a = b[1, 2], outcome o",
            "SELECT * FROM \"~outcome\" AS \"outcome\" , \"~prediction\" AS \"p\" JOIN \"~page_view\" AS \"page_view\" ON a = b [ 1 , 2 \
             ] , \"~outcome\" AS \"o\"",
        ),
        (
            "SELECT * FROM outcome LEFT OUTER JOIN prediction USING (prediction_id) WHERE score > .5",
            "SELECT * FROM \"~outcome\" AS \"outcome\" LEFT OUTER JOIN \"~prediction\" AS \"prediction\" USING ( \"prediction_id\" ) \
             WHERE score > .5",
        ),
        // The query's own tables hide others, from where they are made on and as deep as they are made.
        (
            "WITH outcome AS (SELECT * FROM outcome), b AS (TABLE outcome) SELECT * FROM b, outcome",
            "\"~1 outcome\" AS ( SELECT * FROM \"~outcome\" AS \"outcome\" ) , \"~2 b\" AS ( TABLE \"~1 outcome\" )\nSELECT * FROM \"~2 b\" \
             AS \"b\" , \"~1 outcome\" AS \"outcome\"",
        ),
        (
            "SELECT (WITH a (x) AS (VALUES 1) SELECT max(x) FROM A) FROM outcome",
            "SELECT ( WITH \"~1 a\" ( \"x\" ) AS ( VALUES 1 ) SELECT max ( x ) FROM \"~1 a\" AS \"A\" ) FROM \"~outcome\" AS \"outcome\"",
        ),
        (
            "SELECT 1 WHERE EXISTS (TABLE outcome) AND 1 IN ((SELECT 1) UNION ALL SELECT 2 FROM outcome)",
            "SELECT 1 WHERE EXISTS ( TABLE \"~outcome\" ) AND 1 IN ( ( SELECT 1 ) UNION ALL SELECT 2 FROM \"~outcome\" AS \"outcome\" )",
        ),
        (
            "SELECT * FROM ((SELECT 1) UNION (TABLE outcome) ORDER BY 1) t, ((outcome) CROSS JOIN UNNEST(ARRAY[1]) WITH ORDINALITY \
             u(a, b))",
            "SELECT * FROM ( ( SELECT 1 ) UNION ( TABLE \"~outcome\" ) ORDER BY 1 ) AS \"t\" , ( ( \"~outcome\" AS \"outcome\" ) CROSS JOIN \
             UNNEST ( ARRAY [ 1 ] ) WITH ORDINALITY AS \"u\" ( \"a\" , \"b\" ) )",
        ),
        (
            "SELECT a IS NOT DISTINCT FROM outcome, extract(year FROM d), \"x\"\"y\".\"FROM\" FROM outcome TABLESAMPLE BERNOULLI (10)",
            "SELECT a IS NOT DISTINCT FROM outcome , extract ( year FROM d ) , \"x\"\"y\".\"FROM\" FROM \"~outcome\" AS \"outcome\" \
             TABLESAMPLE BERNOULLI ( 10 )",
        ),
        (
            "SELECT filter(a, (x) -> x > 'it''s'), sum(b) OVER w FROM outcome WINDOW w AS (PARTITION BY c), v AS (w);",
            "SELECT filter ( a , ( x ) -> x > 'it''s' ) , sum ( b ) OVER w FROM \"~outcome\" AS \"outcome\" WINDOW w AS ( PARTITION BY c ) \
             , v AS ( w )",
        ),
        (
            "SELECT * FROM outcome CROSS JOIN LATERAL (SELECT * FROM prediction) OFFSET 1 LIMIT ALL",
            "SELECT * FROM \"~outcome\" AS \"outcome\" CROSS JOIN LATERAL ( SELECT * FROM \"~prediction\" AS \"prediction\" ) OFFSET 1",
        ),
        (
            "SELECT * FROM ((outcome) TABLESAMPLE SYSTEM (5) JOIN ((SELECT 1) t TABLESAMPLE SYSTEM (1_0)) ON true)",
            "SELECT * FROM ( ( \"~outcome\" AS \"outcome\" ) TABLESAMPLE SYSTEM ( 5 ) JOIN ( ( SELECT 1 ) AS \"t\" TABLESAMPLE SYSTEM ( 10 ) ) \
             ON true )",
        ),
        // Numbers in decimal digits, with a blank behind.
        ("SELECT 1. FROM outcome o", "SELECT 1. FROM \"~outcome\" AS \"o\""),
        ("SELECT 1. e1, 0xFF+1_0.5, o . x", "SELECT 1. e1 , 255 + 10.5 , o.\"x\""),
        // No text and no name ends earlier than it did.
        (r"SELECT '\' || ''' FROM eve --' /* ; */", r"SELECT '\' || ''' FROM eve --'"),
        (r#"SELECT 'a\''' AS "b'"" --""#, r#"SELECT 'a\''' AS "b'"" --""#),
        (
            "SELECT X'00fF', TIMESTAMP '2026-01-01' - INTERVAL '1' DAY",
            "SELECT X'00fF' , TIMESTAMP '2026-01-01' - INTERVAL '1' DAY",
        ),
    ] {
        assert_eq!(query(sql), printed, "{sql}");
    }
}

/// Why the text is not printed by the judge: for Trino, the text that it prints has no end, or ends in what is SQL.
#[test]
fn a_text_that_ends_in_a_backslash_and_a_quote_keeps_its_quote_doubled() {
    let sql = r"SELECT '\'''";
    let printed = Parser::parse_sql(&GenericDialect {}, sql).unwrap()[0].to_string();
    assert_eq!(printed, r"SELECT '\''");
    assert_eq!(query(sql), sql);
}

/// Queries that would read something else, or do something else than read: all are refused.
const HOSTILE: [&str; 97] = [
    // Other tables and databases.
    "SELECT * FROM weir.button_click WHERE username = 'eve'",
    "SELECT * FROM \"weir\".\"button_click\" WHERE username = 'eve'",
    "SELECT * FROM awsdatacatalog.weir.button_click",
    "SELECT * FROM weir/**/./**/button_click",
    "SELECT * FROM \"weir.button_click\"",
    "SELECT * FROM weir_button_click",
    "SELECT * FROM weir_json_lines WHERE weir_part = 'x'",
    "SELECT * FROM weir_sealed_button_click_0123456789ab",
    "SELECT * FROM default.users",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM system.runtime.queries",
    "SELECT * FROM \"button_click$partitions\"",
    "SELECT * FROM \"~button_click\"",
    "SELECT * FROM \"~ owner\"",
    "SELECT * FROM \"~1 a\"",
    "TABLE weir.button_click",
    "TABLE users",
    "SELECT 1 FROM button_click, users",
    "SELECT 1 FROM button_click b, users u",
    "SELECT 1 FROM button_click JOIN users ON true",
    "SELECT 1 FROM button_click JOIN page_view ON true, users",
    "SELECT 1 FROM button_click JOIN page_view USING (session_id), users",
    "SELECT 1 FROM button_click NATURAL JOIN users",
    "SELECT 1 FROM (users)",
    "SELECT 1 FROM ((users))",
    "SELECT 1 FROM (button_click CROSS JOIN users)",
    "SELECT 1 FROM ((SELECT 1) CROSS JOIN users)",
    "SELECT 1 FROM ((SELECT 1) a, users)",
    "SELECT 1 FROM (SELECT 1 FROM users)",
    "SELECT (SELECT 1 FROM users)",
    "SELECT ((SELECT 1 FROM users))",
    "SELECT (TABLE users)",
    "SELECT ((SELECT 1) UNION TABLE users)",
    "SELECT [(SELECT 1 FROM users)]",
    "SELECT 1 WHERE EXISTS (SELECT * FROM users)",
    "SELECT 1 WHERE 1 = ANY (SELECT 1 FROM users)",
    "SELECT 1 GROUP BY (SELECT 1 FROM users)",
    "SELECT 1 HAVING 1 IN (TABLE users)",
    "SELECT 1 ORDER BY (SELECT 1 FROM users)",
    "SELECT 1 LIMIT (SELECT 1 FROM users)",
    "SELECT sum(1) FILTER (WHERE EXISTS (SELECT 1 FROM users))",
    "SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM users))",
    "SELECT CASE WHEN (SELECT true FROM users) THEN 1 END",
    "SELECT transform(ARRAY[1], x -> (SELECT 1 FROM users))",
    "SELECT 1 FROM UNNEST(ARRAY[(SELECT 1 FROM users)])",
    "SELECT 1 FROM button_click, LATERAL (SELECT * FROM users)",
    "SELECT 1 FROM button_click JOIN page_view ON (SELECT true FROM users)",
    "SELECT 1 UNION SELECT 1 FROM users",
    "SELECT 1 EXCEPT TABLE users",
    "(SELECT 1) INTERSECT (SELECT 1 FROM users)",
    "VALUES (SELECT 1 FROM users)",
    "VALUES 1, (SELECT 1 FROM users)",
    "WITH a AS (SELECT * FROM users) SELECT 1",
    "WITH a AS (SELECT 1), b AS (TABLE users) SELECT * FROM a",
    // Names where they are not, and names that words of SQL could be.
    "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
    "WITH a AS (SELECT * FROM a) SELECT * FROM a",
    "SELECT * FROM (WITH a AS (SELECT 1) SELECT 1), a",
    "WITH RECURSIVE a AS (SELECT 1) SELECT * FROM a",
    "SELECT 1 FROM (SELECT 1) offset, users",
    "SELECT 1 FROM (SELECT 1) limit, users",
    "SELECT 1 FROM (SELECT 1) fetch, users",
    "SELECT 1 FROM (SELECT 1) window, users",
    "SELECT 1 FROM (SELECT 1) tablesample, users",
    "SELECT 1 FROM UNNEST(ARRAY[1]) window, users",
    "SELECT 1 FROM ((SELECT 1) offset, users)",
    "SELECT 1 FROM button_click MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS true)",
    "SELECT 1 FROM button_click FOR VERSION AS OF 1",
    "SELECT DISTINCT FROM users",
    "SELECT button_click JOIN users USING (a)",
    "SELECT 1 WHERE true CROSS JOIN users",
    "SELECT 1 WHERE EXISTS (FROM users)",
    "SELECT (a FROM users)",
    "SELECT extract(FROM users)",
    "SELECT 1 FROM button_click WHERE true FROM users",
    "SELECT 1 FROM button_click b c",
    // Table functions, and functions with a prefix.
    "SELECT * FROM TABLE(system.query(query => 'SELECT 1'))",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM json_table('{}', '$' COLUMNS (a int PATH '$'))",
    "SELECT system.builtin.version()",
    "SELECT \"$internal$f\"(1)",
    // Other statements.
    "SELECT 1; SELECT * FROM users",
    "SELECT 1 INTO users",
    "INSERT INTO users SELECT 1",
    "CREATE TABLE a AS SELECT 1",
    "DROP TABLE button_click",
    "UNLOAD (SELECT 1) TO 's3://eve/' WITH (format = 'PARQUET')",
    "EXECUTE a",
    "EXPLAIN ANALYZE SELECT 1",
    "USING EXTERNAL FUNCTION f() RETURNS int LAMBDA 'x' SELECT f()",
    "WITH FUNCTION f() RETURNS int RETURN 1 SELECT f()",
    "SELECT current_user, current_catalog",
    // Texts and names that end elsewhere for some.
    "SELECT 'a",
    "SELECT \"a",
    "SELECT 1 /* FROM button_click",
    "SELECT `a` FROM `users`",
    "SELECT U&'\\0027' FROM button_click",
    "SELECT 1 \u{ff07} FROM users",
];

#[test]
fn what_could_read_other_rows_or_change_something_is_refused() {
    for sql in HOSTILE {
        let answered = question(sql);
        assert!(answered.is_err(), "{sql}: {}", answered.unwrap());
    }
    let told = |sql: &str| question(sql).unwrap_err().to_string();
    assert_eq!(
        told("SELECT 1 FROM buton_click"),
        "There is no table \"buton_click\". Did you mean button_click?"
    );
    assert_eq!(told("SELECT 1 FROM a.b"), "There is no database \"a\": a table has its name alone.");
    assert_eq!(told("DROP TABLE a"), "A query is a SELECT: nothing can be changed.");
    assert_eq!(told(""), "A query is a SELECT: nothing can be changed.");
}

#[test]
fn what_a_query_makes_athena_do_is_bounded() {
    let deep = |sign: &str| format!("SELECT {}1", sign.repeat(20_000));
    assert_eq!(question(&deep("(")), Err(Refused::TooDeep));
    assert_eq!(question(&deep("(SELECT ")), Err(Refused::TooDeep));
    assert_eq!(question(&format!("SELECT 1 FROM {}", "(".repeat(20_000))), Err(Refused::TooDeep));
    // Each doubles the one before.
    let mut doubling = "WITH a0 AS (VALUES 1)".to_owned();
    for n in 1..30 {
        doubling += &format!(", a{n} AS (SELECT 1 FROM a{m}, a{m})", m = n - 1);
    }
    assert_eq!(question(&format!("{doubling} TABLE a29")), Err(Refused::TooMany(100)));
    // The range has 496 hours.
    let tables = |count: usize| format!("SELECT 1 FROM {}", vec!["outcome"; count].join(", "));
    assert!(question(&tables(20)).is_ok());
    assert_eq!(question(&tables(21)), Err(Refused::TooManyFolders(10_416)));
    assert!(question("WITH a AS (TABLE events) SELECT 1 FROM a").is_ok());
    assert!(matches!(
        question("WITH a AS (TABLE events) SELECT 1 FROM a, a"),
        Err(Refused::TooManyFolders(_))
    ));
}

/// The built-in types and so many of the operator's own.
fn catalog_with(own: usize) -> Catalog {
    let types = (0..own).map(|n| {
        let schema =
            r#"{"type": "object", "properties": {"a": {"type": "string"}}, "x-weir": {"route": "/own/N"}}"#;
        (format!("own_{n}.json"), schema.replace('N', &n.to_string()))
    });
    let built_in = [
        "alias",
        "button_click",
        "group",
        "identify",
        "outcome",
        "page",
        "page_view",
        "prediction",
        "screen",
        "track",
    ];
    let built_in = built_in.map(|name| {
        let file = format!("{}/../../catalog/{name}.json", env!("CARGO_MANIFEST_DIR"));
        (format!("{name}.json"), std::fs::read_to_string(file).unwrap())
    });
    let files: Vec<(String, String)> = built_in.into_iter().chain(types).collect();
    Catalog::read(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))).unwrap()
}

#[test]
fn a_query_without_bounds_begins_as_late_as_it_has_to() {
    let to: Hour = "2026-11-20T13".parse().unwrap();
    let asked = |own: usize, sql: &str, hours: u64, may_begin_later: bool| {
        let (catalog, username) = (catalog_with(own), "ann".parse().unwrap());
        let from = to.minus(hours - 1);
        OwnRows { catalog: &catalog, database: "weir", username: &username, from, to, may_begin_later }
            .question(sql)
    };
    let hours = |own: usize, sql: &str| {
        let question = asked(own, sql, 744, true).unwrap();
        // The range is that of the text, too.
        let [.., hour] = question.from.parts();
        assert!(question.sql.contains(&format!("\"hour\" >= {hour}")), "{}", question.sql);
        to.since_epoch() + 1 - question.from.since_epoch()
    };
    // The tables are the types, rejected events, and all.
    for (own, sql, expected) in [
        (0, "SELECT 1 FROM button_click", 744),
        (0, "SELECT 1 FROM events", 744),
        (2, "SELECT 1 FROM events", 744),
        (3, "SELECT 1 FROM events", 714),
        (3, "SELECT 1 FROM events a, events b", 357),
        (20, "WITH a AS (TABLE events) SELECT 1 FROM a, a, page_view", 158),
        (250, "TABLE events", 38),
        (0, &format!("SELECT 1 FROM events {}", ", events".repeat(99)), 9),
    ] {
        assert_eq!(hours(own, sql), expected, "{own} {sql}");
    }
    // A range that was asked for is that range, or refused.
    assert_eq!(asked(3, "TABLE events", 744, false), Err(Refused::TooManyFolders(744 * 14)));
    assert!(asked(3, "TABLE events", 714, false).is_ok());
    // Not even an hour.
    let sql = format!("WITH a AS (TABLE events) SELECT 1 FROM a {}", ", a".repeat(49));
    assert_eq!(asked(200, &sql, 744, true), Err(Refused::TooManyFolders(211 * 50)));
}

/// Parts of queries, good and bad.
const PARTS: [&str; 80] = [
    "SELECT",
    "SELECT",
    "SELECT",
    "*",
    "1",
    "a",
    "FROM",
    "FROM",
    "FROM",
    "button_click",
    "outcome",
    "users",
    "weir.users",
    "\"weir\".\"button_click\"",
    "eve",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT 5",
    "LIMIT",
    "OFFSET",
    "FETCH FIRST",
    "WINDOW",
    "w AS",
    "UNION",
    "UNION ALL",
    "EXCEPT",
    "INTERSECT",
    "JOIN",
    "CROSS JOIN",
    "LEFT JOIN",
    "NATURAL JOIN",
    "ON",
    "USING",
    "(a)",
    "(",
    "(",
    ")",
    ")",
    "[",
    "]",
    ",",
    ",",
    ".",
    "AS",
    "b",
    "WITH a AS",
    "WITH",
    "VALUES",
    "TABLE",
    "LATERAL",
    "UNNEST",
    "EXISTS",
    "IN",
    "IS DISTINCT",
    "NOT",
    "DISTINCT",
    "'",
    "''",
    "'\\'",
    "\"",
    "--",
    "/*",
    "*/",
    "\n",
    ";",
    "||",
    "->",
    "=",
    "x'",
    "U&",
    "TABLESAMPLE",
    "TABLESAMPLE SYSTEM (1)",
    "1.",
    "0xF",
    "1_0",
    "FOR",
    "extract(",
    "\\",
];

/// A run to look for more sets the variable of `proptest`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Parts in any order, and good queries with some of their parts moved, doubled or left out.
    #[test]
    fn whatever_is_accepted_names_the_users_rows_and_its_own_tables_only(
        parts in proptest::collection::vec(0..PARTS.len(), 0..24),
        good in 0..GOOD.len(),
        changes in proptest::collection::vec((0..64_usize, 0..64_usize, 0..PARTS.len()), 0..6),
    ) {
        let random: Vec<&str> = parts.iter().map(|at| PARTS[*at]).collect();
        let mut words: Vec<&str> = GOOD[good].split(' ').collect();
        for (from, to, part) in changes {
            let (from, to) = (from % words.len(), to % words.len());
            match part % 4 {
                0 => words.swap(from, to),
                1 => words.insert(to, words[from]),
                2 if words.len() > 1 => drop(words.remove(from)),
                _ => words.insert(to, PARTS[part]),
            }
        }
        for sql in [random.join(" "), format!("SELECT 1 FROM {}", random.join(" ")), random.concat(), words.join(" ")] {
            if let Ok(question) = question(&sql) {
                prop_assert_eq!(strange_table(&question).unwrap_or_default(), None, "{}\n{}", sql, question);
                // What was printed is printed again as it is.
                prop_assert!(is_of(&question, &"ann".parse().unwrap()));
            }
        }
    }
}

/// Queries that are answered, and that the judge can read.
const GOOD: [&str; 8] = [
    "SELECT button_id , count(*) FROM button_click b , outcome WHERE b.a = 'x' GROUP BY 1 ORDER BY 2 LIMIT 5",
    "WITH a AS ( SELECT * FROM outcome ) , b AS ( SELECT 1 ) SELECT * FROM a JOIN b ON a.x = b.x , page_view p",
    "SELECT * FROM ( SELECT 1 ) AS x CROSS JOIN ( outcome JOIN prediction USING (prediction_id) )",
    "SELECT ( SELECT max(a) FROM outcome ) , b IN ( SELECT 1 UNION ALL SELECT 2 ) FROM prediction",
    "( SELECT 1 FROM outcome ) UNION ( SELECT 2 FROM prediction ) ORDER BY 1",
    "SELECT a IS DISTINCT FROM b , extract(year FROM c) FROM outcome LEFT JOIN ( SELECT 1 ) AS q ON true LIMIT 1",
    "SELECT sum(a) OVER ( PARTITION BY b ) FROM outcome AS o WHERE EXISTS ( SELECT 1 FROM prediction )",
    "SELECT * FROM ( ( SELECT 1 ) UNION ( SELECT 2 ) ) AS t , outcome AS o ( x , y )",
];

#[test]
fn the_judge_reads_good_queries_and_finds_a_table_that_may_not_be_named() {
    for sql in GOOD {
        assert_eq!(strange_table(&question(sql).unwrap()), Ok(None), "{sql}");
    }
    let good = question(GOOD[0]).unwrap();
    for (from, to, strange) in [
        ("\"~outcome\" AS", "users AS", "users"),
        ("\"~button_click\" AS \"b\"", "\"weir\".\"button_click\" AS \"b\"", "rows without their user"),
        ("'ann' AND", "'eve' AND", "rows without their user"),
        ("LIMIT 5", "; SELECT 1", "a second statement"),
    ] {
        assert_eq!(strange_table(&good.replacen(from, to, 2)), Ok(Some(strange.to_owned())), "{to}");
    }
}
