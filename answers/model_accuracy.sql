-- title: Predictions and what became of them, by model and day
-- slot: model, day
-- every: 1 hour
-- chart: line
-- A prediction and its outcome share a prediction_id. Where one of them came more than once, the first one counts. The day is
-- the prediction's. `calibration` has, for each tenth of the score, how many predictions had it, their mean score and how
-- many of those with an outcome were right: a model is calibrated if `accuracy` is near `score` in each.
-- Athena takes it, too.
WITH predicted AS (
    SELECT
        username,
        prediction_id,
        model,
        label,
        score,
        CAST(
            CAST(year AS VARCHAR) || '-' || lpad(CAST(month AS VARCHAR), 2, '0') || '-' || lpad(CAST(day AS VARCHAR), 2, '0')
            AS DATE
        ) AS day,
        row_number() OVER (PARTITION BY username, prediction_id ORDER BY coalesce(time, received_at), event_id) AS place
    FROM prediction
),
known AS (
    SELECT
        username,
        prediction_id,
        label,
        row_number() OVER (PARTITION BY username, prediction_id ORDER BY coalesce(time, received_at), event_id) AS place
    FROM outcome
),
judged AS (
    SELECT
        p.username,
        p.model,
        p.day,
        p.score,
        CASE WHEN p.label = k.label THEN 1 WHEN p.label <> k.label THEN 0 END AS is_right,
        least(floor(p.score * 10), 9) / 10 AS tenth
    FROM predicted AS p
    LEFT JOIN known AS k ON k.username = p.username AND k.prediction_id = p.prediction_id AND k.place = 1
    WHERE p.place = 1
),
tenths AS (
    SELECT
        username,
        model,
        day,
        tenth,
        count(*) AS predictions,
        count(is_right) AS outcomes,
        round(avg(score), 4) AS score,
        round(avg(is_right), 4) AS accuracy
    FROM judged
    WHERE score IS NOT NULL
    GROUP BY username, model, day, tenth
),
calibrated AS (
    SELECT
        username,
        model,
        day,
        CAST(
            array_agg(
                CAST(
                    ROW(tenth, predictions, outcomes, score, accuracy)
                    AS ROW("from" DOUBLE, predictions BIGINT, outcomes BIGINT, score DOUBLE, accuracy DOUBLE)
                )
                ORDER BY tenth
            )
            AS JSON
        ) AS calibration
    FROM tenths
    GROUP BY username, model, day
),
days AS (
    SELECT
        username,
        model,
        day,
        count(*) AS predictions,
        count(is_right) AS outcomes,
        round(avg(is_right), 4) AS accuracy,
        round(avg(score), 4) AS score
    FROM judged
    GROUP BY username, model, day
)
SELECT d.username, d.model, d.day, d.predictions, d.outcomes, d.accuracy, d.score, c.calibration
FROM days AS d
LEFT JOIN calibrated AS c ON c.username = d.username AND c.model = d.model AND c.day = d.day
