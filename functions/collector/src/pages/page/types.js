// The event types beside the chart: tabs that say how many events each has in the chart, and choose what is shown.

/** The place of rejected events among the types, and that of all of them. */
const REJECTED = "rejected";
const ALL = "";

class Types {
  #titles;
  #choose;
  #tabs = new Map();
  #colours = new Map();
  #chosen = ALL;

  /** `titles` are those of the catalog's types, and `choose` is called with the type that was chosen. */
  constructor(titles, choose) {
    this.#titles = titles;
    this.#choose = choose;
    byId("tiles").addEventListener("keydown", (event) => this.#key(event));
    this.#tab(ALL, "All types", "tile-all", "all");
    this.select(ALL);
  }

  get chosen() {
    return this.#chosen;
  }

  title(type) {
    return type === REJECTED ? "Rejected" : (this.#titles.get(type) ?? type);
  }

  /** The colour of a type: those with the most events at first have their own. */
  colour(type) {
    return this.#colours.get(type);
  }

  /** Takes what there is; a type that comes later is added. */
  take(counts) {
    const isNew = ({ event_type: type }) => type !== REJECTED && !this.#colours.has(type);
    const added = counts.filter(isNew).sort((one, other) => other.total - one.total);
    for (const { event_type: type } of added) {
      const used = this.#colours.size;
      this.#colours.set(type, used < COLOURS ? String(used) : "rest");
    }
    const rejected = this.#tabs.get(REJECTED);
    this.#colours.set(REJECTED, REJECTED);
    for (const { event_type: type, bots = 0 } of counts) {
      const place = type === REJECTED ? counts.length - 1 : this.#tabs.size - 1 - (rejected ? 1 : 0);
      const tab = this.#tabs.get(type) ?? this.#tab(type, this.title(type), `tile-${place}`, this.#colours.get(type));
      // Moved only where it must be: a button that is moved loses the focus.
      if (rejected && byId("tiles").lastElementChild !== rejected.button) byId("tiles").append(rejected.button);
      setText(tab.state, bots > 0 ? `${number(bots)} of bots in all` : "");
    }
  }

  /** Shows a count of each type, and how it is meant. */
  count(of) {
    let sum = 0;
    for (const [type, { count }] of this.#tabs) {
      if (type === ALL) continue;
      sum += of(type);
      setText(count, number(of(type)));
    }
    setText(this.#tabs.get(ALL).count, number(sum));
  }

  #tab(type, title, id, colour) {
    const [count, state] = [make("span", { class: "count" }), make("span", { class: "state quiet small" })];
    const attributes = { type: "button", role: "tab", "aria-controls": "panel", id };
    const click = () => {
      this.select(type);
      this.#choose(type);
    };
    const swatch = make("span", { class: `swatch c-${colour}`, "aria-hidden": "true" });
    const name = make("bdi", { class: "title" }, visible(title));
    const button = make("button", { ...attributes, click }, swatch, name, count, state);
    const tab = { button, count, state };
    this.#tabs.set(type, tab);
    byId("tiles").append(button);
    this.select(this.#chosen);
    return tab;
  }

  select(type) {
    this.#chosen = type;
    for (const [name, { button }] of this.#tabs) {
      button.setAttribute("aria-selected", String(name === type));
      button.tabIndex = name === type ? 0 : -1;
      if (name === type) byId("panel").setAttribute("aria-labelledby", button.id);
    }
  }

  #key(event) {
    const buttons = [...byId("tiles").children];
    const [at, last] = [buttons.indexOf(event.target.closest("button")), buttons.length - 1];
    const before = at === 0 ? last : at - 1;
    const after = at === last ? 0 : at + 1;
    const to = { ArrowLeft: before, ArrowUp: before, ArrowRight: after, ArrowDown: after, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    buttons[to].focus();
    buttons[to].click();
  }
}
