// The forward pass of DigitCNN, with the weights that the export wrote into the page.

const model = JSON.parse(document.getElementById("model").textContent);

/** Returns [kernels, biases] of each of the four layers, in the order of PyTorch's state dict. */
function readLayers() {
  const bytes = Uint8Array.from(atob(model.weights), character => character.charCodeAt(0));
  const weights = new Float32Array(bytes.buffer);
  let offset = 0;
  return [[8 * 25, 8], [16 * 8 * 25, 16], [128 * 256, 128], [10 * 128, 10]].map(
    sizes => sizes.map(size => weights.subarray(offset, offset += size)));
}

const [convolution1, convolution2, dense1, dense2] = readLayers();

/** Convolves (channels, side, side) with 5×5 kernels, then applies 2×2 max pooling and ReLU. */
function convolve(images, channels, side, [kernels, biases]) {
  const outSide = (side - 4) / 2;
  const out = new Float32Array(biases.length * outSide * outSide);
  let outIndex = 0;
  for (let filter = 0; filter < biases.length; filter++) {
    for (let top = 0; top < 2 * outSide; top += 2) {
      for (let left = 0; left < 2 * outSide; left += 2) {
        let maximum = -Infinity;
        for (const corner of [0, 1, side, side + 1]) {
          let sum = biases[filter];
          let weight = filter * channels * 25;
          for (let channel = 0; channel < channels; channel++) {
            let start = (channel * side + top) * side + left + corner;
            for (let row = 0; row < 5; row++, start += side) {
              for (let column = 0; column < 5; column++) {
                sum += kernels[weight++] * images[start + column];
              }
            }
          }
          maximum = Math.max(maximum, sum);
        }
        out[outIndex++] = Math.max(maximum, 0);
      }
    }
  }
  return out;
}

function dense(values, [matrix, biases]) {
  return biases.map((bias, row) => {
    let sum = bias;
    for (let i = 0; i < values.length; i++) sum += matrix[row * values.length + i] * values[i];
    return sum;
  });
}

/** Returns the ten probabilities of a digit: 28×28 values in [0, 1], ink light. */
function predict(digit) {
  const features = convolve(convolve(digit, 1, 28, convolution1), 8, 12, convolution2);
  const hidden = dense(features, dense1).map(value => Math.max(value, 0));
  return softmax(dense(hidden, dense2));
}

function softmax(logits) {
  const maximum = Math.max(...logits);
  const powers = Array.from(logits, logit => Math.exp(logit - maximum));
  const total = powers.reduce((sum, power) => sum + power);
  return powers.map(power => power / total);
}
