// How things are shown: elements, numbers, times. Whatever came from somewhere else goes in as text, never as markup.

const byId = (id) => document.getElementById(id);

/** An element with attributes (a function listens to the event of its name) and children, which are elements or text. */
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
};

/** Sets a text if it is another one: what does not change is neither drawn nor read out again. */
const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

const STILL = matchMedia("(prefers-reduced-motion: reduce)");

/** Shows a count, and lets it light up for a moment where it has moved. */
const setCount = (element, count) => {
  const text = number(count);
  if (element.textContent === text) return;
  const moved = element.textContent !== "";
  element.textContent = text;
  if (moved && !STILL.matches) element.animate({ color: ["var(--accent)", "currentcolor"] }, 900);
};

/** Control characters, and marks that turn text around, spelled out: nothing may look like what it is not. */
const visible = (text) =>
  String(text).replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (mark) => `\\u{${mark.codePointAt(0).toString(16)}}`,
  );

const number = (() => {
  const format = new Intl.NumberFormat("en");
  return (value) => format.format(value);
})();

const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const dateFormat = (options) => {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  return (millis) => format.format(millis);
};
const shownDay = dateFormat({ weekday: "short", day: "numeric", month: "short" });
const shownShortDay = dateFormat({ day: "numeric", month: "short" });
const shownMonth = dateFormat({ month: "short", year: "numeric" });
const shownHour = dateFormat({ hour: "2-digit", minute: "2-digit" });
const shownLocally = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

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
  const when = new Date(millis);
  const element = make("time", { datetime: when.toISOString(), title: shownLocally.format(when) }, ago(millis));
  element.millis = millis;
  return element;
};

const refreshTimes = (root) => {
  for (const element of root.querySelectorAll("time")) {
    if (element.millis !== undefined) setText(element, ago(element.millis));
  }
};

/** Makes the children of a list these, and moves none that is where it belongs: it may have the focus. */
const setChildren = (list, children) => {
  children.forEach((child, index) => {
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
  });
  while (list.children.length > children.length) list.lastElementChild.remove();
};
