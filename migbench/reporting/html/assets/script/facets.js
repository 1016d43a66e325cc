// The filters beside the gallery: how many targets each choice would leave.

const BINS = 20;

function showFacets() {
  const runs = shownRuns();
  const { found, outcome, iou, any } = tests(runs);
  const passing = (without, extra) => {
    const kept = Object.entries(found).filter(([name]) => !without.includes(name)).map(([, test]) => test);
    return data.targets.filter((target) => kept.every((test) => test(target)) && (!extra || extra(target)));
  };
  const panel = document.getElementById("facets");
  // Sections that the user has closed stay closed, and what has the focus keeps it.
  const closed = new Set([...panel.querySelectorAll("details:not([open])")].map((each) => each.dataset.facet));
  const focused = document.activeElement && panel.contains(document.activeElement)
    ? document.activeElement.id
    : "";
  const sections = [];
  const add = (name, title, choices) => {
    if (choices.length > 1 || state[name].size) sections.push(facet(name, title, choices));
  };
  add("run", "Run", data.runs.map((run, place) => [String(place), runName(place), null]));
  const forms = (name) => [...new Set(data.runs.map((run) => run[name]))].map((value) => [value, value, null]);
  add("evaluator", "Evaluator", forms("evaluator"));
  add("strategy", "Strategy", forms("strategy"));
  if (data.runs.length > 1) sections.push(cellFacet(passing(["cell"])));
  add("task", "Task", counted(passing(["task"]), (target) => target.task, data.tasks.map((task) => [task.key, task.column])));
  const outcomes = passing(["result"], (target) => any(target, iou));
  add("outcome", "Outcome", Object.entries(OUTCOMES).map(([key, name]) => [
    key,
    el("span.outcome", null, el(`i.${key}`, { "aria-hidden": "true" }), name),
    outcomes.filter((target) => any(target, (result) => result.outcome === key && iou(result))).length,
  ]).filter(([key, , count]) => count || state.outcome.has(key)));
  const told = outcomes.flatMap((target) => runs.map((run) => target.results[run])).filter((result) => result && result.reason && iou(result));
  const reasons = new Map([...state.reason].map((key) => [key, key]));
  for (const result of told) reasons.set(reasonKey(result.reason), result.reason);
  if (reasons.size) sections.push(facet("reason", "Unreadable answers hold", counted(told, (result) => reasonKey(result.reason), [...reasons].sort())));
  sections.push(iouFacet(passing(["result"], (target) => any(target, outcome)), runs, outcome));
  const levels = LEVELS.filter((level) => data.targets.some((target) => target.level === level));
  add("level", "Difficulty", counted(passing(["level"]), (target) => target.level, levels.map((each) => [each, each])));
  const sizes = [...new Set(data.sets.map((set) => set.length))].sort((a, b) => a - b);
  add("images", "Images in the set", counted(passing(["images"]), (target) => String(data.sets[target.set].length), sizes.map((size) => [String(size), String(size)])));
  panel.replaceChildren(...sections);
  panel.querySelectorAll("details").forEach((each) => {
    if (closed.has(each.dataset.facet)) each.open = false;
  });
  if (focused) document.getElementById(focused)?.focus();
  showChosen();
}

function counted(targets, valueOf, names) {
  const counts = new Map();
  for (const target of targets) counts.set(valueOf(target), (counts.get(valueOf(target)) || 0) + 1);
  return names.map(([key, name]) => [key, name, counts.get(key) || 0]);
}

function section(name, title, ...content) {
  return el("details.facet", { open: true, "data-facet": name }, el("summary", null, title), content);
}

/** One facet: a box to tick for every choice. */
function facet(name, title, choices) {
  return section(
    name,
    title,
    choices.map(([key, label, count]) => {
      const box = el("input", { type: "checkbox", id: `${name}-${key}`, name, value: key });
      box.checked = state[name].has(key);
      box.addEventListener("change", () => {
        if (box.checked) state[name].add(key);
        else state[name].delete(key);
        go({}, { step: true });
      });
      return el(
        `label${count === 0 ? ".none" : ""}`, null, box, el("span", null, label),
        count === null ? null : el("span.n", null, count.toLocaleString("en")),
      );
    }),
  );
}

