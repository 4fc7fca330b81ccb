// Each image has an answer to each question: an attribute's number, CANNOT_TELL, or null while there is none. Everything
// shown follows from `answers` and `at`; `past` holds [image, question, answer before] for undo. Both survive a closed
// tab in localStorage.
const CANNOT_TELL = -1;
const KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const sample = JSON.parse(document.getElementById("sample").textContent);
const total = sample.paths.length;
const names = sample.questions.map(([, answers]) => answers);
const COLUMNS = ["sample", "path", ...sample.questions.map(([question]) => question)];
const storageName = "dbpt-label-" + sample.id;
const byId = (id) => document.getElementById(id);
const rows = [...document.querySelectorAll(".choices")];
const choices = [...document.querySelectorAll(".choices button")];
const tiles = [...document.querySelectorAll("#overview button")];

let answers = noAnswers();
let past = [];
let at = 0;
let unsaved = false; // whether there are answers in no CSV
let canStore = true;

function noAnswers() {
  return Array.from({ length: total }, () => names.map(() => null));
}

function isAnswered(image) {
  return !answers[image].includes(null);
}

// The question that a key answers: the first without an answer.
function currentQuestion() {
  return Math.max(answers[at].indexOf(null), 0);
}

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
  const valid = (answer, question) =>
    answer === null || (Number.isInteger(answer) && answer >= CANNOT_TELL && answer < names[question].length);
  const ofImage = (given) => Array.isArray(given) && given.length === names.length && given.every(valid);
  const step = (entry) =>
    Array.isArray(entry) && entry[0] in answers && entry[1] in names && valid(entry[2], entry[1]);
  if (stored && Array.isArray(stored.answers) && stored.answers.length === total && stored.answers.every(ofImage)) {
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

// The first image that lacks an answer behind `image`, from the start again at the end; `image` itself if none does.
function nextWithoutAnswer(image) {
  for (let step = 1; step <= total; step++) {
    const candidate = (image + step) % total;
    if (!isAnswered(candidate)) return candidate;
  }
  return image;
}

function answer(question, attribute) {
  past.push([at, question, answers[at][question]]);
  answers[at][question] = attribute;
  unsaved = true;
  store();
  byId("last").textContent = `Image ${at + 1}: ${named(answers[at])}.`;
  if (isAnswered(at)) at = nextWithoutAnswer(at);
  show();
}

function undo() {
  if (!past.length) return;
  const [image, question, before] = past.pop();
  at = image;
  answers[at][question] = before;
  unsaved = true;
  store();
  byId("last").textContent = `Took back the answer to image ${at + 1}.`;
  show();
}

function move(step) {
  at = Math.min(Math.max(at + step, 0), total - 1);
  show();
}

function named(given) {
  const name = (attribute, question) =>
    attribute === null ? "no answer" : attribute === CANNOT_TELL ? "can’t tell" : names[question][attribute];
  return given.map(name).join(", ");
}

function keyOf(attribute) {
  return attribute === null ? "" : attribute === CANNOT_TELL ? "0" : KEYS[attribute] || "✓";
}

function show() {
  const answered = answers.filter((_, image) => isAnswered(image)).length;
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
  byId("clear").hidden = answers.flat().every((value) => value === null);
  byId("notice").hidden = canStore;
  for (const button of choices) {
    const { question, attribute } = button.dataset;
    button.setAttribute("aria-pressed", String(answers[at][question] === Number(attribute)));
  }
  rows.forEach((row, question) => row.classList.toggle("current", question === currentQuestion()));
  tiles.forEach((tile, image) => {
    tile.querySelector("b").textContent = answers[image].map(keyOf).join("");
    tile.setAttribute("aria-label", `Image ${image + 1}: ${named(answers[image])}`);
    tile.setAttribute("aria-current", String(image === at));
  });
}

function labelsCsv() {
  const lines = [...answers.entries()]
    .filter(([image]) => isAnswered(image)) // an empty cell would say "can't tell"
    .map(([image, given]) => [
      sample.id,
      sample.paths[image],
      ...given.map((attribute, question) => (attribute === CANNOT_TELL ? "" : names[question][attribute])),
    ]);
  return csvOf([COLUMNS, ...lines]);
}

// Takes over the answers of a labels.csv, all or none; answers that it doesn't have stay.
function takeOver(text) {
  const [header, ...lines] = rowsOf(text);
  const places = COLUMNS.map((name) => (header ?? []).map((cell) => cell.trim()).indexOf(name));
  const given = lines.map((line) => {
    const [id, path, ...cells] = places.map((place) => line[place]);
    const isBlank = (cell) => cell?.trim() === "";
    const codes = cells.map((cell, question) => (isBlank(cell) ? CANNOT_TELL : names[question].indexOf(cell?.trim())));
    const known = codes.every((code, question) => code >= 0 || isBlank(cells[question]));
    return { id: id?.trim(), image: sample.paths.indexOf(path), codes, known };
  });
  const bad = given.findIndex(({ id, image, known }) => id !== sample.id || image < 0 || !known);
  if (!given.length || bad >= 0) {
    const where = given.length ? ` (its line ${bad + 2})` : "";
    byId("last").textContent = `That is no labels.csv of this page${where}: nothing was taken over.`;
    return;
  }
  for (const { image, codes } of given) {
    codes.forEach((_, question) => past.push([image, question, answers[image][question]]));
    answers[image] = codes;
  }
  store();
  byId("last").textContent = `${given.length} answers taken over.`;
  at = nextWithoutAnswer(total - 1);
  show();
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
  answers = noAnswers();
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
  const question = currentQuestion();
  const attribute = key === "0" ? CANNOT_TELL : key.length === 1 ? KEYS.indexOf(key) : names[question].length;
  if (event.key in steps) move(steps[event.key]);
  else if (event.key === "Backspace") undo();
  else if (key !== "0" && (attribute < 0 || attribute >= names[question].length)) return;
  else if (!event.repeat) answer(question, attribute); // a key held down answers once
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
  button.addEventListener("click", () => answer(Number(button.dataset.question), attribute));
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
byId("open").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", async ({ target }) => {
  if (target.files.length) takeOver(await target.files[0].text());
  target.value = ""; // the same file may be chosen again
});
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
  "This browser keeps nothing for this page: save labels.csv before you close it or reload; you can go on from there.";
restore();
show();
