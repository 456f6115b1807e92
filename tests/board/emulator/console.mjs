// The board's USB serial line as a computer sees it. rp2040js answers each request for data at once, if need be with
// an empty packet, for ever; a real host stays silent until it has something to say.
import { USBCDC } from './library.mjs';

const PACKET_BYTES = 64;

export class Console extends USBCDC {
  constructor(usb) {
    super(usb);
    this.waiting = []; // bytes from the computer
    this.room = null; // bytes the board is ready to take
    usb.onEndpointRead = (endpoint, size) => {
      if (endpoint !== this.outEndpoint) return;
      this.room = size;
      this.deliver();
    };
  }

  send(bytes) {
    for (const byte of bytes) this.waiting.push(byte);
    this.deliver();
  }

  deliver() {
    if (this.room === null || !this.waiting.length || !this.initialized) return;
    const packet = Uint8Array.from(this.waiting.splice(0, Math.min(this.room, PACKET_BYTES)));
    this.room = null;
    this.usb.endpointReadDone(this.outEndpoint, packet);
  }
}
