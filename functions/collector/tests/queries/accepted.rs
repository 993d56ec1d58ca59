//! What clients write in Athena's SQL is answered, with the rows that it means. Each question goes through the grammar of Athena's
//! that the stand-in has (sqlglot), and then through DuckDB, so numbers that the two count differently are not among them.

use serde_json::{Value, json};
use weir_core::{Clock, SystemClock};

use super::Weir;

/// Queries, and their rows. The user has the clicks e1 to e4, three predictions and three outcomes.
const ACCEPTED: [(&str, &str); 78] = [
    // Numbers, texts and bytes.
    ("SELECT 0xFF AS a, 0o17 AS b, 0b11 AS c, 0X_f_F AS d", r#"[{"a": 255, "b": 15, "c": 3, "d": 255}]"#),
    ("SELECT 1_000 AS a, 1_0.5 * 2 = 21 AS b", r#"[{"a": 1000, "b": true}]"#),
    (
        "SELECT 1. + .5 = 1.5 AS a, 1e3 AS b, .5E-1 AS c, 1.e1 AS d",
        r#"[{"a": true, "b": 1e3, "c": 0.05, "d": 10.0}]"#,
    ),
    ("SELECT 1. AS a FROM outcome LIMIT 0x1", r#"[{"a": "1"}]"#),
    ("SELECT to_hex(X'0a Ff') AS a", r#"[{"a": "0AFF"}]"#),
    (
        "SELECT 'it''s \"so\"' AS a, '' AS b, 'a -- b /* c */ ; d' AS c",
        r#"[{"a": "it's \"so\"", "b": "", "c": "a -- b /* c */ ; d"}]"#,
    ),
    (
        "SELECT -7 AS a, +1 AS b, 7 % 2 AS c, 7 <> 2 AS d, 7 != 7 AS e",
        r#"[{"a": -7, "b": 1, "c": 1, "d": true, "e": false}]"#,
    ),
    (
        "SELECT TRUE AND NOT FALSE OR NULL AS a, 1 IN (1, 2) AS b, NULL IS NULL AS c",
        r#"[{"a": true, "b": true, "c": true}]"#,
    ),
    ("SELECT (1, 2) = (1, 2) AS a, ROW(1, 2) = ROW(1, 3) AS b", r#"[{"a": true, "b": false}]"#),
    // Names, comments, and what stands around a query.
    (
        "SELECT \"button_id\" AS \"Größe, €\", 'naïve ☃' AS s FROM \"button_click\" WHERE \"event_id\" = 'e1'",
        r#"[{"Größe, €": "a", "s": "naïve ☃"}]"#,
    ),
    ("-- how many\nSELECT count(*) AS n /* of all; 'quoted' */ FROM button_click; -- done", r#"[{"n": 4}]"#),
    ("\u{feff}select COUNT ( * ) as n from BUTTON_CLICK ;;\r\n", r#"[{"n": 4}]"#),
    (
        "SELECT button_click.button_id, b.event_id FROM button_click, button_click AS b WHERE button_click.event_id = 'e4' AND b.event_id = 'e1'",
        r#"[{"button_id": "c", "event_id": "e1"}]"#,
    ),
    ("SELECT b.event_id AS \"b.*\" FROM button_click AS b WHERE b.event_id = 'e4'", r#"[{"b.*": "e4"}]"#),
    (
        "SELECT b.* FROM (SELECT event_id, button_id FROM button_click) AS b WHERE b.event_id = 'e4'",
        r#"[{"event_id": "e4", "button_id": "c"}]"#,
    ),
    // Groups.
    (
        "SELECT button_id, session_id, count(*) AS n FROM button_click GROUP BY GROUPING SETS ((button_id), (session_id), ()) ORDER BY 1 NULLS LAST, 2 NULLS LAST LIMIT 4",
        r#"[{"button_id": "a", "session_id": null, "n": 2}, {"button_id": "b", "session_id": null, "n": 1}, {"button_id": "c", "session_id": null, "n": 1}, {"button_id": null, "session_id": "s1", "n": 2}]"#,
    ),
    (
        "SELECT button_id, count(*) AS n FROM button_click GROUP BY ROLLUP (button_id) ORDER BY button_id NULLS LAST",
        r#"[{"button_id": "a", "n": 2}, {"button_id": "b", "n": 1}, {"button_id": "c", "n": 1}, {"button_id": null, "n": 4}]"#,
    ),
    (
        "SELECT grouping(button_id, session_id) AS g, count(*) AS n FROM button_click WHERE button_id = 'b' GROUP BY CUBE (button_id, session_id) ORDER BY 1",
        r#"[{"g": 0, "n": 1}, {"g": 1, "n": 1}, {"g": 2, "n": 1}, {"g": 3, "n": 1}]"#,
    ),
    ("SELECT button_id FROM button_click GROUP BY button_id HAVING count(*) > 1", r#"[{"button_id": "a"}]"#),
    (
        "SELECT count(*) FILTER (WHERE button_id = 'a') AS a, count(*) FILTER (WHERE bot) AS b FROM button_click",
        r#"[{"a": 2, "b": 1}]"#,
    ),
    (
        "SELECT count(DISTINCT session_id) AS n, array_join(array_agg(event_id ORDER BY event_id DESC), '-') AS a FROM button_click",
        r#"[{"n": 3, "a": "e4-e3-e2-e1"}]"#,
    ),
    (
        "SELECT listagg(button_id, ',') WITHIN GROUP (ORDER BY event_id) AS a FROM button_click",
        r#"[{"a": "a,b,a,c"}]"#,
    ),
    (
        "SELECT max_by(button_id, event_id) AS a, min_by(button_id, event_id) AS b FROM button_click",
        r#"[{"a": "c", "b": "a"}]"#,
    ),
    ("SELECT approx_distinct(button_id) AS n FROM button_click", r#"[{"n": 3}]"#),
    ("SELECT approx_percentile(x, 0.5) AS a FROM UNNEST(ARRAY[1, 2, 3]) AS t (x)", r#"[{"a": 2}]"#),
    (
        "SELECT bool_or(bot) AS b, arbitrary(session_id) IS NOT NULL AS c FROM button_click",
        r#"[{"b": true, "c": true}]"#,
    ),
    // Windows.
    (
        "SELECT event_id, count(*) OVER (ORDER BY event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS n FROM button_click ORDER BY 1 LIMIT 2",
        r#"[{"event_id": "e1", "n": 1}, {"event_id": "e2", "n": 2}]"#,
    ),
    (
        "SELECT event_id, count(*) OVER (PARTITION BY session_id ORDER BY event_id RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS n FROM button_click ORDER BY event_id FETCH FIRST 1 ROW ONLY",
        r#"[{"event_id": "e1", "n": 2}]"#,
    ),
    (
        "SELECT event_id, row_number() OVER w AS n, lag(event_id) OVER w AS before FROM button_click WINDOW w AS (PARTITION BY session_id ORDER BY event_id), v AS (w) ORDER BY event_id OFFSET 1 ROW FETCH NEXT 2 ROWS ONLY",
        r#"[{"event_id": "e2", "n": 2, "before": "e1"}, {"event_id": "e3", "n": 1, "before": null}]"#,
    ),
    (
        "SELECT first_value(bot) IGNORE NULLS OVER (ORDER BY event_id) AS b FROM button_click ORDER BY event_id LIMIT 1",
        r#"[{"b": true}]"#,
    ),
    (
        "SELECT ntile(2) OVER (ORDER BY event_id) AS a FROM button_click ORDER BY event_id OFFSET 1 LIMIT 2",
        r#"[{"a": 1}, {"a": 2}]"#,
    ),
    (
        "SELECT event_id, rank() OVER (ORDER BY button_id) AS r FROM button_click ORDER BY 2, 1 LIMIT 3",
        r#"[{"event_id": "e1", "r": 1}, {"event_id": "e3", "r": 1}, {"event_id": "e2", "r": 3}]"#,
    ),
    // UNNEST, LATERAL and samples.
    (
        "SELECT t.x, t.n FROM UNNEST(ARRAY['a', 'b']) WITH ORDINALITY AS t (x, n) ORDER BY n",
        r#"[{"x": "a", "n": 1}, {"x": "b", "n": 2}]"#,
    ),
    (
        "SELECT b.event_id, t.x FROM button_click b CROSS JOIN UNNEST(ARRAY[1, 2]) AS t (x) WHERE b.event_id = 'e1' ORDER BY 2",
        r#"[{"event_id": "e1", "x": 1}, {"event_id": "e1", "x": 2}]"#,
    ),
    (
        "SELECT b.event_id, t.x FROM button_click b LEFT JOIN UNNEST(ARRAY[b.button_id]) AS t (x) ON true ORDER BY 1 LIMIT 1",
        r#"[{"event_id": "e1", "x": "a"}]"#,
    ),
    (
        "SELECT b.event_id, l.n FROM button_click b CROSS JOIN LATERAL (SELECT count(*) AS n FROM button_click c WHERE c.session_id = b.session_id) l ORDER BY 1 LIMIT 1",
        r#"[{"event_id": "e1", "n": 2}]"#,
    ),
    (
        "SELECT b.event_id, l.n FROM button_click AS b, LATERAL (SELECT upper(b.button_id) AS n) AS l ORDER BY 1 LIMIT 1",
        r#"[{"event_id": "e1", "n": "A"}]"#,
    ),
    ("SELECT x FROM UNNEST(sequence(1, 3)) AS t (x) WHERE x > ALL (VALUES 1, 2)", r#"[{"x": 3}]"#),
    (
        "SELECT count(*) AS n FROM button_click b TABLESAMPLE BERNOULLI (100) WHERE b.button_id = 'a'",
        r#"[{"n": 2}]"#,
    ),
    (
        "SELECT count(*) AS n FROM ((prediction CROSS JOIN outcome) TABLESAMPLE BERNOULLI (100))",
        r#"[{"n": 9}]"#,
    ),
    (
        "SELECT count(*) AS n FROM ((SELECT 1) TABLESAMPLE SYSTEM (100) CROSS JOIN outcome TABLESAMPLE BERNOULLI (100))",
        r#"[{"n": 3}]"#,
    ),
    (
        "SELECT count(*) AS n FROM ((SELECT 1 AS a) AS s TABLESAMPLE SYSTEM (100) JOIN outcome ON s.a = 1)",
        r#"[{"n": 3}]"#,
    ),
    // Lambdas, arrays, maps and rows.
    ("SELECT array_join(transform(ARRAY[1, 2], x -> x + 1), ',') AS a", r#"[{"a": "2,3"}]"#),
    ("SELECT cardinality(filter(ARRAY[1, 2, 3], (x) -> x > 1)) AS n", r#"[{"n": 2}]"#),
    ("SELECT reduce(ARRAY[1, 2, 3], 0, (s, x) -> s + x, s -> s) AS n", r#"[{"n": 6}]"#),
    (
        "SELECT (ARRAY[10, 20])[2] AS a, element_at(ARRAY[1], 3) AS b, ARRAY['x', 'y'][1] AS c",
        r#"[{"a": 20, "b": null, "c": "x"}]"#,
    ),
    ("SELECT contains(ARRAY[1, 2], 2) AS a, cardinality(ARRAY[]) AS b", r#"[{"a": true, "b": 0}]"#),
    ("SELECT MAP(ARRAY['a', 'b'], ARRAY[1, 2])['b'] AS a", r#"[{"a": 2}]"#),
    (
        "SELECT r.x AS a, t.r.y AS b FROM (SELECT CAST(ROW(1, 'b') AS ROW(x bigint, y varchar)) AS r) t",
        r#"[{"a": 1, "b": "b"}]"#,
    ),
    // Types, times and functions.
    (
        "SELECT TRY_CAST('x' AS bigint) AS a, TRY_CAST('7' AS integer) AS b, CAST('1.50' AS decimal(10, 2)) AS c",
        r#"[{"a": null, "b": 7, "c": "1.50"}]"#,
    ),
    (
        "SELECT TIMESTAMP '2026-11-01 10:00:00' + INTERVAL '1' DAY = TIMESTAMP '2026-11-02 10:00:00' AS a",
        r#"[{"a": true}]"#,
    ),
    ("SELECT CAST(DATE '2026-11-01' - INTERVAL '2' MONTH AS date) AS a", r#"[{"a": "2026-09-01"}]"#),
    ("SELECT hour(TIMESTAMP '2026-11-01 10:00:00 UTC' AT TIME ZONE 'Europe/Berlin') AS a", r#"[{"a": 11}]"#),
    (
        "SELECT date_trunc('hour', TIMESTAMP '2026-11-01 10:30:00') = TIMESTAMP '2026-11-01 10:00:00' AS a",
        r#"[{"a": true}]"#,
    ),
    (
        "SELECT date_diff('day', DATE '2026-11-01', DATE '2026-11-08') AS a, CAST(date_add('day', 1, DATE '2026-11-01') AS date) AS b",
        r#"[{"a": 7, "b": "2026-11-02"}]"#,
    ),
    (
        "SELECT extract(year FROM DATE '2026-11-01') AS y, year(DATE '2026-11-01') AS z, day_of_week(DATE '2026-11-02') AS d",
        r#"[{"y": 2026, "z": 2026, "d": 1}]"#,
    ),
    ("SELECT date_format(TIMESTAMP '2026-11-01 10:30:00', '%Y-%m-%d') AS a", r#"[{"a": "2026-11-01"}]"#),
    (
        "SELECT json_extract_scalar('{\"a\": {\"b\": \"c\"}}', '$.a.b') AS a, json_format(json_extract('{\"a\": [1, 2]}', '$.a')) AS b",
        r#"[{"a": "c", "b": "[1,2]"}]"#,
    ),
    (
        "SELECT trim(BOTH 'x' FROM 'xax') AS a, substring('abc' FROM 2 FOR 1) AS b, position('b' IN 'abc') AS c, 'a' || 'b' AS d",
        r#"[{"a": "a", "b": "b", "c": 2, "d": "ab"}]"#,
    ),
    (
        r"SELECT regexp_like('ab1', '\d') AS a, regexp_extract('id=42', 'id=(\d+)', 1) AS b, split_part('a/b', '/', 2) AS c",
        r#"[{"a": true, "b": "42", "c": "b"}]"#,
    ),
    (
        "SELECT coalesce(NULL, 'a') AS a, nullif(1, 1) AS b, if(true, 'y', 'n') AS c, greatest(1, 2) AS d",
        r#"[{"a": "a", "b": null, "c": "y", "d": 2}]"#,
    ),
    (
        "SELECT CASE button_id WHEN 'a' THEN 1 ELSE 0 END AS c, CASE WHEN bot THEN 'x' END AS d FROM button_click WHERE event_id = 'e1'",
        r#"[{"c": 1, "d": "x"}]"#,
    ),
    // Conditions and queries in them.
    ("SELECT event_id FROM button_click WHERE bot IS NOT DISTINCT FROM true", r#"[{"event_id": "e1"}]"#),
    (
        r"SELECT event_id FROM button_click WHERE button_id NOT LIKE 'a%' AND button_id LIKE '_' ESCAPE '\' AND event_id BETWEEN 'e1' AND 'e3'",
        r#"[{"event_id": "e2"}]"#,
    ),
    (
        "SELECT event_id FROM button_click b WHERE EXISTS (SELECT 1 FROM button_click c WHERE c.button_id = b.button_id AND c.event_id <> b.event_id) ORDER BY 1",
        r#"[{"event_id": "e1"}, {"event_id": "e3"}]"#,
    ),
    (
        "SELECT event_id FROM button_click WHERE session_id IN (SELECT session_id FROM button_click GROUP BY 1 HAVING count(*) = 1) ORDER BY 1",
        r#"[{"event_id": "e3"}, {"event_id": "e4"}]"#,
    ),
    (
        "SELECT (SELECT max(score) FROM prediction) AS a, (SELECT count(*) FROM outcome) AS b",
        r#"[{"a": 0.9, "b": 3}]"#,
    ),
    // Joins.
    (
        "SELECT p.prediction_id, o.label FROM prediction p LEFT JOIN outcome o ON o.prediction_id = p.prediction_id AND o.label = '1' ORDER BY 1 LIMIT 2",
        r#"[{"prediction_id": "p1", "label": "1"}, {"prediction_id": "p2", "label": null}]"#,
    ),
    (
        "SELECT prediction_id, score FROM prediction JOIN outcome USING (prediction_id) ORDER BY 1",
        r#"[{"prediction_id": "p1", "score": 0.9}, {"prediction_id": "p2", "score": 0.25}]"#,
    ),
    ("SELECT count(*) AS n FROM prediction FULL OUTER JOIN outcome USING (prediction_id)", r#"[{"n": 4}]"#),
    ("SELECT count(*) AS n FROM ((prediction CROSS JOIN outcome))", r#"[{"n": 9}]"#),
    // Common table expressions, values and sets.
    (
        "WITH a AS (SELECT button_id FROM button_click), b (x) AS (SELECT DISTINCT button_id FROM a) SELECT x FROM b ORDER BY x",
        r#"[{"x": "a"}, {"x": "b"}, {"x": "c"}]"#,
    ),
    (
        "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t (n, s) ORDER BY n DESC",
        r#"[{"n": 2, "s": "b"}, {"n": 1, "s": "a"}]"#,
    ),
    (
        "SELECT session_id FROM button_click EXCEPT SELECT session_id FROM button_click WHERE button_id = 'a' ORDER BY 1",
        r#"[{"session_id": "s3"}]"#,
    ),
    (
        "SELECT session_id FROM button_click INTERSECT DISTINCT SELECT 's1' ORDER BY 1",
        r#"[{"session_id": "s1"}]"#,
    ),
    ("(SELECT 1 AS n) UNION ALL (SELECT 1) UNION (SELECT 2) ORDER BY n", r#"[{"n": 1}, {"n": 2}]"#),
    (
        "SELECT DISTINCT session_id FROM button_click ORDER BY session_id DESC LIMIT ALL",
        r#"[{"session_id": "s3"}, {"session_id": "s2"}, {"session_id": "s1"}]"#,
    ),
    (
        "WITH o AS (SELECT prediction_id AS p FROM outcome) TABLE o ORDER BY 1 LIMIT 1_0",
        r#"[{"p": "p1"}, {"p": "p2"}, {"p": "p4"}]"#,
    ),
];

#[test]
fn what_clients_write_in_athenas_sql_is_answered_with_the_rows_that_it_means() {
    let mut weir = Weir::start();
    let now = SystemClock.now().hour();
    let click = |id: &str, session: &str, button: &str| json!({"event_id": id, "session_id": session, "button_id": button});
    let mut clicks = [("e1", "s1", "a"), ("e2", "s1", "b"), ("e3", "s2", "a"), ("e4", "s3", "c")]
        .map(|(id, session, button)| click(id, session, button));
    clicks[0]["bot"] = true.into();
    weir.file_all("ann", "button_click", now, &clicks);
    let outcomes = [("p1", "1"), ("p2", "0"), ("p4", "1")];
    weir.file_all(
        "ann",
        "outcome",
        now,
        &outcomes.map(|(id, label)| json!({"prediction_id": id, "label": label})),
    );
    let predictions = [("p1", 0.9), ("p2", 0.25), ("p3", 0.5)];
    let prediction =
        |(id, score): (&str, f64)| json!({"prediction_id": id, "model": "m", "label": "x", "score": score});
    weir.file_all("ann", "prediction", now, &predictions.map(prediction));

    let mut wrong = Vec::new();
    for (sql, expected) in ACCEPTED {
        let answer = weir.answer("ann", "/query", sql, "application/json");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        if body != expected {
            wrong.push(format!("{sql}\n  expected {expected}\n  answered {body}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ACCEPTED.len(), wrong.join("\n"));
}
