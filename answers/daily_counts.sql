-- title: Events a day
-- slot: event_type, day
-- every: 1 hour
-- chart: line
-- Days are of the event time, in UTC, as the folders of the lake are.
-- Athena takes it, too.
SELECT
    username,
    event_type,
    CAST(
        CAST(year AS VARCHAR) || '-' || lpad(CAST(month AS VARCHAR), 2, '0') || '-' || lpad(CAST(day AS VARCHAR), 2, '0')
        AS DATE
    ) AS day,
    count(*) AS events
FROM events
GROUP BY 1, 2, 3
