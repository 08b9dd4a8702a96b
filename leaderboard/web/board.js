"use strict";
/* The page is complete without this script; it sorts, filters, opens entries, and remembers the theme.
   Nothing is ever written as HTML here, so no name of a stranger can become code. */
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const data = JSON.parse(one("board-data").textContent);
  const entries = new Map(data.entries.map((e) => [e.id, e]));
  root.classList.add("js");

  /* Words for those who do not see the change. */
  const say = (text) => { one("said").textContent = text; };

  /* ---- theme: as the system has it, light, or dark ---- */
  const themes = ["auto", "light", "dark"];
  const remembered = () => {
    try { return localStorage.getItem("offmarl-theme"); } catch { return null; }
  };
  const wear = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    one("theme").textContent = `Theme: ${theme}`;
    try { localStorage.setItem("offmarl-theme", theme); } catch { /* a file may not be allowed to remember */ }
  };
  let theme = themes.includes(remembered()) ? remembered() : "auto";
  wear(theme);
  one("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    wear(theme);
    say(`Theme: ${theme}`);
  });

  /* ---- sorting: numbers by size, names by alphabet, what is missing always last ---- */
  const keyOf = (row, column) => row.cells[column].dataset.key ?? "";
  const compare = (a, b, column, kind, sign) => {
    const [x, y] = [keyOf(a, column), keyOf(b, column)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = kind === "text" ? x.localeCompare(y) : Number(x) - Number(y);
    return sign * order;
  };
  const sortBy = (button) => {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const first = heading.dataset.first;
    const flipped = first === "ascending" ? "descending" : "ascending";
    const direction = heading.getAttribute("aria-sort") === first ? flipped : first;
    all("th[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", direction);
    table.dataset.sorted = heading.dataset.column;
    const body = table.querySelector("tbody.entries");
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows];
    rows.sort((a, b) => compare(a, b, column, heading.dataset.kind, sign) || a.dataset.order - b.dataset.order);
    body.append(...rows);
    say(`Sorted by ${button.textContent.trim()}, ${direction}.`);
  };
  all(".scores thead button").forEach((b) => b.addEventListener("click", () => sortBy(b)));

  /* ---- filters: they hide; places and groups stay those of the whole board ---- */
  const form = one("filters");
  const wanted = () => ({
    suite: form.suite.value,
    quality: form.quality.value,
    verified: form.verified.checked,
    ranked: form.ranked.checked,
    words: form.search.value.toLowerCase().split(/\s+/).filter(Boolean),
  });
  const showsEntry = (entry, want) =>
    (!want.verified || entry.verdict === "verified") && want.words.every((w) => entry.text.includes(w));
  const filter = () => {
    const want = wanted();
    const shown = new Set();
    for (const board of all(".board")) {
      const { suite, quality } = board.dataset;
      board.hidden = (want.suite && suite !== want.suite) || (want.quality && quality !== want.quality);
      const visible = new Set();
      for (const row of all("tbody.entries tr", board)) {
        const id = row.dataset.entry;
        const show = showsEntry(entries.get(id), want) && (!want.ranked || row.dataset.ranked === "yes");
        row.hidden = !show;
        if (show) visible.add(id);
        if (show && !board.hidden) shown.add(id);
      }
      for (const part of all("[data-part]", board)) part.hidden = !visible.has(part.dataset.part);
      for (const part of all("[data-against]", board)) part.hidden ||= !visible.has(part.dataset.against);
      for (const none of all(".nothing", board)) none.hidden = visible.size > 0;
      for (const figures of all(".closer", board)) figures.hidden = visible.size === 0;
    }
    for (const suite of all(".suite:has(.board)")) suite.hidden = all(".board", suite).every((b) => b.hidden);
    one("count").textContent = `${shown.size} of ${entries.size} entries shown`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  one("papers")?.addEventListener("change", (event) => {
    for (const body of all("tbody.paper")) body.hidden = !event.target.checked;
  });
  one("unit").addEventListener("change", (event) => { root.dataset.unit = event.target.value; });

  /* ---- an entry: #entry-… in the address opens it, so it can be linked to, and Back closes it ---- */
  let came = null; // the link that was followed: going to a fragment takes the focus away from it
  document.addEventListener("click", (event) => { came = event.target.closest?.('a[href^="#entry-"]') ?? came; });
  const follow = () => {
    const dialog = location.hash.startsWith("#entry-") && one(location.hash.slice(1));
    for (const open of all("dialog[open]")) if (open !== dialog) open.close();
    if (dialog && !dialog.open) {
      dialog.showModal();
      dialog.scrollTop = 0;
    }
  };
  for (const dialog of all("dialog.entry")) {
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => {
      if (location.hash === `#${dialog.id}`) history.replaceState(null, "", location.pathname + location.search);
      came?.focus();
    });
  }
  for (const button of all(".copy")) {
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(one(button.dataset.copies).textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select and copy by hand";
      }
    });
  }
  addEventListener("hashchange", follow);

  /* ---- the same entry, in table and pictures ---- */
  const mark = (event) => {
    const part = event.target.closest?.("[data-entry], [data-part]");
    const id = part && (part.dataset.entry ?? part.dataset.part);
    for (const old of all(".same")) old.classList.remove("same");
    const board = part?.closest(".board");
    if (!board) return;
    for (const same of all("[data-entry], [data-part]", board)) {
      if ((same.dataset.entry ?? same.dataset.part) === id) same.classList.add("same");
    }
  };
  one("main").addEventListener("pointerover", mark);
  one("main").addEventListener("focusin", mark);

  filter();
  follow();
})();
