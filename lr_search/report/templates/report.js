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

  addEventListener("beforeprint", () => all("details.meanings").forEach((each) => { each.open = true; }));

  // ---- what a link leads to is unfolded
  function unfold() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const inside = target.matches("section") && one("details.fold", target);
    for (let each = inside || target; each; each = each.parentElement) if (each.matches("details")) each.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  unfold();

  // ---- pictures: a file of each, in the colours that it has now, and what lies under the pointer
  function alone(svg) {
    const copy = svg.cloneNode(true);
    const style = getComputedStyle(svg);
    copy.setAttribute("fill", style.color);
    const text = new XMLSerializer().serializeToString(copy).replace(/var\(--(\w+)\)/g, (whole, name) => style.getPropertyValue(`--${name}`) || whole);
    return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  }

  for (const link of all('figure a[download$=".svg"]')) {
    link.addEventListener("click", () => { link.href = alone(one("svg", link.closest("figure"))); });
  }

  const inWords = (value) => (Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(3))));

  function read(axis, share) {
    if (axis.rows) return axis.rows[Math.round(axis.low + share * (axis.high - axis.low))] || "";
    const value = axis.log ? axis.low * (axis.high / axis.low) ** share : axis.low + share * (axis.high - axis.low);
    return `${axis.name} ${inWords(value)}`;
  }

  function reading(svg, points, x, y) {
    const near = points.map(([text, left, top]) => [text, Math.hypot(left - x, top - y)]).sort((a, b) => a[1] - b[1])[0];
    if (near && near[1] < 9) return near[0];
    const axes = JSON.parse(svg.dataset.axes).find(({ box }) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]);
    if (!axes) return "";
    const { box, title } = axes;
    const words = [read(axes.x, (x - box[0]) / (box[2] - box[0])), read(axes.y, (box[3] - y) / (box[3] - box[1]))];
    return `${title ? `${title}: ` : ""}${words.filter(Boolean).join(", ")}`;
  }

  for (const drawing of all(".drawing")) {
    const told = made("p", { className: "reading", hidden: true });
    drawing.append(told);
    for (const svg of all("svg", drawing)) {
      let points = null;
      svg.addEventListener("pointermove", (event) => {
        points = points || all("title", svg).map((title) => {  // the browser's own reading would lie over this one
          const { x, y, width, height } = title.parentElement.getBBox();
          title.remove();
          return [title.textContent, x + width / 2, y + height / 2];
        });
        const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        told.textContent = reading(svg, points, x, y);
        told.hidden = !told.textContent;
        const box = drawing.getBoundingClientRect();
        const left = event.clientX - box.left + drawing.scrollLeft;
        told.style.left = `${Math.max(0, Math.min(left + 14, drawing.scrollLeft + box.width - told.offsetWidth))}px`;
        told.style.top = `${Math.max(0, event.clientY - box.top - told.offsetHeight - 10)}px`;
      });
      svg.addEventListener("pointerleave", () => { told.hidden = true; });
    }
  }

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
