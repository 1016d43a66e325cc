// Which targets are shown, and in which order.

/** The runs that the filters leave. */
function shownRuns() {
  return data.runs
    .map((run, place) => ({ ...run, place }))
    .filter(
      (run) =>
        (!state.run.size || state.run.has(String(run.place))) &&
        (!state.evaluator.size || state.evaluator.has(run.evaluator)) &&
        (!state.strategy.size || state.strategy.has(run.strategy)),
    )
    .map((run) => run.place);
}

/** An unreadable answer's reason as part of an address, where commas separate. */
function reasonKey(reason) {
  return (reason || "").split(",")[0];
}

/** Tests by what they are about; a target is shown that passes them all. */
function tests(runs) {
  const words = state.q.toLowerCase().split(/\s+/).filter((word) => word);
  const any = (target, passes) => runs.some((run) => target.results[run] && passes(target.results[run]));
  const found = {
    run: (target) => any(target, () => true),
    task: (target) => !state.task.size || state.task.has(target.task),
    level: (target) => !state.level.size || state.level.has(target.level),
    images: (target) => !state.images.size || state.images.has(String(data.sets[target.set].length)),
    q: (target) => words.every((word) => haystack(target).includes(word)),
    cell: (target) => !state.cell || cellOf(state.pair, target) === state.cell,
  };
  // Of several runs one is enough, but one and the same must pass both.
  const reason = (result) => !state.reason.size || state.reason.has(reasonKey(result.reason));
  const outcome = (result) => reason(result) && (!state.outcome.size || state.outcome.has(result.outcome));
  const iou = (result) => result.iou >= state.low && result.iou <= state.high;
  found.result = (target) => any(target, (result) => outcome(result) && iou(result));
  return { found, outcome, iou, any };
}

const ORDERS = {
  set: null,
  worst: (runs) => (target) => best(runs, target),
  best: (runs) => (target) => -best(runs, target),
  apart: (runs) => (target) => -apart(runs, target),
};

/** The first run's IoU that there is. */
function best(runs, target) {
  const run = runs.find((each) => target.results[each]);
  return run === undefined ? 0 : target.results[run].iou;
}

function apart(runs, target) {
  const found = runs.filter((run) => target.results[run]).map((run) => target.results[run].iou);
  return found.length > 1 ? Math.max(...found) - Math.min(...found) : 0;
}

/** The targets that are shown, in their order. Siblings stand together unless sorted apart. */
function chosenTargets() {
  const runs = shownRuns();
  const passes = Object.values(tests(runs).found);
  const chosen = data.targets.filter((target) => passes.every((test) => test(target)));
  const order = ORDERS[state.sort];
  const keys = new Map();
  for (const target of chosen) {
    keys.set(target, order ? order(runs)(target) : derived.siblings.get(target.set)[0].place);
  }
  return chosen.sort((a, b) => keys.get(a) - keys.get(b) || a.place - b.place);
}
