// Rejected events, grouped by what is wrong with them: how many of the latest, and the last one as it was sent.

/** How many of the latest are looked at. */
const LOOKED_AT = 50;

/** What reasons have in common: a path without places in lists, a message without the value it begins with. */
const kindOfReason = ({ path, message }) =>
  `${path.replace(/\/\d+(?=\/|$)/g, "/#")} ${message.replace(/^.* (?=is (not |longer|shorter|less|greater|one|no|valid))/s, "").replace(/\d+/g, "0")}`;

/** The reasons why an event was refused, or of what else went wrong. */
const reasons = (errors) =>
  make(
    "ul",
    { class: "reasons" },
    ...errors.map(({ path, message }) =>
      make("li", {}, path ? make("code", {}, visible(path)) : undefined, path ? " " : "", visible(message)),
    ),
  );

/** An event's text, opened by a click. */
const sentText = (summary, text, truncated = false) => {
  const sent = make("pre", { tabindex: "0", role: "region", "aria-label": "The event as it was sent" }, visible(text));
  const cut = truncated ? make("p", { class: "quiet small" }, "Cut here: it is longer.") : undefined;
  return make("details", {}, make("summary", {}, summary), sent, cut);
};

class Rejected {
  #api;
  #titles;
  #is = "";
  #groups = new Map();

  constructor(api, titles) {
    this.#api = api;
    this.#titles = titles;
  }

  /** Reads the latest again if there are others, and gives them. */
  async show({ total, settled }) {
    const is = `${total} ${settled}`;
    if (is === this.#is) return;
    const answer = await ifThere(this.#api.get(`rejected?limit=${LOOKED_AT}`));
    if (this.#api.ended) return;
    this.#is = is;
    const events = answer?.rejected ?? [];
    byId("rejects-none").hidden = events.length > 0;
    const latest = events.length === 1 ? "The latest one." : `The latest ${number(events.length)}, by reason.`;
    setText(byId("rejects-note"), events.length === 0 ? "" : latest);
    const kind = (event) => [event.event_type ?? "", ...event.errors.map(kindOfReason)].join("\n");
    const groups = [...Map.groupBy(events, kind)].sort(([, one], [, other]) => other.length - one.length);
    // A group that is open stays open while its last event is the same.
    const id = (events) => `${events[0].event_id} ${events.length}`;
    const items = groups.map(([kind, events]) => {
      const known = this.#groups.get(kind);
      return [kind, known?.id === id(events) ? known : { id: id(events), element: this.#group(events, known) }];
    });
    this.#groups = new Map(items);
    setChildren(byId("rejects-list"), items.map(([, { element }]) => element));
  }

  #group(events, known) {
    const [last] = events;
    const type = last.event_type === null ? "No known type" : (this.#titles.get(last.event_type) ?? last.event_type);
    const count = make("span", { class: "times", title: `${plural(events.length, "event")} with this reason` }, `${number(events.length)}×`);
    const what = make("p", { class: "what" }, count, " ", make("strong", {}, make("bdi", {}, visible(type))), " ", timeAgo(last.received_at));
    const details = sentText("The last one, as it was sent", last.event, last.truncated);
    details.open = known?.element.querySelector("details").open ?? false;
    return make("li", {}, what, reasons(last.errors), details);
  }
}
