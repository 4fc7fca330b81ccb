"use strict";
// CSV to rows of cells and back: as Python's csv module has it, or as a spreadsheet saves it, with semicolons or tabs.

function csvOf(rows) {
  const cell = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => row.map(cell).join(",") + "\n").join("");
}

function rowsOf(text) {
  const separator = /[;\t]/.exec(text.split(/[\r\n]/, 1)[0])?.[0] ?? ",";
  const cells = new RegExp(`(?:"((?:[^"]|"")*)"|([^"\r\n${separator}]*))(${separator}|\r\n|\r|\n|$)`, "gy");
  const rows = [[]];
  for (const [, quoted, plain, end] of text.replace(/^\uFEFF/, "").matchAll(cells)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "") break;
    if (end !== separator) rows.push([]);
  }
  return rows.filter((row) => row.some((cell) => cell.trim() !== ""));
}
