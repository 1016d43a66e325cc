// The list of targets. Each gets a place on the page, the first ones at once and the others as soon
// as the browser has time; only those near the window are filled.

const cards = document.getElementById("cards");
const NEAR = 1200; // Pixels above and below the window in which cards are filled.
const AT_ONCE = 200;
const PRINTED = 200;

let chosen = [];
let chosenRuns = [];
let shells = new Map();
let further = 0;
let listed = "";

const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) fill(entry.target);
      else empty(entry.target);
    }
  },
  { rootMargin: `${NEAR}px 0px` },
);

function fill(shell) {
  if (shell.filled) return;
  shell.filled = true;
  shell.style.height = "";
  shell.replaceChildren(...card(shell.target, chosenRuns));
}

function empty(shell) {
  if (!shell.filled || shell.contains(document.activeElement)) return;
  shell.style.height = `${shell.offsetHeight}px`;
  shell.filled = false;
  shell.replaceChildren();
}

/** Give the first targets, up to this one, their places. */
function makeShells(until) {
  const fresh = [];
  for (const target of chosen.slice(shells.size, until)) {
    const shell = el("article.card", {
      tabindex: "-1", "data-target": target.id,
      "aria-label": `${derived.tasks.get(target.task).column}, ${target.id}`,
    });
    // Siblings that follow each other are one block.
    const before = chosen[shells.size - 1];
    if (before && before.set === target.set) shell.classList.add("goes-on");
    shell.target = target;
    shells.set(target.id, shell);
    fresh.push(shell);
  }
  cards.append(...fresh);
  fresh.forEach((shell) => observer.observe(shell));
}

function makeFurther() {
  makeShells(shells.size + AT_ONCE);
  further = shells.size < chosen.length ? setTimeout(makeFurther) : 0;
}

/** The same targets, of which more is known now: the page stays where it is. */
function renewShells() {
  for (const [id, shell] of shells) {
    shell.target = derived.byId.get(id);
    if (!shell.filled) continue;
    shell.filled = false;
    fill(shell);
  }
}

function showGallery() {
  chosenRuns = shownRuns();
  chosen = chosenTargets();
  const list = `${chosenRuns}|${chosen.map((target) => target.place)}`;
  if (list !== listed) {
    listed = list;
    clearTimeout(further);
    observer.disconnect();
    shells = new Map();
    cards.replaceChildren();
    if (!chosen.length) cards.append(el("p.nothing", null, "No target is like this."));
    makeFurther();
  } else if (!shells.size || shells.values().next().value.target !== chosen[0]) {
    renewShells();
  }
  const count = document.getElementById("count");
  const sets = new Set(chosen.map((target) => target.set)).size;
  count.textContent =
    `${chosen.length.toLocaleString("en")} of ${data.targets.length.toLocaleString("en")} targets, ` +
    `${sets.toLocaleString("en")} image sets`;
}

/** Mark the target that the address names, and bring it into view. */
function showCurrent(options) {
  for (const shell of cards.querySelectorAll(".current")) shell.classList.remove("current");
  const place = chosen.findIndex((target) => target.id === state.at);
  if (place < 0) return;
  makeShells(place + 1);
  const shell = shells.get(chosen[place].id);
  fill(shell);
  shell.classList.add("current");
  if (options && options.scroll === false) return;
  shell.scrollIntoView({ block: "start" });
  // Cards above it may be filled only now, and move it.
  requestAnimationFrame(() => shell.scrollIntoView({ block: "start" }));
  if (!state.full) shell.focus({ preventScroll: true });
}

/** Go some targets on, or back. */
function step(by) {
  if (!chosen.length) return;
  const at = chosen.findIndex((target) => target.id === state.at);
  const next = at < 0 ? (by > 0 ? 0 : chosen.length - 1) : at + by;
  const target = chosen[Math.min(Math.max(next, 0), chosen.length - 1)];
  go({ at: target.id, image: target.image });
  showCurrent();
}

cards.addEventListener("click", (event) => {
  const shell = event.target.closest(".card");
  if (!shell) return;
  const link = event.target.closest("a");
  if (link && link.dataset.target) {
    event.preventDefault();
    const sibling = derived.byId.get(link.dataset.target);
    if (!chosen.includes(sibling)) Object.assign(state, unfiltered());
    go({ at: sibling.id, image: sibling.image }, { step: true });
    showCurrent();
  } else if (!link) {
    const figure = event.target.closest("figure");
    const image = figure ? Number(figure.dataset.image) - 1 : shell.target.image;
    const enlarges = figure || event.target.closest(".enlarge");
    if (!enlarges && event.target.closest("summary, button")) return;
    if (!enlarges && String(getSelection())) return;
    go({ at: shell.target.id, image, full: Boolean(enlarges) }, { step: Boolean(enlarges) });
    showCurrent({ scroll: false });
  }
});

addEventListener("beforeprint", () => {
  makeShells(PRINTED);
  chosen.slice(0, PRINTED).forEach((target) => fill(shells.get(target.id)));
  if (chosen.length > PRINTED) {
    cards.dataset.printed = `The first ${PRINTED} of ${chosen.length} targets are printed.`;
  }
});
