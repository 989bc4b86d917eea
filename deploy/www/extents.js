// SPDX-License-Identifier: Apache-2.0
// extents.js - an image's list of extents: read once into flat arrays, summed, and
// summed again into the cells of a map. Pure. Time is linear in the number of
// extents and cells, never their product.

// What an extent is, by its two bits.
export const ZERO = 1;
export const DIRTY = 2;
export const KINDS = 4;

// The least that a cell stands for: what disks do not divide.
const CELL_BYTES_LEAST = 512;

const wrong = (at) => new Error(`the server's list is wrong at extent ${at}`);

// readExtents TEXT: the JSON of an answer as
//   size     of the image; extents reach from 0 to there without a gap
//   start    offsets, and the size at the end
//   kind     ZERO and DIRTY bits
//   bytes, counts   of each kind
//   isDirty  whether the list tells what is dirty
export function readExtents(text) {
    let list;

    try {
        list = JSON.parse(text);
    } catch {
        // lighttpd can end an answer that was cut as if it were whole.
        throw new Error("the list was cut off: the server's log says why");
    }
    if (!Array.isArray(list))
        throw new Error("this is no list of extents");
    const start = new Float64Array(list.length + 1);
    const kind = new Uint8Array(list.length);
    const bytes = new Array(KINDS).fill(0);
    const counts = new Array(KINDS).fill(0);
    let size = 0;
    for (let i = 0; i < list.length; i++) {
        const one = list[i];
        if (one?.start !== size || !(one.length > 0))
            throw wrong(i);
        kind[i] = (one.zero ? ZERO : 0) | (one.dirty ? DIRTY : 0);
        start[i] = size;
        size += one.length;
        bytes[kind[i]] += one.length;
        counts[kind[i]]++;
    }
    start[list.length] = size;
    return {
        size, start, kind, bytes, counts,
        isDirty: list.length > 0 && "dirty" in list[0],
    };
}

// The size of a cell, so that there are at most MOST: a power of two, since what is
// allocated and what bitmaps tell apart are powers of two.
export function cellBytes(size, most) {
    let bytes = CELL_BYTES_LEAST;

    while (bytes * most < size)
        bytes *= 2;
    return bytes;
}

// cells EXTENTS BYTES: how many bytes of each kind are in each cell of BYTES, KINDS
// numbers a cell.
export function cells({size, start, kind}, bytes) {
    const sums = new Float64Array(Math.ceil(size / bytes) * KINDS);

    for (let i = 0; i < kind.length; i++) {
        let at = start[i];
        while (at < start[i + 1]) {
            const cell = Math.floor(at / bytes);
            const end = Math.min(start[i + 1], (cell + 1) * bytes);
            sums[cell * KINDS + kind[i]] += end - at;
            at = end;
        }
    }
    return sums;
}

// The index of the extent that has the byte at OFFSET.
export function indexAt({start}, offset) {
    let low = 0;
    let high = start.length - 1;

    while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (start[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// shares SUMS CELL WIDTH: WIDTH (KINDS or more), shared by the kinds of a cell as
// their bytes are, but what is there gets 1 at least: a changed sector in a cell of a
// GiB is seen. In an order of its own: changes, data, zeroes.
const ORDER = [DIRTY, DIRTY | ZERO, 0, ZERO];

export function shares(sums, cell, width) {
    const of = (kind) => sums[cell * KINDS + kind];
    const kinds = ORDER.filter((kind) => of(kind) > 0);
    const result = [];
    let bytes = kinds.reduce((sum, kind) => sum + of(kind), 0);
    let left = width;

    for (const [i, kind] of kinds.entries()) {
        const others = kinds.length - 1 - i;
        const part = Math.round((left * of(kind)) / bytes);
        const given = Math.min(left - others, Math.max(1, part));
        result.push({kind, width: given});
        bytes -= of(kind);
        left -= given;
    }
    return result;
}
