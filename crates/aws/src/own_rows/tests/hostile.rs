//! Further hostile queries: names in other letters, queries in every clause, other statements, and texts made to cost much.

use super::*;

/// Queries that would read something else, do something else than read, or that Trino could read in another way.
const REFUSED: [&str; 115] = [
    // Common table expressions beyond their scope, and names that look like one's own.
    "WITH a AS (WITH b AS (TABLE users) SELECT * FROM b) SELECT * FROM a",
    "WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b) SELECT * FROM b",
    "SELECT * FROM (WITH weir AS (SELECT 1) SELECT * FROM weir) t, weir",
    "SELECT (WITH a AS (SELECT 1) SELECT * FROM a), (SELECT * FROM a)",
    "WITH a AS (SELECT 1) SELECT * FROM weir.a",
    "WITH weir AS (SELECT 1 AS button_click) SELECT * FROM weir.button_click",
    "WITH \"a\" AS (SELECT 1) SELECT * FROM \"a \"",
    "SELECT * FROM \"Weir\".\"Button_Click\"",
    "SELECT * FROM \"WEIR.BUTTON_CLICK\"",
    "SELECT * FROM \"button_click \"",
    "SELECT * FROM \" button_click\"",
    "SELECT * FROM \"button_click\"\"\"",
    "SELECT * FROM \"~Button_Click\"",
    "SELECT * FROM \"~1 button_click\"",
    // Letters of other alphabets, and characters that are not seen.
    "SELECT * FROM butt\u{43e}n_click",
    "SELECT * FROM \"butt\u{43e}n_click\"",
    "SELECT * FROM \"b\u{200b}utton_click\"",
    "SELECT * FROM \"button_click\u{feff}\"",
    "SELECT\u{feff} * FROM button_click",
    "SELECT\u{a0}* FROM button_click",
    "SELECT * FROM weir\u{ff0e}button_click",
    "SELECT * FROM weir\u{2024}button_click",
    "SELECT * \u{ff26}ROM button_click",
    "SELECT 1 \u{37e} SELECT * FROM users",
    "SELECT 1\u{2028}FROM users",
    "SELECT \u{201c}a\u{201d} FROM users",
    "\0SELECT * FROM button_click",
    "SELECT * FROM button_click\0, users",
    "SELECT * FROM U&\"us\\0065rs\"",
    // Comments within tokens, and where they end.
    "SEL/**/ECT * FR/**/OM weir.button_click",
    "SELECT * FROM weir.--\nbutton_click",
    "SELECT * FROM weir/* */./* */button_click",
    "SELECT * FROM/*/weir.button_click/*/",
    "/*/ SELECT 1 /*/ SELECT * FROM users",
    "SELECT 1 /* /* */ FROM users -- */",
    "SELECT 1 --\rFROM users",
    "SELECT 1 -/**/- FROM button_click\nFROM users",
    // TABLE, LATERAL and samples.
    "TABLE users LIMIT 1",
    "(TABLE weir.users)",
    "SELECT (TABLE users LIMIT 1)",
    "TABLE button_click UNION ALL TABLE users",
    "SELECT 1 FROM button_click b CROSS JOIN LATERAL (TABLE users) u",
    "SELECT 1 FROM button_click b LEFT JOIN LATERAL (SELECT * FROM weir.button_click c WHERE c.username <> b.username) l ON true",
    "SELECT 1 FROM (button_click TABLESAMPLE SYSTEM (10), users)",
    "SELECT 1 FROM ((button_click) TABLESAMPLE SYSTEM (10) JOIN users ON true)",
    "SELECT 1 FROM ((button_click) TABLESAMPLE SYSTEM ((SELECT 1 FROM users)))",
    "SELECT 1 FROM ((SELECT 1) tablesample, users)",
    "SELECT 1 FROM ((SELECT 1) TABLESAMPLE SYSTEM (10) users, eve)",
    // Queries in every clause.
    "SELECT (SELECT max(u.id) FROM users u WHERE u.name = b.username) FROM button_click b",
    "SELECT 1 FROM button_click b WHERE b.username = (SELECT u.n FROM users u WHERE u.n = b.username)",
    "SELECT 1 FROM button_click b GROUP BY b.username, (SELECT 1 FROM users)",
    "SELECT 1 FROM button_click b GROUP BY GROUPING SETS ((b.username), ((SELECT 1 FROM users)))",
    "SELECT 1 FROM button_click b HAVING (SELECT true FROM users u WHERE u.n = max(b.username))",
    "SELECT 1 FROM button_click b ORDER BY (SELECT u.n FROM users u WHERE u.n = b.username)",
    "SELECT sum(1) OVER (PARTITION BY (SELECT 1 FROM users)) FROM button_click",
    "SELECT sum(1) OVER (ROWS BETWEEN (SELECT 1 FROM users) PRECEDING AND CURRENT ROW) FROM button_click",
    "SELECT sum(1) OVER w FROM button_click WINDOW w AS (ORDER BY (SELECT 1 FROM users))",
    "SELECT array_agg(1 ORDER BY (SELECT 1 FROM users)) FROM button_click",
    "SELECT listagg('a') WITHIN GROUP (ORDER BY (SELECT 1 FROM users)) FROM button_click",
    "SELECT 1 OFFSET (SELECT 1 FROM users)",
    "SELECT 1 FETCH FIRST (SELECT 1 FROM users) ROWS ONLY",
    "SELECT a[(SELECT 1 FROM users)] FROM button_click",
    "SELECT CAST((SELECT 1 FROM users) AS varchar)",
    "SELECT extract(year FROM (SELECT d FROM users))",
    "SELECT trim('x' FROM (SELECT d FROM users))",
    "SELECT trim(a FROM b FROM users)",
    "SELECT 1 FROM button_click WHERE button_id LIKE 'a' ESCAPE (SELECT d FROM users)",
    "SELECT 1 FROM button_click WHERE 1 BETWEEN 0 AND (SELECT 1 FROM users)",
    "SELECT 1 FROM button_click WHERE (1, 2) IN (SELECT 1, 2 FROM users)",
    "SELECT 1 FROM button_click WHERE 1 > SOME (TABLE users)",
    "SELECT INTERVAL '1' DAY * (SELECT 1 FROM users)",
    "SELECT ROW((SELECT 1 FROM users)).a",
    "SELECT IF(true, (SELECT 1 FROM users), 0)",
    "SELECT 1 FROM button_click a JOIN button_click b ON a.x IN (SELECT 1 FROM users) JOIN outcome ON true",
    "SELECT 1 FROM UNNEST(ARRAY[1], (SELECT a FROM users)) WITH ORDINALITY",
    // Lambdas and JSON.
    "SELECT reduce(ARRAY[1], 0, (s, x) -> (SELECT 1 FROM users), s -> s)",
    "SELECT filter(ARRAY[1], x -> EXISTS (TABLE users))",
    "SELECT json_query('{}', 'lax $' PASSING (SELECT 1 FROM users) AS a)",
    "SELECT json_object('a' : (SELECT 1 FROM users))",
    "SELECT json_value('{}', 'lax $.a' DEFAULT (SELECT 1 FROM users) ON EMPTY)",
    "SELECT * FROM JSON_TABLE('{}', 'lax $' COLUMNS (a int PATH 'lax $')) t",
    // Other statements, alone and in a query.
    "SHOW TABLES",
    "SHOW CREATE TABLE button_click",
    "DESCRIBE button_click",
    "DESC button_click",
    "EXPLAIN SELECT * FROM button_click",
    "EXPLAIN ANALYZE VERBOSE SELECT * FROM weir.button_click",
    "MSCK REPAIR TABLE button_click",
    "PREPARE p FROM SELECT * FROM weir.users",
    "EXECUTE p USING 1",
    "EXECUTE IMMEDIATE 'SELECT * FROM weir.users'",
    "DEALLOCATE PREPARE p",
    "SET SESSION a = 1",
    "USE weir",
    "CALL system.runtime.kill_query('x')",
    "MERGE INTO button_click USING users ON true WHEN MATCHED THEN DELETE",
    "WITH a AS (INSERT INTO b SELECT 1) SELECT 1",
    "SELECT * FROM (DESCRIBE button_click)",
    "SELECT * FROM (SHOW TABLES)",
    "SELECT * FROM ?",
    "SELECT ? FROM button_click",
    // What Trino and Athena have beside tables.
    "SELECT * FROM information_schema.columns WHERE table_schema = 'weir'",
    "SELECT 1 IN users FROM page_view",
    "SELECT position('b' IN 'abc' IN users) FROM page_view",
    "SELECT (SELECT count(*) FROM awsdatacatalog.information_schema.tables)",
    "SELECT * FROM \"button_click$properties\"",
    "SELECT \"$path\" FROM weir.button_click",
    "SELECT * FROM TABLE(exclude_columns(input => TABLE(button_click), columns => DESCRIPTOR(a)))",
    "SELECT * FROM button_click, TABLE(sequence(1, 10))",
    "SELECT \"system\".f(1)",
    "SELECT (SELECT 1).f(1)",
    "SELECT CURRENT_SCHEMA, CURRENT_ROLE",
    "SELECT * FROM button_click AS b MATCH_RECOGNIZE (MEASURES (SELECT 1 FROM users) AS a PATTERN (x) DEFINE x AS true)",
    // Numbers, behind which a word could be an alias or a clause.
    "SELECT 0x1 FROM users",
    "SELECT 1. FROM users",
];

