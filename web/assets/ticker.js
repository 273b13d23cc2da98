// A steady clock for the test picture: a worker's timers go on while the page is in the background.

let timer = 0;
onmessage = (event) => {
  clearInterval(timer);
  timer = setInterval(() => postMessage(0), 1000 / event.data);
};
