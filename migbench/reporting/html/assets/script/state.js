// What is shown, as the address says it: every state has a link.

const LISTS = ["task", "outcome", "reason", "level", "run", "evaluator", "strategy", "images"];
const SORTS = {
  set: "by image set",
  worst: "lowest IoU first",
  best: "highest IoU first",
  apart: "runs farthest apart first",
};
const EMPTY = {
  view: "summary", pair: "0-1", cell: "", low: 0, high: 1, q: "", sort: "set", at: "",
  full: false, image: 0,
};

let state = readState();

function readState() {
  const from = new URLSearchParams(location.hash.slice(1));
  const found = { ...EMPTY };
  for (const name of LISTS) {
    found[name] = new Set((from.get(name) || "").split(",").filter((value) => value));
  }
  if (["summary", "gallery", "compare"].includes(from.get("view"))) found.view = from.get("view");
  if (found.view === "compare" && data.runs.length < 2) found.view = "summary";
  if (validPair(from.get("pair"))) found.pair = from.get("pair");
  if (["both", "wins", "losses", "neither"].includes(from.get("cell")) && data.runs.length > 1) {
    found.cell = from.get("cell");
  }
  const [low, high] = (from.get("iou") || "").split("-").map(Number);
  if (low >= 0 && high <= 1 && low <= high) [found.low, found.high] = [low, high];
  found.q = from.get("q") || "";
  if (from.get("sort") in SORTS) found.sort = from.get("sort");
  if (derived.byId.has(from.get("at"))) found.at = from.get("at");
  found.full = from.get("full") === "1" && found.at !== "";
  found.image = Math.max(0, Number(from.get("image")) - 1 || 0);
  return found;
}

function validPair(pair) {
  const found = /^(\d+)-(\d+)$/.exec(pair || "");
  return found !== null && Number(found[1]) < Number(found[2]) && Number(found[2]) < data.runs.length;
}

function writeState(options) {
  const to = new URLSearchParams();
  to.set("view", state.view);
  for (const name of LISTS) if (state[name].size) to.set(name, [...state[name]].join(","));
  if (state.pair !== EMPTY.pair) to.set("pair", state.pair);
  if (state.cell) to.set("cell", state.cell);
  if (state.low > 0 || state.high < 1) to.set("iou", `${state.low}-${state.high}`);
  if (state.q) to.set("q", state.q);
  if (state.sort !== EMPTY.sort) to.set("sort", state.sort);
  if (state.at) to.set("at", state.at);
  if (state.full) {
    to.set("full", "1");
    to.set("image", String(state.image + 1));
  }
  const hash = "#" + to.toString().replaceAll("%2C", ",");
  if (hash === location.hash) return;
  // Where something new is looked at, the browser's "back" leads here again.
  if (options && options.step) history.pushState(null, "", hash);
  else history.replaceState(null, "", hash);
}

/** Change what is shown, and show it. */
function go(changes, options) {
  Object.assign(state, changes);
  writeState(options);
  show();
}

/** The state without any filter. */
function unfiltered() {
  const changes = { cell: "", low: 0, high: 1, q: "" };
  for (const name of LISTS) changes[name] = new Set();
  return changes;
}
