// Separates the ink in a picture from the paper, with the same functions as pictures/ink.py, which
// explains them.

const MAX_SIDE = 1024, BACKGROUND_SIDE = 64, COLOUR_SIDE = 24;
const COLOUR_BANDWIDTH = 0.05, OUTLIER_SCALE = 0.35;
const MAX_PLANE_CHANGE = 1e-4;
const SHADOW_THRESHOLD = 0.1, MAX_BORDER_FRACTION = 0.15;
const MIN_CONTRAST = 0.03, MIN_SIGNAL_TO_NOISE = 4;

/** Returns the amount of ink in each pixel, 1 in a full stroke, or null if none stands out. */
function extractInk(pixels) {
  return measureInk(subtract(pixels, estimateBackground(pixels)));
}

function estimateBackground(pixels) {
  const coarse = resize(pixels, ...fitWithin(BACKGROUND_SIDE, pixels));
  const colour = modeColour(resize(pixels, ...fitWithin(COLOUR_SIDE, pixels)));
  let surface = fitPlane(coarse, colour);
  const repeats = deviatesAtBorder(subtract(coarse, surface)) ? 2 : 0;
  for (let repeat = 0; repeat < repeats; repeat++) {
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
    let maxChange = 0;
    for (let i = 0, row = 0; row < rows.length; i++, row += size) {
      for (let c = 0; c < channels; c++) {
        const value = offset[c] + slopeX[c] * rows[row + 1] + slopeY[c] * rows[row + 2];
        const k = channels * i + c;
        maxChange = Math.max(maxChange, Math.abs(value - surface.data[k]));
        surface.data[k] = value;
      }
    }
    if (maxChange < MAX_PLANE_CHANGE) break;
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

function deviatesAtBorder(difference) {
  const {width, height, data} = norms(difference);
  const threshold = SHADOW_THRESHOLD * robustMax(data);
  const isBorder = i =>
    i < width || i >= width * (height - 1) || i % width === 0 || i % width === width - 1;
  const border = data.filter((_, i) => isBorder(i));
  return border.filter(value => value > threshold).length > MAX_BORDER_FRACTION * border.length;
}

function estimateShadows(difference) {
  const {channels} = difference, distance = norms(difference);
  const threshold = robustMax(distance.data) / 2;
  const isPaper = mapImage(distance, value => value <= threshold ? 1 : 0);
  const paper = mapImage(difference, (value, i) => value * isPaper.data[Math.floor(i / channels)]);
  const counts = localSums(isPaper).data;
  return mapImage(localSums(paper), (sum, i) => sum / (counts[Math.floor(i / channels)] + 1e-3));
}

function measureInk(difference) {
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
