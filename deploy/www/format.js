// SPDX-License-Identifier: Apache-2.0
// format.js - sizes, rates and times as people read them. Pure: a value in, a
// text out; what is not known is NONE.

export const NONE = "–";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

// Three digits: "1.5 GiB", "12.3 MiB", "768 KiB".
export function size(bytes) {
    let unit = 0;

    if (!Number.isFinite(bytes) || bytes < 0)
        return NONE;
    // 1023.6 KiB would be rounded to 1024 KiB, which is 1 MiB.
    while (bytes >= (unit ? 1023.5 : 1024) && unit < UNITS.length - 1) {
        bytes /= 1024;
        unit++;
    }
    const digits = unit === 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    return `${Number(bytes.toFixed(digits))} ${UNITS[unit]}`;
}

export function rate(bytes) {
    const text = size(bytes);

    return text === NONE ? NONE : `${text}/s`;
}

// "1,048,576"
export function exact(number) {
    return Number.isFinite(number) ? number.toLocaleString("en") : NONE;
}

// A part that is there is never "0 %", one that is not all never "100 %".
export function percent(part, whole) {
    if (!(whole > 0) || !Number.isFinite(part))
        return NONE;
    const value = (100 * part) / whole;
    if (value > 0 && value < 0.1)
        return "< 0.1 %";
    if (value < 100 && value > 99.9)
        return "> 99.9 %";
    return `${value >= 100 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
}

// The two largest units: "8 s", "2 min 05 s", "3 h 20 min", "4 d 1 h".
export function duration(ms) {
    if (!Number.isFinite(ms) || ms < 0)
        return NONE;
    const s = Math.floor(ms / 1000);
    const two = (value) => String(value).padStart(2, "0");
    if (s < 60)
        return `${s} s`;
    if (s < 3600)
        return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
    if (s < 86400)
        return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

// Time of day where the reader is: "08:05:59".
export function clock(ms) {
    const at = new Date(ms);

    if (Number.isNaN(at.getTime()))
        return NONE;
    return [at.getHours(), at.getMinutes(), at.getSeconds()]
        .map((value) => String(value).padStart(2, "0"))
        .join(":");
}

// [offset, offset + length), or from offset on where length is null.
export function range(offset, length) {
    if (!length)
        return offset === 0 ? NONE : `from ${size(offset)}`;
    return `${offset === 0 ? "0" : size(offset)} – ${size(offset + length)}`;
}

// The same to the byte, first and last as HTTP counts them.
export function span(offset, length) {
    if (length === null)
        return `from ${exact(offset)}`;
    if (length === 0)
        return "none";
    return `${exact(offset)} – ${exact(offset + length - 1)}`;
}

export function count(number, one, many = `${one}s`) {
    return `${exact(number)} ${number === 1 ? one : many}`;
}
