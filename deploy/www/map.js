// SPDX-License-Identifier: Apache-2.0
// map.js - the extents of an image as a map of cells on a canvas. The list is summed into
// cells once for a width; what moves, the position and the heads of transfers, is
// drawn over a copy of that.

import {byId, setAttribute, setText} from "./dom.js";
import {DIRTY, KINDS, ZERO, cellBytes, cells, indexAt, shares} from "./extents.js";
import * as format from "./format.js";

const CELL = 12; // CSS pixels, with GAP of them between two
const GAP = 2;
const ROWS_MOST = 24;

export const NAMES = {
    zero: {0: "data", [ZERO]: "zero"},
    dirty: {
        [DIRTY]: "changed, data",
        [DIRTY | ZERO]: "changed, zero",
        0: "unchanged, data",
        [ZERO]: "unchanged, zero",
    },
};

export const namesOf = (extents) => extents.isDirty ? NAMES.dirty : NAMES.zero;

export class ExtentMap {
    #box = byId("map");
    #canvas = byId("map").querySelector("canvas");
    #extents = null;
    #heads = []; // offsets
    #position = 0; // a cell
    #pointed = null; // a cell, or null
    #columns = 1;
    #bytes = 1; // a cell
    #sums = null;
    #picture = null; // a canvas with the cells alone
    #scale = 1; // device pixels in a CSS pixel
    #isDue = false;

    constructor() {
        const colours = matchMedia("(prefers-color-scheme: dark)");

        new ResizeObserver(() => this.#layOut()).observe(this.#box);
        colours.addEventListener("change", () => this.#paint());
        this.#box.addEventListener("keydown", (event) => this.#onKey(event));
        this.#canvas.addEventListener("pointermove",
            (event) => this.#point(this.#cellOf(event)));
        this.#canvas.addEventListener("pointerleave", () => this.#point(null));
        this.#canvas.addEventListener("pointerdown", (event) => {
            this.#go(this.#cellOf(event) ?? this.#position);
            this.#box.focus({preventScroll: true});
            event.preventDefault(); // or it would take the focus away
        });
    }

    show(extents) {
        this.#extents = extents;
        this.#position = 0;
        this.#pointed = null;
        this.#columns = 0;
        this.#layOut();
    }

    // The offsets that transfers are at.
    showHeads(offsets) {
        if (offsets.join() === this.#heads.join())
            return;
        this.#heads = offsets;
        this.#drawSoon();
    }

    get #count() {
        return this.#sums.length / KINDS;
    }

    // For the width that there is.
    #layOut() {
        const width = this.#box.clientWidth;
        const columns = Math.max(1, Math.floor((width + GAP) / (CELL + GAP)));
        const at = this.#position * this.#bytes;

