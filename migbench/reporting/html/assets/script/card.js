// One target: its images, what was asked, and what every run made of it.

function card(target, runs) {
  const task = derived.tasks.get(target.task);
  const facts = [
    el("span.task", { title: task.title }, task.column),
    el("span.id", null, visible(target.id)),
    target.level ? el("span.level", null, target.level) : null,
    target.repaired ? el("span.note", null, "ground truth repaired") : null,
  ];
  const tools = el(
    "span.tools",
    null,
    el("a", { href: linkTo(target), title: "Link to this target", "aria-label": "Link to this target" }, "#"),
    el("button.enlarge", { type: "button", title: "Large (f)", "aria-label": "Look at it large" }, "⤢"),
  );
  return [
    el("header", null, facts, tools),
    el("p.question", { dir: "auto" }, question(target.question)),
    strip(target, runs),
    el("div.runs", null, runs.map((run) => verdict(run, target))),
    siblings(target, runs) || "",
  ];
}

function linkTo(target) {
  return `#view=gallery&at=${encodeURIComponent(target.id)}`;
}

/** What one run made of a target. */
function verdict(run, target) {
  const result = target.results[run];
  if (!result) return el("div.verdict", null, runName(run), el("span.note", null, "not asked"));
  const said = saidOf(run, result);
  const last = said[said.length - 1];
  const notes = (result.flags || []).map((flag) => el("span.note", null, FLAGS[flag] || flag));
  if (result.reason) notes.push(el("span.note", null, result.reason));
  if (result.named !== undefined && result.named !== target.image) {
    notes.push(el("span.note", null, `names image ${result.named + 1}`));
  }
  return el(
    "div.verdict",
    { "data-run": run },
    el("div.line", null, runName(run), outcomeChip(result), meter(result), notes),
    said.length > 1 ? steps(said, result) : null,
    said.length === 1 ? answer(last, result.span) : null,
    last ? details(last) : null,
  );
}

function meter(result) {
  if (!result.box) return null;
  const bar = el("span.meter", { "aria-hidden": "true" }, el("i"));
  bar.firstChild.style.width = `${(100 * result.iou).toFixed(1)}%`;
  return el("span.iou", null, bar, el("span", null, "IoU ", el("b", null, result.iou.toFixed(3))));
}

function answer(said, span) {
  if (said.error) return el("pre.answer.error", { dir: "auto" }, excerpt(said.error));
  if (said.length === 0) return el("p.note", null, "The answer is empty.");
  return el("pre.answer", { dir: "auto" }, excerpt(said.text, span));
}

/** A chain of thought, step by step. */
function steps(said, result) {
  const last = said.length - 1;
  return el(
    "ol.steps",
    { "aria-label": "Steps" },
    said.map((each, place) =>
      el(
        "li",
        null,
        el("span.step", null, each.purpose, el("span.note", null, sees(each))),
        answer(each, place === last ? result.span : undefined),
      ),
    ),
  );
}

function sees(said) {
  const numbers = said.images.map((image) => image + 1);
  return numbers.length > 1 ? `sees images ${numbers.join(", ")}` : `sees image ${numbers[0]}`;
}

function details(said) {
  const facts = [`${(said.length || 0).toLocaleString("en")} characters`];
  if (said.tokens !== undefined) facts.push(`${said.tokens} tokens`);
  if (said.seconds !== undefined) facts.push(`${said.seconds.toFixed(1)} s`);
  if (said.refused) facts.push("taken away by a content filter");
  if (said.truncated) facts.push("cut off at the token limit");
  return el(
    "details",
    null,
    el("summary", null, "As it was asked"),
    el("pre.prompt", { dir: "auto" }, excerpt(said.prompt)),
    el("p.note", null, facts.join(" · ")),
  );
}

/** The other questions about the same images. */
function siblings(target, runs) {
  const all = derived.siblings.get(target.set);
  if (all.length < 2) return null;
  return el(
    "footer",
    null,
    el("span", null, `${all.length} questions about these images`),
    all.map((each, place) => {
      const marks = runs
        .map((run) => each.results[run])
        .map((result) => el(`i.${result ? result.outcome : "none"}`, { "aria-hidden": "true" }));
      return el(
        "a.sibling",
        {
          href: linkTo(each), "data-target": each.id, title: plain(each.question).slice(0, 300),
          "aria-current": each === target ? "true" : null,
        },
        String(place + 1),
        marks,
      );
    }),
  );
}
