// An audio worklet that reports how loud the 1 kHz tone is in each block of 128 samples.
class Tone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.batch = [];
  }

  process(inputs, outputs) {
    const channel = inputs[0][0];
    let level = 0;
    if (channel) {
      let re = 0;
      let im = 0;
      for (let i = 0; i < channel.length; i++) {
        const phase = (2 * Math.PI * 1000 * (currentFrame + i)) / sampleRate;
        re += channel[i] * Math.cos(phase);
        im += channel[i] * Math.sin(phase);
      }
      level = (2 * Math.hypot(re, im)) / channel.length;
      for (const output of outputs[0]) output.set(channel);
    }
    this.batch.push(currentTime, level);
    if (this.batch.length >= 40) {
      this.port.postMessage(this.batch);
      this.batch = [];
    }
    return true;
  }
}

registerProcessor("tone", Tone);
