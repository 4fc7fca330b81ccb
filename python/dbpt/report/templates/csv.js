"use strict";
// CSV to rows of cells and back: as Python's csv module has it, or as a spreadsheet saves it, with semicolons or tabs.
// As in csv_files.py, an apostrophe keeps a spreadsheet from running text as a formula.

function csvOf(rows) {
  const marked = (text) => (/^'*[=+\-@\t\r\n]/.test(text) ? `'${text}` : text);
  const cell = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => row.map(marked).map(cell).join(",") + "\n").join("");
}

function rowsOf(text) {
  const separator = /[;\t]/.exec(text.split(/[\r\n]/, 1)[0])?.[0] ?? ",";
  const cells = new RegExp(`(?:"((?:[^"]|"")*)"|([^"\r\n${separator}]*))(${separator}|\r\n|\r|\n|$)`, "gy");
  const rows = [[]];
  for (const [, quoted, plain, end] of text.replace(/^\uFEFF/, "").matchAll(cells)) {
    const text = quoted === undefined ? plain : quoted.replaceAll('""', '"');
    rows.at(-1).push(/^'+[=+\-@\t\r\n]/.test(text) ? text.slice(1) : text);
    if (end === "") break;
    if (end !== separator) rows.push([]);
  }
  return rows.filter((row) => row.some((cell) => cell.trim() !== ""));
}
