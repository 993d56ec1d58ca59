// Bars over time. One stop of the keyboard each: arrows go from bar to bar, and the bar that is meant is read out. A table
// with the same numbers is there for users who do not see them.

/** A chart of `{millis, count}` in equal steps. */
class Chart {
  #points = [];
  #at = -1;
  #name;
  #sum;
  #top;
  #readout = make("output", { class: "readout" });
  #bars;
  #axis = make("div", { class: "axis", "aria-hidden": "true" });
  #rows = make("tbody");

  /** `name` is of a point, `axis` of a place below, `sum` of all of them; `step` is what a point is called. */
  constructor({ title, step, name, axis, sum }) {
    this.#name = name;
    this.axisName = axis;
    this.#sum = sum;
    this.#top = make("span", { class: "peak", "aria-hidden": "true" });
    const move = (event) => this.#key(event);
    const point = (event) => this.#point(event);
    const leave = () => this.#choose(-1);
    this.#bars = make("div", {
      class: "bars",
      role: "slider",
      tabindex: "0",
      "aria-label": `${title}, bar by bar`,
      "aria-valuemin": "0",
      keydown: move,
      pointermove: point,
      pointerdown: point,
      pointerleave: leave,
      blur: leave,
      focus: () => this.#at < 0 && this.#choose(this.#points.length - 1),
    });
    const heads = make("tr", {}, make("th", { scope: "col" }, step), make("th", { scope: "col" }, "Events"));
    const table = make("table", {}, make("caption", {}, title), make("thead", {}, heads), this.#rows);
    this.element = make(
      "figure",
      { class: "chart" },
      make("figcaption", {}, make("h3", {}, title), this.#readout),
      make("div", { class: "plot" }, this.#top, this.#bars),
      this.#axis,
      make("div", { class: "unseen" }, table),
    );
  }

  show(points) {
    this.#points = points;
    const peak = Math.max(1, ...points.map(({ count }) => count));
    while (this.#bars.children.length > points.length) this.#bars.lastElementChild.remove();
    while (this.#bars.children.length < points.length) this.#bars.append(make("span"));
    points.forEach(({ count }, index) => {
      const bar = this.#bars.children[index];
      bar.style.height = count === 0 ? "0" : `max(3px, ${(100 * count) / peak}%)`;
    });
    const some = points.filter(({ count }) => count > 0);
    setText(this.#top, some.length > 0 ? number(peak) : "");
    const row = ({ millis, count }) =>
      make("tr", {}, make("th", { scope: "row" }, this.#name(millis)), make("td", {}, number(count)));
    this.#rows.replaceChildren(...some.map(row));
    const places = [0, Math.floor(points.length / 2), points.length - 1].map((index) => points[index]);
    this.#axis.replaceChildren(...places.map((place) => make("span", {}, place ? this.axisName(place.millis) : "")));
    this.#bars.setAttribute("aria-valuemax", String(Math.max(0, points.length - 1)));
    this.#choose(Math.min(this.#at, points.length - 1));
  }

  #key(event) {
    const last = this.#points.length - 1;
    const at = this.#at < 0 ? last : this.#at;
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#choose(Math.max(0, Math.min(last, to)));
  }

  #point(event) {
    const { left, width } = this.#bars.getBoundingClientRect();
    const index = Math.floor(((event.clientX - left) / width) * this.#points.length);
    this.#choose(Math.max(0, Math.min(this.#points.length - 1, index)));
  }

  /** Shows a point, or all of them together for -1. */
  #choose(index) {
    this.#bars.children[this.#at]?.classList.remove("chosen");
    this.#at = index;
    const point = this.#points[index];
    this.#bars.children[index]?.classList.add("chosen");
    const sum = this.#points.reduce((sum, { count }) => sum + count, 0);
    const text = point ? `${this.#name(point.millis)}: ${plural(point.count, "event")}` : this.#sum(sum);
    setText(this.#readout, text);
    this.#bars.setAttribute("aria-valuenow", String(Math.max(0, index)));
    this.#bars.setAttribute("aria-valuetext", text);
  }
}

/** Equal steps from one time to another, both included, with the counts that there are. */
const series = (from, to, step, counts) => {
  const points = [];
  for (let millis = from; millis <= to; millis += step) points.push({ millis, count: counts.get(millis) ?? 0 });
  return points;
};

const hourMillis = (text) => Date.parse(`${text}:00:00Z`);
/** The days of the chart by day, and those that are read: events can be of 400 days ago. */
const DAYS = 90;
const DAYS_READ = 401;

const dayMillis = (text) => Date.parse(`${text}T00:00:00Z`);

const hourChart = () =>
  new Chart({
    title: "Last two days, by hour",
    step: "Hour (UTC)",
    name: (millis) => `${shownDay(millis)}, ${shownHour(millis)} UTC`,
    axis: (millis) => `${shownShortDay(millis)}, ${shownHour(millis)}`,
    sum: (sum) => `${plural(sum, "event")} filed`,
  });

const dayChart = () =>
  new Chart({
    title: "Last 90 days, by day",
    step: "Day (UTC)",
    name: (millis) => shownDay(millis),
    axis: (millis) => shownShortDay(millis),
    sum: (sum) => `${plural(sum, "event")} filed`,
  });

/** For events that happened, by their own time, before the days that `dayChart` shows. */
const monthChart = () =>
  new Chart({
    title: "Before that, by month",
    step: "Month (UTC)",
    name: (millis) => shownMonth(millis),
    axis: (millis) => shownMonth(millis),
    sum: (sum) => `${plural(sum, "event")} filed`,
  });

const hourPoints = ({ from, to, hours }) =>
  series(hourMillis(from), hourMillis(to), HOUR, new Map(hours.map(({ hour, count }) => [hourMillis(hour), count])));

const dayPoints = ({ to, days }) =>
  series(dayMillis(to) - (DAYS - 1) * DAY, dayMillis(to), DAY, new Map(days.map(({ day, count }) => [dayMillis(day), count])));

/** The months with days that are older than the days shown; undefined if no event is. */
const monthPoints = ({ to, days }) => {
  const older = days.filter(({ day }) => dayMillis(day) <= dayMillis(to) - DAYS * DAY);
  if (older.length === 0) return undefined;
  const counts = new Map();
  for (const { day, count } of older) counts.set(day.slice(0, 7), (counts.get(day.slice(0, 7)) ?? 0) + count);
  const points = [];
  const last = older.at(-1).day.slice(0, 7);
  for (let month = older[0].day.slice(0, 7); month <= last; month = monthAfter(month)) {
    points.push({ millis: dayMillis(`${month}-01`), count: counts.get(month) ?? 0 });
  }
  return points;
};

/** The day, in UTC, so many days ago. */
const dayBefore = (days) => new Date(Date.now() - days * DAY).toISOString().slice(0, 10);

const monthAfter = (month) => {
  const date = new Date(`${month}-01T00:00:00Z`);
  date.setUTCMonth(date.getUTCMonth() + 1);
  return date.toISOString().slice(0, 7);
};
