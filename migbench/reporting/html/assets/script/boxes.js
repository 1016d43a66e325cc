// Images with boxes over them. Boxes are in 0-1 of the image, whatever its size on the page.

const SVG = "http://www.w3.org/2000/svg";
const UNITS = 1000;

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A box as two rectangles: a dark casing, so that it is seen on any picture, and the line. */
function rectangle(edges, kind, label) {
  const inside = (value) => Math.min(Math.max(value, -0.02), 1.02) * UNITS;
  const [x1, x2] = [inside(edges[0]), inside(edges[2])].sort((a, b) => a - b);
  const [y1, y2] = [inside(edges[1]), inside(edges[3])].sort((a, b) => a - b);
  const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
  const title = svg("title");
  title.textContent = label;
  return svg(
    "g",
    { class: kind },
    title,
    svg("rect", { ...place, class: "casing" }),
    svg("rect", { ...place, class: "line" }),
  );
}

/** The boxes that belong into one image of a target's set. */
function overlay(target, image, runs) {
  const boxes = [];
  if (target.reference && image === 0) {
    boxes.push(rectangle(target.reference, "reference", "Reference box"));
  }
  if (image === target.image) {
    boxes.push(rectangle(target.truth, "truth", "To be found"));
    for (const run of runs) {
      const result = target.results[run];
      if (result && result.box) {
        const label = `${data.runs[run].label}: IoU ${result.iou.toFixed(3)}`;
        boxes.push(rectangle(result.box, `predicted run-${run % 5}`, label));
      }
    }
  }
  return svg(
    "svg",
    {
      class: "boxes", viewBox: `0 0 ${UNITS} ${UNITS}`, preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    ...boxes,
  );
}

function aspect(picture) {
  return picture.width && picture.height ? picture.width / picture.height : 1;
}

/** What stands for an image that cannot be shown. */
function placeholder(picture, problem) {
  const name = picture.name.split("/").pop();
  return el("div.placeholder", { title: problem || picture.problem || picture.name }, el("span", null, visible(name.slice(0, 80))));
}

/** One image of a target's set, with its number and its boxes. */
function figure(target, image, runs, options) {
  const picture = imagesOf(target)[image];
  const large = options && options.large;
  const frame = el("div.frame");
  const address = (large && picture.full) || picture.thumbnail;
  if (address) {
    const shown = el("img", {
      src: address, alt: `Image ${image + 1}: ${picture.name.slice(0, 200)}`, decoding: "async", draggable: "false",
    });
    shown.addEventListener("error", () =>
      shown.replaceWith(placeholder(picture, `${picture.name}: cannot be shown`)),
    );
    frame.append(shown);
  } else {
    frame.append(placeholder(picture));
  }
  frame.append(overlay(target, image, runs));
  const isTarget = image === target.image;
  const label = isTarget ? (target.asked ? "asked" : "holds the target") : "";
  const made = el(
    `figure${isTarget ? ".asked" : ""}`,
    { "data-image": image + 1 },
    frame,
    el("figcaption", null, el("b", null, String(image + 1)), label),
  );
  made.style.setProperty("--aspect", aspect(picture).toFixed(5));
  return made;
}

/** All images of a target's set, in order. */
function strip(target, runs) {
  const pictures = imagesOf(target);
  const made = el("div.strip", null, pictures.map((_, image) => figure(target, image, runs)));
  const sum = pictures.reduce((total, picture) => total + aspect(picture), 0);
  made.style.setProperty("--sum", sum.toFixed(5));
  made.style.setProperty("--count", String(pictures.length));
  return made;
}
