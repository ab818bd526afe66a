// The prediction: the network's input, the label, the probabilities, and a sentence.

const inputCanvas = document.getElementById("input");
const labelBox = document.getElementById("label");
const probabilityCaption = document.getElementById("probability-caption");
const probabilityRows = document.getElementById("probabilities");
let isScheduled = false; // for the next frame

function createProbabilityRows() {
  for (let label = 0; label < 10; label++) {
    const row = probabilityRows.insertRow(), bar = document.createElement("div");
    const header = document.createElement("th");
    row.append(Object.assign(header, {scope: "row", textContent: label}));
    bar.className = "bar";
    row.insertCell().append(bar);
    row.insertCell();
  }
}

/** Shows the drawing and the prediction, and returns the prediction as a sentence. */
function showPrediction() {
  const state = states.at(-1);
  state.number ??= readNumber(readState(state));
  paintSheet();
  const digits = state.number.flat();
  if (!digits.length) {
    showInput(null);
    showProbabilities([], -1);
    showLabel("", false);
    return isEmpty(state) ? "The drawing area is empty." : "No ink stands out from the paper.";
  }
  const leastSure = digits.reduce((a, b) => b.confidence < a.confidence ? b : a);
  const {probabilities, label, confidence, inputs} = leastSure;
  const isUnsure = confidence < model.unsureBelow;
  showInput(inputs[MNIST_SIZE]);
  showProbabilities(probabilities, label);
  const lines = state.number.map(line => line.map(digit => digit.label).join(""));
  showLabel(lines.join("\n"), isUnsure);
  const position = digits.indexOf(leastSure) + 1, isNumber = digits.length > 1;
  probabilityCaption.textContent =
    isNumber ? `Probability, digit ${position} (least sure)` : "Probability of each digit";
  const number = lines.join(" / ");
  if (!isUnsure) {
    return `This is ${number} (${isNumber ? "each digit at least " : ""}${percent(confidence)}).`;
  }
  const [, second] = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const describe = label => `${label} (${percent(probabilities[label])})`;
  const subject = isNumber ? `${number}; digit ${position} is ` : "";
  return `Unsure: probably ${subject}${describe(label)} or ${describe(second)}.`;
}

function showInput(digit) {
  const image = new ImageData(SIZE, SIZE);
  for (let i = 0; i < SIZE * SIZE; i++) {
    image.data.fill(255 * (digit ? digit[i] : 0), 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  inputCanvas.getContext("2d").putImageData(image, 0, 0);
}

function showLabel(label, isUnsure) {
  labelBox.textContent = label + (isUnsure ? "?" : "");
  labelBox.className = isUnsure ? "unsure" : "";
  const longest = Math.max(...labelBox.textContent.split("\n").map(line => line.length));
  labelBox.style.fontSize = `${Math.min(4, 16 / longest)}rem`;
}

function showProbabilities(probabilities, best) {
  [...probabilityRows.rows].forEach((row, label) => {
    const probability = probabilities[label];
    row.className = label === best ? "best" : "";
    row.querySelector(".bar").style.width = `${100 * (probability ?? 0)}%`;
    row.cells[2].textContent = probability === undefined ? "" : percent(probability);
  });
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

/** Shows the prediction, and announces it to screen readers, which would never stop in a stroke. */
function announcePrediction() {
  statusLine.textContent = showPrediction();
}

/** Shows the prediction once in the next frame, after any number of changes. */
function schedulePrediction() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    showPrediction();
  });
}
