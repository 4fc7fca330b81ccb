"use strict";
// An answer is an attribute's number, CANNOT_TELL, or null while there is none. Everything shown follows from `answers`
// and `at`; `past` holds [image, answer before] for undo. Both survive a closed tab in localStorage.
const CANNOT_TELL = -1;
const KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const sample = JSON.parse(document.getElementById("sample").textContent);
const total = sample.paths.length;
const storageName = "dbpt-label-" + sample.id;
const byId = (id) => document.getElementById(id);
const choices = [...document.querySelectorAll("#choices button")];
const tiles = [...document.querySelectorAll("#overview button")];

let answers = Array(total).fill(null);
let past = [];
let at = 0;
let unsaved = false; // whether there are answers in no CSV
let canStore = true;

function restore() {
  try {
    read(localStorage.getItem(storageName));
    at = nextWithoutAnswer(total - 1);
  } catch {
    canStore = false;
  }
}

// Takes over what `store` has written; what it can't have written, it leaves alone.
function read(text) {
  const stored = parsed(text);
  const valid = (answer) =>
    answer === null || (Number.isInteger(answer) && answer >= CANNOT_TELL && answer < sample.attributes.length);
  const step = (entry) => Array.isArray(entry) && entry[0] in answers && valid(entry[1]);
  if (stored && Array.isArray(stored.answers) && stored.answers.length === total && stored.answers.every(valid)) {
    answers = stored.answers;
    past = Array.isArray(stored.past) && stored.past.every(step) ? stored.past : [];
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function store() {
  try {
    localStorage.setItem(storageName, JSON.stringify({ answers, past }));
  } catch {
    canStore = false;
  }
}

// The first image without an answer behind `image`, from the start again at the end; `image` itself if there is none.
function nextWithoutAnswer(image) {
  for (let step = 1; step <= total; step++) {
    const candidate = (image + step) % total;
    if (answers[candidate] === null) return candidate;
  }
  return image;
}

function answer(attribute) {
  past.push([at, answers[at]]);
  answers[at] = attribute;
  unsaved = true;
  store();
  byId("last").textContent = `Image ${at + 1}: ${named(attribute)}.`;
  at = nextWithoutAnswer(at);
  show();
}

function undo() {
  if (!past.length) return;
  const [image, before] = past.pop();
  at = image;
  answers[at] = before;
  unsaved = true;
  store();
  byId("last").textContent = `Took back the answer to image ${at + 1}.`;
  show();
}

function move(step) {
  at = Math.min(Math.max(at + step, 0), total - 1);
  show();
}

function named(attribute) {
  return attribute === null ? "no answer" : attribute === CANNOT_TELL ? "can’t tell" : sample.attributes[attribute];
}

function keyOf(attribute) {
  return attribute === CANNOT_TELL ? "0" : KEYS[attribute] || "✓";
}

function show() {
  const answered = answers.filter((value) => value !== null).length;
  const picture = byId("picture");
  picture.src = tiles[at].querySelector("img").src;
  picture.alt = `Image ${at + 1} of ${total}`;
  byId("count").textContent = `${answered} of ${total} labelled`;
  byId("progress").value = answered;
  byId("back").disabled = at === 0;
  byId("forward").disabled = at === total - 1;
  byId("undo").hidden = !past.length;
  byId("save").disabled = answered === 0;
  byId("save").classList.toggle("ready", answered === total);
  byId("done").hidden = answered < total;
  byId("clear").hidden = answered === 0;
  byId("notice").hidden = canStore;
  for (const button of choices) {
    button.setAttribute("aria-pressed", String(answers[at] === Number(button.dataset.attribute)));
  }
  tiles.forEach((tile, image) => {
    tile.querySelector("b").textContent = answers[image] === null ? "" : keyOf(answers[image]);
    tile.setAttribute("aria-label", `Image ${image + 1}: ${named(answers[image])}`);
    tile.setAttribute("aria-current", String(image === at));
  });
}

function cell(text) {
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function labelsCsv() {
  const lines = ["sample,path,attribute"];
  answers.forEach((attribute, image) => {
    if (attribute === null) return;
    const name = attribute === CANNOT_TELL ? "" : sample.attributes[attribute];
    lines.push([sample.id, sample.paths[image], name].map(cell).join(","));
  });
  return lines.join("\n") + "\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([labelsCsv()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  unsaved = false;
}

function clear() {
  if (!confirm("Delete all answers of this page?")) return;
  answers.fill(null);
  past = [];
  at = 0;
  unsaved = false;
  store();
  byId("last").textContent = "";
  show();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  // By place for digits, which need Shift on some keyboards, and for letters of other alphabets.
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  const place = /^Key([A-Z])$/.exec(event.code);
  const typed = event.key.toLowerCase();
  const key = digit ? digit[1] : place && !KEYS.includes(typed) ? place[1].toLowerCase() : typed;
  const attribute = key === "0" ? CANNOT_TELL : key.length === 1 ? KEYS.indexOf(key) : sample.attributes.length;
  if (event.key in steps) move(steps[event.key]);
  else if (event.key === "Backspace") undo();
  else if (key !== "0" && (attribute < 0 || attribute >= sample.attributes.length)) return;
  else if (!event.repeat) answer(attribute); // a key held down answers once
  event.preventDefault();
}

choices.forEach((button) => {
  const attribute = Number(button.dataset.attribute);
  const key = attribute === CANNOT_TELL ? "0" : KEYS[attribute];
  if (key) {
    button.querySelector("kbd").textContent = key;
    button.querySelector("kbd").hidden = false;
    button.setAttribute("aria-keyshortcuts", key);
  }
  button.addEventListener("click", () => answer(attribute));
});
tiles.forEach((tile, image) => {
  tile.addEventListener("click", () => {
    at = image;
    show();
    byId("picture").scrollIntoView({ block: "center" });
  });
});
byId("back").addEventListener("click", () => move(-1));
byId("forward").addEventListener("click", () => move(1));
byId("undo").addEventListener("click", undo);
byId("save").addEventListener("click", save);
byId("clear").addEventListener("click", clear);
document.addEventListener("keydown", onKey);
window.addEventListener("storage", (event) => { // another tab of this page has got an answer
  if (event.key === storageName) {
    read(event.newValue);
    show();
  }
});
window.addEventListener("beforeunload", (event) => {
  if (unsaved && !canStore) event.preventDefault();
});
byId("notice").textContent =
  "This browser keeps nothing for this page: save labels.csv before you close it, and don’t reload.";
restore();
show();
