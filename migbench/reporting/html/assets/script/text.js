// Building elements. Every text from models and data goes through here, as text.

/** An element: `el("p.question", {lang: "en"}, "text", child, ...)`. */
function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

// Marks that turn the direction of what follows, and controls that no font shows.
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;
const UNSEEN_RUN = new RegExp(`(${UNSEEN.source})`);

/** A text as nodes; characters that are not seen, but change what is, are shown by their number. */
function visible(text) {
  if (!UNSEEN.test(text)) return [text];
  return text.split(UNSEEN_RUN).map((part) => {
    if (part.length !== 1 || !UNSEEN.test(part)) return part;
    const number = part.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return el("span.unseen", { title: "A character that is not seen" }, `U+${number}`);
  });
}

/** An excerpt as nodes: the part that was read is marked, and what is left out is counted. */
function excerpt(pieces, read) {
  return (pieces || []).flatMap((piece) => {
    if (typeof piece === "number") {
      return [el("span.gap", null, `… ${piece.toLocaleString("en")} characters …`)];
    }
    if (typeof piece === "string") return visible(piece);
    const [text, number] = piece;
    if (number !== read) return [el("span.also", { title: "Read for another target" }, visible(text))];
    return [el("mark", { title: "The box was read here" }, visible(text))];
  });
}

const TOKENS = /<\|box_start\|>(.{0,80}?)<\|box_end\|>|<\|object_ref_start\|>([\s\S]{0,2000}?)<\|object_ref_end\|>/;

/** A question, with the data set's tokens turned into type: boxes and phrases. */
function question(pieces) {
  return (pieces || []).flatMap((piece) => {
    if (typeof piece === "number") return excerpt([piece]);
    const nodes = [];
    let rest = piece.trim();
    for (let found = TOKENS.exec(rest); found; found = TOKENS.exec(rest)) {
      nodes.push(...visible(rest.slice(0, found.index)));
      nodes.push(
        found[1] !== undefined
          ? el("code.box", { title: "Reference box, in thousandths" }, visible(found[1]))
          : el("em", null, visible(found[2])),
      );
      rest = rest.slice(found.index + found[0].length);
    }
    nodes.push(...visible(rest));
    return nodes;
  });
}

/** The name of a run, with its line as boxes have it. */
function runName(run) {
  return el(`span.run-name.run-${run % 5}`, null, el("span.swatch"), data.runs[run].label);
}

function outcomeChip(result) {
  const name = result.outcome === "model_error" && !(result.said || []).length
    ? "not asked yet"
    : OUTCOMES[result.outcome];
  return el("span.outcome", null, el(`i.${result.outcome}`, { "aria-hidden": "true" }), name);
}
