// Connects pointer, keyboard, buttons, files, clipboard and display to the drawing.

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const STEP = 16, SMALL_STEP = 4;
const fileInput = document.getElementById("file");

/** Returns where on the sheet an event happened, in the unit of strokes. */
function positionOf(event) {
  const box = sheet.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top].map(
    distance => distance * SHEET_SIDE / box.width);
}

sheet.addEventListener("pointerdown", event => {
  if (activePointer !== null || event.button !== 0) return;
  activePointer = event.pointerId;
  keyboardPen.isDown = false;
  sheet.setPointerCapture(activePointer);
  startStroke(...positionOf(event));
});
sheet.addEventListener("pointermove", event => {
  if (event.pointerId !== activePointer) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const move of events.length ? events : [event]) extendStroke(...positionOf(move));
});
sheet.addEventListener("lostpointercapture", event => {
  if (event.pointerId === activePointer) finishChange();
});

sheet.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in ARROWS) {
    moveKeyboardPen(ARROWS[event.key], event.shiftKey ? SMALL_STEP : STEP);
  } else if (event.key === " ") {
    if (activePointer === null && !event.repeat) toggleKeyboardPen();
  } else if (event.key === "Delete" || event.key === "Backspace") {
    clear();
  } else {
    return;
  }
  event.preventDefault();
});

function moveKeyboardPen([directionX, directionY], step) {
  const [min, max] = [PEN_WIDTH / 2, SHEET_SIDE - PEN_WIDTH / 2];
  keyboardPen.x = clip(keyboardPen.x + step * directionX, min, max);
  keyboardPen.y = clip(keyboardPen.y + step * directionY, min, max);
  if (keyboardPen.isDown) extendStroke(keyboardPen.x, keyboardPen.y);
  paintSheet();
  const [x, y] = [keyboardPen.x, keyboardPen.y].map(at => Math.round(100 * at / SHEET_SIDE));
  statusLine.textContent = `${describeKeyboardPen()}, ${x} % from the left, ${y} % from the top.`;
}

function toggleKeyboardPen() {
  keyboardPen.isDown = !keyboardPen.isDown;
  if (keyboardPen.isDown) startStroke(keyboardPen.x, keyboardPen.y);
  statusLine.textContent = `${describeKeyboardPen()}. ${showPrediction()}`;
}

function describeKeyboardPen() {
  return `Pen ${keyboardPen.isDown ? "down" : "up"}`;
}

document.addEventListener("keydown", event => {
  const isControl = (event.ctrlKey || event.metaKey) && !event.shiftKey;
  if (!isControl || event.key.toLowerCase() !== "z") return;
  event.preventDefault();
  undo();
});
document.getElementById("undo").addEventListener("click", undo);
document.getElementById("clear").addEventListener("click", clear);
document.getElementById("open").addEventListener("click", () => fileInput.click());
fileInput.addEventListener("change", async () => {
  await loadPicture(fileInput.files);
  fileInput.value = ""; // otherwise the same file could not be chosen again
});

document.addEventListener("paste", event => loadPicture(event.clipboardData.files));
document.addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", event => {
  const hasLeftPage = !event.relatedTarget;
  if (hasLeftPage) document.body.classList.remove("dragging");
});
document.addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  loadPicture(event.dataTransfer.files);
});

for (const type of ["focus", "blur"]) sheet.addEventListener(type, paintSheet);
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", paintSheet);
}
addEventListener("resize", paintSheet);

document.getElementById("about").textContent = model.about;
createProbabilityRows();
showPrediction();
