// What the page shows: its data, and what follows from it for single targets.

let data = JSON.parse(document.getElementById("data").textContent);

const OUTCOMES = {
  hit: "hit",
  miss: "miss",
  missing: "missing",
  unreadable: "unreadable",
  refused: "refused",
  truncated: "truncated",
  model_error: "no answer",
};
const FLAGS = {
  extra_boxes: "further boxes",
  wrong_image: "another image named",
  outside_image: "reaches beyond the image",
  zero_area: "no area",
};
const LEVELS = ["easy", "medium", "hard"];

let derived = derive();

function derive() {
  const byId = new Map();
  const siblings = new Map();
  data.targets.forEach((target, place) => {
    target.place = place;
    byId.set(target.id, target);
    if (!siblings.has(target.set)) siblings.set(target.set, []);
    siblings.get(target.set).push(target);
  });
  const tasks = new Map(data.tasks.map((task) => [task.key, task]));
  return { byId, siblings, tasks };
}

function imagesOf(target) {
  return data.sets[target.set].map((place) => data.pictures[place]);
}

function saidOf(run, result) {
  return (result.said || []).map((place) => data.said[run][place]);
}

/** Whether a run hits a target; null where it has no answer, or was not asked. */
function hit(run, target) {
  const result = target.results[run];
  if (!result) return null;
  if (result.outcome === "model_error" && !data.runs[run].errors_are_misses) return null;
  return result.outcome === "hit";
}

/** Which field of the matrix a target is in; "" where it is in none. */
function cellOf(pair, target) {
  const [first, second] = pair.split("-").map((run) => hit(Number(run), target));
  if (first === null || second === null) return "";
  if (first) return second ? "both" : "losses";
  return second ? "wins" : "neither";
}

/** All that can be searched of a target, in lower case; made when it is first asked for. */
function haystack(target) {
  if (target.haystack === undefined) {
    const texts = [target.id, plain(target.question), ...imagesOf(target).map((each) => each.name)];
    target.results.forEach((result, run) => {
      if (!result) return;
      for (const said of saidOf(run, result)) texts.push(plain(said.text), plain(said.error));
    });
    target.haystack = texts.join("\n").toLowerCase();
  }
  return target.haystack;
}

/** The text of an excerpt. */
function plain(pieces) {
  return (pieces || [])
    .map((piece) => (typeof piece === "number" ? " " : typeof piece === "string" ? piece : piece[0]))
    .join("");
}
