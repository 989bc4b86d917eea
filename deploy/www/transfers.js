// SPDX-License-Identifier: Apache-2.0
// transfers.js - what the server does, at a glance, and the two tables of transfers.
// A transfer has one row as long as it is shown: only texts in it change, so that
// focus, selection and scroll position stay.

import {byId, fromTemplate, setAttribute, setText} from "./dom.js";
import * as format from "./format.js";
import {READS, WRITES, averageRate, fraction, leftMs} from "./snapshots.js";

function setTexts(texts, values) {
    for (const [name, value] of Object.entries(values))
        setText(texts[name], value);
}

// Only where bytes of the image move: a list of extents is somewhere, at no speed.
const rateOf = ({operation}, rate) =>
    [...READS, ...WRITES].includes(operation) ? format.rate(rate) : format.NONE;

// How far it is, for a list of extents as a position.
function howFar({total, done}) {
    if (!total)
        return {percent: "", moved: done ? format.size(done) : ""};
    return {
        percent: format.percent(done, total),
        moved: `${format.size(done)} of ${format.size(total)}`,
    };
}

const common = (transfer) => ({
    id: transfer.id || format.NONE,
    method: transfer.method,
    operation: transfer.operation,
    range: format.range(transfer.offset, transfer.total),
    client: transfer.client || format.NONE,
    request: transfer.request || format.NONE,
    span: format.span(transfer.offset, transfer.total),
    backend: transfer.backend || format.NONE,
    begun: format.clock(transfer.start_ms),
    ...howFar(transfer),
});

function showRunning({root, texts}, transfer) {
    const bar = root.querySelector("progress");
    const part = fraction(transfer);

    setTexts(texts, {
        ...common(transfer),
        age: format.duration(Math.max(0, transfer.seen_ms - transfer.start_ms)),
        rate: rateOf(transfer, transfer.rate),
        left: format.duration(leftMs(transfer)),
    });
    root.classList.toggle("writes", WRITES.includes(transfer.operation));
    setAttribute(bar, "aria-label", `Progress of ${transfer.id}`);
    if (part === null)
        bar.removeAttribute("value");
    else
        setAttribute(bar, "value", part);
}

function showEnded({texts}, transfer) {
    setTexts(texts, {
        ...common(transfer),
        ended: format.clock(transfer.ended_ms),
        took: format.duration(Math.max(0, transfer.ended_ms - transfer.start_ms)),
        average: rateOf(transfer, averageRate(transfer)),
    });
}

// A table whose rows are the transfers of a list, in its order.
class Table {
    #name;
    #show;
    #rows = new Map(); // by key: {root, texts}

    constructor(name, show) {
        this.#name = name;
        this.#show = show;
    }

    #make() {
        const row = fromTemplate(`${this.#name}-row`);
        const details = row.root.querySelector(".details");

        row.texts.id.addEventListener("click", () => {
            details.hidden = !details.hidden;
            row.texts.id.setAttribute("aria-expanded", String(!details.hidden));
        });
        return row;
    }

    show(transfers) {
        const table = byId(`${this.#name}-table`);
        const keys = new Set(transfers.map((one) => one.key));
        let before = table.tHead;

        for (const [key, {root}] of this.#rows) {
            if (!keys.has(key)) {
                // Whoever was there goes on from where the table is.
                if (root.contains(document.activeElement))
                    byId(this.#name).focus({preventScroll: true});
                root.remove();
                this.#rows.delete(key);
            }
        }
        for (const transfer of transfers) {
            const row = this.#rows.get(transfer.key) ?? this.#make();
            this.#rows.set(transfer.key, row);
            this.#show(row, transfer);
            // A row that is moved loses the focus: only where it has to be.
            if (before.nextElementSibling !== row.root)
                before.after(row.root);
            before = row.root;
        }
        byId(`${this.#name}-card`).hidden = transfers.length === 0;
        byId(`${this.#name}-none`).hidden = transfers.length !== 0;
        setText(byId(`${this.#name}-count`),
            transfers.length ? String(transfers.length) : "");
    }
}

const running = new Table("running", showRunning);
const ended = new Table("ended", showEnded);

function showBusy(name, busy, most, scope) {
    const meter = byId(`${name}-meter`);

    meter.hidden = scope === "image" || most === null;
    if (meter.hidden) {
        setText(byId(name), most === null ? `${busy}` :
            `${busy}, up to ${most} an image`);
        return;
    }
    setText(byId(name), `${busy} of ${most}`);
    setAttribute(meter, "aria-valuemax", most);
    setAttribute(meter, "aria-valuenow", Math.min(busy, most));
    setAttribute(meter, "aria-valuetext", `${busy} of ${most}`);
    meter.firstElementChild.style.width =
        `${most ? Math.min(100, (100 * busy) / most) : 0}%`;
}

function showRates(status, sample) {
    const counted = (operations) => format.count(status.transfers.filter(
        (one) => operations.includes(one.operation)).length, "transfer");

    setText(byId("read-rate"), format.rate(sample.read));
    setText(byId("write-rate"), format.rate(sample.write));
    setText(byId("read-count"), counted(READS));
    setText(byId("write-count"), counted(WRITES));
}

// status is what readStatus returned, track has taken it.
export function showTransfers(status, track) {
    const facts = [`imageio-fcgi ${status.version}`];

    if (status.processes !== null)
        facts.push(format.count(status.processes, "process", "processes"));
    if (status.started_ms !== null)
        facts.push(`up ${format.duration(status.now_ms - status.started_ms)}`);
    facts.push(`as of ${format.clock(status.now_ms)}`);
    setText(byId("server"), facts.join(" · "));
    showBusy("readers", status.readers, status.max_readers, status.scope);
    showBusy("writers", status.writers, status.max_writers, status.scope);
    showRates(status, track.samples.at(-1));
    running.show(track.running);
    ended.show(track.ended);
    setText(byId("running-none"), "Nothing is being transferred. A transfer is " +
        "here as soon as a client begins one.");
}
