"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const made = (tag, properties) => Object.assign(document.createElement(tag), properties);

  // ---- what is copied and downloaded
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {  // not allowed for a page that was opened from a file
      const area = made("textarea", { value: text });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  for (const box of all(".code")) {
    const pre = one("pre", box);
    const button = made("button", { type: "button", textContent: "Copy" });
    button.setAttribute("aria-label", `Copy: ${pre.getAttribute("aria-label")}`);
    const told = made("span", { className: "told" });
    told.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      const done = await copied(pre.textContent);
      button.focus();
      button.textContent = told.textContent = done ? "Copied" : "Select it and press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; told.textContent = ""; }, 2000);
    });
    box.append(button, told);
  }

  for (const figure of all("figure")) {
    one('a[download$=".svg"]', figure).href = one("img", figure).src;
  }

  addEventListener("beforeprint", () => all("details.meanings").forEach((each) => { each.open = true; }));

  // ---- every trial: cells are places in a column's ordered list of words, so that a place is what a row is sorted by
  const source = document.getElementById("trials-data");
  if (!source) return;
  const { step, columns } = JSON.parse(source.textContent);
  const count = columns[0].codes.length;
  const table = document.getElementById("trials-table");
  const body = one("tbody", table);
  const heads = all("thead th", table);
  const controls = document.getElementById("trials-controls");
  const text = document.getElementById("trials-text");
  const selects = all("select", controls);
  const more = document.getElementById("trials-more");
  const status = document.getElementById("trials-count");
  const everyRow = () => [...Array(count).keys()];
  let order = everyRow();
  let shown = Math.min(step, count);
  let sorted = null;  // [column, 1 or -1]

  const word = (column, row) => (column.codes[row] < 0 ? "–" : column.words[column.codes[row]]);
  const number = (value) => value.toLocaleString("en");

  function rowOf(row) {
    const line_of = document.createElement("tr");
    columns.forEach((column, place) => {
      const cell = made(place ? "td" : "th", { textContent: word(column, row) });
      if (!place) cell.scope = "row";
      if (!column.number || !place) cell.className = "text";
      line_of.append(cell);
    });
    return line_of;
  }

  function tell() {
    const matching = order.length === count ? "" : ` that match, of ${number(count)}`;
    status.textContent = `${number(shown)} of ${number(order.length)} trial${order.length === 1 ? "" : "s"}${matching} shown.`;
    const left = order.length - shown;
    more.hidden = left === 0;
    more.textContent = `Show ${number(Math.min(step, left))} more`;
  }

  function show() {
    shown = Math.min(step, order.length);
    body.replaceChildren(...order.slice(0, shown).map(rowOf));
    table.parentElement.scrollTop = 0;
    tell();
  }

  function matching() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = selects.filter((select) => select.value !== "")
      .map((select) => [columns[select.dataset.column].codes, Number(select.value)]);
    const found = words.map((each) => columns.map((column) => column.words.map((cell) => cell.toLowerCase().includes(each))));
    return everyRow().filter((row) =>
      chosen.every(([codes, code]) => codes[row] === code) &&
      found.every((marks) => columns.some((column, place) => marks[place][column.codes[row]])));
  }

  function update() {
    order = matching();
    if (sorted) {
      const [{ codes }, way] = sorted;
      const key = (row) => (codes[row] < 0 ? count : way * codes[row]);  // what is empty comes last, whichever way
      order.sort((a, b) => key(a) - key(b) || a - b);
    }
    show();
  }

  heads.forEach((head, place) => {
    const button = made("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      sorted = [columns[place], way];
      update();
    });
  });

  text.addEventListener("input", update);
  selects.forEach((select) => select.addEventListener("change", update));
  controls.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("trials-clear").addEventListener("click", () => {
    controls.reset();
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    sorted = null;
    update();
  });
  more.addEventListener("click", () => {
    const next = order.slice(shown, shown + step).map(rowOf);
    shown += next.length;
    body.append(...next);
    tell();
  });

  controls.hidden = false;
  tell();
})();
