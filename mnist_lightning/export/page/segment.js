// Finds the digits in a picture, with the same functions as pictures/components.py and
// pictures/segment.py, which explain them.

const COMPONENT_SIDE = 512, COMPONENT_THRESHOLD = 0.3, MAX_INK_RATIO = 25, MAX_COMPONENTS = 500;
const MIN_LENGTH_OF_RULE = 0.95, MIN_ASPECT_RATIO_OF_VERTICAL_RULE = 15;
const MIN_HEIGHT_IN_FRAME = 0.2, MIN_COVERED_SIDE = 0.9;
const MIN_OVERLAP = 0.6, MAX_GAP_ABOVE = 0.25, MAX_GAP_IN_LOW_PAIR = 0.45;
const MAX_ASPECT_RATIO_OF_LOW_PAIR = 1.5, MAX_GAP_OF_PART = 0.15, MAX_SIZE_OF_PART = 0.4;
const MAX_ASPECT_RATIO_OF_DIGIT = 2.5, MAX_ASPECT_RATIO_OF_PART = 5;
const MIN_RELATIVE_SIZE = 0.3, MAX_DIGIT_INK_RATIO = 16, MIN_LINE_OVERLAP = 0.4;
const MAX_GAP_IN_PAIR = 0.12, MAX_ASPECT_RATIO_OF_PAIR = 1.2, MIN_ASPECT_RATIO_OF_CUT = 0.85;
const CUT_SLANTS = [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6], CUT_RANGES = [[0.2, 0.4], [0.4, 0.6], [0.6, 0.8]];

/** Returns for each line all hypotheses {start, stop, masks}; no lines if there are no digits. */
function findLines(ink) {
  const coarse = resize(
    mapImage(ink, value => clip(value, 0, 1)), ...fitWithin(COMPONENT_SIDE, ink));
  const labels = labelComponents(mapImage(coarse, value => value > COMPONENT_THRESHOLD ? 1 : 0));
  const components = measureComponents(coarse, labels);
  if (!components.length || components.length > MAX_COMPONENTS) return [];
  const unruled = components.filter(component => !isRule(component, components, coarse, labels));
  const digits = removeSmallShapes(joinParts(unruled.length ? unruled : components));
  return splitIntoLines(digits).map(
    line => listHypotheses(coarse, labels, line));
}

/** Returns the components without specks, from left to right. */
function measureComponents({width, data}, labels) {
  const components = [];
  labels.forEach((label, i) => {
    if (!label) return;
    const x = i % width, y = Math.floor(i / width);
    const component = components[label] ??=
      {labels: [label], ink: 0, left: x, top: y, right: 0, bottom: 0};
    component.ink += data[i];
    component.left = Math.min(component.left, x);
    component.right = Math.max(component.right, x + 1);
    component.bottom = y + 1;
  });
  const minInk = components.reduce((max, {ink}) => Math.max(max, ink), 0) / MAX_INK_RATIO;
  return components.filter(({ink}) => ink > minInk).sort(
    (a, b) => a.left - b.left || a.top - b.top || a.right - b.right || a.bottom - b.bottom);
}

const widthOf = ({left, right}) => right - left;
const heightOf = ({top, bottom}) => bottom - top;

function union(first, second) {
  return {
    labels: [...first.labels, ...second.labels],
    ink: first.ink + second.ink,
    left: Math.min(first.left, second.left),
    top: Math.min(first.top, second.top),
    right: Math.max(first.right, second.right),
    bottom: Math.max(first.bottom, second.bottom),
  };
}

function isRule(component, components, {width, height}, labels) {
  const crossesX = widthOf(component) > MIN_LENGTH_OF_RULE * width;
  const crossesY = heightOf(component) > MIN_LENGTH_OF_RULE * height;
  const aspectRatio = widthOf(component) / heightOf(component);
  if (crossesX && aspectRatio > MAX_ASPECT_RATIO_OF_PART) return true;
  if (crossesY && 1 / aspectRatio > MIN_ASPECT_RATIO_OF_VERTICAL_RULE) return true;
  const hasContent = components.some(other =>
    component.left < other.left && component.top < other.top
    && component.right > other.right && component.bottom > other.bottom
    && heightOf(other) > MIN_HEIGHT_IN_FRAME * heightOf(component));
  return hasContent && (crossesX && crossesY || isRectangle(component, width, labels));
}

