// Answers that were computed beforehand: a list of them, each drawn as its head says.

/** How often the list is asked for, how many rows a table shows, and how many lines a chart has. */
const ANSWERS_EVERY = 30_000;
const ROWS = 20;
const SERIES = 5;

const svg = (name, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

const shownValue = (value) => {
  if (typeof value === "number") return number(value);
  return visible(typeof value === "string" ? value : JSON.stringify(value));
};

/** The columns of rows, and the one that is drawn: the first with a number that does not address its row. */
const columnsOf = (rows) => Object.keys(rows[0]).filter((column) => column !== "username");
const drawnColumn = (rows, { path, slot }) =>
  columnsOf(rows).find((column) => ![...path, ...slot].includes(column) && rows.some((row) => typeof row[column] === "number"));

const answerTable = (rows, title) => {
  const columns = columnsOf(rows);
  const heads = columns.map((column) => make("th", { scope: "col" }, visible(column)));
  const row = (row) => make("tr", {}, ...columns.map((column) => make("td", {}, shownValue(row[column]))));
  const more = rows.length > ROWS ? make("p", { class: "quiet small" }, `The first ${ROWS} of ${number(rows.length)} rows.`) : undefined;
  const caption = make("caption", { class: "unseen" }, visible(title));
  const body = make("tbody", {}, ...rows.slice(0, ROWS).map(row));
  const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), body);
  const attributes = { class: "wide", tabindex: "0", role: "region", "aria-label": `Rows of ${visible(title)}` };
  return make("div", {}, make("div", attributes, table), more);
};

const answerBars = (rows, answer) => {
  const column = drawnColumn(rows, answer);
  if (column === undefined) return answerTable(rows, answer.title);
  const largest = [...rows].sort((one, other) => other[column] - one[column]).slice(0, ROWS);
  const peak = Math.max(Number.MIN_VALUE, largest[0][column]);
  const items = largest.map((row) => {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${Math.max(0, (100 * row[column]) / peak)}%`;
    const name = answer.slot.map((column) => shownValue(row[column])).join(", ");
    return make("li", {}, make("bdi", { class: "key" }, name), make("span", { class: "count" }, shownValue(row[column])), bar);
  });
  return make("ol", { class: "keys" }, ...items);
};

/** A line for each value of the slot's columns but the last, which is the axis. */
const answerLines = (rows, answer) => {
  const [column, axis] = [drawnColumn(rows, answer), answer.slot.at(-1)];
  if (column === undefined || axis === undefined) return answerTable(rows, answer.title);
  const series = Map.groupBy(rows, (row) => answer.slot.slice(0, -1).map((name) => shownValue(row[name])).join(", "));
  const places = [...new Set(rows.map((row) => row[axis]))].sort();
  const peak = Math.max(Number.MIN_VALUE, ...rows.map((row) => row[column] ?? 0));
  const x = (row) => (places.length < 2 ? 50 : (100 * places.indexOf(row[axis])) / (places.length - 1));
  const sum = (rows) => rows.reduce((sum, row) => sum + (row[column] ?? 0), 0);
  const lines = [...series].sort(([, one], [, other]) => sum(other) - sum(one)).slice(0, SERIES);
  const charts = lines.map(([name, rows]) => {
    const points = rows.filter((row) => typeof row[column] === "number").map((row) => [x(row), 38 - (36 * row[column]) / peak]);
    const one = points.length === 1 ? [[points[0][0] - 1, points[0][1]], [points[0][0] + 1, points[0][1]]] : points;
    const line = svg("polyline", { points: one.map((point) => point.join(",")).join(" ") });
    const drawn = svg("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" }, line);
    const last = points.length === 0 ? "none" : shownValue(rows.filter((row) => typeof row[column] === "number").at(-1)[column]);
    const label = make("p", { class: "small" }, make("bdi", {}, name || visible(column)), ` ${visible(column)}: ${last}`);
    return make("div", { class: "line" }, label, drawn);
  });
  const ends = make("div", { class: "axis", "aria-hidden": "true" }, make("span", {}, shownValue(places[0])), make("span", {}, shownValue(places.at(-1))));
  const table = make("details", {}, make("summary", {}, "As a table"), answerTable(rows, answer.title));
  return make("div", {}, ...charts, ends, table);
};

const DRAWN = { line: answerLines, bar: answerBars, table: (rows, { title }) => answerTable(rows, title) };

/** The section with all answers; hidden where there are none. */
class Answers {
  #api;
  #username;
  #asked = -Infinity;
  #shown;

  constructor(api, username) {
    this.#api = api;
    this.#username = username;
  }

  async show() {
    if (Date.now() - this.#asked < ANSWERS_EVERY) return;
    const list = await ifThere(this.#api.get("answers"));
    if (this.#api.ended) return;
    this.#asked = Date.now();
    if (list === this.#shown) return;
    const answers = list?.answers ?? [];
    const items = await Promise.all(answers.map((answer) => this.#item(answer)));
    if (this.#api.ended) return;
    this.#shown = list;
    byId("answers").hidden = answers.length === 0;
    byId("answers-list").replaceChildren(...items);
  }

  async #item(answer) {
    const path = ["answers", answer.name, ...answer.path].join("/");
    const head = make("p", { class: "what" }, make("strong", {}, visible(answer.title)), " ", timeAgo(answer.published_at));
    const others = answer.path.filter((column) => column !== "username");
    // A path has values that only its readers know.
    if (others.length > 0) {
      const url = ["answers", answer.name, ...answer.path.map((column) => `{${column}}`)].join("/");
      return make("li", {}, head, make("p", { class: "quiet small" }, "Read it at ", make("code", {}, `/${url}`)));
    }
    const rows = await ifThere(this.#api.get(path.replace(/username$/, this.#username)));
    const drawn = rows?.length > 0 ? DRAWN[answer.chart](rows, answer) : make("p", { class: "quiet" }, "No rows of yours so far.");
    return make("li", {}, head, drawn);
  }
}
