// Image arithmetic with the same results as pictures/image_math.py, NumPy and Pillow.
// An image is {width, height, channels, data}: row by row, the channels of a pixel together.

function createImage(width, height, channels) {
  return {width, height, channels, data: new Float32Array(width * height * channels)};
}

/** Applies a function to each value, which gets its index too; a loop is faster than data.map. */
function mapImage({width, height, channels, data}, transform) {
  const out = createImage(width, height, channels);
  for (let i = 0; i < data.length; i++) out.data[i] = transform(data[i], i);
  return out;
}

function subtract(image, subtrahend) {
  const out = createImage(image.width, image.height, image.channels);
  for (let i = 0; i < out.data.length; i++) out.data[i] = image.data[i] - subtrahend.data[i];
  return out;
}

/** Returns the Euclidean norm of each pixel's channels. */
function norms({width, height, channels, data}) {
  const out = createImage(width, height, 1);
  for (let i = 0; i < out.data.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += square(data[i * channels + c]);
    out.data[i] = Math.sqrt(sum);
  }
  return out;
}

/** Resizes an image as Pillow does: box means, or bilinear if it gets larger. */
function resize(image, width, height) {
  if (width === image.width && height === image.height) return image;
  const isLarger = width > image.width || height > image.height;
  const wide = createImage(width, image.height, image.channels);
  resample(image, wide, "width", isLarger);
  const out = createImage(width, height, image.channels);
  resample(wide, out, "height", isLarger);
  return out;
}

/** Resamples an image into another one that differs from it in width or in height only. */
function resample(image, out, dimension, isLarger) {
  const {channels} = image;
  // Distances in the data: to the next pixel along the dimension, and to the next line across it.
  const strides = ({width}) => dimension === "width"
    ? [channels, width * channels]
    : [width * channels, channels];
  const [step, lineStep] = strides(image), [outStep, outLineStep] = strides(out);
  const kernels = resampleKernels(image[dimension], out[dimension], isLarger);
  const lineCount = dimension === "width" ? image.height : image.width;
  for (let line = 0; line < lineCount; line++) {
    kernels.forEach(({first, weights}, i) => {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum += weights[k] * image.data[line * lineStep + (first + k) * step + c];
        }
        out.data[line * outLineStep + i * outStep + c] = sum;
      }
    });
  }
}

/** Returns for each pixel of the new size the first old pixel that counts, and the weights. */
function resampleKernels(oldSize, newSize, isLarger) {
  const scale = oldSize / newSize;
  const support = isLarger ? Math.max(scale, 1) : scale / 2;
  return Array.from({length: newSize}, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const weights = [];
    for (let j = first; j < Math.min(oldSize, Math.floor(centre + support + 0.5)); j++) {
      const distance = (j + 0.5 - centre) / support;
      const boxWeight = distance > -1 && distance <= 1 ? 1 : 0;
      weights.push(isLarger ? Math.max(0, 1 - Math.abs(distance)) : boxWeight);
    }
    const sum = weights.reduce((a, b) => a + b);
    return {first, weights: weights.map(weight => weight / sum)};
  });
}

/** Returns width and height with the same aspect ratio, both at most maxSide. */
function fitWithin(maxSide, {width, height}) {
  const scale = Math.min(1, maxSide / Math.max(width, height));
  return [width, height].map(side => Math.max(1, round(side * scale)));
}

/** Returns the indices of the pixels in the 3×3 neighbourhood of a pixel, itself included. */
function neighbourhood(i, {width, height}) {
  const x = i % width, y = (i - x) / width, indices = [];
  for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
    for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
      indices.push(row * width + column);
    }
  }
  return indices;
}

/** Labels the 8-connected components of a mask with 1, 2, 3, …; 0 is around them. */
function labelComponents(mask) {
  const labels = new Int32Array(mask.data.length);
  let count = 0;
  mask.data.forEach((isSet, start) => {
    if (!isSet || labels[start]) return;
    labels[start] = ++count;
    const stack = [start];
    while (stack.length) {
      for (const i of neighbourhood(stack.pop(), mask)) {
        if (!mask.data[i] || labels[i]) continue;
        labels[i] = count;
        stack.push(i);
      }
    }
  });
  return labels;
}

/** Extends a mask by one pixel in each direction. */
function dilate(mask) {
  const out = createImage(mask.width, mask.height, 1);
  mask.data.forEach((isSet, i) => {
    if (isSet) for (const neighbour of neighbourhood(i, mask)) out.data[neighbour] = 1;
  });
  return out;
}

/** Returns sums over windows of an eighth of the longer side, applied twice along each axis. */
function localSums(image) {
  const {width, height, channels} = image, radius = Math.floor(Math.max(width, height) / 16);
  const vertical = [width * channels, height], horizontal = [channels, width];
  for (const [step, length] of [vertical, vertical, horizontal, horizontal]) {
    const out = createImage(width, height, channels), cumulative = new Float64Array(length + 1);
    for (let start = 0; start < out.data.length; start++) {
      if (Math.floor(start / step) % length) continue; // no line starts here
      for (let k = 0; k < length; k++) {
        cumulative[k + 1] = cumulative[k] + image.data[start + k * step];
      }
      for (let k = 0; k < length; k++) {
        const first = Math.max(k - radius, 0), end = Math.min(k + radius + 1, length);
        out.data[start + k * step] = cumulative[end] - cumulative[first];
      }
    }
    image = out;
  }
  return image;
}

/** Solves positive definite equations, left and right sides in each row (Gauss-Jordan). */
function solve(rows) {
  rows.forEach((pivot, i) => rows.forEach((row, j) => {
    const factor = row[i] / pivot[i];
    if (j !== i) row.forEach((value, k) => { row[k] = value - factor * pivot[k]; });
  }));
  return rows.map((row, i) => row.slice(rows.length).map(value => value / row[i]));
}

/** Moves the values of rank k and above to the end, and returns them (Hoare's selection). */
function partition(values, k) {
  for (let left = 0, right = values.length - 1; left < right;) {
    const pivot = values[k];
    let i = left, j = right;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i <= j) [values[i++], values[j--]] = [values[j], values[i]];
    }
    if (j < k) left = i;
    if (i > k) right = j;
  }
  return values.subarray(k);
}

/** Returns the mean of the highest 0.2 % of the values, so that no single pixel decides. */
function robustMax(values) {
  const count = Math.max(1, Math.floor(values.length / 500));
  return partition(values.slice(), values.length - count).reduce((a, b) => a + b) / count;
}

function maximumOf(values) {
  let maximum = -Infinity; // Math.max(...values) would overflow the stack
  for (const value of values) if (value > maximum) maximum = value;
  return maximum;
}

/** Returns the median, or 0 for an empty array. */
function median(values) {
  if (!values.length) return 0;
  const middle = values.length >> 1, upper = partition(Float32Array.from(values), middle)[0];
  if (values.length % 2) return upper;
  return (partition(Float32Array.from(values), middle - 1)[0] + upper) / 2;
}

const square = value => value * value; // faster than **
const clip = (value, low, high) => Math.min(Math.max(value, low), high);

/** Rounds halves to even numbers, as Python does. */
function round(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + Math.abs(floor % 2) : Math.round(value);
}
