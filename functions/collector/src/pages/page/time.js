// Times, in the user's own zone or in UTC, and the steps of the chart.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Which zone is shown. */
const zone = { utc: false };

const OWN_ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone;

const zoneName = () => (zone.utc ? "UTC" : OWN_ZONE);

const timeFormat = (options) => {
  const [utc, own] = [{ timeZone: "UTC" }, {}].map((of) => new Intl.DateTimeFormat("en-GB", { ...of, ...options }));
  return (millis) => (zone.utc ? utc : own).format(millis);
};
const utcFormat = (options) => {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  return (millis) => format.format(millis);
};
const shownWeekday = timeFormat({ weekday: "short" });
const shownDay = timeFormat({ weekday: "short", day: "numeric", month: "short" });
const shownShortDay = timeFormat({ day: "numeric", month: "short" });
const shownHour = timeFormat({ hour: "2-digit", minute: "2-digit" });
const shownTime = timeFormat({ dateStyle: "medium", timeStyle: "medium" });
const shownUtcDay = utcFormat({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const shownUtcShortDay = utcFormat({ day: "numeric", month: "short" });
const shownUtcMonth = utcFormat({ month: "long", year: "numeric" });
const shownUtcShortMonth = utcFormat({ month: "short" });

/** How long ago something was. A clock that is behind the server's sees it in the future: that is now. */
const ago = (millis) => {
  const seconds = Math.max(0, Math.round((Date.now() - millis) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} seconds ago`;
  if (seconds < 3600) return `${plural(Math.floor(seconds / 60), "minute")} ago`;
  if (seconds < 86_400) return `${plural(Math.floor(seconds / 3600), "hour")} ago`;
  return `${plural(Math.floor(seconds / 86_400), "day")} ago`;
};

/** A `<time>` that says how long ago it was; `refreshTimes` keeps it true. */
const timeAgo = (millis) => {
  const element = make("time", { datetime: new Date(millis).toISOString(), title: shownTime(millis) }, ago(millis));
  element.millis = millis;
  return element;
};

const refreshTimes = (root) => {
  for (const element of root.querySelectorAll("time")) {
    if (element.millis === undefined) continue;
    setText(element, ago(element.millis));
    element.title = shownTime(element.millis);
  }
};

/** When a day of the zone began that was so many days ago, or an hour of it. */
const dayStart = (millis, back = 0, hour = 0) => {
  const date = new Date(millis);
  if (zone.utc) return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() - back, hour);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() - back, hour).getTime();
};

const utcDay = (millis) => Math.floor(millis / DAY) * DAY;
const utcMonth = (millis, back) => {
  const date = new Date(millis);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() - back, 1);
};

/** The whole numbers from `count - 1` down to 0. */
const downFrom = (count) => Array.from({ length: count }, (_, index) => count - 1 - index);

const hourName = (millis) => `${shownDay(millis)}, ${shownHour(millis)}–${shownHour(millis + HOUR)}`;

/** The ranges of the chart: when its bars begin, what they are called, and which have a name below. */
const RANGES = {
  hour: {
    title: "60 minutes",
    short: "1 h",
    step: "Minute",
    starts: (now) => downFrom(60).map((back) => (Math.floor(now / MINUTE) - back) * MINUTE),
    name: shownHour,
    axis: (millis) => (millis % (10 * MINUTE) === 0 ? shownHour(millis) : ""),
  },
  day: {
    title: "24 hours",
    short: "24 h",
    step: "Hour",
    starts: (now) => downFrom(24).map((back) => (Math.floor(now / HOUR) - back) * HOUR),
    name: hourName,
    axis: (millis) => (new Date(millis)[zone.utc ? "getUTCHours" : "getHours"]() % 6 === 0 ? shownHour(millis) : ""),
  },
  week: {
    title: "7 days",
    short: "7 d",
    step: "Six hours",
    starts: (now) => downFrom(7).flatMap((back) => [0, 6, 12, 18].map((hour) => dayStart(now, back, hour))),
    name: (millis) => `${shownDay(millis)}, ${shownHour(millis)}–${shownHour(millis + 6 * HOUR)}`,
    axis: (millis) => (millis === dayStart(millis) ? shownWeekday(millis) : ""),
  },
  month: {
    title: "30 days",
    short: "30 d",
    step: "Day",
    starts: (now) => downFrom(30).map((back) => dayStart(now, back)),
    name: shownDay,
    axis: (millis) => (shownWeekday(millis) === "Mon" ? shownShortDay(millis) : ""),
  },
  quarter: {
    title: "90 days",
    short: "90 d",
    step: "Day (UTC)",
    utc: true,
    starts: (now) => downFrom(90).map((back) => utcDay(now) - back * DAY),
    name: shownUtcDay,
    axis: (millis) => (new Date(millis).getUTCDate() === 1 ? shownUtcShortDay(millis) : ""),
  },
  year: {
    title: "14 months",
    short: "14 m",
    step: "Month (UTC)",
    utc: true,
    starts: (now) => downFrom(14).map((back) => utcMonth(now, back)),
    name: shownUtcMonth,
    axis: (millis) => (new Date(millis).getUTCMonth() % 2 === 0 ? shownUtcShortMonth(millis) : ""),
  },
};

/** When the bars of a range begin, up to now. */
const startsOf = (range, now) => range.starts(now).filter((millis) => millis <= now);

/** The sums of counts by time in steps that begin at these times. */
const inSteps = (counts, starts) => {
  const sums = starts.map(() => 0);
  for (const [millis, count] of counts) {
    const after = starts.findIndex((start) => start > millis);
    const at = (after === -1 ? starts.length : after) - 1;
    if (at >= 0) sums[at] += count;
  }
  return sums;
};