function isRectangle({labels: [label], left, top, right, bottom}, width, labels) {
  const rows = Math.max(1, Math.floor((bottom - top) / 10));
  const columns = Math.max(1, Math.floor((right - left) / 10));
  const range = (start, stop) => Array.from({length: stop - start}, (_, i) => start + i);
  const isInk = (x, y) => labels[y * width + x] === label;
  const covers = (side, band, isInk) =>
    side.filter(i => band.some(j => isInk(i, j))).length >= MIN_COVERED_SIDE * side.length;
  const [xs, ys] = [range(left, right), range(top, bottom)];
  return covers(xs, range(top, top + rows), isInk)
    && covers(xs, range(bottom - rows, bottom), isInk)
    && covers(ys, range(left, left + columns), (y, x) => isInk(x, y))
    && covers(ys, range(right - columns, right), (y, x) => isInk(x, y));
}

function joinParts(components) {
  for (const areOneDigit of [areAboveEachOther, hasPartNearby]) {
    const joined = [];
    for (let component of components) {
      for (;;) {
        const index = joined.findIndex(other => areOneDigit(other, component));
        if (index < 0) break;
        component = union(component, ...joined.splice(index, 1));
      }
      joined.push(component);
    }
    components = joined;
  }
  return components;
}

function areAboveEachOther(first, second) {
  const both = union(first, second);
  const overlap = widthOf(first) + widthOf(second) - widthOf(both);
  const gap = heightOf(both) - heightOf(first) - heightOf(second);
  const isLow = heightOf(both) <= MAX_ASPECT_RATIO_OF_LOW_PAIR * widthOf(both);
  const maxGap = isLow ? MAX_GAP_IN_LOW_PAIR : MAX_GAP_ABOVE;
  return overlap >= MIN_OVERLAP * Math.min(widthOf(first), widthOf(second))
    && gap <= maxGap * longestSide(first, second);
}

function hasPartNearby(first, second) {
  const both = union(first, second), side = longestSide(first, second);
  const isPart = component =>
    Math.max(widthOf(component), heightOf(component)) < MAX_SIZE_OF_PART * side
    || widthOf(component) > MAX_ASPECT_RATIO_OF_DIGIT * heightOf(component);
  const gap = Math.max(
    widthOf(both) - widthOf(first) - widthOf(second),
    heightOf(both) - heightOf(first) - heightOf(second));
  return (isPart(first) || isPart(second)) && gap <= MAX_GAP_OF_PART * side;
}

const longestSide = (...components) =>
  Math.max(...components.flatMap(component => [widthOf(component), heightOf(component)]));

function removeSmallShapes(components) {
  const upright = components.filter(
    component => widthOf(component) <= MAX_ASPECT_RATIO_OF_PART * heightOf(component));
  const digits = upright.length ? upright : components;
  const maxInk = Math.max(...digits.map(({ink}) => ink));
  const maxHeight = Math.max(...digits.map(heightOf));
  return digits.filter(digit =>
    digit.ink > maxInk / MAX_DIGIT_INK_RATIO
    && Math.max(widthOf(digit), heightOf(digit)) >= MIN_RELATIVE_SIZE * maxHeight);
}

function splitIntoLines(digits) {
  const lines = [];
  const mean = values => values.reduce((a, b) => a + b) / values.length;
  const isInLine = (digit, line) => {
    const top = mean(line.map(other => other.top));
    const bottom = mean(line.map(other => other.bottom));
    const overlap = Math.min(bottom, digit.bottom) - Math.max(top, digit.top);
    return overlap >= MIN_LINE_OVERLAP * Math.min(bottom - top, heightOf(digit));
  };
  for (const digit of [...digits].sort((a, b) => a.top + a.bottom - b.top - b.bottom)) {
    const line = lines.find(line => isInLine(digit, line));
    if (line) line.push(digit);
    else lines.push([digit]);
  }
  return lines.map(line => line.sort((a, b) => a.left + a.right - b.left - b.right));
}

