// Pictures that a person gives: dropped, pasted, chosen or photographed. They stay in this page's memory.

import { Failure } from "./api.js";
import { number } from "./text.js";

const LARGE_BYTES = 2 * 1024 * 1024; // beyond it a picture is sent smaller: an encoder looks at far fewer pixels
const SIDE = 1600;
let made = 0;

/** Get a picture ready to be sent; throws a Failure where it is too large. */
export async function prepared(file, limitBytes) {
  const room = limitBytes - 64 * 1024; // for the rest of the form
  let blob = file;
  if (file.size > LARGE_BYTES || file.size > room) blob = (await smaller(file)) || file;
  if (blob.size > Math.max(room, limitBytes / 2)) throw new Failure("large", { limit: megabytes(limitBytes) });
  made += 1;
  return { key: made, blob, url: URL.createObjectURL(blob) };
}

export function megabytes(bytes) {
  return bytes < 1024 * 1024 ? `${number(Math.floor(bytes / 1024))} kB` : `${number(Math.floor(bytes / 1024 / 1024))} MB`;
}

/** The pictures among what was dropped or pasted. */
export function picturesIn(transfer) {
  return [...(transfer?.files || [])].filter((one) => one.type.startsWith("image/") || !one.type);
}

async function smaller(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff"; // what was transparent is white to the service too
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return await new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.9); });
  } catch { return null; } // no picture that this browser reads; the service judges it
}
