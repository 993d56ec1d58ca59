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

const compact = (() => {
  const format = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  return (value) => format.format(value);
})();

/** A share in percent: with a digit more where it is small, and never 0 % for what is not 0. */
const percent = (part, whole) => {
  const share = whole === 0 ? 0 : (100 * part) / whole;
  if (share > 0 && share < 0.1) return "< 0.1%";
  return `${number(Number(share.toFixed(share < 10 ? 1 : 0)))}%`;
};

/** Makes the children of a list these, and moves none that is where it belongs: it may have the focus. */
const setChildren = (list, children) => {
  children.forEach((child, index) => {
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
  });
  while (list.children.length > children.length) list.lastElementChild.remove();
};

/** Text as a file that the user saves. */
const save = (name, text) => {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
};

/** Rows as CSV (RFC 4180). What a spreadsheet would take for a formula begins with an apostrophe. */
const csv = (rows) => {
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
};
