// Counts over time: filed events by hour or day, events that arrive now, and the events of the last hour by minute.

/** How far back is read: the hours of today and yesterday, those of a month, and days as old as events can be. */
const DEPTHS = { minutes: [59, MINUTE], recent: [50, HOUR], hours: [742, HOUR], days: [400, DAY] };

/** How a unit is written: its name, the length of its part of an ISO time, and the rest that completes that time. */
const UNITS = new Map([[MINUTE, ["minute", 16, ":00Z"]], [HOUR, ["hour", 13, ":00Z"]], [DAY, ["day", 10, "T00:00Z"]]]);

const NEEDED = { hour: ["recent", "minutes"], day: ["recent"], week: ["hours"], month: ["hours"], quarter: ["recent", "days"], year: ["recent", "days"] };

/** An answer, or undefined where there is no such path. */
const ifThere = async (answer) => {
  try {
    return await answer;
  } catch (failure) {
    if (failure.status === 404) return undefined;
    throw failure;
  }
};

/** What has been stored and is not filed yet. */
const arriving = ({ total, settled }) => Math.max(0, total - settled);

class History {
  #api;
  #knows;
  #read = new Map();
  #arriving = new Map();

  /** `knows` tells whether the API has a type: types of an earlier catalog have no history. */
  constructor(api, knows) {
    this.#api = api;
    this.#knows = knows;
  }

  /** Reads what has changed with the counts, and says whether anything was read. */
  async read(counts, range) {
    const now = Date.now();
    const reads = [];
    for (const { event_type: type, total, settled } of counts) {
      if (total === 0 || !this.#knows(type)) continue;
      for (const depth of NEEDED[range]) {
        const isLive = depth === "minutes";
        if (settled === 0 && !isLive) continue;
        const version = isLive ? `${total} ${Math.floor(now / MINUTE)}` : `${settled} ${Math.floor(now / HOUR)}`;
        const [id, is] = [`${depth} ${type}`, version];
        if (this.#read.get(id)?.is !== is) reads.push(this.#one(id, is, type, depth));
      }
    }
    await Promise.all(reads);
    return reads.length > 0;
  }

  async #one(id, is, type, depth) {
    const [steps, step] = DEPTHS[depth];
    const [unit, digits, rest] = UNITS.get(step);
    const text = (millis) => new Date(millis).toISOString().slice(0, digits);
    const now = Date.now();
    const path = `counts/${encodeURIComponent(type)}/${unit}s?from=${text(now - steps * step)}&to=${text(step === MINUTE ? now : now + step)}`;
    const answer = await ifThere(this.#api.get(path));
    const counts = (answer?.[`${unit}s`] ?? []).map((one) => [Date.parse(one[unit] + rest), one.count]);
    this.#read.set(id, { is, counts });
    if (depth === "minutes") this.since = answer?.since;
  }

  /** Takes what is under way, which counts as of now. */
  take(counts) {
    this.#arriving = new Map(counts.map((count) => [count.event_type, arriving(count)]));
  }

  /** A type's counts with their times, as the range needs them. */
  #of(type, range) {
    const depth = NEEDED[range].at(-1);
    const filed = this.#read.get(`${depth} ${type}`)?.counts ?? [];
    // Counts by minute include events that are not filed yet.
    if (depth === "minutes") return filed;
    return [...filed, [Date.now(), this.#arriving.get(type) ?? 0]];
  }

  /** A type's counts in the steps of a range. */
  inRange(type, range, starts) {
    return inSteps(this.#of(type, range), starts);
  }

  /** A type's count from one time until before another. */
  between(type, range, from, to) {
    const recent = NEEDED[range][0] === "hours" ? "month" : "day";
    const counts = this.#of(type, recent).filter(([millis]) => millis >= from && millis < to);
    return counts.reduce((sum, [, count]) => sum + count, 0);
  }
}
