// Normalizes digits to MNIST's format, with the same functions as pictures/normalize.py, which
// explains them.

const SIZE = 28, BOX_SIZES = [18, 20, 22], MNIST_SIZE = 1;
const INK_THRESHOLD = 0.3; // of a full stroke
const MIN_STROKE_WIDTH = 1.8; // pixels

/** Returns a digit in each of BOX_SIZES: 28×28 values in [0, 1], ink light. */
function normalize(ink) {
  const crop = cropToInk(ink);
  return BOX_SIZES.map(
    boxSize => widenThinStrokes(centreByMass(scaleToBox(crop, boxSize))));
}

function cropToInk({width, height, data}) {
  const threshold = INK_THRESHOLD * Math.min(1, maximumOf(data));
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] <= threshold) continue;
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

function scaleToBox(ink, boxSize) {
  const longerSide = Math.max(ink.width, ink.height);
  const [width, height] = [ink.width, ink.height].map(
    side => Math.max(1, round(side * boxSize / longerSide)));
  const scaled = resize(ink, width, height);
  const maximum = maximumOf(scaled.data);
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

function widenThinStrokes(digit) {
  const at = (x, y) => x < 0 || y < 0 || x >= SIZE || y >= SIZE ? 0 : digit[y * SIZE + x];
  let [area, perimeter] = [0, 0];
  for (let y = -1; y < SIZE; y++) {
    for (let x = -1; x < SIZE; x++) {
      area += at(x, y);
      perimeter += Math.hypot(at(x + 1, y) - at(x, y), at(x, y + 1) - at(x, y));
    }
  }
  const missingWidth = Math.max(0, MIN_STROKE_WIDTH - 2 * area / perimeter);
  return digit.map((value, i) => {
    const x = i % SIZE, y = Math.floor(i / SIZE);
    const widened = Math.max(value, at(x - 1, y), at(x + 1, y), at(x, y - 1), at(x, y + 1));
    return value + missingWidth / 2 * (widened - value);
  });
}
