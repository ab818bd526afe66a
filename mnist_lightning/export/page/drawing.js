// The drawing area: strokes or a picture, painted on the canvas and read back as an image.

const SHEET_SIDE = 200, PEN_WIDTH = 16; // in the unit of strokes, whatever the size on the screen
const MAX_PIXELS = 100_000_000; // of a picture
const sheet = document.getElementById("sheet");
const statusLine = document.getElementById("status");
const strokeContext = getContext(document.createElement("canvas"));
// The last state is shown, and undo removes it. A state has strokes, or a canvas with a picture; its
// number is read when it is first shown.
const states = [createState()];
const keyboardPen = {x: SHEET_SIDE / 2, y: SHEET_SIDE / 2, isDown: false};
let activePointer = null; // the only mouse, finger or pen that may draw at the moment
let changeCount = 0; // a picture that finishes loading after a later change is dropped

function createState(strokes = [], picture = null) {
  return {strokes, picture, number: undefined};
}

function isEmpty({strokes, picture}) {
  return !picture && !strokes.length;
}

function getContext(canvas) {
  return canvas.getContext("2d", {willReadFrequently: true});
}

/** Paints a state on a square canvas. */
function paint(context, {strokes, picture}) {
  const side = context.canvas.width;
  context.clearRect(0, 0, side, side);
  if (picture) {
    const scale = side / Math.max(picture.width, picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    context.drawImage(picture, (side - width) / 2, (side - height) / 2, width, height);
  }
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = PEN_WIDTH * side / SHEET_SIDE;
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * side / SHEET_SIDE, y * side / SHEET_SIDE]);
    context.beginPath();
    context.moveTo(points[0][0], points[0][1] + 0.01); // a line of length 0 would leave no ink
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
  }
}

function paintSheet() {
  const side = Math.round(sheet.clientWidth * devicePixelRatio) || SHEET_SIDE;
  if (sheet.width !== side) sheet.width = sheet.height = side;
  const context = sheet.getContext("2d");
  context.strokeStyle = getComputedStyle(sheet).color;
  paint(context, states.at(-1));
  paintBoxes(context, states.at(-1));
  if (sheet.matches(":focus-visible")) paintKeyboardPen(context);
}

/** Paints a box around each digit of a number. */
function paintBoxes(context, {picture, number = []}) {
  const digits = number.flat(), side = context.canvas.width;
  if (digits.length < 2) return;
  const colours = getComputedStyle(sheet);
  const {width, height} = picture ?? {width: 1, height: 1}, scale = side / Math.max(width, height);
  const [offsetX, offsetY] = [(side - width * scale) / 2, (side - height * scale) / 2];
  context.lineWidth = side / SHEET_SIDE;
  context.font = `${8 * side / SHEET_SIDE}px sans-serif`;
  for (const {box: [left, top, right, bottom], label, confidence} of digits) {
    const [x, y] = [offsetX + left * width * scale, offsetY + top * height * scale];
    context.strokeStyle = context.fillStyle = colours.getPropertyValue(
      confidence < model.unsureBelow ? "--unsure" : "--best");
    context.strokeRect(x, y, (right - left) * width * scale, (bottom - top) * height * scale);
    context.fillText(label, x, y - 2 * side / SHEET_SIDE);
  }
}

function paintKeyboardPen(context) {
  const {color, backgroundColor} = getComputedStyle(sheet);
  const [x, y, radius] = [keyboardPen.x, keyboardPen.y, PEN_WIDTH].map(
    length => length * sheet.width / SHEET_SIDE);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  // Two rings, so that the pen is visible on ink and on paper.
  for (const [ringColour, width] of [[backgroundColor, 0.5], [color, 0.2]]) {
    context.strokeStyle = ringColour;
    context.lineWidth = width * radius;
    context.stroke();
  }
  context.fillStyle = keyboardPen.isDown ? color : backgroundColor;
  context.fill();
}

/** Returns a state as an image with values in [0, 1] and premultiplied alpha. */
function readState(state) {
  return state.picture ? readPicture(state.picture) : readStrokes(state);
}

function readPicture(canvas) {
  const {width, height, data} = getContext(canvas).getImageData(0, 0, canvas.width, canvas.height);
  const image = createImage(width, height, 4);
  data.forEach((value, i) => {
    const alpha = i % 4 === 3 ? 1 : data[i | 3] / 255; // transparent pixels have no colour
    image.data[i] = value / 255 * alpha;
  });
  return image;
}

function readStrokes(state) {
  strokeContext.canvas.width = strokeContext.canvas.height = SHEET_SIDE;
  paint(strokeContext, state);
  const {data} = strokeContext.getImageData(0, 0, SHEET_SIDE, SHEET_SIDE);
  const image = createImage(SHEET_SIDE, SHEET_SIDE, 1); // alpha is enough: strokes have no colour
  return mapImage(image, (_, i) => data[4 * i + 3] / 255);
}

function startStroke(x, y) {
  changeCount++;
  states.push(createState([...states.at(-1).strokes, [[x, y]]]));
  statusLine.textContent = "Drawing …";
  schedulePrediction();
}

function extendStroke(x, y) {
  const state = states.at(-1), stroke = state.strokes.at(-1), [lastX, lastY] = stroke.at(-1);
  if (Math.hypot(x - lastX, y - lastY) < 0.5) return; // too short to be seen
  stroke.push([x, y]);
  state.number = undefined;
  schedulePrediction();
}

/** Ends the stroke in progress, if any, and announces the prediction. */
function finishChange() {
  changeCount++;
  activePointer = null;
  keyboardPen.isDown = false;
  announcePrediction();
}

function undo() {
  if (states.length > 1) states.pop();
  finishChange();
}

function clear() {
  if (!isEmpty(states.at(-1))) states.push(createState());
  finishChange();
}

/** Loads the first of several files as a picture. */
async function loadPicture(files) {
  const change = ++changeCount;
  if (!files.length) {
    statusLine.textContent = "No picture found; paste or drop a picture file.";
    return;
  }
  const {name} = files[0];
  statusLine.textContent = "Reading the picture …";
  const bitmap = await createImageBitmap(files[0]).catch(() => null);
  if (change === changeCount) {
    if (!bitmap) {
      statusLine.textContent = `${name} is not a picture that this browser can read.`;
    } else if (bitmap.width * bitmap.height > MAX_PIXELS) {
      statusLine.textContent = `${name} has more than ${MAX_PIXELS / 1e6} million pixels.`;
    } else {
      states.push(createState([], reducePicture(bitmap)));
      finishChange();
      if (files.length > 1) statusLine.textContent += ` Only the first file, ${name}, was read.`;
    }
  }
  bitmap?.close();
}

/** Returns a canvas with a picture, no side longer than MAX_SIDE. */
function reducePicture(bitmap) {
  const factor = Math.ceil(Math.max(bitmap.width, bitmap.height) / MAX_SIDE);
  const canvas = document.createElement("canvas"), context = getContext(canvas);
  canvas.width = Math.ceil(bitmap.width / factor);
  canvas.height = Math.ceil(bitmap.height / factor);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}