        if (this.#extents === null || width === 0 || columns === this.#columns)
            return;
        this.#columns = columns;
        this.#bytes = cellBytes(this.#extents.size, columns * ROWS_MOST);
        this.#sums = cells(this.#extents, this.#bytes);
        this.#position = Math.floor(at / this.#bytes);
        this.#pointed = null;
        setText(byId("map-cell"), format.size(this.#bytes));
        setAttribute(this.#box, "aria-valuemax", this.#count);
        this.#paint();
        this.#tell();
    }

    #size(canvas, scale) {
        const rows = Math.ceil(this.#count / this.#columns);

        canvas.width = Math.round(
            (this.#columns * (CELL + GAP) - GAP) * scale);
        canvas.height = Math.max(0,
            Math.round((rows * (CELL + GAP) - GAP) * scale));
    }

    #place(cell) {
        return {
            x: (cell % this.#columns) * (CELL + GAP),
            y: Math.floor(cell / this.#columns) * (CELL + GAP),
        };
    }

    // All cells, into #picture. By form as well as by colour: data is filled, zeroes are
    // a frame, what has changed is striped.
    #paint() {
        if (this.#sums === null)
            return;
        const picture = document.createElement("canvas");
        const style = getComputedStyle(this.#box);
        const colour = (name) => style.getPropertyValue(`--${name}`);
        this.#scale = Math.max(1, devicePixelRatio);
        this.#size(picture, this.#scale);
        this.#size(this.#canvas, this.#scale);
        this.#canvas.style.width = `${this.#canvas.width / this.#scale}px`;
        this.#canvas.style.height = `${this.#canvas.height / this.#scale}px`;
        const to = picture.getContext("2d");
        to.scale(this.#scale, this.#scale);
        const fills = {
            0: colour("data"),
            [ZERO]: colour("zero"),
            [DIRTY]: stripes(to, colour("dirty"), colour("dirty-stripe")),
            [DIRTY | ZERO]: stripes(to, colour("zero"), colour("dirty")),
        };
        for (let cell = 0; cell < this.#count; cell++) {
            const {x, y} = this.#place(cell);
            let at = x;
            for (const {kind, width} of shares(this.#sums, cell, CELL)) {
                to.fillStyle = fills[kind];
                to.fillRect(at, y, width, CELL);
                at += width;
            }
        }
        // A frame around what holds zeroes: they are there, and empty.
        to.strokeStyle = colour("zero-edge");
        to.lineWidth = 1;
        to.beginPath();
        for (let cell = 0; cell < this.#count; cell++) {
            if (this.#sums[cell * KINDS + ZERO] > 0) {
                const {x, y} = this.#place(cell);
                to.rect(x + 0.5, y + 0.5, CELL - 1, CELL - 1);
            }
        }
        to.stroke();
        this.#picture = picture;
        this.#draw();
    }

    #drawSoon() {
        if (!this.#isDue)
            requestAnimationFrame(() => this.#draw());
        this.#isDue = true;
    }

    #draw() {
        this.#isDue = false;
        if (this.#picture === null || this.#picture.height === 0)
            return;
        const to = this.#canvas.getContext("2d");
        const style = getComputedStyle(this.#box);
        to.setTransform(1, 0, 0, 1, 0, 0);
        to.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
        to.drawImage(this.#picture, 0, 0);
        to.scale(this.#scale, this.#scale);
        for (const offset of this.#heads) {
            const cell = Math.min(this.#count - 1, Math.floor(offset / this.#bytes));
            const {x, y} = this.#place(cell);
            to.fillStyle = style.getPropertyValue("--ink");
            to.strokeStyle = style.getPropertyValue("--card");
            to.lineWidth = 1.5;
            to.beginPath();
            to.arc(x + CELL / 2, y + CELL / 2, 4, 0, 2 * Math.PI);
            to.fill();
            to.stroke();
        }
        if (this.#count > 0) {
            const {x, y} = this.#place(this.#pointed ?? this.#position);
            to.strokeStyle = style.getPropertyValue("--ink");
            to.lineWidth = 2;
            to.strokeRect(x + 1, y + 1, CELL - 2, CELL - 2);
        }
    }

    #cellOf(event) {
        const column = Math.floor(event.offsetX / (CELL + GAP));
        const row = Math.floor(event.offsetY / (CELL + GAP));
        const cell = row * this.#columns + column;

        return column >= 0 && column < this.#columns && row >= 0 &&
            cell < this.#count ? cell : null;
    }

    #point(cell) {
        if (cell === this.#pointed)
            return;
        this.#pointed = cell;
        this.#tell();
    }

    #go(cell) {
        this.#position = Math.max(0, Math.min(this.#count - 1, cell));
        this.#pointed = null;
        this.#tell();
    }

    #onKey(event) {
        const steps = {
            ArrowRight: 1,
            ArrowLeft: -1,
            ArrowDown: this.#columns,
            ArrowUp: -this.#columns,
            PageDown: 8 * this.#columns,
            PageUp: -8 * this.#columns,
            Home: -Infinity,
            End: Infinity,
        };

        if (!(event.key in steps) || event.ctrlKey || event.altKey ||
            event.metaKey)
            return;
        event.preventDefault();
        this.#go(this.#position + steps[event.key]);
    }

    // What is at the position: only there for who looks, or moves the slider.
    #tell() {
        const cell = this.#pointed ?? this.#position;
        const text = this.#count === 0 ? "This image has no bytes." :
            this.#describe(cell);

        setText(byId("map-position"), text);
        if (this.#pointed === null) {
            setAttribute(this.#box, "aria-valuenow", cell + 1);
            setAttribute(this.#box, "aria-valuetext", text);
        }
        this.#drawSoon();
    }

    #describe(cell) {
        const extents = this.#extents;
        const names = namesOf(extents);
        const from = cell * this.#bytes;
        const end = Math.min(extents.size, from + this.#bytes);
        const first = indexAt(extents, from);
        const last = indexAt(extents, end - 1);
        const where = `Cell ${format.exact(cell + 1)} of ` +
            `${format.exact(this.#count)}, ${format.range(from, end - from)}: `;

        if (first === last)
            return `${where}${names[extents.kind[first]]}, in an extent of ` +
                `${format.size(extents.start[first + 1] - extents.start[first])}` +
                `, bytes ${format.span(extents.start[first],
                    extents.start[first + 1] - extents.start[first])}`;
        const parts = Object.keys(names)
            .map((kind) => [names[kind], this.#sums[cell * KINDS + Number(kind)]])
            .filter(([, bytes]) => bytes > 0)
            .map(([name, bytes]) => `${name} ${format.size(bytes)} ` +
                `(${format.percent(bytes, end - from)})`);
        return `${where}${format.count(last - first + 1, "extent")}: ` +
            parts.join("; ");
    }
}

// A pattern of diagonal stripes of two colours, 3 CSS pixels each.
function stripes(to, ground, stripe) {
    const tile = document.createElement("canvas");
    const scale = Math.max(1, Math.round(devicePixelRatio));
    const side = 6 * scale;
    const draw = tile.getContext("2d");

    tile.width = tile.height = side;
    draw.fillStyle = ground;
    draw.fillRect(0, 0, side, side);
    draw.strokeStyle = stripe;
    draw.lineWidth = 1.6 * scale;
    draw.beginPath();
    for (const shift of [-side, 0, side]) {
        draw.moveTo(shift - side, 2 * side);
        draw.lineTo(shift + 2 * side, -side);
    }
    draw.stroke();
    const pattern = to.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(1 / scale));
    return pattern;
}
