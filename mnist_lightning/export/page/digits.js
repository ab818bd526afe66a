// Reads numbers, with the same functions as pictures/digits.py, which explains them.

const CUT_PENALTY = 1;

/** Returns the digits of all readings, {inputs, box}, and the lines of readings. */
function findDigits(pixels) {
  const ink = extractInk(pixels), digits = [];
  const lines = (ink ? findLines(ink) : []).map(hypotheses => hypotheses.map(
    ({start, stop, masks}) => {
      for (const mask of masks) {
        const box = boundingBox(mask);
        digits.push({box, inputs: normalize(cropToMask(ink, mask, box))});
      }
      return {start, stop, count: masks.length};
    }));
  return {digits, lines};
}

/** Returns the ink in a box, without that outside the mask, which may be smaller than the ink. */
function cropToMask(ink, mask, [left, top, right, bottom]) {
  const [firstX, firstY] = [Math.floor(left * ink.width), Math.floor(top * ink.height)];
  const out = createImage(
    Math.ceil(right * ink.width) - firstX, Math.ceil(bottom * ink.height) - firstY, 1);
  for (let y = 0; y < out.height; y++) {
    const inkRow = (firstY + y) * ink.width + firstX;
    const maskRow = Math.floor((firstY + y + 0.5) * mask.height / ink.height) * mask.width;
    for (let x = 0; x < out.width; x++) {
      const column = Math.floor((firstX + x + 0.5) * mask.width / ink.width);
      out.data[y * out.width + x] = ink.data[inkRow + x] * mask.data[maskRow + column];
    }
  }
  return out;
}

/** Returns left, top, right and bottom, relative to the width and height of the picture. */
function boundingBox({width, height, data}) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  data.forEach((isSet, i) => {
    if (!isSet) return;
    const x = i % width, y = Math.floor(i / width);
    left = Math.min(left, x), right = Math.max(right, x + 1);
    top = Math.min(top, y), bottom = Math.max(bottom, y + 1);
  });
  return [left / width, top / height, right / width, bottom / height];
}

/** Returns the chosen digits of each line, each with its label, confidence and probabilities. */
function readNumber(pixels) {
  const {digits, lines} = findDigits(pixels);
  for (const digit of digits) {
    const predictions = digit.inputs.map(predict);
    digit.probabilities = predictions[0].map(
      (_, label) => predictions.reduce((sum, p) => sum + p[label], 0) / predictions.length);
    digit.confidence = Math.max(...digit.probabilities);
    digit.label = digit.probabilities.indexOf(digit.confidence);
  }
  return chooseDigits(lines, digits.map(({confidence}) => confidence)).map(
    line => line.map(index => digits[index]));
}

/** Returns the indices of the digits in the most probable readings of each line. */
function chooseDigits(lines, confidences) {
  let nextIndex = 0;
  return lines.map(readings => {
    const best = [{score: 0, chosen: []}];
    for (const {start, stop, count} of readings) {
      const indices = Array.from({length: count}, () => nextIndex++);
      const logs = indices.map(index => Math.log(confidences[index] + 1e-9));
      const mean = logs.reduce((a, b) => a + b) / count;
      const score = best[start].score + (stop - start) * mean - CUT_PENALTY * (count - 1);
      if (!best[stop] || score > best[stop].score) {
        best[stop] = {score, chosen: [...best[start].chosen, ...indices]};
      }
    }
    return best.at(-1).chosen;
  });
}
