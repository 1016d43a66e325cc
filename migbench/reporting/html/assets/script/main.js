// Views, keys, and dark or light.

function show() {
  for (const view of document.querySelectorAll(".view")) view.hidden = view.id !== state.view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (state.view === "gallery") {
    showGallery();
    showFacets();
    const search = document.getElementById("search");
    if (search.value !== state.q) search.value = state.q;
    document.getElementById("sort").value = state.sort;
  }
  if (state.view === "compare") showCompare();
  showFocus();
}

function readAddress() {
  state = readState();
  show();
  if (state.view === "gallery" && state.at) showCurrent();
}

// Filters stay while another view is looked at.
for (const link of document.querySelectorAll("[data-view]")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ view: link.dataset.view, full: false }, { step: true });
    scrollTo(0, 0);
  });
}

addEventListener("hashchange", readAddress);
addEventListener("popstate", readAddress);

const sort = document.getElementById("sort");
for (const [key, name] of Object.entries(SORTS)) {
  if (key !== "apart" || data.runs.length > 1) sort.append(el("option", { value: key }, name));
}
sort.addEventListener("change", () => go({ sort: sort.value }, { step: true }));

const search = document.getElementById("search");
search.addEventListener("input", () => go({ q: search.value }));
document.getElementById("facets").addEventListener("submit", (event) => event.preventDefault());

const wide = matchMedia("(min-width: 60rem)");
function arrange() {
  document.getElementById("filters").open = wide.matches;
}
wide.addEventListener("change", arrange);
arrange();

const KEYS = {
  j: () => step(1),
  ArrowRight: () => step(1),
  k: () => step(-1),
  ArrowLeft: () => step(-1),
  f: () => {
    if (state.full) leave();
    else if (chosen.length) {
      const target = derived.byId.get(state.at);
      const shown = target && chosen.includes(target) ? target : chosen[0];
      go({ at: shown.id, full: true, image: shown.image }, { step: true });
    }
  },
  b: () => document.body.classList.toggle("no-boxes"),
  "/": () => search.focus(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || document.getElementById("help").open) return;
  if (event.key === "?") {
    document.getElementById("help").showModal();
    return;
  }
  if (state.view !== "gallery") return;
  if (state.full && ["ArrowUp", "ArrowDown"].includes(event.key)) {
    event.preventDefault();
    turn(event.key === "ArrowDown" ? 1 : -1);
  } else if (Object.hasOwn(KEYS, event.key)) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

document.getElementById("help-button").addEventListener("click", () => {
  document.getElementById("help").showModal();
});

// The choice is kept where the browser allows it; it is the reader's, and no part of a link.
function storedTheme(value) {
  try {
    if (value) localStorage.setItem("migbench-theme", value);
    return localStorage.getItem("migbench-theme");
  } catch {
    return null;
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (state.view === "compare") showCompare();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
setTheme(storedTheme() || (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => {
  if (!storedTheme()) setTheme(dark.matches ? "dark" : "light");
});
document.getElementById("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  storedTheme(theme);
  setTheme(theme);
});

readAddress();
