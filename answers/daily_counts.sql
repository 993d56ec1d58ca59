-- title: Events a day
-- slot: event_type, day
-- every: 1 hour
-- chart: line
-- Days are of the event time, in UTC, as the folders of the lake are.
SELECT
    username,
    event_type,
    make_date(year, month, day) AS day,
    count(*) AS events
FROM events
GROUP BY ALL
