// A form for any event type, made from its schema. It forbids nothing: whether an event is valid is the
// collector's to say, and its reasons are worth seeing.

const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** What can be sent beside a type's own fields, and is asked for apart. */
const ENVELOPE = ["event_id", "occurred_at"];

/** How a field is asked for: `string`, `number`, `choice` of JSON texts, or `any`, which is JSON if it reads as such. */
const kindOf = (schema) => {
  if (Array.isArray(schema.enum)) return { kind: "choice", choices: schema.enum.map((value) => JSON.stringify(value)) };
  if ("const" in schema) return { kind: "choice", choices: [JSON.stringify(schema.const)] };
  const types = [schema.type ?? []].flat().filter((type) => type !== "null");
  if (types.length !== 1) return { kind: "any" };
  if (types[0] === "boolean") return { kind: "choice", choices: ["true", "false"] };
  if (types[0] === "integer" || types[0] === "number") return { kind: "number" };
  return { kind: types[0] === "string" ? "string" : "any", large: types[0] === "object" || types[0] === "array" };
};

/** The JSON of what was typed; nothing for an empty field. What is no number where one belongs is sent as it is. */
const jsonOf = (kind, typed) => {
  if (typed === "") return undefined;
  if (kind === "choice") return typed;
  if (kind === "number") return JSON_NUMBER.test(typed.trim()) ? typed.trim() : JSON.stringify(typed);
  if (kind === "any" && parsed(typed) !== undefined) return typed.trim();
  return JSON.stringify(typed);
};

class EventForm {
  #type;
  #inputs = [];
  #raw = make("textarea", { id: "try-json", rows: "9", spellcheck: "false" });
  #fields = make("div");
  #json = make("div", { hidden: true }, make("label", { for: "try-json" }, "The event, as JSON"), this.#raw);

  constructor(type) {
    this.#type = type;
    const names = Object.keys(type.schema.properties ?? {}).filter((name) => name !== "event_type");
    const own = names.filter((name) => !ENVELOPE.includes(name));
    const envelope = names.filter((name) => ENVELOPE.includes(name));
    this.#fields.append(...own.map((name) => this.#field(name)));
    if (envelope.length > 0) {
      const fields = envelope.map((name) => this.#field(name));
      this.#fields.append(make("details", {}, make("summary", {}, "Identity and time"), ...fields));
    }
    this.elements = [this.#fields, this.#json];
  }

  #field(name) {
    const schema = this.#type.schema.properties[name] ?? {};
    const id = `try-field-${this.#inputs.length}`;
    const { kind, choices, large } = kindOf(schema);
    const attributes = { id, "aria-describedby": `${id}-about`, autocomplete: "off", spellcheck: "false" };
    let input;
    if (kind === "choice") {
      const options = choices.map((text) => make("option", { value: text }, visible(text)));
      input = make("select", attributes, make("option", { value: "" }, "not sent"), ...options);
    } else if (large) input = make("textarea", { ...attributes, rows: "3" });
    else input = make("input", { ...attributes, type: "text", inputmode: kind === "number" ? "decimal" : undefined });
    const example = this.#type.example?.[name];
    if (example !== undefined) input.value = kind === "string" ? String(example) : JSON.stringify(example);
    this.#inputs.push({ name, kind, input });
    const required = (this.#type.schema.required ?? []).includes(name);
    const need = make("span", { class: "need" }, required ? "required" : "optional");
    const about = make("p", { class: "quiet small", id: `${id}-about` }, schema.description ?? "");
    return make("div", { class: "field" }, make("label", { for: id }, make("code", {}, visible(name)), " ", need), input, about);
  }

  get isRaw() {
    return !this.#json.hidden;
  }

  set isRaw(raw) {
    if (raw) this.#raw.value = this.#text("\n");
    this.#json.hidden = !raw;
    this.#fields.hidden = raw;
  }

  /** Marks the fields that the reasons are about. */
  mark(errors) {
    const wrong = new Set(errors.map(({ path }) => path));
    for (const { name, input } of this.#inputs) {
      const pointer = `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      input.setAttribute("aria-invalid", String(wrong.has(pointer)));
    }
  }

  /** What is sent. Numbers stay as they were typed, with all their digits. */
  get text() {
    return this.isRaw ? this.#raw.value : this.#text("");
  }

  #text(newline) {
    const members = this.#inputs
      .map(({ name, kind, input }) => [name, jsonOf(kind, input.value)])
      .filter(([, json]) => json !== undefined)
      .map(([name, json]) => `${newline && "  "}${JSON.stringify(name)}: ${json}`);
    return `{${newline}${members.join(`,${newline || " "}`)}${newline}}`;
  }
}