#[test]
fn hostile_queries_of_every_kind_are_refused() {
    for sql in REFUSED {
        let answered = question(sql);
        assert!(answered.is_err(), "{sql}: {}", answered.unwrap());
    }
}

/// Queries that look hostile, and what is printed of them: they read their user's rows and their own tables only.
const HARMLESS: [(&str, &str); 14] = [
    // The Kelvin sign is a K.
    ("SELECT * FROM \"button_clic\u{212a}\"", "SELECT * FROM \"~button_click\" AS \"button_clic\u{212a}\""),
    (
        "WITH \"Button_Click\" AS (SELECT 1 AS a) SELECT * FROM BUTTON_CLICK",
        "\"~1 button_click\" AS ( SELECT 1 AS a )\nSELECT * FROM \"~1 button_click\" AS \"BUTTON_CLICK\"",
    ),
    (
        "WITH a AS (SELECT 1), A AS (SELECT 2) TABLE \"A\"",
        "\"~1 a\" AS ( SELECT 1 ) , \"~2 a\" AS ( SELECT 2 )\nTABLE \"~2 a\"",
    ),
    (
        "WITH outcome AS (WITH outcome AS (TABLE outcome) TABLE outcome) TABLE outcome",
        "\"~1 outcome\" AS ( WITH \"~2 outcome\" AS ( TABLE \"~outcome\" ) TABLE \"~2 outcome\" )\nTABLE \"~1 outcome\"",
    ),
    (
        "WITH \"~outcome\" AS (SELECT 1) TABLE \"~outcome\"",
        "\"~1 ~outcome\" AS ( SELECT 1 )\nTABLE \"~1 ~outcome\"",
    ),
    (
        "WITH \"weir\"\".\"\"users\" AS (SELECT 1) TABLE \"weir\"\".\"\"users\"",
        "\"~1 weir\"\".\"\"users\" AS ( SELECT 1 )\nTABLE \"~1 weir\"\".\"\"users\"",
    ),
    (
        "SELECT weir.outcome.username FROM outcome AS weir",
        "SELECT weir.\"outcome\".\"username\" FROM \"~outcome\" AS \"weir\"",
    ),
    ("SELECT 1 FROM outcome AS \"weir.users\"", "SELECT 1 FROM \"~outcome\" AS \"weir.users\""),
    ("SELECT \"$path\" FROM outcome", "SELECT \"$path\" FROM \"~outcome\" AS \"outcome\""),
    (
        "SELECT 'FROM users' AS \"FROM users\" /* FROM users */ -- FROM users",
        "SELECT 'FROM users' AS \"FROM users\"",
    ),
    (
        "SELECT transform(ARRAY['x'], users -> users) FROM outcome users",
        "SELECT transform ( ARRAY [ 'x' ] , users -> users ) FROM \"~outcome\" AS \"users\"",
    ),
    (
        "SELECT json_extract(a, '$[?(@.b == \"FROM users\")]') FROM outcome",
        "SELECT json_extract ( a , '$[?(@.b == \"FROM users\")]' ) FROM \"~outcome\" AS \"outcome\"",
    ),
    ("SELECT 1 AS \"a\"\"; DROP TABLE users; --\"", "SELECT 1 AS \"a\"\"; DROP TABLE users; --\""),
    // A minus and a comment are two signs to Trino, and one blank is between them here.
    ("SELECT 1 - -1, 1 -/* */-1", "SELECT 1 - - 1 , 1 - - 1"),
];