const CELLS = { both: "both hit", wins: "wins", losses: "losses", neither: "neither hits" };

function cellFacet(targets) {
  const [first, second] = state.pair.split("-").map((run) => data.runs[Number(run)].label);
  return section(
    "cell",
    "Wins and losses",
    el("p.note", null, `${second} against ${first}`),
    Object.entries(CELLS).map(([key, name]) => {
      const box = el("input", { type: "radio", name: "cell", id: `cell-${key}`, value: key });
      box.checked = state.cell === key;
      box.addEventListener("click", () => go({ cell: state.cell === key ? "" : key }, { step: true }));
      const count = targets.filter((target) => cellOf(state.pair, target) === key).length;
      return el("label", null, box, el("span", null, name), el("span.n", null, count.toLocaleString("en")));
    }),
  );
}

/** IoU as a histogram, and its range. */
function iouFacet(targets, runs, passes) {
  const bins = new Array(BINS).fill(0);
  for (const target of targets) {
    for (const run of runs) {
      const result = target.results[run];
      if (result && passes(result)) bins[Math.min(Math.floor(result.iou * BINS), BINS - 1)] += 1;
    }
  }
  // Answers that miss altogether would make every other bin invisible: heights are of the root.
  const highest = Math.max(...bins, 1);
  const height = (count) => (count ? 4 + 36 * Math.sqrt(count / highest) : 0);
  const bars = bins.map((count, place) => {
    const bar = svg("rect", {
      x: place * 10 + 1, width: 8, y: 40 - height(count), height: height(count),
      class: (place + 1) / BINS > state.low && place / BINS < state.high ? (place / BINS >= 0.5 ? "hit" : "miss") : "out",
    });
    const title = svg("title");
    title.textContent = `${(place / BINS).toFixed(2)} to ${((place + 1) / BINS).toFixed(2)}: ${count}`;
    bar.append(title);
    return bar;
  });
  const input = (name, label) => {
    const made = el("input", { type: "range", min: 0, max: 1, step: 0.05, id: `iou-${name}`, "aria-label": label });
    made.value = state[name];
    made.addEventListener("change", () => {
      const value = Number(made.value);
      go(name === "low"
        ? { low: value, high: Math.max(value, state.high) }
        : { high: value, low: Math.min(value, state.low) }, { step: true });
    });
    return made;
  };
  return section(
    "iou",
    "IoU",
    svg("svg", { class: "histogram", viewBox: `0 0 ${BINS * 10} 40`, role: "img", "aria-label": "Targets by IoU" }, ...bars),
    el("div.range", null,
      el("label", null, "from", input("low", "Lowest IoU"), el("output", null, state.low.toFixed(2))),
      el("label", null, "to", input("high", "Highest IoU"), el("output", null, state.high.toFixed(2)))),
  );
}

/** The filters in force, each to be taken back. */
function showChosen() {
  const chips = [];
  const chip = (label, undo) =>
    chips.push(el("li", null, el("button", { type: "button", title: "Take this filter back", onclick: () => go(undo(), { step: true }) }, label, " ×")));
  const without = (name, key) => ({ [name]: new Set([...state[name]].filter((each) => each !== key)) });
  const names = {
    task: (key) => derived.tasks.get(key)?.column || key,
    outcome: (key) => OUTCOMES[key] || key,
    run: (key) => data.runs[Number(key)]?.label || key,
    images: (key) => `${key} images`,
  };
  for (const name of LISTS) {
    for (const key of state[name]) chip(names[name] ? names[name](key) : key, () => without(name, key));
  }
  if (state.cell) chip(CELLS[state.cell], () => ({ cell: "" }));
  if (state.low > 0 || state.high < 1) chip(`IoU ${state.low} to ${state.high}`, () => ({ low: 0, high: 1 }));
  if (state.q) chip(`“${state.q}”`, () => ({ q: "" }));
  if (chips.length > 1) {
    chips.push(el("li", null, el("button.all", { type: "button", onclick: () => go(unfiltered(), { step: true }) }, "Clear all")));
  }
  document.getElementById("chosen").replaceChildren(...chips);
}
