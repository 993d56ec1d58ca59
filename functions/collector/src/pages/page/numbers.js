// The first thing to see: whether all is well, today against yesterday, this hour, and how much was rejected.

/** From which share on rejected events matter. */
const MATTERS = 0.01;

/** From how many events on a change in percent says something. */
const ENOUGH = 10;

/** Longer than any engine waits before it files events. */
const TOO_LONG = 20 * MINUTE;

/** How today compares with yesterday, when so many had come by this time of the day. */
const comparison = (today, byNow) => {
  if (byNow < ENOUGH) return "";
  const change = Math.round((100 * (today - byNow)) / byNow);
  if (change === 0) return "As many as yesterday by this time";
  return change > 0 ? `▲ ${number(change)}% on yesterday by this time` : `▼ ${number(-change)}% on yesterday by this time`;
};

class Numbers {
  #history;
  #waits = { since: undefined, settled: 0 };

  constructor(history) {
    this.#history = history;
  }

  show(counts, range) {
    const now = Date.now();
    const types = counts.counts.map(({ event_type: type }) => type);
    const between = (from, to) => types.reduce((sum, type) => sum + this.#history.between(type, range, from, to), 0);
    const [midnight, before] = [dayStart(now), dayStart(now, 1)];
    const end = now + DAY;
    const today = between(midnight, end);
    setCount(byId("today"), today);
    // Counts are by hour: of the hour that is under way, as much as has passed of it.
    const then = before + (now - midnight);
    const whole = Math.floor(then / HOUR) * HOUR;
    const byNow = between(before, whole) + (between(whole, whole + HOUR) * (then - whole)) / HOUR;
    const yesterday = between(before, midnight);
    setText(byId("change"), comparison(today, Math.round(byNow)));
    const about = `Yesterday: about ${number(Math.round(byNow))} by this time, ${number(yesterday)} in all`;
    setText(byId("today-note"), yesterday === 0 ? "None yesterday" : about);

    const hour = Math.floor(now / HOUR) * HOUR;
    setCount(byId("hour"), between(hour, end));
    setText(byId("hour-note"), `${shownHour(hour - HOUR)}–${shownHour(hour)}: ${number(between(hour - HOUR, hour))}`);

    const rejected = this.#history.between("rejected", range, midnight, end);
    const matters = rejected > 0 && rejected >= MATTERS * (today + rejected);
    setText(byId("rate"), percent(rejected, today + rejected));
    byId("rate-box").classList.toggle("bad", matters);
    setText(byId("rate-note"), rejected === 0 ? "None today" : `${number(rejected)} of ${number(today + rejected)} today`);
    byId("rate-why").hidden = rejected === 0;

    const sum = (of) => counts.counts.reduce((sum, count) => sum + of(count), 0);
    setCount(byId("accepted"), sum(({ total }) => total));
    setCount(byId("rejected"), counts.rejected.total);
    this.#status(counts, sum, now);
  }

  #status({ counts, rejected, settled_at: settledAt }, sum, now) {
    const waiting = sum(arriving) + arriving(rejected);
    const missing = [...counts, rejected].reduce((sum, { total, settled }) => sum + Math.max(0, settled - total), 0);
    const settled = sum((count) => count.settled) + rejected.settled;
    if (waiting === 0 || settled !== this.#waits.settled) this.#waits = { since: waiting > 0 ? now : undefined, settled };
    const waited = waiting > 0 ? now - this.#waits.since : 0;
    if (waited > TOO_LONG) {
      const since = Math.floor(waited / MINUTE);
      showStatus("bad", `No event was filed for ${since} minutes, and ${plural(waiting, "event")} wait. They are stored.`);
    } else if (missing > 0) {
      showStatus("bad", `${plural(missing, "event")} in the lake are not in the counts: weir audit says why.`);
    } else if (waiting > 0) {
      showStatus("busy", `${plural(waiting, "event")} on the way to the lake.`);
    } else if (settled === 0) {
      showStatus("busy", "No events so far.");
    } else showStatus("good", "All events are in the lake.");
    byId("filed").replaceChildren(...(settledAt ? ["Last filed ", timeAgo(settledAt), "."] : []));
  }
}

/** The one line that says whether all is well: `good`, `busy` or `bad`. */
const showStatus = (kind, text) => {
  byId("status").className = `status ${kind}`;
  setText(byId("status-text"), text);
};