function listHypotheses(coarse, labels, line) {
  const hypotheses = [];
  line.forEach((component, index) => {
    const mask = maskOf(coarse, labels, component);
    hypotheses.push({start: index, stop: index + 1, masks: [mask]});
    if (widthOf(component) > MIN_ASPECT_RATIO_OF_CUT * heightOf(component)) {
      for (const isLeft of cut(mapImage(coarse, (value, i) => value * mask.data[i]), component)) {
        const masks = [true, false].map(
          side => mapImage(mask, (value, i) => value && isLeft(i) === side ? 1 : 0));
        hypotheses.push({start: index, stop: index + 1, masks});
      }
    }
    const previous = line[index - 1];
    if (previous && mayBeOneDigit(previous, component, coarse, labels)) {
      const both = maskOf(coarse, labels, union(previous, component));
      hypotheses.push({start: index - 1, stop: index + 1, masks: [both]});
    }
  });
  return hypotheses;
}

/** Returns the mask of a component, with the lighter edge of its strokes. */
function maskOf({width, height}, labels, component) {
  const mask = createImage(width, height, 1), isIncluded = [];
  for (const label of component.labels) isIncluded[label] = true;
  for (let y = Math.max(component.top - 1, 0); y < Math.min(component.bottom + 1, height); y++) {
    for (let x = Math.max(component.left - 1, 0); x < Math.min(component.right + 1, width); x++) {
      const i = y * width + x;
      const isSet = labels[i]
        ? isIncluded[labels[i]]
        : neighbourhood(i, mask).some(neighbour => isIncluded[labels[neighbour]]);
      if (isSet) mask.data[i] = 1;
    }
  }
  return mask;
}

function mayBeOneDigit(left, right, {width, height}, labels) {
  const both = union(left, right);
  if (widthOf(both) > MAX_ASPECT_RATIO_OF_PAIR * heightOf(both)) return false;
  let minGap = Infinity;
  for (let y = Math.max(left.top, right.top); y < Math.min(left.bottom, right.bottom); y++) {
    const row = labels.subarray(y * width, (y + 1) * width);
    const end = row.findLastIndex(label => left.labels.includes(label)) + 1;
    const start = row.findIndex(label => right.labels.includes(label));
    if (end > 0 && start >= 0) minGap = Math.min(minGap, start - end);
  }
  return minGap <= MAX_GAP_IN_PAIR * Math.max(heightOf(left), heightOf(right));
}

/** Returns functions that tell whether a pixel is to the left of a line that crosses little ink. */
function cut({width, data}, component) {
  const slantedX = (i, slant) =>
    round(i % width - component.left + slant * (Math.floor(i / width) - component.top));
  const profiles = CUT_SLANTS.map(slant => {
    const profile = new Map();
    data.forEach((value, i) => {
      if (!value) return;
      const column = slantedX(i, slant);
      profile.set(column, (profile.get(column) ?? 0) + value);
    });
    for (const [column, value] of profile) profile.set(column, round(100 * value));
    return profile;
  });
  return CUT_RANGES.flatMap(([low, high]) => {
    let minInk = Infinity, bestSlant, bestColumn;
    profiles.forEach((profile, slantIndex) => {
      const total = [...profile.values()].reduce((a, b) => a + b);
      let inkToLeft = 0;
      const first = Math.min(...profile.keys()), last = Math.max(...profile.keys());
      for (let column = first; column <= last; column++) {
        const crossed = profile.get(column) ?? 0;
        inkToLeft += crossed;
        const isAllowed = low <= inkToLeft / total && inkToLeft / total <= high;
        if (!isAllowed || crossed >= minInk) continue;
        [minInk, bestSlant, bestColumn] = [crossed, CUT_SLANTS[slantIndex], column];
      }
    });
    return minInk < Infinity ? [i => slantedX(i, bestSlant) <= bestColumn] : [];
  });
}
