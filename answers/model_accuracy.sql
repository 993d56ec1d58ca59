-- title: Predictions and what became of them, by model and day
-- slot: model, day
-- every: 1 hour
-- chart: line
-- A prediction and its outcome share a prediction_id. Where one of them came more than once, the first one counts. The day is
-- the prediction's. `calibration` has, for each tenth of the score, how many predictions had it, their mean score and how
-- many of those with an outcome were right: a model is calibrated if `accuracy` is near `score` in each.
WITH predicted AS (
    SELECT
        username,
        prediction_id,
        arg_min(model, (time, event_id)) AS model,
        arg_min(label, (time, event_id)) AS label,
        arg_min_null(score, (time, event_id)) AS score,
        make_date(arg_min(year, (time, event_id)), arg_min(month, (time, event_id)), arg_min(day, (time, event_id))) AS day
    FROM prediction
    GROUP BY ALL
),
known AS (
    SELECT username, prediction_id, arg_min(label, (time, event_id)) AS label
    FROM outcome
    GROUP BY ALL
),
judged AS (
    SELECT p.*, p.label = k.label AS is_right, least(floor(p.score * 10), 9) / 10 AS tenth
    FROM predicted AS p
    LEFT JOIN known AS k USING (username, prediction_id)
),
tenths AS (
    SELECT
        username,
        model,
        day,
        tenth,
        count(*) AS predictions,
        count(is_right) AS outcomes,
        avg(score) AS score,
        avg(is_right::INTEGER) AS accuracy
    FROM judged
    WHERE tenth IS NOT NULL
    GROUP BY ALL
),
calibrated AS (
    SELECT
        username,
        model,
        day,
        list(
            {
                'from': tenth,
                'predictions': predictions,
                'outcomes': outcomes,
                'score': round(score, 4),
                'accuracy': round(accuracy, 4)
            }
            ORDER BY tenth
        ) AS calibration
    FROM tenths
    GROUP BY ALL
)
SELECT
    j.username,
    j.model,
    j.day,
    count(*) AS predictions,
    count(j.is_right) AS outcomes,
    round(avg(j.is_right::INTEGER), 4) AS accuracy,
    round(avg(j.score), 4) AS score,
    any_value(c.calibration) AS calibration
FROM judged AS j
LEFT JOIN calibrated AS c USING (username, model, day)
GROUP BY ALL
