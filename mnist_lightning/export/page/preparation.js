// Normalizes a picture of a digit to MNIST's format, with the same functions as
// pictures/normalize.py, which explains them.

const SIZE = 28, BOX_SIZE = 20, MAX_SIDE = 1024;
const BACKGROUND_SIDE = 64, COLOUR_SIDE = 24, COMPONENT_SIDE = 128;
const COLOUR_BANDWIDTH = 0.05, OUTLIER_SCALE = 0.35;
const INK_THRESHOLD = 0.5, COMPONENT_THRESHOLD = 0.3, MAX_INK_RATIO = 25;
const MIN_CONTRAST = 0.03, MIN_SIGNAL_TO_NOISE = 4;

/** Returns a digit, 28×28 values in [0, 1], ink light, or null if no ink stands out. */
function toDigit(pixels) {
  let ink = extractInk(subtract(pixels, estimateBackground(pixels)));
  ink = ink && removeSpecks(ink);
  return ink && centreByMass(scaleToBox(cropToInk(ink)));
}

function estimateBackground(pixels) {
  const coarse = resize(pixels, ...fitWithin(BACKGROUND_SIDE, pixels));
  const colour = modeColour(resize(pixels, ...fitWithin(COLOUR_SIDE, pixels)));
  let surface = fitPlane(coarse, colour);
  for (let repeat = 0; repeat < 2; repeat++) {
    const shadows = estimateShadows(subtract(coarse, surface));
    surface = mapImage(surface, (value, i) => value + shadows.data[i]);
  }
  return resize(surface, pixels.width, pixels.height);
}

function modeColour({channels, data}) {
  let maxDensity = -1, mode = 0;
  for (let i = 0; i < data.length; i += channels) {
    let density = 0;
    for (let j = 0; j < data.length; j += channels) {
      let squaredDistance = 0;
      for (let c = 0; c < channels; c++) {
        squaredDistance += square((data[i + c] - data[j + c]) / COLOUR_BANDWIDTH);
      }
      density += 1 / (1 + squaredDistance);
    }
    if (density > maxDensity) [maxDensity, mode] = [density, i];
  }
  return data.subarray(mode, mode + channels);
}

function fitPlane(pixels, colour) {
  const {width, height, channels, data} = pixels, size = 3 + channels;
  const rows = new Float64Array(size * width * height); // of each pixel: 1, x, y and its channels
  for (let i = 0, row = 0; row < rows.length; i++, row += size) {
    rows[row] = 1;
    rows[row + 1] = 2 * (i % width) / Math.max(width - 1, 1) - 1;
    rows[row + 2] = 2 * Math.floor(i / width) / Math.max(height - 1, 1) - 1;
    for (let c = 0; c < channels; c++) rows[row + 3 + c] = data[channels * i + c];
  }
  const surface = mapImage(pixels, (_, i) => colour[i % channels]);
  for (let repeat = 0; repeat < 16; repeat++) {
    const distance = norms(subtract(pixels, surface));
    const scale = OUTLIER_SCALE * robustMax(distance.data) + 1e-3;
    const weights = mapImage(distance, value => 1 / square(1 + square(value / scale)));
    const equations = normalEquations(rows, size, weights.data);
    const ridge = 1e-6 * equations[0][0];
    equations.forEach((equation, i) => { equation[i] += ridge; });
    const [offset, slopeX, slopeY] = solve(equations);
    for (let i = 0, row = 0; row < rows.length; i++, row += size) {
      for (let c = 0; c < channels; c++) {
        surface.data[channels * i + c] =
          offset[c] + slopeX[c] * rows[row + 1] + slopeY[c] * rows[row + 2];
      }
    }
  }
  return surface;
}

/** Sums the three normal equations of the weighted plane through rows of 1, x, y and channels. */
function normalEquations(rows, size, weights) {
  const equations = [0, 1, 2].map(() => new Float64Array(size));
  for (let i = 0, row = 0; row < rows.length; i++, row += size) {
    for (let a = 0; a < 3; a++) {
      const factor = weights[i] * rows[row + a];
      for (let k = 0; k < size; k++) equations[a][k] += factor * rows[row + k];
    }
  }
  return equations;
}

