// "Try it": sends an event of any type, and shows the command that does the same.

/** A text as one word of a shell. */
const shellWord = (text) => `'${text.replaceAll("'", "'\\''")}'`;

class Trying {
  #types;
  #api;
  #username;
  #sent;
  #form;
  #stored = 0;

  /** `sent` is called with the type after each answer. */
  constructor(types, api, username, sent) {
    this.#types = types;
    this.#api = api;
    this.#username = username;
    this.#sent = sent;
    for (const { name, title } of types.values()) byId("try-type").append(make("option", { value: name }, visible(title)));
    byId("try-type").addEventListener("change", () => this.#choose());
    byId("try-raw").addEventListener("change", () => {
      this.#form.isRaw = byId("try-raw").checked;
      this.#command();
    });
    byId("try-form").addEventListener("input", () => this.#command());
    byId("try-form").addEventListener("submit", (event) => this.#send(event));
    byId("try-close").addEventListener("click", () => this.open(false));
    byId("try").addEventListener("keydown", (event) => event.key === "Escape" && this.open(false));
    this.opener = make("button", { type: "button", id: "try-open", class: "plain strong", "aria-controls": "try", click: () => this.open(byId("try").hidden) }, "Try it");
    if (types.size > 0) this.#choose();
    this.opener.hidden = types.size === 0;
    this.open(false, false);
  }

  /** Opens or closes it, and takes the focus along. */
  open(open, focus = true) {
    byId("try").hidden = !open;
    byId("columns").classList.toggle("trying", open);
    this.opener.setAttribute("aria-expanded", String(open));
    if (focus) (open ? byId("try-type") : this.opener).focus();
  }

  #choose() {
    const type = this.#types.get(byId("try-type").value);
    this.#form = new EventForm(type);
    this.#form.isRaw = byId("try-raw").checked;
    byId("try-fields").replaceChildren(...this.#form.elements);
    const isButton = type.name === "button_click";
    byId("try-send").classList.toggle("big", isButton);
    setText(byId("try-send"), isButton ? "Click me" : "Send");
    byId("try-answer").replaceChildren();
    this.#command();
  }

  /** The same as a command; curl asks for the secret. */
  #command() {
    const { route } = this.#types.get(byId("try-type").value);
    const user = /^[\w.-]+$/.test(this.#username) ? this.#username : shellWord(this.#username);
    setText(byId("try-curl"), `curl -u ${user} -d ${shellWord(visible(this.#form.text))} ${BASE}${route.slice(1)}`);
  }

  #show(className, title, ...more) {
    byId("try-answer").replaceChildren(make("div", { class: className }, make("strong", {}, title), ...more));
  }

  async #send(event) {
    event.preventDefault();
    const { name, title, route } = this.#types.get(byId("try-type").value);
    const form = this.#form;
    let to = name;
    try {
      const { warnings = [] } = (await this.#api.post(route, form.text)) ?? {};
      this.#stored += 1;
      form.mark([]);
      const said = warnings.map((warning) => make("p", {}, visible(warning)));
      this.#show("good", "Stored", `: ${visible(title)}. ${number(this.#stored)} since you signed in.`, ...said);
    } catch (failure) {
      if (this.#api.ended) return;
      form.mark(failure.errors);
      const rejected = failure.status === 422 && failure.errors.length > 0;
      if (rejected) this.#show("bad", "Rejected", reasons(failure.errors));
      else this.#show("bad", "Not stored", make("p", {}, visible(failure.message)));
      to = rejected ? REJECTED : undefined;
    }
    this.#sent(to);
  }
}
