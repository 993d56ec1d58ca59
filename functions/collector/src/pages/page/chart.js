// The chart: bars over time, stacked by type. One stop of the keyboard: arrows go from bar to bar, and the bar that is
// meant is read out. A table with the same numbers is there for users who do not see them.

/** How many types have a colour of their own; the others share one. */
const COLOURS = 8;

/** The least number that is not below the peak and has a round half. */
const roundAbove = (peak) => {
  if (peak <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(peak));
  return [1, 2, 4, 6, 8, 10].map((times) => times * power).find((top) => top >= peak && top % 2 === 0) ?? 2 * power;
};

class Chart {
  #range = RANGES.day;
  #starts = [];
  #layers = [];
  #at = -1;
  #chosen;
  #bars;

  /** `chosen` is called with the place of the bar that is meant, or -1. */
  constructor(chosen) {
    this.#chosen = chosen;
    this.#bars = byId("bars");
    const point = (event) => this.#point(event);
    const leave = () => this.#choose(-1);
    const listeners = {
      keydown: (event) => this.#key(event),
      pointermove: point,
      pointerdown: point,
      pointerleave: leave,
      blur: leave,
      focus: () => this.#at < 0 && this.#choose(this.#starts.length - 1),
    };
    for (const [name, listener] of Object.entries(listeners)) this.#bars.addEventListener(name, listener);
  }

  /** Draws layers `{ type, title, colour, counts }`, the first at the bottom. */
  show(range, starts, layers) {
    [this.#range, this.#starts, this.#layers] = [range, starts, layers];
    // Neighbours of one colour are one part of a bar.
    const colours = [...Map.groupBy(layers, ({ colour }) => colour)].map(([colour, same]) => ({
      colour,
      counts: starts.map((_, at) => same.reduce((sum, { counts }) => sum + counts[at], 0)),
    }));
    const sums = starts.map((_, at) => this.#sum(at));
    const top = roundAbove(Math.max(0, ...sums));
    const part = (counts, colour, at) => {
      const segment = make("span", { class: `c-${colour}` });
      segment.style.height = `max(2px, ${(100 * counts[at]) / top}%)`;
      return segment;
    };
    const bars = starts.map((_, at) => {
      const parts = colours.filter(({ counts }) => counts[at] > 0).map(({ counts, colour }) => part(counts, colour, at));
      return make("span", { class: "bar" }, ...parts);
    });
    this.#bars.replaceChildren(...bars);
    this.#bars.classList.toggle("dense", starts.length > 40);
    setText(byId("chart-top"), compact(top));
    setText(byId("chart-half"), top > 1 ? compact(top / 2) : "");
    this.#axis();
    this.#table(sums);
    this.#bars.setAttribute("aria-valuemax", String(Math.max(0, starts.length - 1)));
    this.#choose(Math.min(this.#at, starts.length - 1));
  }

  #sum(at) {
    return this.#layers.reduce((sum, { counts }) => sum + counts[at], 0);
  }

  #axis() {
    const names = this.#starts.map((millis, at) => [this.#range.axis(millis), at / this.#starts.length]);
    const shown = names.filter(([name, place]) => name && place < 0.96);
    byId("chart-axis").replaceChildren(
      ...shown.map(([name, place]) => {
        const element = make("span", {}, name);
        element.style.left = `${100 * place}%`;
        return element;
      }),
    );
  }

  #table(sums) {
    const cell = (name, text, scope) => make(name, { scope }, text);
    const heads = [this.#range.step, "All", ...this.#layers.map(({ title }) => visible(title))];
    const row = (millis, at) => {
      const counts = [sums[at], ...this.#layers.map(({ counts }) => counts[at])].map((count) => cell("td", number(count)));
      return make("tr", {}, cell("th", this.#range.name(millis), "row"), ...counts);
    };
    const rows = this.#starts.map((millis, at) => sums[at] > 0 && row(millis, at)).filter(Boolean);
    byId("chart-heads").replaceChildren(...heads.map((head) => cell("th", head, "col")));
    byId("chart-rows").replaceChildren(...rows);
  }

  #key(event) {
    const last = this.#starts.length - 1;
    const at = this.#at < 0 ? last : this.#at;
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#choose(Math.max(0, Math.min(last, to)));
  }

  #point(event) {
    const { left, width } = this.#bars.getBoundingClientRect();
    const index = Math.floor(((event.clientX - left) / width) * this.#starts.length);
    this.#choose(Math.max(0, Math.min(this.#starts.length - 1, index)));
  }

  /** Means one bar, or all of them together for -1. */
  #choose(index) {
    this.#bars.children[this.#at]?.classList.remove("chosen");
    this.#at = index;
    this.#bars.children[index]?.classList.add("chosen");
    this.#bars.classList.toggle("asked", index >= 0);
    const all = this.#starts.reduce((sum, _, at) => sum + this.#sum(at), 0);
    const utc = this.#range.utc ? " UTC" : "";
    const is = index < 0 ? (this.#range.said ?? `Last ${this.#range.title}`) : this.#range.name(this.#starts[index]) + utc;
    const text = `${is}: ${plural(index < 0 ? all : this.#sum(index), "event")}`;
    setText(byId("readout"), text);
    const parts = this.#layers.filter(({ counts }) => index >= 0 && counts[index] > 0);
    const said = parts.map(({ title, counts }) => `${visible(title)} ${number(counts[index])}`);
    this.#bars.setAttribute("aria-valuenow", String(Math.max(0, index)));
    this.#bars.setAttribute("aria-valuetext", [text, ...(this.#layers.length > 1 ? said : [])].join(", "));
    this.#chosen(index);
  }

  /** The same numbers as rows, by the types' names. */
  get rows() {
    const heads = ["from", ...this.#layers.map(({ type }) => type)];
    const row = (millis, at) => [new Date(millis).toISOString(), ...this.#layers.map(({ counts }) => counts[at])];
    return [heads, ...this.#starts.map(row)];
  }
}