function estimateShadows(difference) {
  const {channels} = difference, distance = norms(difference);
  const threshold = robustMax(distance.data) / 2;
  const isPaper = mapImage(distance, value => value <= threshold ? 1 : 0);
  const paper = mapImage(difference, (value, i) => value * isPaper.data[Math.floor(i / channels)]);
  const counts = localSums(isPaper).data;
  return mapImage(localSums(paper), (sum, i) => sum / (counts[Math.floor(i / channels)] + 1e-3));
}

function extractInk(difference) {
  const {width, height, channels, data} = difference, distance = norms(difference).data;
  const minDistance = robustMax(distance) / 2;
  const colour = new Float64Array(channels);
  for (let i = 0; i < data.length; i++) {
    if (distance[Math.floor(i / channels)] > minDistance) colour[i % channels] += data[i];
  }
  const direction = colour.map(value => value / (Math.hypot(...colour) || 1));
  const ink = createImage(width, height, 1);
  for (let i = 0; i < data.length; i++) {
    ink.data[Math.floor(i / channels)] += data[i] * direction[i % channels];
  }
  const threshold = robustMax(ink.data) / 2;
  const strokes = [], paper = [];
  for (const value of ink.data) {
    if (value >= threshold) strokes.push(value);
    else paper.push(Math.abs(value));
  }
  const contrast = median(strokes), noise = 1.5 * median(paper);
  if (contrast < Math.max(MIN_CONTRAST, MIN_SIGNAL_TO_NOISE * noise)) return null;
  return mapImage(ink, value => value / contrast);
}

function removeSpecks(ink) {
  const coarse = resize(
    mapImage(ink, value => clip(value, 0, 1)), ...fitWithin(COMPONENT_SIDE, ink));
  const labels = labelComponents(mapImage(coarse, value => value > COMPONENT_THRESHOLD ? 1 : 0));
  const mass = new Float64Array(labels.length + 1);
  labels.forEach((label, i) => { if (label) mass[label] += coarse.data[i]; });
  const minMass = mass.reduce((a, b) => Math.max(a, b)) / MAX_INK_RATIO;
  const isDigit = dilate(mapImage(coarse, (_, i) => mass[labels[i]] > minMass ? 1 : 0));
  const mask = resizeNearest(isDigit, ink.width, ink.height);
  const cleaned = mapImage(ink, (value, i) => value * mask.data[i]);
  return cleaned.data.some(value => value > INK_THRESHOLD) ? cleaned : null;
}

function cropToInk({width, height, data}) {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] <= INK_THRESHOLD) continue;
      left = Math.min(left, x), right = Math.max(right, x);
      top = Math.min(top, y), bottom = y;
    }
  }
  const crop = createImage(right - left + 1, bottom - top + 1, 1);
  return mapImage(crop, (_, i) => {
    const x = left + i % crop.width, y = top + Math.floor(i / crop.width);
    return clip(data[y * width + x], 0, 1);
  });
}

function scaleToBox(ink) {
  const longerSide = Math.max(ink.width, ink.height);
  const [width, height] = [ink.width, ink.height].map(
    side => Math.max(1, round(side * BOX_SIZE / longerSide)));
  const scaled = resize(ink, width, height);
  const maximum = scaled.data.reduce((a, b) => Math.max(a, b));
  return mapImage(scaled, value => clip(value / maximum, 0, 1));
}

function centreByMass({width, height, data}) {
  let [mass, massX, massY] = [0, 0, 0];
  data.forEach((value, i) => {
    mass += value, massX += value * (i % width), massY += value * Math.floor(i / width);
  });
  const left = clip(round(SIZE / 2 - massX / mass - 1e-4), 0, SIZE - width);
  const top = clip(round(SIZE / 2 - massY / mass - 1e-4), 0, SIZE - height);
  const digit = new Float32Array(SIZE * SIZE);
  data.forEach((value, i) => {
    digit[(top + Math.floor(i / width)) * SIZE + left + i % width] = value;
  });
  return digit;
}