#[test]
fn what_only_looks_hostile_reads_its_users_rows_and_its_own_tables_only() {
    for (sql, printed) in HARMLESS {
        assert_eq!(query(sql), printed, "{sql}");
        assert_eq!(strange_table(&question(sql).unwrap()).unwrap_or_default(), None, "{sql}");
    }
}

#[test]
fn long_and_deep_texts_are_refused_or_read_without_a_stack_or_a_product_of_their_lengths() {
    const LONG: usize = 1 << 20;
    let long = |part: &str| part.repeat(LONG / part.len());
    // Ten thousand of each, and a megabyte.
    for part in [
        "(",
        "((SELECT 1) UNION ",
        "SELECT (",
        "[",
        "f(",
        "(TABLE ",
        "FROM (",
        "x -> (",
        "CASE WHEN (",
        "LATERAL (",
    ] {
        for before in ["", "SELECT ", "SELECT 1 FROM ", "WITH a AS "] {
            assert!(question(&format!("{before}{}", part.repeat(10_000))).is_err(), "{before}{part}");
        }
        assert!(question(&format!("SELECT {}", long(part))).is_err(), "{part}");
    }
    let closed = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(question(&closed), Err(Refused::TooDeep));
    // What has no depth is read, and is longer than Athena takes.
    for (before, part, behind) in [
        ("SELECT 1", ", 1", ""),
        ("SELECT ", "a.", "a"),
        ("SELECT ", "- ", "1"),
        ("SELECT '", "''", "'"),
        ("SELECT \"", "\"\"", "\""),
        ("SELECT ", "1 + ", "1"),
        ("SELECT 1", " UNION SELECT 1", ""),
        ("SELECT 1 FROM UNNEST(ARRAY[1])", " CROSS JOIN UNNEST(ARRAY[1])", ""),
        ("WITH a AS (SELECT 1)", ", a AS (SELECT 1)", " SELECT 1"),
        ("SELECT 0x", "_0", ""),
    ] {
        let answered = question(&format!("{before}{}{behind}", long(part)));
        let is_too_long = matches!(answered, Err(Refused::TooLong(_)));
        assert!(is_too_long || part == "_0", "{part}: {:?}", answered.map(|_| ()));
    }
    // Comments and blanks go, however long they are.
    for part in [" ", "\n", "--\n", "/**/", "/* ( */", ";"] {
        assert!(question(&format!("SELECT 1{}", long(part))).is_ok(), "{part:?}");
    }
    for open in ["/*", "'", "\"", "x'"] {
        assert!(question(&format!("SELECT 1 {open}{}", long("a"))).is_err(), "{open}");
    }
    // Each name is looked up among all expressions, and a cost is kept for each.
    let mut many = "WITH a0 AS (SELECT 1)".to_owned();
    for n in 1..20_000 {
        many += &format!(", a{n} AS (SELECT 1)");
    }
    assert!(matches!(question(&format!("{many} TABLE a0")), Err(Refused::TooLong(_))));
    let users = format!("SELECT 1 FROM {}", long("users, "));
    assert!(matches!(question(&users), Err(Refused::NoSuchTable { .. })));
}
